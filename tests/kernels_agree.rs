//! What the kernel in memory is taught, the machine's is asked: the same ops in the same order, and
//! both must answer and hold the same.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;
#[path = "kernels_agree/down.rs"]
mod down;

use std::collections::BTreeSet;
use std::process::Command;

use common::{in_namespace, sh};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use wanshift::kernel::fake::FakeKernel;
use wanshift::kernel::tc::observe::observe;
use wanshift::kernel::tc::socket::RouteSocket;
use wanshift::kernel::{Host, Kernel, OpError, Scope, nft};
use wanshift::model::circuit::{LinkLayer, Overhead};
use wanshift::model::class::Priority;
use wanshift::model::filter::Table;
use wanshift::model::names::{BlockName, DeviceName};
use wanshift::model::state::{
    ClassId, ForeignRoot, Leaf, Major, Minor, Role, Root, TcClass, Ticks,
};
use wanshift::plan::op::Op;
use wanshift::units::Rate;

fn device() -> DeviceName {
    "wan0".parse().unwrap()
}

/// The number that stands for what became of an op: 0 for success, else the kernel's.
fn outcome(result: &Result<(), OpError>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(OpError::Refused { errno, .. }) => *errno,
        Err(OpError::NoDevice { .. }) => nix::libc::ENODEV,
        Err(other) => panic!("{other}"),
    }
}

fn any_id() -> impl Strategy<Value = ClassId> {
    let majors = prop_oneof![9 => Just(Major::FIRST), 1 => Just(Major::FIRST + 1)];
    (majors, 2..8_u16).prop_map(|(major, minor)| ClassId {
        major: Major::new(major).unwrap(),
        minor: Minor::new(minor).unwrap(),
    })
}

fn any_class() -> impl Strategy<Value = TcClass> {
    let role = prop_oneof![
        Just(Role::Inner),
        (0..8_u8, 1_000..100_000_u32).prop_map(|(priority, quantum)| Role::Leaf {
            priority: Priority::try_from(priority).unwrap(),
            quantum,
            leaf: None,
        }),
    ];
    let parent = prop_oneof![
        Just(None),
        (2..8_u16).prop_map(Minor::new),
        Just(Minor::new(0x77))
    ];
    (parent, 1..1_000_u64, 0..1_000_u64, role).prop_map(|(parent, rate, more, role)| TcClass {
        parent,
        rate: Rate::from_bytes_per_second(rate * 1_000),
        ceil: Rate::from_bytes_per_second((rate + more) * 1_000),
        burst: Ticks(1_000),
        cburst: Ticks(2_000),
        overhead: Overhead(0),
        link_layer: LinkLayer::Ethernet,
        role,
    })
}

/// Never its own parent: that is refused before the kernel is asked.
fn any_id_and_class() -> impl Strategy<Value = (ClassId, TcClass)> {
    (any_id(), any_class()).prop_map(|(id, mut class)| {
        class.parent = class.parent.filter(|parent| *parent != id.minor);
        (id, class)
    })
}

fn any_leaf() -> impl Strategy<Value = Leaf> {
    prop_oneof![
        9 => (1..100_u32).prop_map(|limit| Leaf::Pfifo { limit }),
        1 => (2..100_u32).prop_map(|limit| Leaf::Sfq { limit }),
        1 => Just(Leaf::Cake),
    ]
}

/// An op as it would be planned from what the kernel in memory holds, or from a mistake about it.
fn any_op() -> impl Strategy<Value = Op> {
    let major = Major::new(Major::FIRST).unwrap();
    prop_oneof![
        1 => prop::bool::ANY.prop_map(move |adopt| Op::AddRoot {
            device: device(),
            major,
            default: Minor::CONTROL,
            over: adopt.then(|| ForeignRoot { kind: "pfifo".to_owned(), major: 1 }),
        }),
        1 => Just(Op::DeleteRoot { device: device(), major, default: Minor::CONTROL }),
        12 => any_id_and_class()
            .prop_map(|(id, class)| Op::AddClass { device: device(), id, class }),
        6 => any_id_and_class().prop_map(|(id, to)| Op::ChangeClass {
            device: device(),
            id,
            from: to.clone(),
            to,
        }),
        4 => (any_id(), any_class())
            .prop_map(|(id, class)| Op::DeleteClass { device: device(), id, class }),
        8 => (any_id(), any_leaf()).prop_map(|(id, to)| Op::SetLeaf {
            device: device(),
            id,
            from: None,
            to,
        }),
    ]
}

#[allow(clippy::wildcard_enum_match_arm)]
/// What an op says of the state before must be so, as in a plan: `from` is what is held.
fn informed(op: Op, fake: &FakeKernel) -> Op {
    let held = |id: ClassId| {
        fake.held()
            .state
            .trees
            .get(&device())
            .and_then(|tree| tree.classes.get(&id.minor))
    };
    match op {
        Op::SetLeaf { device, id, to, .. } => {
            let from = match held(id).map(|class| &class.role) {
                Some(Role::Leaf { leaf, .. }) => *leaf,
                _ => None,
            };
            Op::SetLeaf {
                device,
                id,
                from,
                to,
            }
        }
        Op::AddRoot {
            device,
            major,
            default,
            over,
        } => {
            let root = &fake.held().devices[&device].root;
            let over = over.filter(|_| matches!(root, Root::Foreign(_)));
            Op::AddRoot {
                device,
                major,
                default,
                over,
            }
        }
        op => op,
    }
}

/// Which classes a kernel has counters of.
fn counted(kernel: &mut dyn Kernel) -> BTreeSet<ClassId> {
    let mut counters = Vec::new();
    let majors = [Major::FIRST, Major::FIRST + 1].map(|major| Major::new(major).unwrap());
    majors
        .into_iter()
        .flat_map(|major| {
            kernel.counters(&device(), major, &mut counters).unwrap();
            counters.iter().map(|(id, _)| *id).collect::<Vec<_>>()
        })
        .collect()
}

