//! Policy files as written → [`Policy`], valid by construction.
//!
//! Reading is pure: the caller brings the files' texts ([`Source`]), and gets back a policy or every
//! fault of it at once, each with its place in the text ([`Faults`]).

mod promise;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::circuit::{Circuit, Host, Pool};
use crate::model::class::{Class, Rest, Site};
use crate::model::hold::{Block, Condition};
use crate::model::names::{
    BlockName, CircuitName, ClassName, ConditionName, DeviceName, PhaseName, PoolName, SiteName,
};
use crate::model::phase::Phase;

/// The text of one policy file.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file, as it is to be named in messages.
    pub name: Arc<str>,
    /// What it says.
    pub text: Arc<str>,
}

/// What the files of a host say, checked: every name refers, every sum fits.
///
/// There is no other way to one than reading; so whoever holds one holds a valid one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    host: Host,
    circuits: BTreeMap<CircuitName, Circuit>,
    pools: BTreeMap<PoolName, Pool>,
    classes: Vec<Class>,
    rests: BTreeMap<CircuitName, Rest>,
    sites: BTreeMap<SiteName, Site>,
    phases: BTreeMap<PhaseName, Phase>,
    start: PhaseName,
    blocks: BTreeMap<BlockName, Block>,
    conditions: BTreeMap<ConditionName, Condition>,
}

impl Policy {
    /// The host's facts.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The circuits.
    #[must_use]
    pub const fn circuits(&self) -> &BTreeMap<CircuitName, Circuit> {
        &self.circuits
    }

    /// The pools.
    #[must_use]
    pub const fn pools(&self) -> &BTreeMap<PoolName, Pool> {
        &self.pools
    }

    /// The pool of a circuit, where it is in one.
    #[must_use]
    pub fn pool_of(&self, circuit: &CircuitName) -> Option<&Pool> {
        self.pools
            .values()
            .find(|pool| pool.circuits.contains(circuit))
    }

    /// The circuit behind a device.
    #[must_use]
    pub fn circuit_behind(&self, device: &DeviceName) -> Option<&Circuit> {
        self.circuits
            .values()
            .find(|circuit| circuit.device == *device)
    }

    /// The classes, in the order in which they match.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The class of that name.
    #[must_use]
    pub fn class(&self, name: &ClassName) -> Option<&Class> {
        self.classes.iter().find(|class| class.name == *name)
    }

    /// The rest of each circuit: there is one for every circuit.
    #[must_use]
    pub const fn rests(&self) -> &BTreeMap<CircuitName, Rest> {
        &self.rests
    }

    /// The sites.
    #[must_use]
    pub const fn sites(&self) -> &BTreeMap<SiteName, Site> {
        &self.sites
    }

    /// The phases.
    #[must_use]
    pub const fn phases(&self) -> &BTreeMap<PhaseName, Phase> {
        &self.phases
    }

    /// The phase of a host that was never told another.
    #[must_use]
    pub const fn start(&self) -> &PhaseName {
        &self.start
    }

    /// The blocks.
    #[must_use]
    pub const fn blocks(&self) -> &BTreeMap<BlockName, Block> {
        &self.blocks
    }

    /// The conditions.
    #[must_use]
    pub const fn conditions(&self) -> &BTreeMap<ConditionName, Condition> {
        &self.conditions
    }
}
