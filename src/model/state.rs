//! What the kernel holds: the type that observation returns and that lowering makes, so that a
//! comparison compares like with like.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::circuit::{LinkLayer, MarkMask, Overhead};
use super::class::Priority;
use super::filter::Table;
pub use super::leaf::{Leaf, LeafKind};
use super::names::DeviceName;
use crate::units::{Direction, Rate};

/// The lower half of a class id: a class within its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Minor(u16);

impl Minor {
    /// The class that HTB's `default` names in every tree: root options cannot be changed after
    /// creation, so this one is the same everywhere and for ever.
    pub const CONTROL: Self = Self(2);
    /// The first that is given to a pool.
    pub const FIRST_POOL: u16 = 3;
    /// The first that is given to a place on a circuit; those below are for what each tree has once, and for pools.
    pub const FIRST: u16 = 0x10;
    /// The last: above it begin the handles of roots ([`Major`]), which leaves may not take.
    pub const LAST: u16 = 0x79ff;
    /// How many pools can have a number.
    pub const MOST_POOLS: u16 = Self::FIRST - Self::FIRST_POOL;

    /// A minor of ours; `None` outside of the range.
    #[must_use]
    pub fn new(minor: u16) -> Option<Self> {
        (1..=Self::LAST).contains(&minor).then_some(Self(minor))
    }

    /// The last that a packet mark can say with the bits of `mask`.
    #[must_use]
    pub fn last_in(mask: MarkMask) -> Self {
        let sayable = 1_u32
            .checked_shl(mask.width())
            .map_or(u32::MAX, |over| over - 1);
        Self(u16::try_from(sayable).unwrap_or(u16::MAX).min(Self::LAST))
    }

    /// How many places on circuits can have a number that a packet mark can say with the bits of `mask`.
    #[must_use]
    pub fn most_in(mask: MarkMask) -> u16 {
        (Self::last_in(mask).0 + 1).saturating_sub(Self::FIRST)
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Minor {
    type Error = String;

    fn try_from(minor: u16) -> Result<Self, String> {
        Self::new(minor).ok_or_else(|| format!("{minor:x} is not a class minor of ours"))
    }
}

impl From<Minor> for u16 {
    fn from(minor: Minor) -> Self {
        minor.0
    }
}

/// The upper half of our root qdiscs' handles, by which they are known as ours: one for each device,
/// because a packet's priority survives into lower devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Major(u16);

impl Major {
    /// The first; below are the leaves' handles, which are their classes' minors.
    pub const FIRST: u16 = 0x7a00;
    /// The last; from 0x8000 on the kernel gives handles itself.
    pub const LAST: u16 = 0x7aff;
    /// How many devices can have one.
    pub const MOST: u16 = Self::LAST - Self::FIRST + 1;

    /// A major of ours; `None` outside of the range.
    #[must_use]
    pub fn new(major: u16) -> Option<Self> {
        (Self::FIRST..=Self::LAST)
            .contains(&major)
            .then_some(Self(major))
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Major {
    type Error = String;

    fn try_from(major: u16) -> Result<Self, String> {
        Self::new(major).ok_or_else(|| format!("{major:x} is not a handle of ours"))
    }
}

impl From<Major> for u16 {
    fn from(major: Major) -> Self {
        major.0
    }
}

/// A class id, as `tc` and nftables write it: `7a01:15`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClassId {
    /// The tree.
    pub major: Major,
    /// The class.
    pub minor: Minor,
}

impl fmt::Display for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:x}:{:x}", self.major.0, self.minor.0))
    }
}

/// What the kernel holds of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KernelState {
    /// The trees, by the device whose root they are.
    pub trees: BTreeMap<DeviceName, Tree>,
    /// The device on which what arrives is shaped; `None` where there is none.
    #[serde(default)]
    pub ifb: Option<Ifb>,
    /// What leads packets there, by the device that they are about to leave by.
    #[serde(default)]
    pub feeds: BTreeMap<DeviceName, Feed>,
    /// The packet filter's table; `None` where there is none.
    pub table: Option<Table>,
}

/// The intermediate device (IFB) whose tree shapes what arrived over the circuits. It is known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ifb {
    /// Whether it is up: one that is down drops all that comes.
    pub up: bool,
}

impl Ifb {
    /// Its name.
    pub const NAME: &'static str = "wanshift-down";

    /// Its name, as that of a device.
    #[must_use]
    pub fn device() -> DeviceName {
        DeviceName::known(Self::NAME)
    }

    /// Which traffic the tree of `device` shapes: on the IFB what arrives, everywhere else what leaves.
    #[must_use]
    pub fn direction(device: &DeviceName) -> Direction {
        if device.as_str() == Self::NAME {
            Direction::Down
        } else {
            Direction::Up
        }
    }
    /// Its kind, as the kernel calls it.
    pub const KIND: &'static str = "ifb";
}

/// A filter where packets leave a device, that leads those with a mark of ours through the IFB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// Who made the qdisc that it hangs in. The filter's handle tells, so that the kernel alone knows.
    pub clsact: Clsact,
    /// What it takes.
    pub takes: Takes,
}

