//! What holds, why, and since when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::names::{BlockName, CircuitName, ConditionName, DeviceName, PhaseName, PoolName};
use crate::model::node::NodeKey;
use crate::plan::Repaired;
use crate::units::Rate;

/// All that is known of the host at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The host's name; empty where no policy was ever good.
    pub host: String,
    /// When this was so, by the host's clock.
    pub at: Timestamp,
    /// The daemon; none where a verb looked by itself.
    pub daemon: Option<DaemonFacts>,
    /// Whether all is as it should be: there are no problems.
    pub healthy: bool,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
    /// The last good policy.
    pub policy: Option<PolicyFacts>,
    /// The phase that holds; none where nothing of ours does.
    pub phase: Option<PhaseFacts>,
    /// The names of all phases.
    pub phases: Vec<PhaseName>,
    /// The circuits, by name.
    pub circuits: Vec<CircuitStatus>,
    /// The places where packets wait, in the order of the tree.
    pub classes: Vec<ClassStatus>,
    /// The blocks of the policy, by name.
    pub blocks: Vec<BlockStatus>,
    /// The conditions of the policy, by name.
    pub conditions: Vec<ConditionStatus>,
    /// The change that is undone unless it is confirmed.
    pub pending: Option<Pending>,
    /// Whether the policy files are those that were taken back: they stay out of force until somebody orders them again.
    #[serde(default)]
    pub files_taken_back: bool,
    /// The change that was to be taken back and could not be, so far.
    #[serde(default)]
    pub stuck: Option<Stuck>,
    /// The last change that came to an end.
    pub last_change: Option<LastChange>,
    /// What somebody else changed of ours, and was put right.
    pub repairs: Repairs,
    /// How often something failed since the daemon began, by what.
    pub failures: BTreeMap<Stage, u64>,
    /// How counters are read; none where nobody reads them again and again.
    #[serde(default)]
    pub sampling: Option<Sampling>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFacts {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs.
    pub since: Timestamp,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where it lies.
    pub stage: Stage,
    /// What, why, and what to do.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading the policy files.
    Policy,
    /// Reading or writing the store.
    Store,
    /// Reading what the kernel holds.
    Observe,
    /// Working out what the kernel should hold.
    Plan,
    /// Writing to the kernel, or taking that back.
    Apply,
    /// Reading counters.
    Sample,
    /// What something outside should have brought: a device that is not there, a date not to be believed.
    Wait,
    /// Serving metrics.
    Serve,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Policy,
        Self::Store,
        Self::Observe,
        Self::Plan,
        Self::Apply,
        Self::Sample,
        Self::Wait,
        Self::Serve,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Store => "store",
            Self::Observe => "observe",
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Sample => "sample",
            Self::Wait => "wait",
            Self::Serve => "serve",
        }
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFacts {
    /// SHA-256 of what `sha256sum` prints of its files, in the order in which they are read.
    pub hash: String,
    /// Its files.
    pub files: Vec<FileFacts>,
    /// Since when it is the last good one.
    pub since: Timestamp,
}

/// A policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Where it was read.
    pub name: String,
    /// SHA-256 of what it said.
    pub sha256: String,
}

/// The phase that holds, or is being entered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseFacts {
    /// Its name.
    pub name: PhaseName,
    /// How much of it the kernel is to hold.
    #[serde(default)]
    pub holds: Holds,
    /// Since when it holds, or that much of it.
    pub since: Timestamp,
    /// Who entered it.
    pub by: String,
    /// By what: the words of the order, or what came true.
    pub because: String,
    /// What ends it by itself, and what follows then, in words.
    pub until: Option<String>,
    /// The way that is being gone at this moment.
    pub shifting: Option<Shifting>,
}

/// How much of a phase the kernel is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// All of it.
    #[default]
    Whole,
    /// Its blocks: the shaping was taken out.
    Blocks,
    /// Nothing: all was taken out.
    Nothing,
}

/// The way into a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shifting {
    /// The phase that is being entered.
    pub to: PhaseName,
    /// How much of the time is over, 0 to 1.
    pub done: f64,
    /// How long it goes on, in seconds.
    pub seconds_left: f64,
}

/// One way of a circuit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitStatus {
    /// Its name.
    pub name: CircuitName,
    /// Its device.
    pub device: DeviceName,
    /// Whether the device is there.
    pub present: bool,
    /// The pool that it shares.
    pub pool: Option<PoolName>,
    /// What leaves.
    pub up: DirectionStatus,
    /// What arrives; none where that is not shaped.
    pub down: Option<DirectionStatus>,
}

