//! Classes, sites, and what a packet must look like to belong to them.

use std::fmt;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::circuit::LeafChoice;
use super::names::{CircuitName, ClassName, Origin, SiteName};
use crate::units::{Amount, Amounts, PerDirection, Percent, Rate, Rates};

/// Who is served first: 0 first, 7 last, as in HTB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// Before all others.
    pub const FIRST: Self = Self(0);
    /// A class that does not say.
    pub const DEFAULT: Self = Self(4);
    /// After all others.
    pub const LAST: Self = Self(7);

    /// The priority as the kernel counts it.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Priority {
    type Error = String;

    fn try_from(priority: u8) -> Result<Self, String> {
        if priority <= Self::LAST.0 {
            Ok(Self(priority))
        } else {
            Err(format!(
                "a priority goes from 0 (first) to 7 (last), {priority} is beyond"
            ))
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

/// How large a part of spare capacity a class takes beside others of its priority: 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Weight(u8);

impl Weight {
    /// A class that does not say.
    pub const ONE: Self = Self(1);

    /// The weight as a number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Weight {
    type Error = String;

    fn try_from(weight: u8) -> Result<Self, String> {
        if (1..=100).contains(&weight) {
            Ok(Self(weight))
        } else {
            Err(format!("a weight goes from 1 to 100, {weight} is beyond"))
        }
    }
}

impl From<Weight> for u8 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

/// What a class is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What it has for certain.
    pub guarantee: Amounts,
    /// What it never goes beyond.
    pub ceiling: Amounts,
    /// Who is served first.
    pub priority: Priority,
    /// How spare capacity is divided within a priority.
    pub weight: Weight,
    /// Where its packets wait; the circuit's where it does not say.
    pub leaf: Option<LeafChoice>,
}

impl Terms {
    /// Where a class does not say: 8 kbit for certain, all that the parent has, priority 4, weight 1.
    pub const CLASS: Self = Self {
        guarantee: PerDirection::both(Amount::Fixed(DEFAULT_GUARANTEE)),
        ceiling: PerDirection::both(Amount::Part(Percent::ALL)),
        priority: Priority::DEFAULT,
        weight: Weight::ONE,
        leaf: None,
    };
    /// Where the rest does not say: 2 % for certain, served last.
    pub const REST: Self = Self {
        guarantee: PerDirection::both(Amount::Part(Percent::whole(2))),
        priority: Priority::LAST,
        ..Self::CLASS
    };
}

/// What a class or site has for certain where it does not say: 8 kbit.
pub const DEFAULT_GUARANTEE: Rate = Rate::KBIT_8;

/// Traffic of one kind on a circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: ClassName,
    /// The circuit on which it has its place.
    pub circuit: CircuitName,
    /// What belongs to it: any of these.
    pub matches: Vec<Match>,
    /// Where each of these was written.
    pub matches_at: Vec<Origin>,
    /// What it is promised, where the phase does not say otherwise.
    pub terms: Terms,
    /// Where it was written.
    pub origin: Origin,
}

/// The IP traffic of a circuit that matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// The circuit.
    pub circuit: CircuitName,
    /// What it is promised.
    pub terms: Terms,
    /// Where it was written; `None` where it was not.
    pub origin: Option<Origin>,
}

/// A branch behind a circuit, held to its own tail capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// The circuit behind which it lies.
    pub circuit: CircuitName,
    /// The addresses by which it is known; those of two sites never overlap.
    pub prefixes: Vec<IpNet>,
    /// What is promised, where the phase does not say otherwise.
    pub terms: SiteTerms,
    /// Classes inside its tail, in the order in which they match.
    pub classes: Vec<SiteClass>,
    /// Where it was written.
    pub origin: Origin,
}

/// What a site is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteTerms {
    /// What its tail carries: never more is sent.
    pub capacity: Rates,
    /// What it has for certain on the circuit.
    pub guarantee: Amounts,
    /// Who is served first.
    pub priority: Priority,
}

/// A class inside a site's tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteClass {
    /// Its name, unique inside the site.
    pub name: ClassName,
    /// What belongs to it: any of these.
    pub matches: Vec<Match>,
    /// Where each of these was written.
    pub matches_at: Vec<Origin>,
    /// What it is promised, of the tail.
    pub terms: Terms,
    /// Where it was written.
    pub origin: Origin,
}

/// One way to belong to a class: all that is given must hold.
///
/// Addresses and ports are those with which a connection was opened, before any translation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// Who opened it; anybody where empty.
    pub from: Vec<IpNet>,
    /// Who was asked; anybody where empty.
    pub to: Vec<IpNet>,
    /// For what; anything where empty.
    pub service: Vec<PortRange>,
    /// How the packet is marked; anyhow where empty.
    pub dscp: Vec<Dscp>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Ports of one transport.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PortRange {
    /// The transport.
    pub transport: Transport,
    /// The ports, the lower first.
    pub ports: RangeInclusive<u16>,
}

/// A differentiated services code point: 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dscp(u8);

impl Dscp {
    /// A code point; `None` beyond 63.
    #[must_use]
    pub fn new(point: u8) -> Option<Self> {
        (point < 64).then_some(Self(point))
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}
