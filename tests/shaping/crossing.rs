//! Between a site and the internet a packet passes two trees: down of the one circuit, up of the other.

use std::time::Duration;

use crate::host::{ALWAYS, DOWN, Host, near};
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::capture::Capture;
use crate::lab::{measure, quiet_machine, ready, sleep};

const HOST: &str = "name = \"lab\"\ntimezone = \"UTC\"\ninside = [\"lan0\"]\n\
                    [circuit.mpls]\ndevice = \"mpls0\"\ncapacity = \"100mbit\"\n\
                    [circuit.internet]\ndevice = \"wan0\"\ncapacity = \"100mbit\"\n";

/// What a site may send and get, and what the class of its web traffic may on the other circuit.
fn policy(site: [u64; 2], web: [u64; 2]) -> String {
    let rates = |[up, down]: [u64; 2]| format!("{{ up = \"{up}mbit\", down = \"{down}mbit\" }}");
    format!(
        "{ALWAYS}[site.provins]\ncircuit = \"mpls\"\ncapacity = {}\n\
         prefixes = [\"10.77.101.0/24\", \"fd77:77:77:101::/64\"]\n\
         [class.web]\ncircuit = \"internet\"\nceiling = {}\n\
         match = [{{ service = [\"tcp/8080\"] }}]\n",
        rates(site),
        rates(web)
    )
}

/// Whether the site sends, the trees' figures, and which of them holds.
const CASES: [(&str, bool, [u64; 2], [u64; 2]); 4] = [
    ("out, held as it comes", true, [50, 5], [12, 50]),
    ("out, held as it leaves", true, [50, 12], [5, 50]),
    ("in, held as it comes", false, [12, 50], [50, 5]),
    ("in, held as it leaves", false, [5, 50], [50, 12]),
];

#[test]
fn a_site_and_the_internet_pay_in_both_trees_and_the_lower_holds() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = Host::with(HOST, ALWAYS);
    let lab = &host.lab;
    for (what, out, site, web) in CASES {
        host.write("policy.d/policy.toml", &policy(site, web));
        host.wanshift(&["apply"]);
        for (desk, server) in [(PROVINS, WEB), (PROVINS6, WEB6)] {
            let (far, first, second) = if out {
                let places = ["mpls.site.provins", "internet.class.web"];
                (lab.internet(), (DOWN, places[0]), ("wan0", places[1]))
            } else {
                let places = ["internet.class.web", "mpls.site.provins"];
                (lab.provider(), (DOWN, places[0]), ("mpls0", places[1]))
            };
            let sent = || [first, second].map(|(device, place)| host.counters(device)[place]);
            let before = sent();
            let wire = Capture::start(far, "edge0");
            let client = (lab.provins(), desk);
            let flow = Bulk::tcp(client, (lab.internet(), server), 8080).connections(2);
            let flow = if out { flow } else { flow.download() }.start();
            let (from, to) = measure(Duration::from_millis(1500), Duration::from_secs(4));
            flow.stop();
            let after = sent();
            let wire = wire.stop().only(|packet| packet.port(8080));
            near(
                &format!("{what}, {desk}"),
                wire.paid_rate(from, to),
                5e6,
                2.0,
            );
            for (place, (before, after)) in [first, second].iter().zip(before.iter().zip(&after)) {
                let counted = (after - before) as f64 / wire.bytes() as f64;
                assert!(
                    counted > 0.9,
                    "{what}: {place:?} counted {counted:.2} of it"
                );
            }
            // What is left in the queues of one must not count for the next.
            sleep(Duration::from_millis(1500));
        }
    }
}
