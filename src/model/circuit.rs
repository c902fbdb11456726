//! The facts of a host: its circuits, and the pools that they share.

use serde::{Deserialize, Serialize};

use super::names::{CircuitName, ConditionName, DeviceName, HostName, Origin, PoolName};
use crate::units::Rates;

/// What `host.toml` says of the host itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// The time zone in which dates and schedules are meant.
    pub timezone: jiff::tz::TimeZone,
    /// Devices toward the inside: what arrives from a circuit is shaped as it leaves here.
    pub inside: Vec<DeviceName>,
    /// The bits of the packet mark that are ours.
    pub mark_mask: MarkMask,
    /// Where it was written.
    pub origin: Origin,
}

/// The bits of the packet mark that are ours: contiguous, at least two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MarkMask(u32);

impl MarkMask {
    /// The upper 16 bits.
    pub const UPPER_16: Self = Self(0xffff_0000);

    /// A mask of contiguous bits; `None` where they are not, or fewer than two.
    #[must_use]
    pub fn new(bits: u32) -> Option<Self> {
        let run = bits.checked_shr(bits.trailing_zeros()).unwrap_or(0);
        (run.trailing_ones() == bits.count_ones() && bits.count_ones() >= 2).then_some(Self(bits))
    }

    /// As a mask.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// How many bits there are.
    #[must_use]
    pub const fn width(self) -> u32 {
        self.0.count_ones()
    }

    /// The bits that are not ours.
    #[must_use]
    pub const fn others(self) -> u32 {
        !self.0
    }

    /// How many bits of a mark are below ours.
    #[must_use]
    pub const fn shift(self) -> u32 {
        self.0.trailing_zeros()
    }

    /// The largest number that fits into our bits.
    #[must_use]
    pub const fn most(self) -> u32 {
        self.0 >> self.shift()
    }

    /// A mark in which our bits say `number`; `None` where it does not fit.
    #[must_use]
    pub const fn holding(self, number: u32) -> Option<u32> {
        if number <= self.most() {
            Some(number << self.shift())
        } else {
            None
        }
    }

    /// What our bits of `mark` say.
    #[must_use]
    pub const fn number(self, mark: u32) -> u32 {
        (mark & self.0) >> self.shift()
    }
}

impl Default for MarkMask {
    fn default() -> Self {
        Self::UPPER_16
    }
}

/// A provider's service behind a Linux device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    /// Its name.
    pub name: CircuitName,
    /// The device behind which it lies.
    pub device: DeviceName,
    /// Further names under which its traffic arrives: tunnels, VRF devices.
    pub also: Vec<DeviceName>,
    /// What it can carry; given for a circuit in no pool, and a bound on the split for one in a pool.
    pub capacity: Option<Rates>,
    /// Bytes that the link adds to each packet.
    pub overhead: Overhead,
    /// How the link frames packets.
    pub link_layer: LinkLayer,
    /// The leaf of its classes, where a class does not say.
    pub leaf: LeafChoice,
    /// What to do about somebody else's root qdisc.
    pub takeover: TakeOver,
    /// Where it was written.
    pub origin: Origin,
}

/// Bytes that a link adds to each packet, as the kernel holds them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Overhead(pub u16);

/// How a link frames packets.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum LinkLayer {
    /// Whole packets.
    #[default]
    Ethernet,
    /// Cells of 53 bytes that carry 48.
    Atm,
}

/// Which queueing discipline a class's packets wait in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum LeafChoice {
    /// The best that the kernel has: `fq_codel`, else `sfq`, else `pfifo`.
    #[default]
    Best,
    /// First in, first out, a limit in packets.
    Pfifo,
    /// Stochastic fair queueing.
    Sfq,
    /// Fair queueing with controlled delay.
    FqCodel,
    /// Common applications kept enhanced, unshaped.
    Cake,
}

/// What to do about a root qdisc that is neither ours nor the kernel's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TakeOver {
    /// Refuse the device, naming the qdisc.
    #[default]
    Refuse,
    /// Replace it; the way back is then the kernel's default.
    Adopt,
}

/// Capacity that circuits share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// The circuits, in the order in which they were written.
    pub circuits: Vec<CircuitName>,
    /// What it carries.
    pub capacity: Rates,
    /// The access device, where the circuits are VLANs of one.
    pub device: Option<DeviceName>,
    /// What it carries once a condition is true, in the order in which they were written.
    pub after: Vec<(ConditionName, Rates)>,
    /// Where it was written.
    pub origin: Origin,
}
