//! What does not come over a circuit goes on, whatever becomes of the device that shapes what does.

use std::net::IpAddr;

use crate::ceilings::with_ipv6;
use crate::foreign::Guest;
use crate::host::{DOWN, Host};
use crate::lab::address::*;
use crate::lab::probe::{Listening, open, reaches};
use crate::lab::{Namespace, ready};

/// Ways that touch no tree for what arrives: the edge's own ssh from either side, one inside segment to
/// another, the host's neighbours.
fn goes_on(host: &Host, guest: &Guest, when: &str) {
    let lab = &host.lab;
    let desk = (lab.datacentre(), SESSION_HOST);
    let desk6 = (lab.datacentre(), SESSION_HOST6);
    let inside = guest.end();
    let asked: [((&Namespace, IpAddr), IpAddr, u16); 6] = [
        ((lab.internet(), INTERNET), EDGE_WAN, 22),
        ((lab.internet(), INTERNET6), EDGE_WAN6, 22),
        (desk, EDGE_LAN, 22),
        (desk6, EDGE_LAN6, 22),
        (desk, inside.1, 80),
        (inside, SESSION_HOST, 80),
    ];
    for (from, to, port) in asked {
        let answer = open(from, to, port);
        assert!(answer.is_ok(), "{when}: {} to {to}: {answer:?}", from.1);
    }
    for next in [PROVIDER, PROVIDER6, INTERNET, INTERNET6] {
        assert!(reaches(lab.edge(), next), "{when}: the edge to {next}");
    }
}

fn ops(host: &Host) -> u64 {
    let plan = host.wanshift(&["--json", "plan"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    plan["ops"].as_u64().expect("a number of ops")
}

#[test]
fn the_host_is_reached_and_inside_goes_on_without_the_device_for_what_arrives() {
    if !ready() {
        return;
    }
    let host = with_ipv6("0s");
    let lab = &host.lab;
    let guest = Guest::new(lab);
    let _listening = [
        Listening::start((lab.edge(), EDGE_WAN), 22),
        Listening::start((lab.edge(), EDGE_WAN6), 22),
        Listening::start((lab.edge(), EDGE_LAN), 22),
        Listening::start((lab.edge(), EDGE_LAN6), 22),
        Listening::start((lab.datacentre(), SESSION_HOST), 80),
        Listening::start(guest.end(), 80),
    ];
    let carried = |when: &str| {
        for (from, to) in [
            (lab.internet(), GATEWAY),
            (lab.internet(), GATEWAY6),
            (lab.provins(), SESSION_HOST),
            (lab.provins(), WEB6),
        ] {
            let label = from.label();
            assert!(reaches(from, to), "{when}: {label} does not reach {to}");
        }
    };
    goes_on(&host, &guest, "before");
    for without in [["set", DOWN, "down"], ["delete", "dev", DOWN]] {
        host.wanshift(&["apply"]);
        assert_eq!(ops(&host), 0, "after apply");
        carried("applied");
        goes_on(&host, &guest, "applied");
        let link = lab.edge().run("ip", &["link", "show", "dev", DOWN]);
        assert!(link.contains(",UP") || link.contains("<UP"), "{link}");

        lab.edge().run("ip", &[&["link"], &without[..]].concat());
        let when = format!("after ip link {}", without.join(" "));
        goes_on(&host, &guest, &when);
        assert!(ops(&host) > 0, "{when}: nothing to repair");
    }
    host.wanshift(&["apply"]);
    assert_eq!(ops(&host), 0, "after the repair");
    carried("repaired");
    goes_on(&host, &guest, "repaired");
    let before = host.counters(DOWN)["mpls.site.mds-provins"];
    carried("repaired");
    let after = host.counters(DOWN)["mpls.site.mds-provins"];
    assert!(after > before, "what arrives is not shaped again");
}
