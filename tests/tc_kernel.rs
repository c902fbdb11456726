//! Traffic control on the machine's kernel, in throwaway network namespaces: a namespace belongs to a
//! thread and goes with it, so that tests run side by side and leave nothing behind.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use wanshift::kernel::{Host, Kernel, OpError};
use wanshift::model::circuit::{LinkLayer, Overhead};
use wanshift::model::class::Priority;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{
    ClassId, Leaf, LeafKind, Major, Minor, Observed, Role, Root, TcClass, Ticks, Tree,
};
use wanshift::plan::op::Op;
use wanshift::units::Rate;

/// Runs `test` in a network namespace of its own. Where there may be none, says so, and fails where
/// that must not be (`CI`).
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let run = move || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => test(),
        Err(error) => {
            eprintln!("skipped: {name}: no network namespace: {error}");
            assert!(std::env::var_os("CI").is_none(), "skipped under CI");
        }
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command line in the thread's namespace and gives what it prints.
fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {text}{errors}");
    text
}

fn veth() -> DeviceName {
    sh("ip link add wan0 type veth peer name far0 && ip link set wan0 up && ip link set far0 up");
    "wan0".parse().unwrap()
}

const MAJOR: u16 = 0x7a01;

fn major() -> Major {
    Major::new(MAJOR).unwrap()
}

fn minor(minor: u16) -> Minor {
    Minor::new(minor).unwrap()
}

fn id(number: u16) -> ClassId {
    ClassId {
        major: major(),
        minor: minor(number),
    }
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn inner(parent: Option<u16>, guarantee: &str, ceil: &str) -> TcClass {
    TcClass {
        role: Role::Inner,
        ..leaf(parent, guarantee, ceil)
    }
}

fn leaf(parent: Option<u16>, guarantee: &str, ceil: &str) -> TcClass {
    TcClass {
        parent: parent.map(minor),
        rate: rate(guarantee),
        ceil: rate(ceil),
        burst: Ticks::from_nanoseconds(1_000_000),
        cburst: Ticks::from_nanoseconds(500_000),
        overhead: Overhead(0),
        link_layer: LinkLayer::Ethernet,
        role: Role::Leaf {
            priority: Priority::DEFAULT,
            quantum: 65_550,
            leaf: None,
        },
    }
}

fn with_leaf(mut class: TcClass, wanted: Leaf) -> TcClass {
    if let Role::Leaf { leaf, .. } = &mut class.role {
        *leaf = Some(wanted);
    }
    class
}

fn add_root(device: &DeviceName) -> Op {
    Op::AddRoot {
        device: device.clone(),
        major: major(),
        default: Minor::CONTROL,
    }
}

fn add(device: &DeviceName, number: u16, class: &TcClass) -> Op {
    Op::AddClass {
        device: device.clone(),
        id: id(number),
        class: class.clone(),
    }
}

fn change(device: &DeviceName, number: u16, from: &TcClass, to: &TcClass) -> Op {
    Op::ChangeClass {
        device: device.clone(),
        id: id(number),
        from: from.clone(),
        to: to.clone(),
    }
}

fn set_leaf(device: &DeviceName, number: u16, from: Option<Leaf>, to: Leaf) -> Op {
    Op::SetLeaf {
        device: device.clone(),
        id: id(number),
        from,
        to,
    }
}

/// The ops that make a tree, leaves included.
fn ops_for(device: &DeviceName, classes: &[(u16, TcClass)]) -> Vec<Op> {
    let mut ops = vec![add_root(device)];
    for (number, class) in classes {
        ops.push(add(device, *number, class));
        if let Role::Leaf { leaf: Some(to), .. } = class.role {
            ops.push(set_leaf(device, *number, None, to));
        }
    }
    ops
}

fn all_well(results: &[Result<(), OpError>]) {
    for (at, result) in results.iter().enumerate() {
        assert_eq!(result, &Ok(()), "op {at}");
    }
}

fn tree_of(observed: &Observed, device: &DeviceName) -> Tree {
    observed.state.trees[device].clone()
}

fn tree(classes: &[(u16, TcClass)]) -> Tree {
    Tree {
        major: major(),
        default: Minor::CONTROL,
        classes: classes
            .iter()
            .map(|(number, class)| (minor(*number), class.clone()))
            .collect(),
    }
}

/// Pool, circuit, control, three classes, one of them over ATM with a far ceiling.
fn sample() -> Vec<(u16, TcClass)> {
    let pfifo = |limit| Leaf::Pfifo { limit };
    let mut thin = with_leaf(leaf(Some(0x20), "8bit", "16bit"), pfifo(10));
    thin.link_layer = LinkLayer::Atm;
    thin.overhead = Overhead(44);
    let mut first = with_leaf(leaf(Some(0x20), "64kbit", "100mbit"), pfifo(50));
    first.role = Role::Leaf {
        priority: Priority::FIRST,
        quantum: 1_514,
        leaf: Some(pfifo(50)),
    };
    let mut last = with_leaf(leaf(Some(0x20), "2mbit", "90mbit"), pfifo(1_000));
    last.role = Role::Leaf {
        priority: Priority::LAST,
        quantum: 6_553_600,
        leaf: Some(pfifo(1_000)),
    };
    last.burst = Ticks(1);
    last.cburst = Ticks(u32::MAX);
    last.overhead = Overhead(65_535);
    vec![
        (0x10, inner(None, "200mbit", "200mbit")),
        (0x20, inner(Some(0x10), "100mbit", "100mbit")),
        (0x2, first),
        (0x79ff, last),
        (0x30, thin),
    ]
}

#[test]
fn what_is_observed_is_what_was_asked() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let before = host.observe().unwrap();
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
        let after = host.observe().unwrap();
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
        assert_eq!(host.observe().unwrap(), before);
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
        assert_eq!(tree_of(&host.observe().unwrap(), &device), tree(&expected));
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
            tree_of(&host.observe().unwrap(), &device),
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
        let lacks_fq_codel = !host.leaves(&device).unwrap().contains(&LeafKind::FqCodel);
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

        let observed = tree_of(&host.observe().unwrap(), &device);
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
        assert_eq!(tree_of(&host.observe().unwrap(), &device), tree(&left));
    });
}

