//! What the tests of this house share: a namespace, a veth, ops in short.

#[path = "../common/mod.rs"]
mod shared;

pub use shared::{in_namespace, sh};
use wanshift::kernel::OpError;
use wanshift::model::circuit::{LinkLayer, Overhead};
use wanshift::model::class::Priority;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{ClassId, Leaf, Major, Minor, Observed, Role, TcClass, Ticks, Tree};
use wanshift::plan::op::Op;
use wanshift::units::Rate;

pub fn veth() -> DeviceName {
    sh("ip link add wan0 type veth peer name far0 && ip link set wan0 up && ip link set far0 up");
    "wan0".parse().unwrap()
}

pub const MAJOR: u16 = 0x7a01;

pub fn major() -> Major {
    Major::new(MAJOR).unwrap()
}

pub fn minor(minor: u16) -> Minor {
    Minor::new(minor).unwrap()
}

pub fn id(number: u16) -> ClassId {
    ClassId {
        major: major(),
        minor: minor(number),
    }
}

pub fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

pub fn inner(parent: Option<u16>, guarantee: &str, ceil: &str) -> TcClass {
    TcClass {
        role: Role::Inner,
        ..leaf(parent, guarantee, ceil)
    }
}

pub fn leaf(parent: Option<u16>, guarantee: &str, ceil: &str) -> TcClass {
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

pub fn with_leaf(mut class: TcClass, wanted: Leaf) -> TcClass {
    if let Role::Leaf { leaf, .. } = &mut class.role {
        *leaf = Some(wanted);
    }
    class
}

pub fn add_root(device: &DeviceName) -> Op {
    Op::AddRoot {
        device: device.clone(),
        major: major(),
        default: Minor::CONTROL,
        over: None,
    }
}

pub fn add(device: &DeviceName, number: u16, class: &TcClass) -> Op {
    Op::AddClass {
        device: device.clone(),
        id: id(number),
        class: class.clone(),
    }
}

pub fn change(device: &DeviceName, number: u16, from: &TcClass, to: &TcClass) -> Op {
    Op::ChangeClass {
        device: device.clone(),
        id: id(number),
        from: from.clone(),
        to: to.clone(),
    }
}

pub fn set_leaf(device: &DeviceName, number: u16, from: Option<Leaf>, to: Leaf) -> Op {
    Op::SetLeaf {
        device: device.clone(),
        id: id(number),
        from,
        to,
    }
}

/// The ops that make a tree, leaves included.
pub fn ops_for(device: &DeviceName, classes: &[(u16, TcClass)]) -> Vec<Op> {
    let mut ops = vec![add_root(device)];
    for (number, class) in classes {
        ops.push(add(device, *number, class));
        if let Role::Leaf { leaf: Some(to), .. } = class.role {
            ops.push(set_leaf(device, *number, None, to));
        }
    }
    ops
}

pub fn all_well(results: &[Result<(), OpError>]) {
    for (at, result) in results.iter().enumerate() {
        assert_eq!(result, &Ok(()), "op {at}");
    }
}

pub fn tree_of(observed: &Observed, device: &DeviceName) -> Tree {
    observed.state.trees[device].clone()
}

pub fn tree(classes: &[(u16, TcClass)]) -> Tree {
    Tree {
        major: major(),
        default: Minor::CONTROL,
        selector: wanshift::model::state::Selector::Priority,
        classes: classes
            .iter()
            .map(|(number, class)| (minor(*number), class.clone()))
            .collect(),
    }
}

/// Pool, circuit, control, three classes, one of them over ATM with a far ceiling.
pub fn sample() -> Vec<(u16, TcClass)> {
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
