//! Never more than the pool on the wire, whatever is shifted, and with every class flooded.

use std::time::Duration;

use crate::frames::{Frames, LOCAL_EXPERIMENT};
use crate::hand::Hand;
use crate::host::{Host, Way};
use crate::lab::address::*;
use crate::lab::bulk::{self, Bulk};
use crate::lab::capture::Capture;
use crate::lab::trace::{Packet, Trace};
use crate::lab::udp::{self, UdpFlood};
use crate::lab::{measure, now, quiet_machine, ready};

const HOST: &str = r#"
name = "lab"
timezone = "UTC"
inside = ["lan0"]
[circuit.mpls]
device = "mpls0"
[circuit.internet]
device = "wan0"
[pool.access]
circuits = ["mpls", "internet"]
capacity = "300mbit"
"#;

/// Control has 1 % of each circuit: with that every circuit is promised away to the last bit, in both phases.
const POLICY: &str = r#"
[policy]
start = "nominal"
[phase.nominal]
split.access = { mpls = "200mbit", internet = "100mbit" }
ramp = "RAMP"
[phase.telework]
split.access = { mpls = "80mbit", internet = "220mbit" }
class.gateway = { guarantee = "60%" }
class.desks = { guarantee = "15%" }
ramp = "RAMP"

[rest.mpls]
guarantee = "9%"
[rest.internet]
guarantee = "9%"

[class.backup]
circuit = "mpls"
match = [{ service = ["tcp/873", "udp/873"] }]
guarantee = "30%"
[site.provins]
circuit = "mpls"
prefixes = ["10.77.101.0/24", "fd77:77:77:101::/64"]
capacity = "200mbit"
guarantee = "40%"
[site.nemours]
circuit = "mpls"
prefixes = ["10.77.102.0/24", "fd77:77:77:102::/64"]
capacity = "200mbit"
guarantee = "20%"

[class.gateway]
circuit = "internet"
match = [{ to = ["192.0.2.10"], service = ["tcp/443", "udp/443"] }]
guarantee = "40%"
[class.desks]
circuit = "internet"
match = [{ from = ["10.77.20.0/24"], service = ["udp/9000"] }]
guarantee = "35%"
[class.video]
circuit = "internet"
match = [{ dscp = ["ef"] }]
guarantee = "15%"
"#;

const POOL: u64 = 300_000_000;
/// On both circuits, control and rest included.
const CLASSES: u64 = 10;
/// The largest GSO packet with its Ethernet header.
const GSO: u64 = 65_550;
const EF: u8 = 46;

