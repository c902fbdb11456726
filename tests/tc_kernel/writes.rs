//! What is written: whole, in place, refused.

use std::collections::BTreeSet;
use wanshift::kernel::tc::answer::Reply;
use wanshift::kernel::tc::apply::change_classes;
use wanshift::kernel::tc::socket::RouteSocket;
use wanshift::kernel::{Host, Kernel, OpError, Scope};
use wanshift::model::class::Priority;
use wanshift::model::state::{ForeignRoot, Leaf, LeafKind, Minor, Role, Root};
use wanshift::plan::op::Op;

use crate::common::*;

#[test]
fn what_is_observed_is_what_was_asked() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let before = host.observe(Scope::All).unwrap();
        assert_eq!(
            before.devices[&device].root,
            Root::Default {
                kind: "noqueue".to_owned()
            }
        );
        assert_eq!(before.devices[&device].mtu, 1_500);
        assert_eq!(before.devices[&device].header, 14);
        assert_eq!(before.devices[&device].gso_max, 65_536);
        assert!(before.state.trees.is_empty());

        all_well(&host.apply(&ops_for(&device, &sample())));
        let after = host.observe(Scope::All).unwrap();
        assert_eq!(tree_of(&after, &device), tree(&sample()));
        assert_eq!(after.devices[&device].root, Root::Ours);

        let text = sh("tc class show dev wan0");
        for expected in [
            "class htb 7a01:2 parent 7a01:20 leaf 2: prio 0 rate 64Kbit ceil 100Mbit",
            "class htb 7a01:20 parent 7a01:10 rate 100Mbit ceil 100Mbit",
            "rate 8bit overhead 44 ceil 16bit linklayer atm",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        let text = sh("tc qdisc show dev wan0");
        for expected in [
            "qdisc htb 7a01: root refcnt 3 r2q 10 default 0x2",
            "qdisc pfifo 79ff: parent 7a01:79ff limit 1000p",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }

        let gone = [Op::DeleteRoot {
            device: device.clone(),
            major: major(),
            default: Minor::CONTROL,
        }];
        all_well(&host.apply(&gone));
        assert_eq!(host.observe(Scope::All).unwrap(), before);
    });
}

#[test]
fn rates_go_from_eight_bits_to_terabits() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        all_well(&host.apply(&[add_root(&device)]));
        let rates = [
            "8bit",
            "8008bit",
            "1mbit",
            "34gbit",
            "34359738360bit",
            "34359738368bit",
            "40gbit",
            "1tbit",
            "10tbit",
        ];
        let mut expected = Vec::new();
        for (text, number) in rates.into_iter().zip(0x10..) {
            let class = leaf(None, text, "10tbit");
            all_well(&host.apply(&[add(&device, number, &class)]));
            expected.push((number, class));
        }
        assert_eq!(
            tree_of(&host.observe(Scope::All).unwrap(), &device),
            tree(&expected)
        );
        let text = sh("tc class show dev wan0");
        assert!(text.contains("rate 40Gbit ceil 10Tbit"), "{text}");
    });
}

#[test]
fn a_change_in_place_keeps_counters_and_leaf() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let class = with_leaf(leaf(None, "10mbit", "10mbit"), Leaf::Pfifo { limit: 77 });
        all_well(&host.apply(&ops_for(&device, &[(2, class.clone())])));
        // A datagram to an address that nobody has: what leaves is ARP, and HTB's default takes it.
        sh("ip addr add 192.0.2.1/24 dev wan0");
        let datagrams = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
        let mut counters = Vec::new();
        for _ in 0..50 {
            datagrams.send_to(b"?", "192.0.2.2:9").unwrap();
            host.counters(&device, major(), &mut counters).unwrap();
            if counters[0].1.packets > 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let before = counters[0];
        assert_eq!(before.0, id(2));
        assert!(before.1.packets > 0 && before.1.bytes >= 42, "{before:?}");

        let mut other = class.clone();
        other.rate = rate("20mbit");
        other.ceil = rate("40mbit");
        all_well(&host.apply(&[change(&device, 2, &class, &other)]));
        let from = Some(Leaf::Pfifo { limit: 77 });
        all_well(&host.apply(&[set_leaf(&device, 2, from, Leaf::Pfifo { limit: 78 })]));
        host.counters(&device, major(), &mut counters).unwrap();
        assert!(counters[0].1.packets >= before.1.packets);
        let other = with_leaf(other, Leaf::Pfifo { limit: 78 });
        assert_eq!(
            tree_of(&host.observe(Scope::All).unwrap(), &device),
            tree(&[(2, other)])
        );
        let text = sh("tc -s qdisc show dev wan0");
        assert!(
            text.contains("qdisc pfifo 2: parent 7a01:2 limit 78p"),
            "{text}"
        );
        assert!(
            !text.contains("pfifo 2: parent 7a01:2 limit 78p\n Sent 0 bytes"),
            "{text}"
        );
    });
}

