//! Policy files as written → [`Policy`], valid by construction.
//!
//! Reading is pure: the caller brings the files' texts ([`Source`]), and gets back a policy or every
//! fault of it at once, each with its place in the text ([`Faults`]).

//!
//! The first source is the host's file: only there may its facts stand (`name`, `timezone`,
//! `inside`, `mark_mask`, `[daemon]`, `[circuit.C]`, `[pool.P]`), since the same policy files are
//! pushed to many hosts. Everything else may stand in any file, the first included. Classes match
//! in the order of the files and then of the text.

mod capacity;
mod circuit;
mod class;
mod cx;
mod document;
mod draft;
mod fault;
mod hold;
mod host;
mod judge;
mod lists;
mod matching;
mod phase;
mod promise;
mod report;
mod root;
mod schedule;
mod schema;
pub mod services;
mod spec;
mod table;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use capacity::implied;
pub use document::LARGEST;
pub use fault::{Fault, Faults, Position, Related};
pub use lists::{ListKind, Listed, Usage};
pub use report::{SHOWN, Style, advice, report};
pub use schema::{Files, schema};
pub use spec::nearest;

use crate::model::circuit::{Circuit, Host, Pool};
use crate::model::class::{Class, Rest, Site};
use crate::model::daemon::Daemon;
use crate::model::hold::{Block, Condition, ConditionTerm};
use crate::model::names::{
    BlockName, CircuitName, ClassName, ConditionName, DeviceName, EventName, PhaseName, PoolName,
    SiteName,
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
    daemon: Daemon,
    lists: Vec<Listed>,
}

/// Reads the files of a host, the host's own first: a policy, or everything that is wrong.
///
/// # Errors
/// Where anything is wrong: a fault for each thing, in the order of the files and their texts.
pub fn read(sources: &[Source]) -> Result<Policy, Faults> {
    let mut log = fault::Log::new();
    let files: Option<Vec<_>> = sources
        .iter()
        .enumerate()
        .map(|(file, source)| document::parse(file, source, &mut log))
        .collect::<Vec<_>>()
        .into_iter()
        .collect();
    log.end_of_syntax();
    let mut policy = None;
    let log = match files {
        // What is missing in a file that cannot be read would be missed everywhere else.
        None => log,
        Some(files) => {
            let mut cx = cx::Cx::new(sources, log);
            let host_file = sources.first().map_or("host.toml", |source| &source.name);
            let draft = draft::read(&mut cx, &files, host_file);
            policy = draft.policy();
            if let Some(policy) = &policy {
                judge::judge(&mut cx, &draft, policy);
            }
            cx.log
        }
    };
    match (log.finish(sources), policy) {
        (Some(faults), _) => Err(faults),
        (None, Some(policy)) => Ok(policy),
        (None, None) => Err(Faults::new(
            Fault::of_file(
                "host.toml",
                "there is nothing to read",
                "give the host's file, and the files of its policy after it",
            ),
            Vec::new(),
        )),
    }
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

    /// The device at whose root a circuit is shaped upward: its own, or the access device that its pool names.
    #[must_use]
    pub fn tree_device(&self, circuit: &CircuitName) -> Option<&DeviceName> {
        let own = &self.circuits.get(circuit)?.device;
        let pool = self.pool_of(circuit);
        Some(pool.and_then(|pool| pool.device.as_ref()).unwrap_or(own))
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

    /// The events that its conditions wait for; one that several wait for comes several times.
    pub fn events(&self) -> impl Iterator<Item = &EventName> {
        let terms = self.conditions.values();
        terms
            .flat_map(|condition| &condition.terms)
            .filter_map(|term| match term {
                ConditionTerm::Event(event) => Some(event),
                ConditionTerm::After(_)
                | ConditionTerm::LinkSpeed { .. }
                | ConditionTerm::Condition(_) => None,
            })
    }

    /// The daemon's own settings.
    #[must_use]
    pub const fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The groups and services that the files define.
    #[must_use]
    pub fn lists(&self) -> &[Listed] {
        &self.lists
    }
}
