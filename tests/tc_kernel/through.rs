//! Packets, through the IFB and past it.

use std::net::UdpSocket;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use wanshift::kernel::{Host, Kernel};
use wanshift::model::circuit::MarkMask;
use wanshift::model::state::{Clsact, Selector};

use crate::common::*;
use crate::down::{add_ifb, delete_ifb, down_tree, feed, ifb, set_feed, set_selector};

const MASK: u32 = 0x00ff_ff00;
/// Where datagrams go; behind `far0`, which counts them.
const PORT: u16 = 4_711;
const COUNT: &str = "protocol ip u32 match ip dport 4711 0xffff \
                     action mirred egress mirror dev sink0 continue";

/// A device with a neighbour that is never asked for, and a counter behind it. Counting is a mirror's work:
/// it is the action that every kernel here has.
fn wire() -> wanshift::model::names::DeviceName {
    let device = veth();
    sh(
        "ip link add sink0 type veth peer name sink1 && ip link set sink0 up && ip link set sink1 up",
    );
    sh("ip addr add 192.0.2.1/24 dev wan0");
    sh("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev wan0 nud permanent");
    sh(&format!(
        "tc qdisc add dev far0 clsact && tc filter add dev far0 ingress pref 5 {COUNT}"
    ));
    device
}

/// Sends datagrams with a mark.
fn send(mark: u32, count: u32) {
    let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
    setsockopt(&socket, sockopt::Mark, &mark).unwrap();
    for _ in 0..count {
        socket.send_to(&[0; 100], ("192.0.2.2", PORT)).unwrap();
    }
}

/// How many packets met the action of a filter.
fn met(place: &str) -> u32 {
    let text = sh(&format!("tc -s filter show dev {place} pref 5"));
    let (before, _) = text.split_once(" pkt").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Waits for a count, which must not be passed.
fn expect(count: u32, what: &str, mut read: impl FnMut() -> u32) {
    for _ in 0..250 {
        if read() >= count {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(read(), count, "{what}");
}

fn arrive(count: u32) {
    expect(count, "arrived", || met("far0 ingress"));
}

/// Packets that a class of the IFB's tree sent.
fn sent(host: &mut Host, number: u16) -> u32 {
    let mut counters = Vec::new();
    host.counters(&ifb(), major(), &mut counters).unwrap();
    let found = counters.iter().find(|(class, _)| *class == id(number));
    u32::try_from(found.unwrap().1.packets).unwrap()
}

#[test]
fn marked_packets_go_through_the_class_of_their_mark() {
    in_namespace(|| {
        let device = wire();
        let mut host = Host::open().unwrap();
        let mut ops = down_tree(&[2, 0x20, 0x30]);
        let mask = MarkMask::new(MASK).unwrap();
        ops.push(set_selector(Selector::Priority, Selector::Mark(mask)));
        ops.push(set_feed(&device, None, feed(Clsact::Ours, MASK)));
        all_well(&host.apply(&ops));
        // Bits that are not ours mean nothing, beside those that are and alone.
        send(0x0000_2000, 7);
        send(0xff00_30ff, 5);
        send(0xff00_00ff, 3);
        send(0, 4);
        arrive(19);
        assert_eq!(sent(&mut host, 0x20), 7);
        assert_eq!(sent(&mut host, 0x30), 5);
        assert_eq!(sent(&mut host, 2), 0);
        // A mark that is no class is the default's.
        send(0x0077_7700, 2);
        arrive(21);
        assert_eq!(sent(&mut host, 2), 2);
        // And somebody's packets without a mark of ours too: none goes round the tree.
        sh(
            "tc filter add dev wan0 egress pref 7 protocol ip u32 match ip dport 4711 0xffff \
            action mirred egress redirect dev wanshift-down",
        );
        send(0, 6);
        arrive(27);
        assert_eq!(sent(&mut host, 2), 8);
    });
}

#[test]
fn without_the_ifb_unmarked_traffic_flows() {
    in_namespace(|| {
        let device = wire();
        let mut host = Host::open().unwrap();
        let mut ops = down_tree(&[2, 0x20]);
        let mask = MarkMask::new(MASK).unwrap();
        ops.push(set_selector(Selector::Priority, Selector::Mark(mask)));
        let ours = feed(Clsact::Ours, MASK);
        ops.push(set_feed(&device, None, ours));
        all_well(&host.apply(&ops));
        send(0x2000, 1);
        arrive(1);
        let mut arrived = 1;
        for line in [
            "ip link set wanshift-down down",
            "ip link del wanshift-down",
        ] {
            sh(line);
            send(0x2000, 5);
            send(0xff, 5);
            arrived += 5;
            arrive(arrived);
            std::thread::sleep(Duration::from_millis(50));
            arrive(arrived);
        }
        // Made again, and the feed mended.
        let drifted = host.observe(wanshift::kernel::Scope::Shaping).unwrap();
        let drifted = drifted.state.feeds.get(&device).copied();
        all_well(&host.apply(&[add_ifb(), set_feed(&device, drifted, ours)]));
        send(0x2000, 5);
        arrive(arrived + 5);
        all_well(&host.apply(&[set_feed(&device, ours, None), delete_ifb()]));
        send(0x2000, 5);
        arrive(arrived + 10);
    });
}

#[test]
fn somebody_elses_action_sees_each_packet_once() {
    in_namespace(|| {
        let device = wire();
        sh(&format!(
            "tc qdisc add dev wan0 clsact && tc filter add dev wan0 egress pref 5 {COUNT}"
        ));
        let mut host = Host::open().unwrap();
        let mut ops = down_tree(&[2, 0x20]);
        let mask = MarkMask::new(MASK).unwrap();
        ops.push(set_selector(Selector::Priority, Selector::Mark(mask)));
        ops.push(set_feed(&device, None, feed(Clsact::Theirs, MASK)));
        all_well(&host.apply(&ops));
        send(0x2000, 10);
        send(0, 10);
        arrive(20);
        assert_eq!(sent(&mut host, 0x20), 10);
        assert_eq!(met("wan0 egress"), 20);
    });
}

#[test]
fn a_device_with_a_tree_of_its_own_gets_its_packets_back() {
    in_namespace(|| {
        let device = wire();
        let mut host = Host::open().unwrap();
        let mut ops = down_tree(&[2, 0x20]);
        let mask = MarkMask::new(MASK).unwrap();
        ops.push(set_selector(Selector::Priority, Selector::Mark(mask)));
        ops.push(set_feed(&device, None, feed(Clsact::Ours, MASK)));
        all_well(&host.apply(&ops));
        sh("tc qdisc add dev wan0 root handle 7a02: htb default 2 && \
            tc class add dev wan0 parent 7a02: classid 7a02:2 htb rate 10mbit quantum 1514");
        send(0x2000, 9);
        arrive(9);
        assert_eq!(sent(&mut host, 0x20), 9);
        let text = sh("tc -s class show dev wan0");
        assert!(text.contains("9 pkt"), "{text}");
    });
}
