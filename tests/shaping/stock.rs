//! The same program on Debian's own kernel: what is correct, never how fast.

use crate::ceilings::with_ipv6;
use crate::lab::address::*;
use crate::lab::probe::reaches;
use crate::lab::ready;
use crate::lab::snapshot::Snapshot;

#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_kernel_is_shaped_shifted_and_left_as_found() {
    assert!(ready());
    let host = with_ipv6("0s");
    let edge = host.lab.edge();
    let before = Snapshot::of(edge);
    let leaves = || {
        let qdiscs = edge.run("tc", &["qdisc", "show"]);
        let of_classes = qdiscs.lines().filter(|line| line.contains(" parent "));
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
    host.wanshift(&["apply"]);
    settled("after apply");
    assert_eq!(leaves(), ["fq_codel"]);
    host.wanshift(&["phase", "telework"]);
    settled("in telework");
    for (from, to) in [(host.lab.provins(), WEB), (host.lab.internet(), GATEWAY6)] {
        assert!(reaches(from, to), "{} does not reach {to}", from.label());
    }
    let counted = host.counters("wan0")["internet.rest"];
    assert!(counted > 0, "a site's packets are in the internet's rest");
    host.wanshift(&["phase", "nominal"]);
    settled("back in nominal");

    let mut now = String::new();
    for leaf in ["sfq", "cake", "pfifo"] {
        let line = format!("\nleaf = \"{leaf}\"");
        for device in ["mpls0", "wan0"] {
            let device = format!("device = \"{device}\"");
            host.edit(
                "host.toml",
                &format!("{device}{now}"),
                &format!("{device}{line}"),
            );
        }
        now = line;
        host.wanshift(&["apply"]);
        settled(leaf);
        assert_eq!(leaves(), [leaf]);
        assert!(reaches(host.lab.provins(), WEB), "with {leaf}");
    }
    host.wanshift(&["teardown"]);
    before.assert_same(&Snapshot::of(edge));
}
