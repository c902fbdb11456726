//! What queues count, beside what their classes do.

use wanshift::kernel::tc::stats::QueueCounters;
use wanshift::kernel::{Host, Kernel};
use wanshift::model::names::DeviceName;
use wanshift::model::state::{ClassId, Leaf, LeafKind};

use crate::common::*;

/// Sends more datagrams over `wan0` than a class of 8 kbit can carry, to a neighbour that is there for sure.
fn flood() {
    sh("ip addr add 192.0.2.1/24 dev wan0");
    sh("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev wan0");
    let datagrams = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
    for _ in 0..200 {
        // A full queue is told to the sender at times, which is what is wanted.
        let _ = datagrams.send_to(&[0; 1_000], "192.0.2.2:9");
    }
}

/// The queue at class 2 of the device's tree.
fn queue(host: &mut Host, device: &DeviceName) -> QueueCounters {
    let mut queues = Vec::new();
    host.queues(&[(device.clone(), major())], &mut queues)
        .unwrap();
    let ids: Vec<ClassId> = queues.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [id(2)], "the tree's queues, each once, and no others");
    queues[0].1
}

#[test]
fn queues_count_what_they_drop_and_hold() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let class = with_leaf(leaf(None, "8kbit", "8kbit"), Leaf::Pfifo { limit: 10 });
        all_well(&host.apply(&ops_for(&device, &[(2, class)])));
        // The same handles on another device are another tree.
        sh("tc qdisc add dev far0 root handle 7a01: htb default 2");
        sh("tc class add dev far0 parent 7a01: classid 7a01:2 htb rate 1mbit");
        sh("tc qdisc add dev far0 parent 7a01:2 pfifo limit 3");
        assert_eq!(queue(&mut host, &device), QueueCounters::default());
        flood();
        let counted = queue(&mut host, &device);
        assert!(counted.drops >= 150, "{counted:?}");
        assert!(counted.backlog_bytes >= 5_000, "{counted:?}");
        let told = sh("tc -s qdisc show dev wan0");
        let dropped = format!("dropped {}", counted.drops);
        assert!(told.contains(&dropped), "{counted:?} {told}");

        let mut queues = vec![(id(9), counted)];
        let missing = ("gone0".parse().unwrap(), major());
        host.queues(&[missing], &mut queues).unwrap();
        assert_eq!(queues, []);
    });
}

/// `fq_codel` drops what waited too long when it takes it out, of which the class learns nothing.
#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_queues_count_what_classes_do_not() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        assert!(host.leaves().unwrap().contains(&LeafKind::FqCodel));
        let wanted = Leaf::FqCodel {
            limit: 10_240,
            target_us: 5_000,
            interval_us: 100_000,
        };
        let class = with_leaf(leaf(None, "400kbit", "400kbit"), wanted);
        all_well(&host.apply(&ops_for(&device, &[(2, class)])));
        flood();
        let mut drops = 0;
        for _ in 0..50 {
            std::thread::sleep(std::time::Duration::from_millis(100));
            drops = queue(&mut host, &device).drops;
            if drops > 0 {
                break;
            }
        }
        assert!(drops > 0, "nothing waited too long");
        let mut counters = Vec::new();
        host.counters(&device, major(), &mut counters).unwrap();
        assert!(counters[0].1.drops < drops, "{:?}", counters[0]);
    });
}