/// Which classes a kernel has counters of a queue of.
fn queued(kernel: &mut dyn Kernel) -> BTreeSet<ClassId> {
    let mut queues = Vec::new();
    let majors = [Major::FIRST, Major::FIRST + 1].map(|major| Major::new(major).unwrap());
    let trees = majors.map(|major| (device(), major));
    kernel.queues(&trees, &mut queues).unwrap();
    queues.iter().map(|(id, _)| *id).collect()
}

#[test]
fn the_kernel_in_memory_answers_as_the_machines_does() {
    in_namespace(|| {
        sh(
            "ip link add wan0 type veth peer name far0 && ip link set wan0 up && ip link set far0 up",
        );
        let mut host = Host::open().unwrap();
        let bare = host.observe(Scope::All).unwrap();
        sh("tc qdisc add dev wan0 root handle 1: pfifo limit 5");
        let taken = host.observe(Scope::All).unwrap();
        let leaves: BTreeSet<_> = host.leaves().unwrap();
        let mut runner = TestRunner::new(Config {
            cases: 150,
            failure_persistence: None,
            ..Config::default()
        });
        let host = std::cell::RefCell::new(host);
        let rooted = prop_oneof![9 => Just(false), 2 => Just(true)];
        let ops = (rooted, proptest::collection::vec(any_op(), 1..40));
        let outcome = runner.run(&ops, |(foreign, ops)| {
            let mut host = host.borrow_mut();
            let mut socket = RouteSocket::open().unwrap();
            let _ = Command::new("tc")
                .args(["qdisc", "del", "dev", "wan0", "root"])
                .output();
            if foreign {
                sh("tc qdisc add dev wan0 root handle 1: pfifo limit 5");
            }
            let before = if foreign { &taken } else { &bare };
            let mut fake = FakeKernel::new(before.devices.clone(), leaves.clone());
            for op in ops {
                let op = informed(op, &fake);
                let real = host.apply(std::slice::from_ref(&op));
                let told = fake.apply(std::slice::from_ref(&op));
                prop_assert_eq!(
                    outcome(&real[0]),
                    outcome(&told[0]),
                    "{:?}: real {:?}, in memory {:?}",
                    op,
                    real,
                    told
                );
                // Without the packet filter, whose reading takes ten times as long.
                let seen = observe(&mut socket).unwrap();
                prop_assert_eq!(&seen.trees, &fake.held().state.trees, "after {:?}", op);
                prop_assert_eq!(&seen.devices, &fake.held().devices, "after {:?}", op);
                prop_assert_eq!(counted(&mut *host), counted(&mut fake), "after {:?}", op);
                prop_assert_eq!(queued(&mut *host), queued(&mut fake), "after {:?}", op);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{error}");
        }
    });
}

#[test]
fn what_the_kernel_in_memory_counted_goes_with_its_class_and_its_block() {
    in_namespace(|| {
        sh("ip link add wan0 type veth peer name far0 && ip link set wan0 up");
        let mut host = Host::open().unwrap();
        let devices = host.observe(Scope::All).unwrap().devices;
        let mut fake = FakeKernel::new(devices, BTreeSet::new());
        let major = Major::new(Major::FIRST).unwrap();
        let id = ClassId {
            major,
            minor: Minor::new(9).unwrap(),
        };
        assert!(fake.counters_mut(&device(), id).is_none());
        let class = any_class().new_tree(&mut TestRunner::deterministic());
        let class = TcClass {
            parent: None,
            ..class.unwrap().current()
        };
        let root = Op::AddRoot {
            device: device(),
            major,
            default: Minor::CONTROL,
            over: None,
        };
        let add = Op::AddClass {
            device: device(),
            id,
            class: class.clone(),
        };
        let delete = Op::DeleteClass {
            device: device(),
            id,
            class,
        };
        let outcomes = fake.apply(&[root, add.clone()]);
        assert_eq!(outcomes, [Ok(()), Ok(())]);
        let bytes = |fake: &mut FakeKernel| {
            let mut into = Vec::new();
            fake.counters(&device(), major, &mut into).unwrap();
            into.iter()
                .map(|(_, counters)| counters.bytes)
                .collect::<Vec<_>>()
        };
        fake.counters_mut(&device(), id).unwrap().bytes = 7;
        assert_eq!(bytes(&mut fake), [7]);
        assert_eq!(fake.apply(std::slice::from_ref(&delete)), [Ok(())]);
        assert!(bytes(&mut fake).is_empty());
        assert_eq!(fake.apply(&[add]), [Ok(())]);
        assert_eq!(bytes(&mut fake), [0]);

        let web: BlockName = "web".parse().unwrap();
        assert!(fake.rejected_mut(&web).is_none());
        let table = |text| nft::parse(text).unwrap();
        let with = table(
            "table inet wanshift {\n\tcounter blocked.web {\n\t\tpackets 0 bytes 0\n\t}\n}\n",
        );
        let without = table("table inet wanshift {\n}\n");
        let set = |from: Option<&Table>, to: &Table| Op::SetTable {
            from: from.cloned(),
            to: Some(to.clone()),
        };
        assert_eq!(fake.apply(&[set(None, &with)]), [Ok(())]);
        *fake.rejected_mut(&web).unwrap() = 3;
        assert_eq!(fake.rejected().unwrap()[&web], 3);
        let there_and_back = [set(Some(&with), &without), set(Some(&without), &with)];
        assert_eq!(fake.apply(&there_and_back), [Ok(()), Ok(())]);
        assert_eq!(fake.rejected().unwrap()[&web], 0);
    });
}
