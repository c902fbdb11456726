//! Phases: named stances of the whole host.

use std::collections::BTreeMap;
use std::time::Duration;

use super::circuit::LeafChoice;
use super::class::{Priority, SiteTerms, Terms, Weight};
use super::names::{
    BlockName, CircuitName, ClassName, ConditionName, Origin, PhaseName, PoolName, SiteName,
};
use crate::units::{Amounts, Rates};

/// A named stance: splits, overrides, blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Its name.
    pub name: PhaseName,
    /// How each pool is divided.
    pub splits: BTreeMap<PoolName, Split>,
    /// A condition before which it cannot be entered.
    pub requires: Option<ConditionName>,
    /// What it replaces in classes.
    pub classes: BTreeMap<ClassName, ClassOverride>,
    /// What it replaces in sites.
    pub sites: BTreeMap<SiteName, SiteOverride>,
    /// The blocks that hold while it lasts.
    pub blocks: Vec<BlockName>,
    /// How long the way from the present split takes.
    pub ramp: Duration,
    /// When it begins by itself.
    pub from: Option<jiff::Timestamp>,
    /// The condition at which it ends by itself.
    pub until: Option<ConditionName>,
    /// The phase that follows.
    pub then: Option<PhaseName>,
    /// Where it was written.
    pub origin: Origin,
}

/// How a pool is divided among its circuits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// What each circuit is given.
    pub shares: BTreeMap<CircuitName, Rates>,
    /// Whether the shares stay, or follow demand.
    pub follow: Follow,
    /// Where it was written.
    pub origin: Origin,
}

/// What a split follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follow {
    /// The figures written.
    Fixed,
    /// Demand, within bounds.
    Demand {
        /// What each circuit keeps at the least.
        floor: BTreeMap<CircuitName, Rates>,
        /// What each circuit gets at the most; the pool where it is not given.
        ceiling: BTreeMap<CircuitName, Rates>,
        /// How spare capacity is divided; one where it is not given.
        weight: BTreeMap<CircuitName, Weight>,
    },
}

/// The keys of a class that a phase replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassOverride {
    /// Replaces the guarantee.
    pub guarantee: Option<Amounts>,
    /// Replaces the ceiling.
    pub ceiling: Option<Amounts>,
    /// Replaces the priority.
    pub priority: Option<Priority>,
    /// Replaces the weight.
    pub weight: Option<Weight>,
    /// Replaces the leaf.
    pub leaf: Option<LeafChoice>,
    /// Where it was written.
    pub origin: Origin,
}

impl ClassOverride {
    /// `terms`, with what is given here in place of its own.
    #[must_use]
    pub fn over(&self, terms: Terms) -> Terms {
        Terms {
            guarantee: self.guarantee.unwrap_or(terms.guarantee),
            ceiling: self.ceiling.unwrap_or(terms.ceiling),
            priority: self.priority.unwrap_or(terms.priority),
            weight: self.weight.unwrap_or(terms.weight),
            leaf: self.leaf.or(terms.leaf),
        }
    }
}

/// The keys of a site that a phase replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteOverride {
    /// Replaces the tail's capacity.
    pub capacity: Option<Rates>,
    /// Replaces the guarantee.
    pub guarantee: Option<Amounts>,
    /// Replaces the priority.
    pub priority: Option<Priority>,
    /// Where it was written.
    pub origin: Origin,
}

impl SiteOverride {
    /// `terms`, with what is given here in place of its own.
    #[must_use]
    pub fn over(&self, terms: SiteTerms) -> SiteTerms {
        SiteTerms {
            capacity: self.capacity.unwrap_or(terms.capacity),
            guarantee: self.guarantee.unwrap_or(terms.guarantee),
            priority: self.priority.unwrap_or(terms.priority),
        }
    }
}
