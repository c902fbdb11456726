//! A flow that was promised its place notices nothing of a shift.

use std::time::Duration;

use crate::ceilings::with_ipv6;
use crate::hand::Hand;
use crate::host::Way;
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::paced::Paced;
use crate::lab::udp::UdpFlood;
use crate::lab::{quiet_machine, ready, sleep};

#[test]
fn a_paced_flow_loses_nothing_while_its_circuit_is_saturated_and_shifted() {
    unnoticed(Way::Up, Hand::Verbs);
}

#[test]
fn a_paced_flow_loses_nothing_while_a_daemon_shifts() {
    unnoticed(Way::Up, Hand::Daemon);
}

pub fn unnoticed(way: Way, hand: Hand) {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = with_ipv6("1s");
    host.edit(
        "policy.d/20-telework.toml",
        "[phase.telework]",
        "ramp = \"1s\"\n[phase.telework]",
    );
    let hand = hand.take(&host, "nominal");
    let lab = &host.lab;
    let desk = (lab.datacentre(), SESSION_HOST);
    let gateway = (lab.datacentre(), GATEWAY);
    let (worker, web) = ((lab.internet(), WORKER), (lab.internet(), WEB));
    let provider = (lab.provider(), PROVIDER);
    let desktops = Bulk::tcp(worker, gateway, 443).connections(4);
    // Of the circuit's rest, and of the other circuit's.
    let (desktops, rest, transfers) = match way {
        Way::Up => (desktops.download(), (desk, web), (desk, provider)),
        Way::Down => (desktops, (web, gateway), (provider, desk)),
    };
    let desktops = desktops.start();
    let rest = UdpFlood::new(rest.0, rest.1, 9000).rate(60_000_000).start();
    let transfers = UdpFlood::new(transfers.0, transfers.1, 9000)
        .rate(150_000_000)
        .start();
    sleep(Duration::from_secs(1));
    // The help desk on the internet circuit, upward before translation; a site on the other one.
    let site = [(lab.datacentre(), SESSION_HOST6), (lab.provins(), PROVINS6)];
    let (help, desk) = match way {
        Way::Up => (
            Paced::new((lab.datacentre(), OPERATIONS), web, 9001),
            Paced::new(site[0], site[1], 9002),
        ),
        Way::Down => (
            Paced::new(worker, (lab.datacentre(), VPN), 1194),
            Paced::new(site[1], site[0], 9002),
        ),
    };
    let (help, desk) = (help.start(), desk.start());
    sleep(Duration::from_secs(1));
    hand.enters("telework", "nominal");
    sleep(Duration::from_millis(700));
    hand.enters("nominal", "telework");
    sleep(Duration::from_millis(700));
    let reports = [("help desk", help.stop()), ("site", desk.stop())];
    let bulk = desktops.stop().all.total();
    rest.stop();
    transfers.stop();
    hand.is_well();
    eprintln!("beside {} MB of desktops", bulk / 1_000_000);
    for (flow, report) in reports {
        eprintln!("{flow}: {report}");
        assert!(report.sent.len() > 2000, "{flow}: {report}");
        assert_eq!(
            (report.lost(), report.reordered(), report.duplicated()),
            (0, 0, 0),
            "{flow}"
        );
        // The sender's own pauses are the machine's, not the shift's.
        let gap = report.longest_gap().saturating_sub(report.longest_pause());
        assert!(gap < Duration::from_millis(200), "{flow}: {report}");
    }
}
