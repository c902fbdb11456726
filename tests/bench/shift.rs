//! What flows that have their place notice of shifts, while both circuits are full: up, then down.

use std::time::Duration;

use crate::Bench;
use crate::edge::Edge;
use crate::lab::address::{GATEWAY, OPERATIONS, PROVIDER, SESSION_HOST, VPN, WEB, WORKER};
use crate::lab::bulk::Bulk;
use crate::lab::capture::Capture;
use crate::lab::paced::Paced;
use crate::lab::trace::Trace;
use crate::lab::udp::UdpFlood;
use crate::lab::{now, sleep};
use crate::sheet::{Bar, Figure};

const HOST: &str = "name = \"edge\"\ninside = [\"lan0\"]\n\
                    [circuit.mpls]\ndevice = \"mpls0\"\n[circuit.internet]\ndevice = \"wan0\"\n\
                    [pool.access]\ncircuits = [\"mpls\", \"internet\"]\ncapacity = \"300mbit\"\n";
const POLICY: &str = r#"
[policy]
start = "nominal"
[phase.nominal]
split.access = { mpls = "200mbit", internet = "100mbit" }
ramp = "500ms"
[phase.telework]
split.access = { mpls = "80mbit", internet = "220mbit" }
class.gateway = { guarantee = "160mbit" }
ramp = "500ms"
[phase.at-once]
split.access = { mpls = "200mbit", internet = "100mbit" }
[class.gateway]
circuit = "internet"
match = [{ to = ["192.0.2.10"], service = ["tcp/443"] }]
guarantee = "40mbit"
priority = 1
[class.operations]
circuit = "internet"
match = [{ to = ["192.0.2.20"], service = ["udp/1194"] }, { from = ["10.77.9.0/24"] }]
guarantee = "5mbit"
priority = 0
"#;
const POOL: f64 = 300e6;
/// What the fullest 100 ms may hold, in parts of a hundred: 110 ms of the pool, and a packet in one piece.
const FULLEST: f64 = 110.0 + 65_550.0 * 8.0 / (POOL / 10.0) * 100.0;
const SHIFTS: [&str; 6] = [
    "telework", "nominal", "telework", "at-once", "telework", "at-once",
];

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Up,
    Down,
}

pub fn run(bench: &mut Bench) {
    for (way, name) in [(Way::Up, "up"), (Way::Down, "down")] {
        one_way(bench, way, name);
    }
    bench.sheet.remark(
        "Gaps are beyond the longest pause of the sender itself. 100 ms may carry what buckets hold, 10 ms \
         at the most, and one packet of 64 KB of the class that has such.",
    );
}

fn one_way(bench: &mut Bench, way: Way, name: &str) {
    let edge = Edge::new(bench, HOST, POLICY);
    edge.wanshift(&["apply"]);
    let lab = &edge.lab;
    let desk = (lab.datacentre(), SESSION_HOST);
    let gateway = (lab.datacentre(), GATEWAY);
    let (worker, web) = ((lab.internet(), WORKER), (lab.internet(), WEB));
    let provider = (lab.provider(), PROVIDER);
    let desktops = Bulk::tcp(worker, gateway, 443).connections(4);
    let (desktops, on_internet, on_mpls, help, far) = match way {
        Way::Up => (
            desktops.download(),
            (desk, web),
            (desk, provider),
            Paced::new((lab.datacentre(), OPERATIONS), web, 9_001),
            vec![lab.internet(), lab.provider()],
        ),
        Way::Down => (
            desktops,
            (web, gateway),
            (provider, desk),
            Paced::new(worker, (lab.datacentre(), VPN), 1_194),
            vec![lab.datacentre()],
        ),
    };
    let desktops = desktops.start();
    let floods = [(on_internet, 130), (on_mpls, 230)].map(|((from, to), mbit)| {
        UdpFlood::new(from, to, 9_000)
            .rate(mbit * 1_000_000)
            .start()
    });
    sleep(Duration::from_millis(800));
    let wires: Vec<Capture> = far.iter().map(|far| Capture::start(far, "edge0")).collect();
    let help = help.start();
    sleep(Duration::from_millis(500));
    let begin = now();
    for phase in SHIFTS {
        edge.wanshift(&["phase", phase]);
        sleep(Duration::from_millis(300));
    }
    let end = now();
    let help = help.stop();
    let wires: Vec<Trace> = wires.into_iter().map(Capture::stop).collect();
    desktops.stop();
    for flood in floods {
        flood.stop();
    }
    let wire = Trace::merge(&wires).between(begin, end);
    let fullest = wire.worst_window(Duration::from_millis(100)).bytes as f64 * 8.0;
    let gap = help.longest_gap().saturating_sub(help.longest_pause());
    let sheet = &mut bench.sheet;
    sheet.row(
        &format!("{name}: lost of {} datagrams", help.sent.len()),
        Figure::count(help.lost() as f64),
        Bar::AtMost(0.0),
    );
    sheet.row(
        &format!("{name}: longest gap of the flow"),
        Figure::ms(gap.as_secs_f64()),
        Bar::AtMost(10.0),
    );
    sheet.row(
        &format!("{name}: fullest 100 ms against the pool"),
        Figure::percent(fullest / (POOL / 10.0)),
        Bar::AtMost(FULLEST),
    );
    sheet.row(
        &format!("{name}: all of it against the pool"),
        Figure::percent(wire.rate(begin, end) / POOL),
        Bar::None,
    );
}