#[test]
fn a_failure_is_its_ops_alone() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let class = leaf(None, "1mbit", "2mbit");
        let numbers = 0x100..0x100 + 300_u16;
        let classes: Vec<_> = numbers
            .clone()
            .map(|number| (number, class.clone()))
            .collect();
        all_well(&host.apply(&ops_for(&device, &classes)));

        let to = leaf(None, "1mbit", "3mbit");
        let mut ops: Vec<_> = numbers
            .map(|number| change(&device, number, &class, &to))
            .collect();
        ops[5] = add(&device, 0x105, &class);
        ops[127] = change(&device, 0x6000, &class, &to);
        ops[200] = set_leaf(&device, 0x6000, None, Leaf::Pfifo { limit: 1 });
        ops[201] = set_leaf(
            &device,
            0x201,
            None,
            Leaf::FqCodel {
                limit: 1,
                target_us: 5_000,
                interval_us: 100_000,
            },
        );
        let mut mad = to.clone();
        mad.ceil = rate("8bit");
        ops[202] = change(&device, 0x202, &class, &mad);
        ops[203] = change(&"nowhere".parse().unwrap(), 0x203, &class, &to);
        let results = host.apply(&ops);
        assert_eq!(results.len(), 300);
        let failed: Vec<_> = (0..300).filter(|at| results[*at].is_err()).collect();
        for at in &failed {
            println!("{at}: {}", results[*at].as_ref().unwrap_err());
        }
        let lacks_fq_codel = !host.leaves().unwrap().contains(&LeafKind::FqCodel);
        let expected: &[usize] = if lacks_fq_codel {
            &[5, 127, 200, 201, 202, 203]
        } else {
            &[5, 127, 200, 202, 203]
        };
        assert_eq!(failed, expected);
        let refusal = |at: usize| match &results[at] {
            Err(OpError::Refused { errno, message, .. }) => (*errno, message.clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal(5).0, nix::libc::EEXIST);
        assert_eq!(refusal(127).0, nix::libc::ENOENT);
        if lacks_fq_codel {
            let words = Some("Specified qdisc kind is unknown".to_owned());
            assert_eq!(refusal(201), (nix::libc::ENOENT, words));
        }
        assert_eq!(refusal(202).0, nix::libc::EINVAL);
        assert!(matches!(results[203], Err(OpError::NoDevice { .. })));

        let observed = tree_of(&host.observe(Scope::All).unwrap(), &device);
        for (number, class) in &observed.classes {
            let unchanged = [
                0x105,
                0x100 + 127,
                0x100 + 200,
                0x100 + 201,
                0x202 - 0x38,
                0x203 - 0x38,
            ];
            let touched = !unchanged.contains(&number.get());
            if number.get() < 0x1c8 && touched {
                assert_eq!(class.ceil, rate("3mbit"), "{number:?}");
            }
        }
    });
}

#[test]
fn a_class_with_children_is_not_deleted() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        all_well(&host.apply(&ops_for(&device, &sample())));
        let delete = |number: u16| Op::DeleteClass {
            device: device.clone(),
            id: id(number),
            class: sample().into_iter().find(|(n, _)| *n == number).unwrap().1,
        };
        let results = host.apply(&[delete(0x20), delete(0x30)]);
        assert!(
            matches!(&results[0], Err(OpError::Refused { errno, .. }) if *errno == nix::libc::EBUSY),
            "{results:?}"
        );
        println!("{}", results[0].as_ref().unwrap_err());
        assert_eq!(results[1], Ok(()));
        let left: Vec<_> = sample().into_iter().filter(|(n, _)| *n != 0x30).collect();
        assert_eq!(
            tree_of(&host.observe(Scope::All).unwrap(), &device),
            tree(&left)
        );
    });
}

