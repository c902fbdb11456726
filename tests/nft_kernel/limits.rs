//! What does not fit into the bits of marks that are ours, and which tree a circuit is in.

use wanshift::lower::classify::{Classifier, ClassifyError};
use wanshift::model::circuit::MarkMask;
use wanshift::policy::{self, Policy, Source};

use super::policies::{circuit, class, everything, host, ids, matching};

fn policy(classes: &str) -> Policy {
    let text = format!(
        r#"
        name = "edge"
        timezone = "Europe/Paris"
        inside = ["lan0", "lan1"]
        mark_mask = "0x00ffff00"

        [circuit.internet]
        device = "eth0.10"
        also = ["wg0"]
        [circuit.mpls]
        device = "eth0.20"
        [circuit.spare]
        device = "lte0"
        capacity = "10mbit"
        [pool.access]
        circuits = ["internet", "mpls"]
        capacity = "100mbit"
        device = "eth0"

        [policy]
        start = "nominal"
        [phase.nominal]
        split.access = {{ internet = "60mbit", mpls = "40mbit" }}
        {classes}
        "#
    );
    let source = Source {
        name: "host.toml".into(),
        text: text.into(),
    };
    policy::read(&[source]).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[test]
fn a_circuit_is_shaped_in_the_tree_of_its_pool() {
    let policy = policy("");
    let tree = |circuit: &str| {
        let device = policy.tree_device(&circuit.parse().unwrap());
        device.map(ToString::to_string)
    };
    assert_eq!(tree("internet").as_deref(), Some("eth0"));
    assert_eq!(tree("mpls").as_deref(), Some("eth0"));
    assert_eq!(tree("spare").as_deref(), Some("lte0"));
    assert_eq!(tree("other"), None);

    let rules = Classifier::of(&policy);
    assert_eq!(rules.mask, MarkMask::new(0x00ff_ff00).unwrap());
    assert_eq!(rules.inside.len(), 2);
    let internet = &rules.circuits[0];
    let names: Vec<String> = internet.names().map(ToString::to_string).collect();
    assert_eq!(names, ["eth0.10", "wg0"]);
    assert_eq!(internet.tree.to_string(), "eth0");
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let mut rules = everything();
    let numbers = ids(&rules);
    rules.mask = MarkMask::new(0x7f00).unwrap();
    let error = rules.table(&numbers).unwrap_err();
    assert!(
        matches!(error, ClassifyError::MinorBeyondMask { .. }),
        "{error}"
    );
    // Where nothing arrives that goes on, nothing is marked.
    let web = class("web", vec![matching(&[], &[], &["tcp/80"], &[])]);
    let mut alone = host(vec![circuit("internet", "wan0", vec![], vec![web])]);
    let numbers = ids(&alone);
    alone.mask = MarkMask::new(0x3).unwrap();
    alone.inside.clear();
    assert!(alone.table(&numbers).is_ok());
}
