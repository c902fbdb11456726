//! What is promised is had, and what is left over goes by priority, then by weight.

use std::time::Duration;

use crate::host::{ALWAYS, Host, Way, near, one_circuit};
use crate::lab::bulk::Bulk;
use crate::lab::udp::UdpFlood;
use crate::lab::{measure, quiet_machine, ready};

/// 100 mbit, a class for each `(name, port, keys)`.
fn hundred(classes: &[(&str, u16, &str)]) -> Host {
    let classes = classes.iter().map(|(name, port, keys)| {
        format!(
            "[class.{name}]\ncircuit = \"internet\"\n\
             match = [{{ service = [\"tcp/{port}\", \"udp/{port}\"] }}]\n{keys}\n"
        )
    });
    let policy = [ALWAYS.to_owned()].into_iter().chain(classes);
    let host = Host::with(&one_circuit("100mbit", ""), &policy.collect::<String>());
    host.wanshift(&["apply"]);
    host
}

/// Bulk over TCP to each port at once: bit/s on the wire of each. `flood` is a port that datagrams at
/// 150 mbit go to besides.
fn compete<const N: usize>(host: &Host, way: Way, ports: [u16; N], flood: Option<u16>) -> [f64; N] {
    let wire = way.wire(&host.lab);
    let [from, to] = way.ends(&host.lab);
    let datagrams = flood.map(|port| UdpFlood::new(from, to, port).rate(150_000_000).start());
    let flows = ports.map(|port| Bulk::tcp(from, to, port).connections(4).start());
    let (start, end) = measure(Duration::from_secs(1), Duration::from_secs(4));
    flows.into_iter().for_each(|flow| drop(flow.stop()));
    datagrams.map(|flow| flow.stop());
    let wire = wire.stop();
    assert!(
        wire.packets.iter().any(|packet| packet.segments > 1),
        "segmentation offload is off"
    );
    ports.map(|port| {
        wire.only(|packet| packet.target_port == port)
            .rate(start, end)
    })
}

#[test]
fn spare_capacity_goes_to_the_lower_priority_first() {
    by_priority(Way::Up);
}

pub fn by_priority(way: Way) {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = hundred(&[
        ("first", 1001, "guarantee = \"10mbit\"\npriority = 1"),
        ("last", 1002, "guarantee = \"10mbit\"\npriority = 5"),
    ]);
    let [first, last] = compete(&host, way, [1001, 1002], None);
    near("the first", first, 90e6, 3.0);
    near("the last", last, 10e6, 3.0);
}

#[test]
fn spare_capacity_of_one_priority_goes_by_weight() {
    by_weight(Way::Up);
}

pub fn by_weight(way: Way) {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = hundred(&[("one", 1001, "weight = 1"), ("three", 1003, "weight = 3")]);
    let [one, three] = compete(&host, way, [1001, 1003], None);
    near("both", one + three, 100e6, 2.0);
    near(
        "in a thousandth, one to three",
        1000.0 * three / one,
        3000.0,
        10.0,
    );
}

#[test]
fn a_guarantee_is_kept_while_others_flood_the_circuit() {
    by_guarantee(Way::Up);
}

pub fn by_guarantee(way: Way) {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = hundred(&[
        ("promised", 1001, "guarantee = \"40mbit\"\npriority = 7"),
        ("eager", 1002, "priority = 0"),
        ("other", 1003, "guarantee = \"20mbit\"\npriority = 4"),
    ]);
    let [promised, other] = compete(&host, way, [1001, 1003], Some(1002));
    near("what was promised", promised, 40e6, 2.0);
    near("what was promised to another", other, 20e6, 2.0);
}
