//! The lab itself: what it promises to the tests that stand on it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test's helpers cannot do fails the test"
)]

#[path = "lab/selftest_flows.rs"]
mod flows;
mod lab;
#[path = "lab/selftest_lifetime.rs"]
mod lifetime;

use lab::address::*;
use lab::bulk::Bulk;
use lab::capture::Capture;
use lab::namespace::Namespace;
use lab::paced::Paced;
use lab::probe::{Keepalive, Listening, open, ping, reaches};
use lab::snapshot::Snapshot;
use lab::trace::Trace;
use lab::udp::UdpFlood;
use lab::{Lab, measure, now, quiet_machine, ready, sleep};
use std::net::IpAddr;
use std::time::Duration;

/// Within so many parts of a hundred.
#[track_caller]
fn near(what: &str, measured: f64, expected: f64, percent: f64) {
    let off = (measured / expected - 1.0) * 100.0;
    assert!(
        off.abs() <= percent,
        "{what}: {measured:.0}, not {expected:.0} ({off:+.1} %)"
    );
}

/// HTB with one class for everything, as a line of that rate.
fn shape(namespace: &Namespace, device: &str, rate: &str, leaf: &str) {
    let lines = format!(
        "qdisc add dev {device} root handle 1: htb default 10
class add dev {device} parent 1: classid 1:10 htb rate {rate} burst 3000 cburst 3000 quantum 60000
qdisc add dev {device} parent 1:10 handle 10: {leaf}
"
    );
    namespace.feed("tc", &["-batch", "-"], &lines);
}

#[test]
fn every_path_is_there() {
    if !ready() {
        return;
    }
    let started = now();
    let lab = Lab::new();
    let took = Duration::from_nanos(now() - started);
    eprintln!("the lab stands after {took:?}");
    for (from, to) in [
        (lab.edge(), PROVIDER),
        (lab.edge(), PROVIDER6),
        (lab.edge(), INTERNET),
        (lab.edge(), INTERNET6),
        (lab.datacentre(), PROVINS),
        (lab.datacentre(), PROVINS6),
        (lab.datacentre(), NEMOURS),
        (lab.datacentre(), NEMOURS6),
        (lab.datacentre(), WEB),
        (lab.datacentre(), WEB6),
        (lab.internet(), GATEWAY),
        (lab.internet(), GATEWAY6),
        (lab.internet(), VPN),
        (lab.internet(), VPN6),
        (lab.provins(), SHORTCUTS),
        (lab.provins(), SHORTCUTS6),
        (lab.nemours(), SESSION_HOST),
        (lab.nemours(), SESSION_HOST6),
        (lab.nemours(), OPERATIONS),
        (lab.nemours(), OPERATIONS6),
        (lab.provins(), NEMOURS),
    ] {
        assert!(reaches(from, to), "{} does not reach {to}", from.label());
    }
}

#[test]
fn inside_is_masqueraded_and_the_gateway_is_not() {
    if !ready() {
        return;
    }
    let lab = Lab::new();
    // Each on a port of its own: the reset that ends one may come late, into the next one's capture.
    let talk = |client: (&Namespace, IpAddr), server: (&Namespace, IpAddr), port| {
        let wire = Capture::start(lab.internet(), "edge0");
        let flow = Bulk::tcp(client, server, port).start();
        sleep(Duration::from_millis(50));
        flow.stop();
        let trace = wire.stop().only(|packet| packet.port(port));
        assert!(!trace.packets.is_empty(), "nothing on the wire");
        trace
    };
    for (port, (client, server, seen)) in (443..).zip([
        ((lab.datacentre(), SESSION_HOST), WEB, EDGE_WAN),
        ((lab.datacentre(), SESSION_HOST6), WEB6, EDGE_WAN6),
        ((lab.provins(), PROVINS), WEB, EDGE_WAN),
        ((lab.nemours(), NEMOURS6), WEB6, EDGE_WAN6),
        ((lab.datacentre(), GATEWAY), WEB, GATEWAY),
        ((lab.datacentre(), GATEWAY6), WEB6, GATEWAY6),
    ]) {
        let trace = talk(client, (lab.internet(), server), port);
        let all = trace
            .packets
            .iter()
            .all(|packet| packet.source == Some(seen));
        assert!(
            all,
            "{} is not seen as {seen}: {:?}",
            client.1, trace.packets[0]
        );
    }
    let trace = talk((lab.internet(), WORKER), (lab.datacentre(), GATEWAY), 1494);
    let all = trace
        .packets
        .iter()
        .all(|packet| packet.source == Some(GATEWAY));
    assert!(all, "the gateway answers as {:?}", trace.packets[0]);
}