#[test]
fn a_foreign_root_stays() {
    in_namespace(|| {
        let device = veth();
        sh("tc qdisc add dev wan0 root handle 1: pfifo limit 7");
        let mut host = Host::open().unwrap();
        let foreign = Root::Foreign {
            kind: "pfifo".to_owned(),
            major: 1,
        };
        assert_eq!(host.observe().unwrap().devices[&device].root, foreign);
        let results = host.apply(&[add_root(&device)]);
        println!("{}", results[0].as_ref().unwrap_err());
        assert!(
            matches!(&results[0], Err(OpError::Refused { errno, .. }) if *errno == nix::libc::EEXIST)
        );
        assert_eq!(host.observe().unwrap().devices[&device].root, foreign);
        // Nor is somebody else's HTB ours.
        sh("tc qdisc replace dev wan0 root handle 2: htb default 1");
        let observed = host.observe().unwrap();
        assert!(matches!(
            observed.devices[&device].root,
            Root::Foreign { .. }
        ));
        assert!(observed.state.trees.is_empty());
    });
}

#[test]
fn other_hands_are_seen() {
    in_namespace(|| {
        let device = veth();
        let mut host = Host::open().unwrap();
        let ours = with_leaf(leaf(Some(0x10), "1mbit", "2mbit"), Leaf::Pfifo { limit: 5 });
        let classes = [
            (0x10, inner(None, "10mbit", "10mbit")),
            (0x11, ours.clone()),
            (0x12, ours.clone()),
            (0x13, ours.clone()),
        ];
        all_well(&host.apply(&ops_for(&device, &classes)));
        sh(
            "tc qdisc del dev wan0 parent 7a01:11 && tc qdisc add dev wan0 parent 7a01:11 pfifo limit 5",
        );
        sh("tc qdisc replace dev wan0 parent 7a01:12 handle 66: bfifo limit 5000");
        sh("tc qdisc del dev wan0 parent 7a01:13");
        sh("tc class add dev wan0 parent 7a01:10 classid 7a01:9000 htb rate 1mbit");
        sh("tc class add dev wan0 parent 7a01:9000 classid 7a01:50 htb rate 1mbit");
        let observed = tree_of(&host.observe().unwrap(), &device);
        let found: BTreeMap<u16, Option<Option<Leaf>>> = observed
            .classes
            .iter()
            .map(|(minor, class)| match class.role {
                Role::Inner => (minor.get(), None),
                Role::Leaf { leaf, .. } => (minor.get(), Some(leaf)),
            })
            .collect();
        let expected = BTreeMap::from([
            (0x10, None),
            (0x11, Some(Some(Leaf::Other))),
            (0x12, Some(Some(Leaf::Other))),
            (0x13, Some(None)),
        ]);
        assert_eq!(found, expected);
        // And they are made right again.
        let to = Leaf::Pfifo { limit: 5 };
        let ops = [
            set_leaf(&device, 0x11, Some(Leaf::Other), to),
            set_leaf(&device, 0x12, Some(Leaf::Other), to),
            set_leaf(&device, 0x13, None, to),
        ];
        all_well(&host.apply(&ops));
        assert_eq!(tree_of(&host.observe().unwrap(), &device), tree(&classes));
        // An Other that is gone meanwhile is no failure.
        sh("tc qdisc del dev wan0 parent 7a01:12");
        all_well(&host.apply(&[set_leaf(&device, 0x12, Some(Leaf::Other), to)]));
    });
}

