//! What should hold now, in the administrator's terms.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::circuit::LeafChoice;
use super::class::{Priority, Weight};
use super::names::{BlockName, Origin, PhaseName, PoolName};
use super::node::NodeKey;
use crate::units::Rates;

/// What should hold now. Why stands beside it, in [`Reasons`], and takes no part in equality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// The phase.
    pub phase: PhaseName,
    /// What each pool carries.
    pub pools: BTreeMap<PoolName, Rates>,
    /// What each place has.
    pub nodes: BTreeMap<NodeKey, Holding>,
    /// The blocks that hold, and how.
    #[serde(default)]
    pub blocks: BTreeMap<BlockName, Hold>,
}

/// How a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Connections that were open when it began may finish.
    Draining,
    /// All that it is about is rejected.
    Rejecting,
}

/// What is known of blocks beside the phase and the conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Standing {
    /// Those whose schedules let them rest now.
    pub resting: BTreeSet<BlockName>,
    /// Those that have been draining for as long as they may.
    pub drained: BTreeSet<BlockName>,
}

/// What a place in a tree has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// What it has for certain; a circuit's share.
    pub guarantee: Rates,
    /// What it never goes beyond.
    pub ceiling: Rates,
    /// Who is served first.
    pub priority: Priority,
    /// How spare capacity is divided within a priority.
    pub weight: Weight,
    /// Where its packets wait.
    pub leaf: LeafChoice,
}

/// Where something that holds was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The phase that is or was being entered.
    pub phase: PhaseName,
    /// Where it was written; `None` for what is built in.
    pub origin: Option<Origin>,
    /// In words: `split.access`, `class.gateway`, `2% of share`, `built in`.
    pub what: String,
}

/// Why a place is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounds {
    /// Its weight, which the kernel does not keep as such.
    pub weight: Weight,
    /// What it has: where the figure that decides it was written.
    pub figures: Reason,
    /// Where its packets wait.
    pub queue: Reason,
    /// What its packets are on the link.
    pub link: Reason,
    /// Which packets are its own.
    pub rules: Reason,
}

/// Why a block holds or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockGrounds {
    /// What makes it hold or not.
    pub held: Reason,
    /// What it is about.
    pub rules: Reason,
}

/// Why everything is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reasons {
    /// Each place.
    pub places: BTreeMap<NodeKey, Grounds>,
    /// Each block of the policy.
    pub blocks: BTreeMap<BlockName, BlockGrounds>,
}