/// Who made a device's `clsact`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clsact {
    /// We did: it goes with our filter, unless somebody has put another one in.
    Ours,
    /// Somebody else: it stays.
    Theirs,
}

/// What a [`Feed`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// Packets whose mark has any of these bits, to the IFB.
    Marked(MarkMask),
    /// Something else, or not to the IFB: somebody changed it, or the IFB was made anew.
    Drifted,
}

/// How the packets of a tree find their class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// By their priority, as HTB does it by itself.
    #[default]
    Priority,
    /// By their mark: these bits of it, shifted down, are the class's minor.
    Mark(MarkMask),
    /// By a filter in the place of ours that is not as we write it.
    Drifted,
}

/// An HTB tree that is a device's root qdisc.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Its handle.
    pub major: Major,
    /// The class that takes what is in none.
    pub default: Minor,
    /// How packets find their class.
    #[serde(default)]
    pub selector: Selector,
    /// The classes.
    pub classes: BTreeMap<Minor, TcClass>,
}

/// A class in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcClass {
    /// The class above; `None` for one that hangs at the root.
    pub parent: Option<Minor>,
    /// What it has for certain.
    pub rate: Rate,
    /// What it never goes beyond.
    pub ceil: Rate,
    /// How long it may send at once at `rate`.
    pub burst: Ticks,
    /// How long it may send at once at `ceil`.
    pub cburst: Ticks,
    /// Bytes added to each packet.
    pub overhead: Overhead,
    /// How the link frames packets.
    pub link_layer: LinkLayer,
    /// Whether it has classes below it or packets in it.
    pub role: Role,
}

/// What a class is in its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It has classes below it; the kernel keeps no priority and quantum of it that matter.
    Inner,
    /// Packets wait in it.
    Leaf {
        /// Who is served first.
        priority: Priority,
        /// Bytes for each turn among those of one priority.
        quantum: u32,
        /// Where they wait; `None` where there is only what the kernel put there.
        leaf: Option<Leaf>,
    },
}

/// A time in units of 64 ns, which is what the kernel's schedulers count in.
/// Source: `PSCHED_SHIFT` in the kernel's `include/net/pkt_sched.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticks(pub u32);

impl Ticks {
    /// At least `nanoseconds`, as far as the type reaches.
    #[must_use]
    pub fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(u32::try_from(nanoseconds.div_ceil(64)).unwrap_or(u32::MAX))
    }

    /// In nanoseconds.
    #[must_use]
    pub fn nanoseconds(self) -> u64 {
        u64::from(self.0) * 64
    }
}

/// What observation found: what is ours, and what stands around it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observed {
    /// What is ours.
    pub state: KernelState,
    /// Every device of the network namespace, by name.
    pub devices: BTreeMap<DeviceName, Device>,
    /// Classes in our trees that are not ours: those that hang deepest first, as they can be removed.
    #[serde(default)]
    pub strangers: Vec<Stranger>,
}

/// A class in a tree of ours that we did not make: its minor is not one of ours, or it hangs at such a one.
/// It is left alone, and what it takes is not accounted for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stranger {
    /// The device whose tree it is in.
    pub device: DeviceName,
    /// Its id, as `tc` writes it.
    pub class: String,
    /// The id of the class above; `None` where it hangs at the root.
    pub parent: Option<String>,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            class,
            parent,
        } = self;
        let place = match parent {
            Some(parent) => format!("below {parent}"),
            None => "at the root".to_owned(),
        };
        write!(f, "device {device}: class {class} {place}")
    }
}

/// A network device, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The kernel's index.
    pub index: u32,
    /// The largest packet, without the link's header.
    pub mtu: u32,
    /// The length of the link's header that the kernel accounts for (14 for Ethernet).
    pub header: u32,
    /// The largest packet that is handed down in one piece to be cut later.
    pub gso_max: u32,
    /// The kind, as the kernel calls it: `vlan`, `ifb`, `wireguard`; empty for hardware.
    pub kind: String,
    /// The index of the device that it stands on, where that is in this network namespace.
    pub lower: Option<u32>,
    /// The index of the device that it is a port of: a bridge, a bond, a VRF.
    pub master: Option<u32>,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it is a VLAN that maps packets' priorities to its own (`egress-qos-map`).
    pub priority_map: bool,
    /// What the root qdisc is.
    pub root: Root,
    /// What stands where packets enter and leave it, beside the root.
    pub edge: Edge,
}

/// The qdisc beside the root, where filters see packets enter and leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// None.
    #[default]
    None,
    /// `clsact`.
    Clsact,
    /// `ingress`, which leaves no place for a `clsact`.
    Ingress,
}

/// What the root qdisc of a device is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// What the kernel put there by itself (handle 0).
    Default {
        /// Its kind.
        kind: String,
    },
    /// An HTB of ours: it is in [`KernelState::trees`].
    Ours,
    /// Somebody else's.
    Foreign(ForeignRoot),
}

/// A root qdisc that is neither ours nor what the kernel puts there by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignRoot {
    /// Its kind.
    pub kind: String,
    /// Its handle's major.
    pub major: u16,
}

impl fmt::Display for ForeignRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:x}:", self.kind, self.major)
    }
}