/// A circuit in one direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DirectionStatus {
    /// What it is given at this moment.
    pub share: Rate,
    /// What it could be given at the most: its pool's capacity, else its own.
    pub capacity: Rate,
    /// What it carried in the last sample, in bit/s; none before there were two.
    pub rate: Option<f64>,
    /// Bytes since the daemon began.
    pub bytes: u64,
    /// Seconds of samples at 95 % of the share or more, since the daemon began.
    pub hot_seconds: f64,
    /// Seconds of those in which packets were dropped or ever more of them waited.
    pub saturated_seconds: f64,
}

/// A place where packets wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassStatus {
    /// The place.
    pub place: NodeKey,
    /// What leaves.
    pub up: Option<Line>,
    /// What arrives.
    pub down: Option<Line>,
}

/// A class in one direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What it has for certain at this moment.
    pub guarantee: Rate,
    /// What it never goes beyond.
    pub ceiling: Rate,
    /// What it carried in the last sample, in bit/s; none before there were two.
    pub rate: Option<f64>,
    /// Bytes since the daemon began.
    pub bytes: u64,
    /// Packets since the daemon began.
    pub packets: u64,
    /// Packets dropped since the daemon began.
    pub drops: u64,
    /// Bytes that wait.
    pub backlog_bytes: u64,
}

/// Whether a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockState {
    /// It rejects.
    Holding,
    /// It rejects what is new; what was open may finish.
    Draining,
    /// Its condition is true.
    Lifted,
    /// Its calendar lets pass now.
    Resting,
    /// The phase does not bring it.
    Absent,
    /// The phase brings it, and everything was taken out of the kernel.
    TakenOut,
}

impl BlockState {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Holding => "holds",
            Self::Draining => "drains",
            Self::Lifted => "lifted",
            Self::Resting => "rests",
            Self::Absent => "not in this phase",
            Self::TakenOut => "taken out",
        }
    }
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockStatus {
    /// Its name.
    pub name: BlockName,
    /// Whether it holds.
    pub state: BlockState,
    /// Why, in words.
    pub because: String,
    /// Since when it holds without a break; none where it does not.
    pub since: Option<Timestamp>,
    /// By when it is expected to be lifted, where its condition names a date.
    pub planned_until: Option<Timestamp>,
    /// Packets that it rejected since its table was made.
    pub rejected_packets: u64,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionStatus {
    /// Its name.
    pub name: ConditionName,
    /// Whether it is true.
    #[serde(rename = "true")]
    pub holds: bool,
    /// Since when it is.
    pub since: Option<Timestamp>,
    /// Why it is, or what it waits for, in words.
    pub because: String,
}

/// A change that is undone unless it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its number.
    pub change: i64,
    /// What was ordered.
    pub what: String,
    /// By whom.
    pub by: String,
    /// When.
    pub ordered: Timestamp,
    /// How long there still is to confirm it, in whole seconds.
    pub seconds_left: u64,
}

/// A change that could not be taken back so far. It is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Its number.
    pub change: i64,
    /// What was ordered.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

/// How counters are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// How far apart, in seconds.
    pub interval_seconds: f64,
    /// The last time that they were.
    pub last: Option<Timestamp>,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Done,
    /// It was taken back.
    Undone,
}

/// A change that came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// Its number.
    pub change: i64,
    /// What was ordered, or what came true.
    pub what: String,
    /// By whom.
    pub by: String,
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
}

/// What was put right.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Repairs {
    /// How often, since the daemon began.
    pub count: u64,
    /// The last time.
    pub last: Option<Timestamp>,
    /// What was done then, in words.
    pub what: Option<String>,
    /// What was changed then: device by device, then the packet filter; so many that people read them.
    #[serde(default)]
    pub changes: Vec<Repaired>,
    /// How many more were.
    #[serde(default)]
    pub more: usize,
}

impl Repairs {
    /// So many things of one repair are kept.
    const KEPT: usize = 20;

    /// One more, in which `changes` were put back at `at`; `what` says so in words.
    pub fn add(&mut self, at: Timestamp, what: String, mut changes: Vec<Repaired>) {
        self.count += 1;
        self.last = Some(at);
        self.what = Some(what);
        self.more = changes.len().saturating_sub(Self::KEPT);
        changes.truncate(Self::KEPT);
        self.changes = changes;
    }
}
