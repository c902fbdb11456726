//! The places of a tree, known by name: what ids, plans and metrics speak of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::names::{CircuitName, ClassName, PoolName, SiteName};

/// A place in the tree of a circuit.
///
/// Written `internet`, `internet.control`, `internet.rest`, `internet.class.gateway`,
/// `mpls.site.provins`, `mpls.site.provins.rest`, `mpls.site.provins.class.voice`: no name holds a
/// dot, so that the text can be read back (the packet filter's chains are named so).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeKey {
    /// The circuit.
    pub circuit: CircuitName,
    /// The place on it.
    pub place: Place,
}

/// What a class in a tree is for. Most are places on a circuit; a tree that circuits share has a pool above them.
///
/// Written `pool access`, `pool access control`, or as the place is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spot {
    /// A pool, above the circuits that share it.
    Pool(PoolName),
    /// What keeps the line alive, in a tree that the circuits of a pool share.
    PoolControl(PoolName),
    /// A place on a circuit.
    Node(NodeKey),
}

impl Spot {
    /// The place on a circuit; `None` for what is a pool's.
    #[must_use]
    pub const fn node(&self) -> Option<&NodeKey> {
        match self {
            Self::Node(key) => Some(key),
            Self::Pool(_) | Self::PoolControl(_) => None,
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(pool) => f.pad(&format!("pool {pool}")),
            Self::PoolControl(pool) => f.pad(&format!("pool {pool} control")),
            Self::Node(key) => fmt::Display::fmt(key, f),
        }
    }
}

/// A place on a circuit, in the order in which they are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The circuit itself: all its traffic.
    Circuit,
    /// What keeps the line itself alive.
    Control,
    /// A class.
    Class(ClassName),
    /// A site.
    Site(SiteName),
    /// A class inside a site.
    SiteClass(SiteName, ClassName),
    /// The traffic of a site that matches none of its classes.
    SiteRest(SiteName),
    /// The IP traffic that matches nothing.
    Rest,
}

impl NodeKey {
    /// The place `place` on `circuit`.
    #[must_use]
    pub const fn new(circuit: CircuitName, place: Place) -> Self {
        Self { circuit, place }
    }

    /// The place above; `None` for the circuit itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let place = match &self.place {
            Place::Circuit => return None,
            Place::Control | Place::Rest | Place::Class(_) | Place::Site(_) => Place::Circuit,
            Place::SiteRest(site) | Place::SiteClass(site, _) => Place::Site(site.clone()),
        };
        Some(Self::new(self.circuit.clone(), place))
    }

    /// How many places lie above.
    #[must_use]
    pub const fn depth(&self) -> usize {
        match self.place {
            Place::Circuit => 0,
            Place::Control | Place::Rest | Place::Class(_) | Place::Site(_) => 1,
            Place::SiteRest(_) | Place::SiteClass(..) => 2,
        }
    }
}

impl NodeKey {
    /// Part by part: thousands of chains are named after places.
    pub(super) fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        out.write_str(self.circuit.as_str())?;
        let mut parts = |parts: &[&str]| parts.iter().try_for_each(|part| out.write_str(part));
        match &self.place {
            Place::Circuit => Ok(()),
            Place::Control => parts(&[".control"]),
            Place::Rest => parts(&[".rest"]),
            Place::Class(class) => parts(&[".class.", class.as_str()]),
            Place::Site(site) => parts(&[".site.", site.as_str()]),
            Place::SiteRest(site) => parts(&[".site.", site.as_str(), ".rest"]),
            Place::SiteClass(site, class) => {
                parts(&[".site.", site.as_str(), ".class.", class.as_str()])
            }
        }
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_none() {
            return self.write(f);
        }
        let mut text = String::new();
        self.write(&mut text)?;
        f.pad(&text)
    }
}

/// A text that names no place in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` names no place in a tree")]
pub struct NodeKeyError(String);

impl FromStr for NodeKey {
    type Err = NodeKeyError;

    fn from_str(text: &str) -> Result<Self, NodeKeyError> {
        let error = || NodeKeyError(text.to_owned());
        let mut parts = text.split('.');
        let circuit = parts
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|_| error())?;
        let parts: Vec<&str> = parts.collect();
        let class = |name: &str| name.parse::<ClassName>().map_err(|_| error());
        let site = |name: &str| name.parse::<SiteName>().map_err(|_| error());
        let place = match parts.as_slice() {
            [] => Place::Circuit,
            ["control"] => Place::Control,
            ["rest"] => Place::Rest,
            ["class", name] => Place::Class(class(name)?),
            ["site", name] => Place::Site(site(name)?),
            ["site", name, "rest"] => Place::SiteRest(site(name)?),
            ["site", name, "class", inner] => Place::SiteClass(site(name)?, class(inner)?),
            _ => return Err(error()),
        };
        Ok(Self::new(circuit, place))
    }
}

impl TryFrom<String> for NodeKey {
    type Error = NodeKeyError;

    fn try_from(text: String) -> Result<Self, NodeKeyError> {
        text.parse()
    }
}

impl From<NodeKey> for String {
    fn from(key: NodeKey) -> Self {
        key.to_string()
    }
}
