//! What keeps the line itself alive is not starved by a flooded rest.

use std::time::Duration;

use crate::host::Host;
use crate::lab::address::*;
use crate::lab::probe::{Keepalive, ping};
use crate::lab::udp::UdpFlood;
use crate::lab::{quiet_machine, ready, sleep};

#[test]
fn control_is_not_starved_by_a_flooded_rest() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = Host::cd77("1s");
    host.edit(
        "policy.d/20-telework.toml",
        "[phase.telework]",
        "ramp = \"1s\"\n[phase.telework]",
    );
    host.wanshift(&["apply"]);
    let lab = &host.lab;
    let lines = [
        (
            lab.provider(),
            "mpls0",
            [EDGE_MPLS, EDGE_MPLS6],
            [PROVIDER, PROVIDER6],
        ),
        (
            lab.internet(),
            "wan0",
            [EDGE_WAN, EDGE_WAN6],
            [INTERNET, INTERNET6],
        ),
    ];
    // More than each circuit ever has.
    let floods = [
        UdpFlood::new(
            (lab.datacentre(), SESSION_HOST),
            (lab.provider(), PROVIDER),
            9000,
        )
        .rate(230_000_000),
        UdpFlood::new((lab.datacentre(), GATEWAY), (lab.internet(), WEB), 9000).rate(250_000_000),
    ];
    let floods = floods.map(UdpFlood::start);
    let sessions: Vec<_> = lines
        .iter()
        .flat_map(|(peer, _, own, next)| {
            [0, 1].map(|family| {
                let session = Keepalive::start((lab.edge(), own[family]), (*peer, next[family]));
                (next[family], session)
            })
        })
        .collect();
    sleep(Duration::from_millis(700));

    let answered = |when: &str| {
        for (peer, device, own, next) in lines {
            for family in [0, 1] {
                // Both sides forget each other: the question and the answer pass the full circuit.
                for (namespace, device) in [(lab.edge(), device), (peer, "edge0")] {
                    namespace.run("ip", &["neigh", "flush", "dev", device]);
                }
                let times = ping(lab.edge(), next[family], 5, Duration::from_secs(1));
                eprintln!("{when}: {} pings {}: {times:?}", own[family], next[family]);
                // Each of them: in the rest some would come through by chance.
                assert!(
                    times.iter().all(Option::is_some),
                    "{when}: {} {times:?}",
                    next[family]
                );
                let known = lab
                    .edge()
                    .run("ip", &["neigh", "show", "to", &next[family].to_string()]);
                assert!(known.contains("lladdr"), "{when}: {known}");
            }
        }
    };
    answered("nominal");
    host.wanshift(&["phase", "telework"]);
    answered("telework");
    host.wanshift(&["phase", "nominal"]);
    answered("nominal again");

    for (peer, session) in sessions {
        let heard = session.stop();
        eprintln!(
            "keepalive of {peer}: {} of {} missed",
            heard.missed(),
            heard.answered.len()
        );
        assert!(!heard.down(), "{peer}: {heard:?}");
    }
    for flood in floods {
        let report = flood.stop();
        let lost = 1.0 - report.received.total() as f64 / report.sent as f64;
        assert!(lost > 0.05, "the circuit was not full: {lost}");
    }
}
