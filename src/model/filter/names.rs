//! Names of chains and maps.
//!
//! A chain that puts packets into a class has the name of the class's place ([`NodeKey`]), so that
//! numbers can be learnt back from the kernel. All others are named after their circuit and what they
//! do. Every one holds a dot, so that none is a word of nft's own: a circuit may be called `ip`. What is
//! for packets that came over a circuit ends with `/down`, and that of a block has a `/` after its name, so that
//! neither can be taken for anything of a circuit, whatever that is called.

use std::fmt::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::names::{BlockName, CircuitName};
use crate::model::node::NodeKey;
use crate::units::Direction;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $type(Arc<str>);

        impl $type {
            /// A name that the kernel showed, or one that is made of names that were checked.
            #[must_use]
            pub fn new(name: &str) -> Self {
                Self(name.into())
            }

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

name!(
    /// Names a chain.
    ChainName
);
name!(
    /// Names a verdict map.
    MapName
);
name!(
    /// Names a counter.
    CounterName
);

/// What a chain of ours is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainRole {
    /// Packets about to leave the host enter here, and go to the circuits that they go by.
    Leaving,
    /// They enter here when all others are done with them, and go to the circuits that they came by.
    Marking,
    /// Packets lose what stands in our bits of their marks.
    Unmark,
    /// What connections remember of their packets' code points.
    Remember,
    /// What connections remember of packets that came over a circuit, wherever they go.
    Arrived(CircuitName),
    /// All that leaves over a circuit.
    Up(CircuitName),
    /// What the host itself sends over a circuit.
    Own(CircuitName),
    /// What keeps the line itself alive.
    Line(CircuitName),
    /// What the host itself is reached by.
    Hand(CircuitName),
    /// All that leaves over a circuit but what control took.
    Traffic(CircuitName),
    /// All that came over a circuit and goes on to another device.
    Down(CircuitName),
    /// The classes of a circuit or of a site with classes, in order.
    Classes {
        /// The circuit or site.
        of: NodeKey,
        /// For packets of which direction.
        direction: Direction,
        /// What the rules say, in short: see [`Table::name_by_content`](super::Table::name_by_content).
        digest: u64,
    },
    /// The packets of a place in a tree.
    Place(NodeKey, Direction),
    /// Packets on their way through the host enter here, and go to the blocks that hold.
    Forward,
    /// What a block is about, and its exceptions.
    Block {
        /// Which.
        block: BlockName,
        /// What the rules say, in short: see [`Table::name_by_content`](super::Table::name_by_content).
        digest: u64,
    },
    /// How what a block is about is rejected.
    Rejected(BlockName),
}

const LEAVING: &str = "leaving";
const MARKING: &str = "marking";
const UNMARK: &str = "unmark";
const REMEMBER: &str = "remember";
const FORWARD: &str = "forward";
const BLOCK: &str = "block.";
/// What stands between the name of a block and the rest.
const OF_BLOCK: char = '/';
const REJECTED: &str = "reject";
const BLOCKED: &str = "blocked.";
const CLASSES: &str = ".classes";
/// What stands between a circuit and which of its sites are in a map.
const SITES: &str = ".sites";
/// What the names of all that is for packets from a circuit end with.
const DOWN: &str = "/down";

/// What a name ends with.
const fn ending(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "",
        Direction::Down => DOWN,
    }
}

/// A name without its ending.
fn split(name: &str) -> (&str, Direction) {
    match name.strip_suffix(DOWN) {
        Some(name) => (name, Direction::Down),
        None => (name, Direction::Up),
    }
}

/// Of a chain of classes, whose they are and what they say in short: 16 digits, for of a site that is called
/// `classes` there may be a chain `mpls.site.classes.rest`.
fn classes(name: &str) -> Option<(&str, &str)> {
    let (of, digest) = split(name).0.rsplit_once('.')?;
    let of = of.strip_suffix(CLASSES)?;
    (digest.len() == 16).then_some((of, digest))
}

impl ChainName {
    /// Whether it may be one that says what the chain's rules say, in short: most do not.
    pub(super) fn is_by_content(&self) -> bool {
        self.as_str().starts_with(BLOCK) || classes(self.as_str()).is_some()
    }
}

impl ChainRole {
    /// The name of the chain.
    #[must_use]
    pub fn name(&self) -> ChainName {
        // Room for nearly all of them at once: there are thousands.
        let mut name = String::with_capacity(64);
        match self.write(&mut name) {
            // A text takes all that is written to it.
            Ok(()) | Err(fmt::Error) => ChainName::new(&name),
        }
    }

