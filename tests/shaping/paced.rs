//! A flow that was promised its place notices nothing of a shift.

use std::time::Duration;

use crate::ceilings::with_ipv6;
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::paced::Paced;
use crate::lab::udp::UdpFlood;
use crate::lab::{quiet_machine, ready, sleep};

#[test]
fn a_paced_flow_loses_nothing_while_its_circuit_is_saturated_and_shifted() {
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
    host.wanshift(&["apply"]);
    let lab = &host.lab;
    let desktops = Bulk::tcp((lab.internet(), WORKER), (lab.datacentre(), GATEWAY), 443)
        .download()
        .connections(4)
        .start();
    let rest = UdpFlood::new(
        (lab.datacentre(), SESSION_HOST),
        (lab.internet(), WEB),
        9000,
    )
    .rate(60_000_000)
    .start();
    let transfers = UdpFlood::new(
        (lab.datacentre(), SESSION_HOST),
        (lab.provider(), PROVIDER),
        9000,
    )
    .rate(150_000_000)
    .start();
    sleep(Duration::from_secs(1));
    // The help desk on the internet circuit, before translation; a site on the other one.
    let help = Paced::new((lab.datacentre(), OPERATIONS), (lab.internet(), WEB), 9001).start();
    let desk = Paced::new(
        (lab.datacentre(), SESSION_HOST6),
        (lab.provins(), PROVINS6),
        9002,
    )
    .start();
    sleep(Duration::from_secs(1));
    host.wanshift(&["phase", "telework"]);
    sleep(Duration::from_millis(700));
    host.wanshift(&["phase", "nominal"]);
    sleep(Duration::from_millis(700));
    let reports = [("help desk", help.stop()), ("site", desk.stop())];
    let bulk = desktops.stop().all.total();
    rest.stop();
    transfers.stop();
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
