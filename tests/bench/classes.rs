//! A device with an HTB of many classes: what `changes` and `counters` measure on.

use wanshift::kernel::link::index_of;
use wanshift::kernel::tc::socket::RouteSocket;
use wanshift::kernel::{Host, Kernel};
use wanshift::model::circuit::{LinkLayer, Overhead};
use wanshift::model::class::Priority;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{ClassId, Major, Minor, Role, TcClass, Ticks};
use wanshift::plan::op::Op;
use wanshift::units::Rate;

use crate::lab::Namespace;
use crate::samples::time;

/// The device.
pub const DEVICE: &str = "wan0";

/// The classes of one tree: `count` leaves below one above them all.
pub struct Classes {
    pub device: DeviceName,
    pub index: u32,
    pub leaves: Vec<(ClassId, TcClass)>,
    /// How long it took to make them.
    pub made_in: f64,
}

impl Classes {
    /// Makes device and tree. To be called in the namespace.
    pub fn make(count: u16) -> Self {
        let device: DeviceName = DEVICE.parse().unwrap();
        let major = Major::new(Major::FIRST).unwrap();
        let id = |minor| ClassId {
            major,
            minor: Minor::new(minor).unwrap(),
        };
        let parent = id(Minor::FIRST);
        let whole = Rate::from_bits(100_000_000_000).unwrap();
        let above = TcClass {
            parent: None,
            rate: whole,
            ceil: whole,
            role: Role::Inner,
            ..leaf(Minor::CONTROL, 8_000_000)
        };
        let leaves: Vec<(ClassId, TcClass)> = (1..=count)
            .map(|number| (id(Minor::FIRST + number), leaf(parent.minor, 2_000_000)))
            .collect();
        let mut ops = vec![Op::AddRoot {
            device: device.clone(),
            major,
            default: Minor::CONTROL,
            over: None,
        }];
        let all = std::iter::once((parent, above)).chain(leaves.iter().cloned());
        ops.extend(all.map(|(id, class)| Op::AddClass {
            device: device.clone(),
            id,
            class,
        }));
        let mut host = Host::open().unwrap();
        let (made_in, results) = time(|| host.apply(&ops));
        results.into_iter().for_each(|result| result.unwrap());
        let mut socket = RouteSocket::open().unwrap();
        let index = index_of(&mut socket, &device).unwrap().unwrap();
        Self {
            device,
            index,
            leaves,
            made_in,
        }
    }

    /// The same leaves with another rate.
    pub fn with_rate(&self, bits: u64) -> Vec<(ClassId, TcClass)> {
        let rate = Rate::from_bits(bits).unwrap();
        let changed = |(id, class): &(ClassId, TcClass)| {
            let class = TcClass {
                rate,
                ..class.clone()
            };
            (*id, class)
        };
        self.leaves.iter().map(changed).collect()
    }
}

fn leaf(parent: Minor, bits: u64) -> TcClass {
    TcClass {
        parent: Some(parent),
        rate: Rate::from_bits(bits).unwrap(),
        ceil: Rate::from_bits(4_000_000).unwrap(),
        burst: Ticks::from_nanoseconds(8_000_000),
        cburst: Ticks::from_nanoseconds(8_000_000),
        overhead: Overhead(0),
        link_layer: LinkLayer::Ethernet,
        role: Role::Leaf {
            priority: Priority::DEFAULT,
            quantum: 65_550,
            leaf: None,
        },
    }
}

/// A host with that device.
pub fn host() -> Namespace {
    let host = Namespace::new("bench");
    let veth = [
        "link", "add", DEVICE, "type", "veth", "peer", "name", "far0",
    ];
    host.run("ip", &veth);
    for device in [DEVICE, "far0"] {
        host.run("ip", &["link", "set", device, "up"]);
    }
    host
}