/// Which class a packet on the wire was in: the flood's own marks, seen from outside.
type Class = (&'static str, fn(&Packet) -> bool, [f64; 2]);
const ON_MPLS: &[Class] = &[
    (
        "mpls.control",
        |packet| packet.ether_type == LOCAL_EXPERIMENT,
        [2e6, 0.8e6],
    ),
    ("mpls.rest", |packet| packet.port(9100), [18e6, 7.2e6]),
    ("mpls.class.backup", |packet| packet.port(873), [60e6, 24e6]),
    (
        "mpls.site.provins",
        |packet| packet.port(8101),
        [80e6, 32e6],
    ),
    (
        "mpls.site.nemours",
        |packet| packet.port(8102),
        [40e6, 16e6],
    ),
];
const ON_WAN: &[Class] = &[
    (
        "internet.control",
        |packet| packet.ether_type == LOCAL_EXPERIMENT,
        [1e6, 2.2e6],
    ),
    ("internet.rest", |packet| packet.port(9200), [9e6, 19.8e6]),
    (
        "internet.class.gateway",
        |packet| packet.port(443),
        [40e6, 132e6],
    ),
    (
        "internet.class.desks",
        |packet| packet.port(9000),
        [35e6, 33e6],
    ),
    (
        "internet.class.video",
        |packet| packet.dscp == EF,
        [15e6, 33e6],
    ),
];

/// Both circuits' on one wire. Control, which nothing uses, leaves its 1 % to the others.
const DOWNWARD: &[Class] = &[
    ON_MPLS[1], ON_MPLS[2], ON_MPLS[3], ON_MPLS[4], ON_WAN[1], ON_WAN[2], ON_WAN[3], ON_WAN[4],
];

#[test]
fn a_shift_with_every_class_flooded_stays_within_the_pool() {
    if ready() {
        let _quiet = quiet_machine();
        until_flooded("2s", Way::Up, Hand::Verbs);
    }
}

#[test]
fn a_shift_at_once_with_every_class_flooded_stays_within_the_pool() {
    if ready() {
        let _quiet = quiet_machine();
        until_flooded("0s", Way::Up, Hand::Verbs);
    }
}

#[test]
fn a_daemons_shift_with_every_class_flooded_stays_within_the_pool() {
    if ready() {
        let _quiet = quiet_machine();
        until_flooded("2s", Way::Up, Hand::Daemon);
    }
}

#[test]
fn a_daemons_shift_at_once_with_every_class_flooded_stays_within_the_pool() {
    if ready() {
        let _quiet = quiet_machine();
        until_flooded("0s", Way::Up, Hand::Daemon);
    }
}

/// How often the experiment may be void.
const TRIES: usize = 3;

/// What is asked holds in every try. Where a flood itself fell short, the answer is worth nothing: then
/// the experiment is made again.
pub fn until_flooded(ramp: &str, way: Way, hand: Hand) {
    let mut void = Vec::new();
    while void.len() < TRIES {
        match shift_there_and_back(ramp, way, hand) {
            Ok(()) => return,
            Err(short) => {
                eprintln!("void: {short}");
                void.push(short);
            }
        }
    }
    panic!("not every class was flooded and had its guarantee: {void:#?}");
}

/// There and back again; the error names the classes that did not have what they were promised.
fn shift_there_and_back(ramp: &str, way: Way, hand: Hand) -> Result<(), String> {
    let host = Host::with(HOST, &POLICY.replace("RAMP", ramp));
    let hand = hand.take(&host, "nominal");
    // Downward both circuits' classes are seen on the one device that they leave by.
    let wires: Vec<_> = match way {
        Way::Up => vec![host.lab.provider(), host.lab.internet()],
        Way::Down => vec![host.lab.datacentre()],
    };
    let classes: &[(&str, &[Class])] = match way {
        Way::Up => &[("mpls", ON_MPLS), ("internet", ON_WAN)],
        Way::Down => &[("both circuits", DOWNWARD)],
    };
    let wires: Vec<_> = wires
        .into_iter()
        .map(|far| Capture::start(far, "edge0"))
        .collect();
    // All that was saved up before goes at the beginning: that counts, too.
    let begin = now();
    let floods = match way {
        Way::Up => Floods::up(&host),
        Way::Down => Floods::down(&host),
    };
    let nominal = measure(Duration::from_millis(1200), Duration::from_millis(1500));
    hand.enters("telework", "nominal");
    let telework = measure(Duration::from_millis(500), Duration::from_millis(1500));
    hand.enters("nominal", "telework");
    let again = measure(Duration::from_millis(500), Duration::from_millis(1500));
    let end = now();
    let wires: Vec<Trace> = wires.into_iter().map(Capture::stop).collect();
    floods.stop();
    hand.is_well();

    let all = Trace::merge(&wires).between(begin, end);
    let worst = all.worst_window(Duration::from_millis(100));
    let bound = POOL / 8 / 10 + POOL / 8 / 100 + CLASSES * GSO;
    eprintln!(
        "ramp {ramp}: {} bytes in the fullest 100 ms, after {} ms; {} are the pool's, {bound} the bound",
        worst.bytes,
        (worst.start - begin) / 1_000_000,
        POOL / 80,
    );
    for (trace, (name, _)) in wires.iter().zip(classes) {
        let worst = trace.worst_window(Duration::from_millis(100));
        let rate = worst.bytes * 80 / 1_000_000;
        eprintln!("  {name} alone: {rate} mbit in its fullest 100 ms");
    }
    assert!(worst.bytes <= bound, "{worst:?} is above {bound}");

    let mut short = Vec::new();
    for (phase, (from, to)) in [(0, nominal), (1, telework), (0, again)] {
        let before = short.len();
        for (trace, (_, classes)) in wires.iter().zip(classes) {
            for (class, is_of, guarantees) in *classes {
                let rate = trace.only(is_of).rate(from, to);
                let guarantee = guarantees[phase];
                let off = (rate / guarantee - 1.0) * 100.0;
                eprintln!("  {class}: {rate:.0}, {off:+.1} % of {guarantee:.0}");
                if off.abs() >= 8.0 {
                    short.push(format!("{class} {off:+.1} %"));
                }
            }
        }
        // What a class leaves others use: the pool is full all the same, where they have more to send.
        let pool = all.rate(from, to);
        let off = (pool / POOL as f64 - 1.0) * 100.0;
        eprintln!("the pool: {pool:.0}, {off:+.2} %");
        assert!(off <= 2.0, "above the pool: {pool:.0} ({off:+.2} %)");
        if off < -2.0 {
            let full = short.len() == before;
            assert!(!full, "all had their guarantee, the pool not: {pool:.0}");
            short.push(format!("the pool {off:+.2} %"));
        }
    }
    if short.is_empty() {
        Ok(())
    } else {
        Err(short.join(", "))
    }
}

/// Traffic for every class, more than any phase promises it.
///
/// In each there are datagrams, which send on whatever is lost. TCP alone runs dry for some milliseconds
/// where the machine is busy, and what its class then leaves is control's to borrow.
struct Floods {
    bulk: Vec<bulk::Running>,
    datagrams: Vec<udp::Running>,
    frames: Vec<Frames>,
}

impl Floods {
    fn up(host: &Host) -> Self {
        let lab = &host.lab;
        let desk = (lab.datacentre(), SESSION_HOST);
        let gateway = (lab.datacentre(), GATEWAY);
        let web = (lab.internet(), WEB);
        let worker = (lab.internet(), WORKER);
        let to_provider = (lab.provider(), PROVIDER);
        let tcp = |flow: Bulk| flow.connections(3).start();
        let udp = |flow: UdpFlood, rate| flow.rate(rate).bundled(8).start();
        Self {
            bulk: vec![
                tcp(Bulk::tcp(worker, gateway, 443).download()),
                tcp(Bulk::tcp(gateway, web, 5000).dscp(EF)),
                tcp(Bulk::tcp(desk, (lab.provins(), PROVINS), 8101)),
                tcp(Bulk::tcp(
                    (lab.datacentre(), SESSION_HOST6),
                    (lab.nemours(), NEMOURS6),
                    8102,
                )),
                tcp(Bulk::tcp(desk, to_provider, 873)),
            ],
            datagrams: vec![
                udp(UdpFlood::new(desk, to_provider, 9100), 24_000_000),
                udp(UdpFlood::new(desk, to_provider, 873), 72_000_000),
                udp(
                    UdpFlood::new(desk, (lab.provins(), PROVINS), 8101),
                    95_000_000,
                ),
                udp(
                    UdpFlood::new(desk, (lab.nemours(), NEMOURS), 8102),
                    50_000_000,
                ),
                udp(
                    UdpFlood::new(gateway, worker, 8443).source_port(443),
                    155_000_000,
                ),
                udp(UdpFlood::new(gateway, web, 9200), 26_000_000),
                udp(UdpFlood::new(desk, web, 9000), 45_000_000),
                udp(UdpFlood::new(gateway, web, 5001).dscp(EF), 42_000_000),
            ],
            frames: vec![
                Frames::start(lab.edge(), "mpls0", 4_000_000),
                Frames::start(lab.edge(), "wan0", 4_000_000),
            ],
        }
    }

    /// The same from the other side. Nothing floods control: what the host itself gets is not shaped.
    fn down(host: &Host) -> Self {
        let lab = &host.lab;
        let desk = (lab.datacentre(), SESSION_HOST);
        let gateway = (lab.datacentre(), GATEWAY);
        let web = (lab.internet(), WEB);
        let worker = (lab.internet(), WORKER);
        let provider = (lab.provider(), PROVIDER);
        let provins = (lab.provins(), PROVINS);
        let tcp = |flow: Bulk| flow.connections(3).start();
        let udp = |flow: UdpFlood, rate| flow.rate(rate).bundled(8).start();
        Self {
            bulk: vec![
                tcp(Bulk::tcp(worker, gateway, 443)),
                tcp(Bulk::tcp(web, gateway, 5000).dscp(EF)),
                tcp(Bulk::tcp(provins, desk, 8101)),
                tcp(Bulk::tcp(
                    (lab.nemours(), NEMOURS6),
                    (lab.datacentre(), SESSION_HOST6),
                    8102,
                )),
                tcp(Bulk::tcp(provider, desk, 873)),
            ],
            datagrams: vec![
                udp(UdpFlood::new(provider, desk, 9100), 24_000_000),
                udp(UdpFlood::new(provider, desk, 873), 72_000_000),
                udp(UdpFlood::new(provins, desk, 8101), 95_000_000),
                udp(
                    UdpFlood::new((lab.nemours(), NEMOURS), desk, 8102),
                    50_000_000,
                ),
                udp(UdpFlood::new(worker, gateway, 443), 155_000_000),
                udp(UdpFlood::new(web, gateway, 9200), 26_000_000),
                // Answers to what a desk asked, whose address the internet does not know.
                udp(UdpFlood::new(web, desk, 9001).source_port(9000), 45_000_000),
                udp(UdpFlood::new(web, gateway, 5001).dscp(EF), 42_000_000),
            ],
            frames: Vec::new(),
        }
    }

    fn stop(self) {
        self.frames.into_iter().for_each(Frames::stop);
        self.bulk.into_iter().for_each(|flow| drop(flow.stop()));
        self.datagrams
            .into_iter()
            .for_each(|flow| drop(flow.stop()));
    }
}