#[test]
fn labs_stand_side_by_side() {
    if !ready() {
        return;
    }
    let (one, two) = (Lab::new(), Lab::new());
    one.edge().run(
        "tc",
        &["qdisc", "add", "dev", "wan0", "root", "handle", "7:", "htb"],
    );
    assert!(one.edge().run("tc", &["qdisc"]).contains("htb 7:"));
    assert!(!two.edge().run("tc", &["qdisc"]).contains("htb"));
    assert!(reaches(one.provins(), WEB) && reaches(two.provins(), WEB));
    // Each host sees its own devices, by /sys too, from a command and from a closure.
    let command = one.edge().run("ls", &["/sys/class/net"]);
    assert!(command.contains("mpls0"), "{command}");
    let count = || std::fs::read_dir("/sys/class/net").unwrap().count();
    assert_eq!(two.provins().enter(count), 2, "lo and uplink0");
}

#[test]
fn a_snapshot_shows_what_was_left_behind() {
    if !ready() {
        return;
    }
    let lab = Lab::new();
    let before = Snapshot::of(lab.edge());
    before.assert_same(&Snapshot::of(lab.edge()));
    shape(lab.edge(), "mpls0", "10mbit", "pfifo limit 10");
    let nft = |text: &str| lab.edge().feed("nft", &["-f", "-"], text);
    nft("table inet other { chain c { counter; }; }");
    lab.edge()
        .enter(|| std::fs::write("/proc/sys/net/ipv4/conf/wan0/arp_filter", "1"))
        .unwrap();
    let changes = before.changes(&Snapshot::of(lab.edge())).join("\n");
    for expected in [
        "+tc qdisc: qdisc htb 1:",
        "class htb 1:10",
        "+nft",
        "wan0/arp_filter: 1",
    ] {
        assert!(changes.contains(expected), "{expected} is not in {changes}");
    }
    lab.edge()
        .run("tc", &["qdisc", "del", "dev", "mpls0", "root"]);
    nft("delete table inet other");
    lab.edge()
        .enter(|| std::fs::write("/proc/sys/net/ipv4/conf/wan0/arp_filter", "0"))
        .unwrap();
    before.assert_same(&Snapshot::of(lab.edge()));
}

#[test]
fn a_refused_connection_fails_as_it_was_refused() {
    use std::io::ErrorKind;
    if !ready() {
        return;
    }
    let lab = Lab::new();
    let _web = Listening::start((lab.internet(), WEB), 80);
    let from = (lab.datacentre(), SESSION_HOST);
    assert!(open(from, WEB, 80).is_ok());
    assert_eq!(open(from, WEB, 81), Err(ErrorKind::ConnectionRefused));
    lab.edge().feed(
        "nft",
        &["-f", "-"],
        "table inet other { chain c { type filter hook forward priority 0;
            ip daddr 203.0.113.7 tcp dport 80 reject with tcp reset;
            ip daddr 203.0.113.80 reject with icmp type admin-prohibited; }; }",
    );
    assert_eq!(open(from, WEB, 80), Err(ErrorKind::ConnectionRefused));
    assert_eq!(open(from, SHORTCUTS, 80), Err(ErrorKind::HostUnreachable));
}

