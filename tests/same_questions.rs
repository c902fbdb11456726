//! The kernel in memory is held to what the machine's kernel answers: both are asked the same.

mod common;

use std::collections::BTreeSet;

use common::{in_namespace, sh};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wanshift::kernel::fake::FakeKernel;
use wanshift::kernel::{Host, Kernel, OpError};
use wanshift::model::circuit::{LinkLayer, Overhead};
use wanshift::model::class::Priority;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{ClassId, Leaf, Major, Minor, Role, TcClass, Ticks};
use wanshift::plan::op::Op;
use wanshift::units::Rate;

fn device() -> DeviceName {
    "wan0".parse().unwrap()
}

fn id(minor: u16) -> ClassId {
    ClassId {
        major: Major::new(Major::FIRST).unwrap(),
        minor: Minor::new(minor).unwrap(),
    }
}

fn class(parent: Option<u16>, kbit: u64) -> TcClass {
    let rate = Rate::from_bits(kbit * 1_000).unwrap();
    TcClass {
        parent: parent.map(|minor| Minor::new(minor).unwrap()),
        rate,
        ceil: rate,
        burst: Ticks(100_000),
        cburst: Ticks(100_000),
        overhead: Overhead(0),
        link_layer: LinkLayer::Ethernet,
        role: Role::Leaf {
            priority: Priority::DEFAULT,
            quantum: 65_536,
            leaf: None,
        },
    }
}

fn op() -> impl Strategy<Value = Op> {
    let minor = 0x13_u16..0x18;
    // A class is never its own parent, nor below one of a higher number: the kernel does not look for loops.
    let parent = prop::option::of(0x10_u16..0x13);
    let root = |add: bool| {
        let (device, major, default) =
            (device(), Major::new(Major::FIRST).unwrap(), Minor::CONTROL);
        if add {
            Op::AddRoot {
                device,
                major,
                default,
                over: None,
            }
        } else {
            Op::DeleteRoot {
                device,
                major,
                default,
            }
        }
    };
    prop_oneof![
        2 => Just(root(true)),
        1 => Just(root(false)),
        6 => (0x10_u16..0x13, 8_u64..90_000).prop_map(|(minor, kbit)| Op::AddClass {
            device: device(),
            id: id(minor),
            class: class(None, kbit),
        }),
        8 => (minor.clone(), parent.clone(), 8_u64..90_000).prop_map(|(minor, parent, kbit)| Op::AddClass {
            device: device(),
            id: id(minor),
            class: class(parent, kbit),
        }),
        4 => (minor.clone(), parent, 8_u64..90_000).prop_map(|(minor, parent, kbit)| Op::ChangeClass {
            device: device(),
            id: id(minor),
            from: class(parent, kbit),
            to: class(parent, kbit),
        }),
        3 => minor.clone().prop_map(|minor| Op::DeleteClass {
            device: device(),
            id: id(minor),
            class: class(None, 8),
        }),
        3 => (minor, prop::bool::ANY, 1_u32..900).prop_map(|(minor, has, limit)| Op::SetLeaf {
            device: device(),
            id: id(minor),
            from: has.then_some(Leaf::Pfifo { limit: 1 }),
            to: Leaf::Pfifo { limit },
        }),
    ]
}

/// What an administrator would see of an outcome: that it happened, or the kernel's number for why not.
fn outcome(outcome: &Result<(), OpError>) -> Result<(), i32> {
    match outcome {
        Ok(()) => Ok(()),
        Err(OpError::Refused { errno, .. }) => Err(*errno),
        Err(other) => panic!("{other}"),
    }
}

/// One script on both: the same outcome for each op, and the same state after each.
fn ask_both(host: &mut Host, ops: &[Op]) -> Result<(), TestCaseError> {
    let start = host.observe().unwrap();
    let leaves: BTreeSet<_> = host.leaves(&device()).unwrap();
    let mut fake = FakeKernel::new(start.devices, leaves);
    for op in ops {
        let real = outcome(&host.apply(std::slice::from_ref(op))[0]);
        let told = outcome(&fake.apply(std::slice::from_ref(op))[0]);
        prop_assert_eq!(told, real, "{:?}", op);
        let (told, real) = (fake.observe().unwrap(), host.observe().unwrap());
        prop_assert_eq!(told.state, real.state, "after {:?}", op);
        prop_assert_eq!(
            &told.devices[&device()].root,
            &real.devices[&device()].root,
            "after {:?}",
            op
        );
    }
    Ok(())
}

#[test]
fn the_kernel_in_memory_answers_as_the_machines_does() {
    in_namespace(|| {
        sh(
            "ip link add wan0 type veth peer name far0 && ip link set wan0 up && ip link set far0 up",
        );
        let config = Config {
            cases: 150,
            failure_persistence: None,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(&prop::collection::vec(op(), 1..25), |ops| {
            sh("tc qdisc del dev wan0 root 2>/dev/null || true");
            ask_both(&mut Host::open().unwrap(), &ops)
        });
        if let Err(error) = outcome {
            panic!("{error}");
        }
    });
}
