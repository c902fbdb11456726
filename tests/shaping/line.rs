//! What the line adds to each packet is paid for: small datagrams over ATM.

use std::time::Duration;

use crate::host::{ALWAYS, Host, Way, near, one_circuit};
use crate::lab::udp::UdpFlood;
use crate::lab::{measure, quiet_machine, ready};

/// 100 bytes of payload and 42 of headers.
const FRAME: f64 = 142.0;

/// Bit/s on the wire of small datagrams in a class of 2 mbit, on a circuit with these keys.
fn small_datagrams(way: Way, keys: &str) -> f64 {
    let class = "[class.small]\ncircuit = \"internet\"\nmatch = [{ service = [\"udp/9000\"] }]\n\
                 ceiling = \"2mbit\"\n";
    let host = Host::with(&one_circuit("10mbit", keys), &format!("{ALWAYS}{class}"));
    host.wanshift(&["apply"]);
    let wire = way.wire(&host.lab);
    let [from, to] = way.ends(&host.lab);
    let flow = UdpFlood::new(from, to, 9000)
        .payload(100)
        .rate(4_000_000)
        // The class queues these for no more than some milliseconds: the sender must not be late.
        .first()
        .start();
    let (start, end) = measure(Duration::from_millis(500), Duration::from_secs(3));
    flow.stop();
    wire.stop()
        .only(|packet| packet.target_port == 9000)
        .rate(start, end)
}

#[test]
fn overhead_and_cells_are_paid_for() {
    paid_for(Way::Up);
}

pub fn paid_for(way: Way) {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    near("as it stands", small_datagrams(way, ""), 2e6, 2.0);
    let overhead = small_datagrams(way, "overhead = 58");
    near("58 bytes more", overhead, 2e6 * FRAME / 200.0, 3.0);
    // 10 more bytes make 152: four cells of 48 bytes, each 53 on the line.
    let cells = small_datagrams(way, "overhead = 10\nlink_layer = \"atm\"");
    near("in cells", cells, 2e6 * FRAME / 212.0, 3.0);
}