#[test]
fn a_line_of_ten_megabits_is_measured_as_that() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let lab = Lab::new();
    for (client, server) in [(WORKER, GATEWAY), (WORKER6, GATEWAY6)] {
        shape(lab.edge(), "wan0", "10mbit", "bfifo limit 200k");
        let wire = Capture::start(lab.internet(), "edge0");
        let flow = Bulk::tcp((lab.internet(), client), (lab.datacentre(), server), 443)
            .download()
            .connections(4)
            .dscp(10)
            .start();
        let (from, to) = measure(Duration::from_secs(1), Duration::from_secs(3));
        let received = flow.stop();
        let wire = wire.stop();
        let desktops =
            wire.only(|packet| packet.source == Some(server) && packet.source_port == 443);
        near("rate on the wire", wire.rate(from, to), 10e6, 3.0);
        near("the flow's part", desktops.rate(from, to), 10e6, 3.0);
        // 1,448 of 1,514 bytes are payload over IPv4, 1,428 over IPv6. Of the flow as a whole: what waits
        // for a lost segment is received at once when that comes, so a part of the time tells nothing.
        // Some is sent twice, and some is on its way when the flow ends.
        let payload = if client.is_ipv4() { 1448.0 } else { 1428.0 } / 1514.0;
        let share = received.all.total() as f64 / (desktops.bytes() as f64 * payload);
        eprintln!("{share:.3} of the payload was received");
        assert!(
            (0.9..=1.001).contains(&share),
            "{share:.3} of the payload was received"
        );
        assert_eq!(received.connections.len(), 4);
        assert!(desktops.packets.iter().all(|packet| packet.dscp == 10));
        // A window may hold what the line carries in 100 ms, the burst and one GSO packet.
        let worst = wire
            .between(from, to)
            .worst_window(Duration::from_millis(100));
        let line = 10_000_000 / 8 / 10;
        assert!(
            (line * 95 / 100..line + 3_000 + 68_000).contains(&worst.bytes),
            "{worst:?}"
        );
        lab.edge()
            .run("tc", &["qdisc", "del", "dev", "wan0", "root"]);
    }
}

#[test]
fn datagrams_above_the_line_are_lost_and_counted() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let lab = Lab::new();
    shape(lab.edge(), "mpls0", "10mbit", "pfifo limit 50");
    let wire = Capture::start(lab.provider(), "edge0");
    let flow = UdpFlood::new(
        (lab.datacentre(), SESSION_HOST),
        (lab.provins(), PROVINS),
        9000,
    )
    .rate(20_000_000)
    .start();
    let (from, to) = measure(Duration::from_millis(500), Duration::from_secs(2));
    let report = flow.stop();
    let wire = wire.stop();
    near("rate on the wire", wire.rate(from, to), 10e6, 3.0);
    near("sent", report.sent as f64, 20e6 / 8.0 * 2.5, 6.0);
    near(
        "payload",
        report.received.rate(from, to),
        10e6 * 1200.0 / 1242.0,
        3.0,
    );
    let worst = wire
        .between(from, to)
        .worst_window(Duration::from_millis(100))
        .bytes;
    near("the fullest 100 ms", worst as f64, 125_000.0, 5.0);
}

#[test]
fn a_paced_flow_sees_what_is_lost_and_what_waits() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let lab = Lab::new();
    let paced = || {
        let ends = ((lab.datacentre(), GATEWAY), (lab.internet(), WORKER));
        let flow = Paced::new(ends.0, ends.1, 9001).start();
        let (from, to) = measure(Duration::from_millis(200), Duration::from_secs(2));
        let report = flow.stop();
        eprintln!("{report}");
        report.between(from, to)
    };
    let free = paced();
    // A busy machine makes it skip some, and it says so.
    assert!((1500..=2000).contains(&free.sent.len()), "{free}");
    assert_eq!(
        (free.lost(), free.reordered(), free.duplicated()),
        (0, 0, 0),
        "{free}"
    );
    assert!(free.delay(50.0) < Duration::from_millis(1), "{free}");

    // 142 bytes each make 1.136 Mbit/s: half of them pass a line of half that, behind 50 others.
    shape(lab.edge(), "wan0", "568kbit", "pfifo limit 50");
    let thin = paced();
    near("passed", thin.arrivals.len() as f64, 1000.0, 6.0);
    assert_eq!(thin.lost() + thin.arrivals.len(), thin.sent.len());
    let queue = Duration::from_millis(50 * 142 * 8 / 568);
    near(
        "delay",
        thin.delay(50.0).as_secs_f64(),
        queue.as_secs_f64(),
        6.0,
    );
    assert_eq!(thin.reordered(), 0);
}