#[test]
fn a_foreign_root_stays() {
    in_namespace(|| {
        let device = veth();
        sh("tc qdisc add dev wan0 root handle 1: pfifo limit 7");
        let mut host = Host::open().unwrap();
        let foreign = Root::Foreign(ForeignRoot {
            kind: "pfifo".to_owned(),
            major: 1,
        });
        assert_eq!(
            host.observe(Scope::All).unwrap().devices[&device].root,
            foreign
        );
        let results = host.apply(&[add_root(&device)]);
        println!("{}", results[0].as_ref().unwrap_err());
        assert!(
            matches!(&results[0], Err(OpError::Refused { errno, .. }) if *errno == nix::libc::EEXIST)
        );
        assert_eq!(
            host.observe(Scope::All).unwrap().devices[&device].root,
            foreign
        );
        // Nor is somebody else's HTB ours.
        sh("tc qdisc replace dev wan0 root handle 2: htb default 1");
        let observed = host.observe(Scope::All).unwrap();
        assert!(matches!(
            observed.devices[&device].root,
            Root::Foreign { .. }
        ));
        assert!(observed.state.trees.is_empty());
    });
}

#[test]
fn a_thousand_classes() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let mut classes = vec![(0x10, inner(None, "10gbit", "10gbit"))];
        for number in 0x100..0x100 + 1_000_u16 {
            let class = leaf(Some(0x10), "8kbit", "10gbit");
            classes.push((number, with_leaf(class, Leaf::Pfifo { limit: 100 })));
        }
        all_well(&host.apply(&ops_for(&device, &classes)));
        assert_eq!(
            tree_of(&host.observe(Scope::All).unwrap(), &device),
            tree(&classes)
        );
        let mut counters = Vec::new();
        host.counters(&device, major(), &mut counters).unwrap();
        let ids: BTreeSet<_> = counters.iter().map(|(id, _)| id.minor.get()).collect();
        assert_eq!(ids.len(), 1_001);
    });
}

/// What is logged while `run` runs in this thread.
fn logged(run: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_warning_beside_a_success_is_logged() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let class = leaf(None, "1gbit", "1gbit");
        all_well(&host.apply(&ops_for(&device, &[(2, class.clone())])));
        // No op of ours comes without a quantum.
        let mut bare = class;
        bare.role = Role::Leaf {
            priority: Priority::DEFAULT,
            quantum: 0,
            leaf: None,
        };
        let mut socket = RouteSocket::open().unwrap();
        let index = host.observe(Scope::All).unwrap().devices[&device].index;
        let log = logged(|| {
            let replies = change_classes(&mut socket, index, [(id(2), &bare)]);
            assert_eq!(replies, [Reply::Done]);
        });
        // Older kernels tell it to their own log alone.
        if !sh("uname -r").starts_with("6.1.") {
            assert!(log.contains("quantum of class 7A010002 is big"), "{log:?}");
        }
    });
}

#[test]
fn a_foreign_root_that_may_be_adopted_is_replaced() {
    in_namespace(|| {
        let device = veth();
        sh("tc qdisc add dev wan0 root handle 1: htb default 5");
        sh("tc class add dev wan0 parent 1: classid 1:5 htb rate 1mbit");
        let mut host = Host::open().unwrap();
        let Root::Foreign(found) = host.observe(Scope::All).unwrap().devices[&device]
            .root
            .clone()
        else {
            panic!("not told as somebody else's");
        };
        let class = with_leaf(leaf(None, "1mbit", "1mbit"), Leaf::Pfifo { limit: 3 });
        let mut ops = ops_for(&device, &[(2, class.clone())]);
        ops[0] = Op::AddRoot {
            device: device.clone(),
            major: major(),
            default: Minor::CONTROL,
            over: Some(found),
        };
        all_well(&host.apply(&ops));
        let observed = host.observe(Scope::All).unwrap();
        assert_eq!(tree_of(&observed, &device), tree(&[(2, class)]));
        assert!(!sh("tc class show dev wan0").contains("1:5"));
    });
}
