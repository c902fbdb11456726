//! The packet filter's table, by meaning.
//!
//! The kernel keeps what a rule does, not how it was written: it sorts and merges the members of
//! sets, drops what is implied, and `nft` prints numbers for names (and other numbers in other
//! versions). So a table is compared as a typed value. Whoever makes one, lowering or the reader of
//! what `nft` prints, goes through the same constructors ([`Rule::new`], [`Values::new`]), which
//! bring every way to say a thing to one. What a reader cannot say in these types is kept as text
//! ([`Line::Foreign`], [`Foreign`]): lowering makes neither, so it is unequal to anything of ours,
//! and can still be deleted, or put back.
//!
//! What counters count is no part of a table; that there are those of blocks is, for their rules need them.

mod blocks;
mod difference;
mod fate;
mod fields;
mod memory;
mod names;
mod restrict;
mod rule;
mod shape;
mod slot;
mod tell;
mod values;
mod walk;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use blocks::{BlockChange, BlockFate};
pub use difference::RuleChanges;
pub use fields::{Field, FieldKind, IPV4, IPV6, number, number_of_device};
pub use memory::Memory;
pub use names::{ChainName, ChainRole, CounterName, MapName, Prefixes};
pub use rule::{Action, Answer, Limit, LookupKey, Rule};
pub use slot::{Slot, note_of, read_class_id, read_note};
pub use values::{Range, Values};
pub use walk::{Limits, Packet, Step, Walk};

use super::names::DeviceName;

/// The family of our table.
pub const FAMILY: &str = "inet";
/// The name of our table.
pub const NAME: &str = "wanshift";

/// The one `inet` table of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table {
    /// Its flags: none that we would set. One that somebody set (`dormant`) turns it off.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub flags: BTreeSet<String>,
    /// Its chains.
    pub chains: BTreeMap<ChainName, Chain>,
    /// Its verdict maps.
    pub maps: BTreeMap<MapName, VerdictMap>,
    /// Its counters, which rules share: those of blocks.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub counters: BTreeSet<CounterName>,
    /// What else is in it: not ours.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub foreign: BTreeSet<Foreign>,
}

/// Rules in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Chain {
    /// Where packets enter it; `None` for one that only other rules lead to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Hook>,
    /// Its rules.
    pub lines: Vec<Line>,
}

impl Chain {
    /// A chain to which other rules lead.
    #[must_use]
    pub fn of(rules: impl IntoIterator<Item = Rule>) -> Self {
        Self {
            hook: None,
            lines: rules.into_iter().map(Line::Rule).collect(),
        }
    }
}

/// Where packets enter a chain, in nft's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// `filter`, for all of ours.
    pub kind: String,
    /// The place on a packet's way: `postrouting`.
    pub point: String,
    /// Before what is larger.
    pub priority: i32,
    /// What becomes of a packet that no rule decides upon.
    pub policy: String,
}

/// One rule of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// One that could be ours.
    Rule(Rule),
    /// One that is not, as it was printed.
    Foreign(String),
}

/// A map from what a packet shows to the chain that it goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictMap {
    /// What is looked up.
    pub kind: MapKind,
    /// Its elements; those of addresses never overlap.
    pub elements: BTreeMap<Element, Verdict>,
}

/// What a map is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapKind {
    /// The name of a device.
    Device,
    /// The names of two devices: by which a packet came, and by which it leaves.
    Pair,
    /// An IPv4 address.
    Address4,
    /// An IPv6 address.
    Address6,
    /// The network of that length that an IPv4 address is in.
    Networks4(u8),
    /// The network of that length that an IPv6 address is in.
    Networks6(u8),
}

impl MapKind {
    /// The key of an element of a map of this kind, as nft writes it.
    #[must_use]
    pub fn write(self, element: &Element) -> String {
        match (self, element) {
            (Self::Networks4(_), Element::Addresses4(range)) => {
                FieldKind::Address4.write(Range::one(range.first()))
            }
            (Self::Networks6(_), Element::Addresses6(range)) => {
                FieldKind::Address6.write(Range::one(range.first()))
            }
            _ => element.to_string(),
        }
    }
}

/// The key of an element of a map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Element {
    /// A device.
    Device(DeviceName),
    /// The device by which a packet came, and the one by which it leaves.
    Pair(DeviceName, DeviceName),
    /// IPv4 addresses.
    Addresses4(Range),
    /// IPv6 addresses.
    Addresses6(Range),
}

impl Element {
    /// Reads a key of a map of that kind, as nft writes it.
    #[must_use]
    pub fn read(kind: MapKind, text: &str) -> Option<Self> {
        match kind {
            MapKind::Device => quoted(text).map(Self::Device),
            MapKind::Pair => {
                let (arrival, departure) = text.split_once(BETWEEN)?;
                Some(Self::Pair(quoted(arrival)?, quoted(departure)?))
            }
            MapKind::Address4 => FieldKind::Address4.read(text).map(Self::Addresses4),
            MapKind::Address6 => FieldKind::Address6.read(text).map(Self::Addresses6),
            MapKind::Networks4(length) => {
                network(FieldKind::Address4, text, length).map(Self::Addresses4)
            }
            MapKind::Networks6(length) => {
                network(FieldKind::Address6, text, length).map(Self::Addresses6)
            }
        }
    }
}

/// The addresses of the network that begins with an address; `None` where none of that length does.
fn network(kind: FieldKind, text: &str, length: u8) -> Option<Range> {
    let prefix = kind.read(&format!("{text}/{length}"))?;
    let address = kind.read(text)?;
    (address == Range::one(prefix.first())).then_some(prefix)
}

/// What stands between the parts of a key.
const BETWEEN: &str = " . ";

/// The device whose name stands in quotes.
fn quoted(text: &str) -> Option<DeviceName> {
    let name = text.strip_prefix('"')?.strip_suffix('"')?;
    name.parse().ok()
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => write!(f, "\"{device}\""),
            Self::Pair(arrival, departure) => {
                write!(f, "\"{arrival}\"{BETWEEN}\"{departure}\"")
            }
            Self::Addresses4(range) => f.write_str(&FieldKind::Address4.write(*range)),
            Self::Addresses6(range) => f.write_str(&FieldKind::Address6.write(*range)),
        }
    }
}

impl FromStr for Element {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = if text.contains(BETWEEN) {
            MapKind::Pair
        } else if text.starts_with('"') {
            MapKind::Device
        } else if text.contains(':') {
            MapKind::Address6
        } else {
            MapKind::Address4
        };
        Self::read(kind, text).ok_or_else(|| format!("`{text}` is no key of a verdict map"))
    }
}

impl TryFrom<String> for Element {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Element> for String {
    fn from(element: Element) -> Self {
        element.to_string()
    }
}

/// What an element of a map does with a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It goes to a chain and does not come back.
    Goto(ChainName),
    /// It goes to a chain, and comes back where that one leads no further.
    Jump(ChainName),
    /// Something that we do not do, as it was printed.
    Foreign(String),
}

impl Verdict {
    /// The chain to which it leads.
    #[must_use]
    pub const fn target(&self) -> Option<&ChainName> {
        match self {
            Self::Goto(chain) | Self::Jump(chain) => Some(chain),
            Self::Foreign(_) => None,
        }
    }
}

/// Something in our table that is not ours: a set, a counter, a map of another kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Foreign {
    /// What it is, in nft's words: `set`, `map`, `counter`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What stands between its braces.
    pub body: String,
}
