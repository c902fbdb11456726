//! What passes of a class that is held to a rate.

use std::time::Duration;

use crate::Bench;
use crate::edge::{ALWAYS, Edge};
use crate::lab::address::{GATEWAY, WORKER};
use crate::lab::bulk::Bulk;
use crate::lab::capture::Capture;
use crate::lab::measure;
use crate::sheet::{Bar, Figure};

const HOST: &str = "name = \"edge\"\ninside = [\"lan0\"]\n\
                    [circuit.internet]\ndevice = \"wan0\"\ncapacity = \"2gbit\"\n";
/// The rates, in mbit/s. Each class is the connections to its port, which is 1,000 more.
const RATES: [u16; 3] = [10, 100, 1_000];
/// What a machine must carry unshaped for a gigabit to say something of shaping, in bit/s.
const ENOUGH: f64 = 1.3e9;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Up,
    Down,
}

pub fn run(bench: &mut Bench) {
    let mut policy = ALWAYS.to_owned();
    for mbit in RATES {
        policy.push_str(&format!(
            "[class.m{mbit}]\ncircuit = \"internet\"\nceiling = \"{mbit}mbit\"\n\
             match = [{{ service = [\"tcp/{}\"] }}]\n",
            1_000 + mbit
        ));
    }
    let edge = Edge::new(bench, HOST, &policy);
    for (way, name) in [(Way::Up, "up"), (Way::Down, "down")] {
        let free = carried(&edge, way, 1_000, Duration::from_secs(1));
        edge.wanshift(&["apply"]);
        for mbit in RATES {
            let wanted = f64::from(mbit) * 1e6;
            if free < ENOUGH * wanted / 1e9 {
                bench.sheet.remark(&format!(
                    "{name}, {mbit} mbit: not measured, since this machine carries {:.0} mbit unshaped",
                    free / 1e6
                ));
                continue;
            }
            let held = carried(&edge, way, mbit, Duration::from_secs(5));
            bench.sheet.row(
                &format!("{name}, {mbit} mbit: off by"),
                Figure::percent((held / wanted - 1.0).abs()),
                Bar::AtMost(2.0),
            );
        }
        edge.wanshift(&["teardown"]);
    }
}

/// Bit/s on the wire with the Ethernet header, of four connections of bulk in the class of that rate.
fn carried(edge: &Edge, way: Way, mbit: u16, length: Duration) -> f64 {
    let lab = &edge.lab;
    let (worker, gateway) = ((lab.internet(), WORKER), (lab.datacentre(), GATEWAY));
    let port = 1_000 + mbit;
    let flow = Bulk::tcp(worker, gateway, port).connections(4);
    let (flow, far) = match way {
        Way::Up => (flow.download(), lab.internet()),
        Way::Down => (flow, lab.datacentre()),
    };
    let wire = Capture::start(far, "edge0");
    let flow = flow.start();
    let (from, to) = measure(Duration::from_millis(700), length);
    flow.stop();
    let wire = wire.stop();
    wire.only(|packet| packet.port(port)).paid_rate(from, to)
}