    fn write(&self, name: &mut String) -> fmt::Result {
        match self {
            Self::Leaving => name.write_str(LEAVING),
            Self::Marking => name.write_str(MARKING),
            Self::Unmark => name.write_str(UNMARK),
            Self::Remember => name.write_str(REMEMBER),
            Self::Arrived(circuit) => write!(name, "{circuit}.arrived"),
            Self::Up(circuit) => write!(name, "{circuit}.up"),
            Self::Own(circuit) => write!(name, "{circuit}.own"),
            Self::Line(circuit) => write!(name, "{circuit}.line"),
            Self::Hand(circuit) => write!(name, "{circuit}.hand"),
            Self::Traffic(circuit) => write!(name, "{circuit}.traffic"),
            Self::Down(circuit) => write!(name, "{circuit}{DOWN}"),
            Self::Classes {
                of,
                direction,
                digest,
            } => write!(name, "{of}{CLASSES}.{digest:016x}{}", ending(*direction)),
            Self::Place(key, direction) => {
                key.write(name)?;
                name.write_str(ending(*direction))
            }
            Self::Forward => name.write_str(FORWARD),
            Self::Block { block, digest } => {
                write!(name, "{BLOCK}{block}{OF_BLOCK}{digest:016x}")
            }
            Self::Rejected(block) => write!(name, "{BLOCK}{block}{OF_BLOCK}{REJECTED}"),
        }
    }

    /// What the chain of that name is for; `None` where it is not ours.
    #[must_use]
    pub fn of(name: &ChainName) -> Option<Self> {
        let name = name.as_str();
        match name {
            LEAVING => return Some(Self::Leaving),
            MARKING => return Some(Self::Marking),
            UNMARK => return Some(Self::Unmark),
            REMEMBER => return Some(Self::Remember),
            FORWARD => return Some(Self::Forward),
            _ => {}
        }
        if let Some(role) = Self::of_block(name) {
            return Some(role);
        }
        let (name, direction) = split(name);
        if let Some((of, digest)) = classes(name) {
            return Some(Self::Classes {
                of: of.parse().ok()?,
                direction,
                digest: u64::from_str_radix(digest, 16).ok()?,
            });
        }
        let place = || Some(Self::Place(name.parse().ok()?, direction));
        let Some((circuit, what)) = name.split_once('.') else {
            let circuit = name.parse().ok()?;
            return (direction == Direction::Down).then_some(Self::Down(circuit));
        };
        if direction == Direction::Down {
            return place();
        }
        let circuit: CircuitName = circuit.parse().ok()?;
        match what {
            "up" => Some(Self::Up(circuit)),
            "arrived" => Some(Self::Arrived(circuit)),
            "own" => Some(Self::Own(circuit)),
            "line" => Some(Self::Line(circuit)),
            "hand" => Some(Self::Hand(circuit)),
            "traffic" => Some(Self::Traffic(circuit)),
            _ => place(),
        }
    }

    /// What the chain of that name is for, where it is that of a block.
    fn of_block(name: &str) -> Option<Self> {
        let (block, what) = name.strip_prefix(BLOCK)?.split_once(OF_BLOCK)?;
        let block = block.parse().ok()?;
        if what == REJECTED {
            return Some(Self::Rejected(block));
        }
        let digest = u64::from_str_radix(what, 16).ok()?;
        Some(Self::Block { block, digest })
    }

    /// For packets of which direction it is; `None` where it is for both.
    #[must_use]
    pub const fn direction(&self) -> Option<Direction> {
        match self {
            // What is remembered is for replies, which go the other way.
            Self::Leaving
            | Self::Marking
            | Self::Unmark
            | Self::Remember
            | Self::Arrived(_)
            | Self::Forward
            | Self::Block { .. }
            | Self::Rejected(_) => None,
            Self::Up(_) | Self::Own(_) | Self::Line(_) | Self::Hand(_) | Self::Traffic(_) => {
                Some(Direction::Up)
            }
            Self::Down(_) => Some(Direction::Down),
            Self::Classes { direction, .. } | Self::Place(_, direction) => Some(*direction),
        }
    }

    /// The circuit that it is of; `None` where it is of the whole table.
    #[must_use]
    pub const fn circuit(&self) -> Option<&CircuitName> {
        match self {
            Self::Leaving
            | Self::Marking
            | Self::Unmark
            | Self::Remember
            | Self::Forward
            | Self::Block { .. }
            | Self::Rejected(_) => None,
            Self::Up(circuit)
            | Self::Arrived(circuit)
            | Self::Own(circuit)
            | Self::Line(circuit)
            | Self::Hand(circuit)
            | Self::Traffic(circuit)
            | Self::Down(circuit) => Some(circuit),
            Self::Classes { of: key, .. } | Self::Place(key, _) => Some(&key.circuit),
        }
    }
}

