//! Names of chains and maps.
//!
//! A chain that puts packets into a class has the name of the class's place ([`NodeKey`]), so that
//! numbers can be learnt back from the kernel. All others are named after their circuit and what they
//! do. Every one holds a dot, so that none is a word of nft's own: a circuit may be called `ip`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::names::CircuitName;
use crate::model::node::NodeKey;

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

/// What a chain of ours is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainRole {
    /// Packets about to leave the host enter here, and go to their circuit by the device.
    Leaving,
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
    /// The classes of a circuit or of a site with classes, in order.
    Classes {
        /// The circuit or site.
        of: NodeKey,
        /// What the rules say, in short: see [`Table::name_by_content`](super::Table::name_by_content).
        digest: u64,
    },
    /// The packets of a place in a tree.
    Place(NodeKey),
}

const LEAVING: &str = "leaving";
const CLASSES: &str = ".classes.";

impl ChainRole {
    /// The name of the chain.
    #[must_use]
    pub fn name(&self) -> ChainName {
        ChainName::new(&match self {
            Self::Leaving => LEAVING.to_owned(),
            Self::Up(circuit) => format!("{circuit}.up"),
            Self::Own(circuit) => format!("{circuit}.own"),
            Self::Line(circuit) => format!("{circuit}.line"),
            Self::Hand(circuit) => format!("{circuit}.hand"),
            Self::Traffic(circuit) => format!("{circuit}.traffic"),
            Self::Classes { of, digest } => format!("{of}{CLASSES}{digest:016x}"),
            Self::Place(key) => key.to_string(),
        })
    }

    /// What the chain of that name is for; `None` where it is not ours.
    #[must_use]
    pub fn of(name: &ChainName) -> Option<Self> {
        let name = name.as_str();
        if name == LEAVING {
            return Some(Self::Leaving);
        }
        if let Some((of, digest)) = name.rsplit_once(CLASSES) {
            return Some(Self::Classes {
                of: of.parse().ok()?,
                digest: u64::from_str_radix(digest, 16).ok()?,
            });
        }
        let (circuit, what) = name.split_once('.')?;
        let circuit: CircuitName = circuit.parse().ok()?;
        match what {
            "up" => Some(Self::Up(circuit)),
            "own" => Some(Self::Own(circuit)),
            "line" => Some(Self::Line(circuit)),
            "hand" => Some(Self::Hand(circuit)),
            "traffic" => Some(Self::Traffic(circuit)),
            _ => name.parse().ok().map(Self::Place),
        }
    }
}

impl MapName {
    /// From devices to the chains of their circuits.
    #[must_use]
    pub fn circuits() -> Self {
        Self::new("circuits")
    }

    /// From IPv4 addresses to the chains of a circuit's sites.
    #[must_use]
    pub fn sites4(circuit: &CircuitName) -> Self {
        Self::new(&format!("{circuit}.sites4"))
    }

    /// From IPv6 addresses to the chains of a circuit's sites.
    #[must_use]
    pub fn sites6(circuit: &CircuitName) -> Self {
        Self::new(&format!("{circuit}.sites6"))
    }
}
