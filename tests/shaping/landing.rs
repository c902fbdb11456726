//! Small traffic, and where it was counted.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::host::{DOWN, Host};
use crate::lab::bulk::Bulk;
use crate::lab::capture::Capture;
use crate::lab::socket::udp;
use crate::lab::trace::Packet;
use crate::lab::udp::UdpFlood;
use crate::lab::{Namespace, now, sleep};

/// Runs `traffic`, and expects most of what leaves on `device` meanwhile to be counted by `place`, and packets
/// that are `wanted` on the wire behind it.
#[track_caller]
pub fn lands(
    host: &Host,
    device: &str,
    place: &str,
    wanted: impl Fn(&Packet) -> bool,
    traffic: impl FnOnce(),
) {
    let far = match device {
        "wan0" => host.lab.internet(),
        "mpls0" => host.lab.provider(),
        DOWN => host.lab.datacentre(),
        _ => panic!("nobody listens behind {device}"),
    };
    lands_at(host, device, far, place, wanted, traffic);
}

/// The same, where what passes a device is not seen on the wire that is its usual one.
#[track_caller]
pub fn lands_at(
    host: &Host,
    device: &str,
    far: &Namespace,
    place: &str,
    wanted: impl Fn(&Packet) -> bool,
    traffic: impl FnOnce(),
) {
    let wire = Capture::start(far, "edge0");
    let before = host.counters(device);
    traffic();
    // What is still queued on a thin line is counted when it leaves.
    sleep(Duration::from_millis(50));
    let after = host.counters(device);
    let trace = wire.stop();
    let grown: Vec<(String, u64)> = after
        .into_iter()
        .map(|(name, bytes)| {
            (
                name.clone(),
                bytes - before.get(&name).copied().unwrap_or(0),
            )
        })
        .filter(|(_, bytes)| *bytes > 0)
        .collect();
    let here: u64 = grown
        .iter()
        .filter(|(name, _)| name == place)
        .map(|(_, bytes)| bytes)
        .sum();
    let elsewhere: u64 = grown.iter().map(|(_, bytes)| bytes).sum::<u64>() - here;
    // Neighbour discovery and the reset of a flow that ended before go on beside it.
    assert!(
        here > 1000 && elsewhere < 1000,
        "{device}, not {place}: {grown:?}"
    );
    let seen = trace.only(wanted).bytes();
    assert!(seen > 1000, "{place}: {seen} bytes of it on the wire");
}

/// Lets a transfer run until 20 kB got through.
pub fn bulk(flow: Bulk) {
    let flow = flow.start();
    let deadline = now() + 5_000_000_000;
    while flow.received() < 20_000 {
        assert!(now() < deadline, "the flow does not get through");
        sleep(Duration::from_millis(5));
    }
    flow.stop();
    sleep(Duration::from_millis(300));
}

/// Lets half a megabit a second of datagrams run for a moment.
pub fn datagrams(flow: UdpFlood) {
    let flow = flow.rate(500_000).start();
    sleep(Duration::from_millis(150));
    assert!(
        flow.stop().received.total() > 1000,
        "the datagrams do not get through"
    );
}

/// A client asks a server over UDP, which answers each question with 500 bytes.
pub fn ask(client: (&Namespace, IpAddr), server: (&Namespace, IpAddr), port: u16) {
    let at = SocketAddr::new(server.1, port);
    let listening = server.0.make(|| udp(at, 0));
    let asking = client.0.make(|| {
        let socket = udp(SocketAddr::new(client.1, 0), 0);
        socket.connect(at).unwrap();
        socket
    });
    listening
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    asking
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let mut buffer = [0u8; 600];
    for _ in 0..20 {
        asking.send(b"?").unwrap();
        let (_, from) = listening.recv_from(&mut buffer).expect("a question");
        listening.send_to(&[0; 500], from).unwrap();
        assert_eq!(asking.recv(&mut buffer).expect("an answer"), 500);
    }
}