#[test]
fn leaves_are_probed_without_a_trace() {
    in_namespace(|| {
        let device = veth();
        sh("ip link set lo up");
        let look = || sh("tc qdisc show; ip -d link");
        let before = look();
        let mut host = Host::open().unwrap();
        let found = host.leaves(&device).unwrap();
        assert_eq!(look(), before);
        assert!(found.contains(&LeafKind::Pfifo));
        for kind in [LeafKind::Sfq, LeafKind::FqCodel, LeafKind::Cake] {
            let made = Command::new("tc")
                .args(["qdisc", "add", "dev", "far0", "root", kind.name()])
                .output()
                .unwrap();
            assert_eq!(made.status.success(), found.contains(&kind), "{kind:?}");
            let _ = Command::new("tc")
                .args(["qdisc", "del", "dev", "far0", "root"])
                .output();
        }
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
        assert_eq!(tree_of(&host.observe().unwrap(), &device), tree(&classes));
        let mut counters = Vec::new();
        host.counters(&device, major(), &mut counters).unwrap();
        let ids: BTreeSet<_> = counters.iter().map(|(id, _)| id.minor.get()).collect();
        assert_eq!(ids.len(), 1_001);
    });
}

/// A few of each kind, as lowering could want them.
fn leaves_of(kind: LeafKind) -> Vec<Leaf> {
    match kind {
        LeafKind::Pfifo => vec![Leaf::Pfifo { limit: 1 }, Leaf::Pfifo { limit: 100_000 }],
        LeafKind::Sfq => [2, 100, 127, 128, 1_000, Leaf::SFQ_MOST, 10]
            .map(|limit| Leaf::Sfq { limit })
            .to_vec(),
        LeafKind::FqCodel => {
            let times = [
                (5_000, 100_000),
                (1, 1),
                (15_001, 299_999),
                (60_000_000, 60_000_000),
            ];
            let mut leaves: Vec<_> = times
                .map(|(target_us, interval_us)| Leaf::FqCodel {
                    limit: 1_000,
                    target_us,
                    interval_us,
                })
                .to_vec();
            for target_us in 4_000..4_100 {
                leaves.push(Leaf::FqCodel {
                    limit: 1,
                    target_us,
                    interval_us: 10 * target_us,
                });
            }
            leaves.into_iter().map(Leaf::settled).collect()
        }
        LeafKind::Cake => vec![Leaf::Cake],
    }
}

#[test]
fn leaves_are_read_as_written() {
    in_namespace(|| {
        let mut host = Host::open().unwrap();
        let kinds = host.leaves(&"lo".parse().unwrap()).unwrap();
        leaves_come_back(&kinds);
    });
}

#[test]
#[ignore = "wants a kernel that has them all: scripts/stock-kernel"]
fn stock_leaves_of_every_kind_are_read_as_written() {
    in_namespace(|| {
        use LeafKind::{Cake, FqCodel, Pfifo, Sfq};
        let mut host = Host::open().unwrap();
        let kinds = host.leaves(&"lo".parse().unwrap()).unwrap();
        assert_eq!(kinds, BTreeSet::from([Pfifo, Sfq, FqCodel, Cake]));
        leaves_come_back(&kinds);
    });
}

fn leaves_come_back(kinds: &BTreeSet<LeafKind>) {
    let device = veth();
    let mut host = Host::open().unwrap();
    let bare = leaf(None, "10mbit", "10mbit");
    all_well(&host.apply(&ops_for(&device, &[(0x20, bare.clone())])));
    let mut from = None;
    for kind in kinds.iter().chain(kinds.iter().rev()) {
        for to in leaves_of(*kind) {
            all_well(&host.apply(&[set_leaf(&device, 0x20, from, to)]));
            let expected = tree(&[(0x20, with_leaf(bare.clone(), to))]);
            assert_eq!(tree_of(&host.observe().unwrap(), &device), expected);
            from = Some(to);
        }
        // What somebody else made of it is not ours any more.
        let parameter = match kind {
            LeafKind::Pfifo => continue,
            LeafKind::Sfq => "perturb 9",
            LeafKind::FqCodel => "noecn",
            LeafKind::Cake => "bandwidth 1mbit",
        };
        let parent = "dev wan0 parent 7a01:20";
        let kind = kind.name();
        sh(&format!(
            "tc qdisc del {parent} && tc qdisc add {parent} handle 20: {kind} {parameter}"
        ));
        let expected = tree(&[(0x20, with_leaf(bare.clone(), Leaf::Other))]);
        assert_eq!(tree_of(&host.observe().unwrap(), &device), expected);
        from = Some(Leaf::Other);
    }
    println!("{}", sh("tc qdisc show dev wan0"));
}
