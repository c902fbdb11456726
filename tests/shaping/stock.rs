//! The same program on Debian's own kernel: what is correct, never how fast.

use crate::ceilings::with_ipv6;
use crate::lab::address::*;
use crate::lab::probe::reaches;
use crate::lab::ready;
use crate::lab::snapshot::Snapshot;

// A run of the program takes seconds in emulation: as few as will do.
#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_kernel_is_shaped_shifted_and_left_as_found() {
    assert!(ready());
    let host = with_ipv6("0s");
    let edge = host.lab.edge();
    let before = Snapshot::of(edge);
    let leaves = |device: &str| {
        let qdiscs = edge.run("tc", &["qdisc", "show", "dev", device]);
        let of_classes = qdiscs
            .lines()
            .filter(|line| line.contains(" parent ") && !line.contains(" clsact "));
        let mut kinds: Vec<String> = of_classes
            .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    let settled = |when: &str| {
        let plan = host.wanshift(&["--json", "plan"]);
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        assert_eq!(plan["ops"], 0, "{when}: {plan:#}");
    };
    let carried = |when: &str| {
        for (from, to) in [(host.lab.provins(), WEB), (host.lab.internet(), GATEWAY6)] {
            let label = from.label();
            assert!(reaches(from, to), "{when}: {label} does not reach {to}");
        }
    };

    host.wanshift(&["apply"]);
    settled("after apply");
    for device in ["mpls0", "wan0"] {
        assert_eq!(leaves(device), ["fq_codel"], "the best of {device}");
    }
    host.wanshift(&["phase", "telework"]);
    let classes = edge.run("tc", &["class", "show", "dev", "wan0"]);
    assert!(classes.contains("rate 220Mbit"), "{classes}");
    carried("in telework");
    let counted = host.counters("wan0")["internet.rest"];
    assert!(counted > 0, "a site's packets are in the internet's rest");

    // On the way back other queues, too: one kind for each circuit, and a class with its own.
    for (device, leaf) in [("mpls0", "sfq"), ("wan0", "cake")] {
        let device = format!("device = \"{device}\"");
        host.edit(
            "host.toml",
            &device,
            &format!("{device}\nleaf = \"{leaf}\""),
        );
    }
    host.edit(
        "policy.d/10-classes.toml",
        "[class.video]",
        "[class.video]\nleaf = \"pfifo\"",
    );
    host.wanshift(&["phase", "nominal"]);
    settled("back in nominal");
    assert_eq!(leaves("mpls0"), ["sfq"]);
    assert_eq!(leaves("wan0"), ["cake", "pfifo"]);
    carried("with sfq and cake");
    host.wanshift(&["teardown"]);
    before.assert_same(&Snapshot::of(edge));
}
