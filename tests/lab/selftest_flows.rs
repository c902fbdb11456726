//! Part of the lab's own tests: what its flows and cables do on a machine that has other things to do.

use std::time::Duration;

use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::capture::Capture;
use crate::lab::machine::Busy;
use crate::lab::paced::Paced;
use crate::lab::udp::UdpFlood;
use crate::lab::{Lab, measure, quiet_machine, ready, sleep};
use crate::{near, shape};

#[test]
fn datagrams_keep_their_order_on_a_busy_machine() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let lab = Lab::new();
    shape(lab.edge(), "wan0", "100mbit", "pfifo limit 1000");
    let _busy = Busy::start();
    let (from, to) = ((lab.datacentre(), GATEWAY), (lab.internet(), WORKER));
    let bulk = [
        Bulk::tcp(from, to, 443).connections(2).start(),
        Bulk::tcp(from, to, 444).connections(2).download().start(),
    ];
    let paced = Paced::new(from, to, 9001)
        .interval(Duration::from_micros(100))
        .start();
    sleep(Duration::from_secs(3));
    let report = paced.stop();
    bulk.into_iter().for_each(|flow| drop(flow.stop()));
    eprintln!("{report}");
    // Some are lost, since they share a queue that is full.
    assert!(report.arrivals.len() > 1000, "{report}");
    assert_eq!(
        (report.reordered(), report.duplicated()),
        (0, 0),
        "{report}"
    );
}

#[test]
fn floods_answer_masqueraded_questions_and_count_as_on_a_line() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let lab = Lab::new();
    for (web, desk) in [(WEB, SESSION_HOST), (WEB6, SESSION_HOST6)] {
        let (web, desk) = ((lab.internet(), web), (lab.datacentre(), desk));
        let wire = Capture::start(lab.datacentre(), "edge0");
        let flow = UdpFlood::new(web, desk, 9001)
            .source_port(9000)
            .rate(10_000_000)
            .bundled(8)
            .start();
        let (from, to) = measure(Duration::from_millis(300), Duration::from_secs(1));
        let report = flow.stop();
        let wire = wire.stop().only(|packet| packet.source_port == 9000);
        let bundles = wire.packets.iter().filter(|packet| packet.segments == 8);
        assert!(bundles.count() > 100, "not in bundles");
        near("payload", report.received.rate(from, to), 10e6, 8.0);
        // Each datagram with its own headers: 8 of UDP, 20 or 40 of IP, 14 of Ethernet.
        let headers = if web.1.is_ipv4() { 42.0 } else { 62.0 };
        let payload = report.received.total() as f64;
        near(
            "bytes on the wire",
            wire.bytes() as f64,
            payload * (1200.0 + headers) / 1200.0,
            2.0,
        );
    }
}