/// Which of the prefixes of a circuit's sites stand in a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefixes<'a> {
    /// Those of this length.
    Of(u8),
    /// All but those of these lengths, which have maps of their own.
    But(&'a [u8]),
}

impl fmt::Display for Prefixes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(length) => write!(f, "-{length}"),
            Self::But([]) => Ok(()),
            Self::But(lengths) => {
                f.write_str("-but")?;
                lengths.iter().try_for_each(|length| write!(f, "-{length}"))
            }
        }
    }
}

impl MapName {
    /// From the devices by which packets came to the chains in which circuits remember.
    #[must_use]
    pub fn origins() -> Self {
        Self::new("origins")
    }

    /// The devices at which our bits of marks lead to the tree for what arrived: there nobody else's may stand.
    #[must_use]
    pub fn departures() -> Self {
        Self::new("departures")
    }

    /// From devices to the chains of their circuits.
    #[must_use]
    pub fn circuits() -> Self {
        Self::new("circuits")
    }

    /// From the device by which a packet came and the one by which it leaves to the chains of the circuit
    /// that it came over.
    #[must_use]
    pub fn arrivals() -> Self {
        Self::new("arrivals")
    }

    /// From IPv4 addresses to the chains of a circuit's sites.
    #[must_use]
    pub fn sites4(circuit: &CircuitName, prefixes: Prefixes<'_>, direction: Direction) -> Self {
        Self::new(&format!("{circuit}{SITES}4{prefixes}{}", ending(direction)))
    }

    /// From IPv6 addresses to the chains of a circuit's sites.
    #[must_use]
    pub fn sites6(circuit: &CircuitName, prefixes: Prefixes<'_>, direction: Direction) -> Self {
        Self::new(&format!("{circuit}{SITES}6{prefixes}{}", ending(direction)))
    }

    /// The length of all prefixes in it, where it is a map of sites that is asked with networks of that length
    /// ([`Prefixes::Of`]).
    #[must_use]
    pub fn length(&self) -> Option<u8> {
        let (name, _) = split(&self.0);
        let (_, which) = name.rsplit_once(SITES)?;
        let (_, length) = which.split_once('-')?;
        length.parse().ok()
    }

    /// The name that the map of all sites has where no length has one of its own, of any such map; of another
    /// its own.
    pub(super) fn whole(&self) -> Self {
        let (name, direction) = split(&self.0);
        let parts = name.rsplit_once(SITES).and_then(|(circuit, which)| {
            let (family, _) = which.split_once('-')?;
            Some((circuit, family))
        });
        match parts {
            Some((circuit, family)) => {
                Self::new(&format!("{circuit}{SITES}{family}{}", ending(direction)))
            }
            None => self.clone(),
        }
    }

    /// For packets of which direction it is.
    #[must_use]
    pub fn direction(&self) -> Direction {
        if *self == Self::arrivals() {
            return Direction::Down;
        }
        split(&self.0).1
    }
}

impl CounterName {
    /// Of what a block rejected.
    #[must_use]
    pub fn blocked(block: &BlockName) -> Self {
        Self::new(&format!("{BLOCKED}{block}"))
    }

    /// Whether it can be one of a block; else it is not ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.block().is_some()
    }

    /// The block whose it is; `None` where it is not ours.
    #[must_use]
    pub fn block(&self) -> Option<BlockName> {
        self.0.strip_prefix(BLOCKED)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever things are called: a word of ours is a good name of a site.
    #[test]
    fn a_name_says_what_its_chain_is_for() {
        for place in [
            "mpls",
            "mpls.rest",
            "mpls.site.provins",
            "mpls.site.classes",
            "mpls.site.classes.rest",
            "mpls.site.classes.class.classes",
            "classes.class.classes",
        ] {
            let key: NodeKey = place.parse().unwrap();
            for direction in [Direction::Up, Direction::Down] {
                let classes = ChainRole::Classes {
                    of: key.clone(),
                    direction,
                    digest: 0x12,
                };
                assert!(classes.name().is_by_content());
                assert_eq!(ChainRole::of(&classes.name()), Some(classes));
                // No packets are put into a circuit itself.
                if key.depth() > 0 {
                    let place = ChainRole::Place(key.clone(), direction);
                    assert!(!place.name().is_by_content(), "{}", place.name());
                    assert_eq!(ChainRole::of(&place.name()), Some(place));
                }
            }
        }
    }
}