#[test]
fn a_keepalive_falls_with_the_line() {
    if !ready() {
        return;
    }
    let lab = Lab::new();
    let session = || Keepalive::start((lab.edge(), EDGE_MPLS), (lab.provider(), PROVIDER));
    let well = session();
    sleep(Duration::from_millis(1300));
    let heard = well.stop();
    assert!(!heard.down() && heard.missed() == 0, "{heard:?}");
    let ill = session();
    lab.provider().run("ip", &["link", "set", "edge0", "down"]);
    sleep(Duration::from_millis(1300));
    let heard = ill.stop();
    assert!(heard.down(), "{heard:?}");
    let lost = ping(lab.edge(), PROVIDER, 1, Duration::from_millis(100));
    assert_eq!(lost, [None]);
}

#[test]
fn a_gigabit_is_captured_whole() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let lab = Lab::new();
    shape(lab.edge(), "wan0", "1gbit", "pfifo limit 1000");
    let (wan, mpls) = (
        Capture::start(lab.internet(), "edge0"),
        Capture::start(lab.provider(), "edge0"),
    );
    let flow = Bulk::tcp((lab.datacentre(), GATEWAY), (lab.internet(), WEB), 80)
        .connections(4)
        .start();
    let other = UdpFlood::new(
        (lab.datacentre(), SESSION_HOST),
        (lab.nemours(), NEMOURS),
        9002,
    )
    .rate(20_000_000)
    .start();
    let (from, to) = measure(Duration::from_millis(500), Duration::from_secs(2));
    let received = flow.stop();
    other.stop();
    let (wan, mpls) = (wan.stop(), mpls.stop());
    let gso = wan
        .packets
        .iter()
        .filter(|packet| packet.segments > 1)
        .count();
    assert!(gso > 0, "segmentation offload is off");
    near(
        "payload of the wire",
        received.all.rate(from, to),
        wan.rate(from, to) * 1448.0 / 1514.0,
        2.0,
    );
    let both = Trace::merge([&wan, &mpls]);
    near(
        "both devices",
        both.rate(from, to),
        wan.rate(from, to) + mpls.rate(from, to),
        0.1,
    );
    assert!(both.packets.is_sorted_by_key(|packet| packet.at));
    assert!(wan.rate(from, to) < 1.02e9, "{}", wan.rate(from, to));
}

#[test]
fn iperf_agrees() {
    if !ready() {
        return;
    }
    if !lab::machine::has("iperf3") {
        return lab::skip("no iperf3");
    }
    let _quiet = quiet_machine();
    let lab = Lab::new();
    shape(lab.edge(), "wan0", "10mbit", "bfifo limit 200k");
    let server = (lab.internet(), WEB);
    let report = lab::iperf::iperf(lab.datacentre(), server, 5201, &["-t", "3", "-O", "1"]);
    near(
        "iperf3",
        lab::iperf::received(&report),
        10e6 * 1448.0 / 1514.0,
        6.0,
    );
}

/// On a stock kernel: what this crate's users have and a development machine's kernel may lack.
#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_kernel_carries_the_lab() {
    assert!(ready());
    for kind in ["fq_codel", "cake", "sfq", "pfifo", "netem"] {
        assert!(lab::machine::has_qdisc(kind), "no {kind}");
    }
    let started = now();
    let lab = Lab::new();
    let took = Duration::from_nanos(now() - started);
    eprintln!("the lab stands after {took:?}");
    for (from, to) in [(lab.provins(), WEB), (lab.provins(), WEB6)] {
        assert!(reaches(from, to), "{} does not reach {to}", from.label());
    }
    let vlan = [
        "link", "add", "link", "wan0", "name", "wan0.5", "type", "vlan", "id", "5",
    ];
    lab.edge().run("ip", &vlan);
    lab.edge()
        .run("ip", &["link", "add", "dummy0", "type", "dummy"]);

    // Slow enough that emulation keeps up.
    shape(lab.edge(), "wan0", "2mbit", "fq_codel");
    let wire = Capture::start(lab.internet(), "edge0");
    let flow = Bulk::tcp((lab.internet(), WORKER), (lab.datacentre(), GATEWAY), 443)
        .download()
        .start();
    let (from, to) = measure(Duration::from_secs(2), Duration::from_secs(5));
    flow.stop();
    near("rate on the wire", wire.stop().rate(from, to), 2e6, 5.0);
}
