//! What is known of the world beside the kernel's queues and rules, and what became true by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::{ConditionName, DeviceName, EventName};
use crate::units::{Moment, Rate};

/// What is known at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings {
    /// The last report of each event.
    pub events: BTreeMap<EventName, Report>,
    /// The date.
    pub date: WallClock,
    /// The devices of which a speed is known.
    pub links: BTreeMap<DeviceName, LinkReading>,
}

/// An event that was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its place among all reports: a later one has a larger number, whatever the clock did.
    pub number: u64,
    /// When, by the clock of then.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// The date that the host's clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WallClock {
    /// Somebody keeps it right.
    Trusted(Timestamp),
    /// Nobody does: good for a line in a record, not for a decision.
    Untrusted(Timestamp),
}

impl WallClock {
    /// What it shows, right or not.
    #[must_use]
    pub const fn shows(self) -> Timestamp {
        match self {
            Self::Trusted(date) | Self::Untrusted(date) => date,
        }
    }
}

/// How fast a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkReading {
    /// Its speed.
    pub speed: Rate,
    /// Since when it is known to have had it without a break.
    pub since: Moment,
}

/// What made a condition true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An event was reported.
    Event(EventName),
    /// A date came.
    After(Timestamp),
    /// A device had the speed for long enough.
    LinkSpeed {
        /// The device.
        device: DeviceName,
        /// The speed that it had.
        speed: Rate,
    },
    /// Another condition was true.
    Condition(ConditionName),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => write!(f, "event `{event}`"),
            Self::After(date) => write!(f, "the date {date}"),
            Self::LinkSpeed { device, speed } => write!(f, "{device} at {speed}"),
            Self::Condition(condition) => write!(f, "condition `{condition}`"),
        }
    }
}

/// That a condition is true, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    /// When it was seen to be true, by the clock of then.
    pub since: Timestamp,
    /// What made it true: of `any` the first that was, of `all` each.
    pub because: Vec<Cause>,
    /// Who reported the events among it, each once.
    pub by: Vec<String>,
}

/// Which conditions are true. What is true stays so until it is reset by hand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latches {
    held: BTreeMap<ConditionName, Latch>,
    /// Reports up to this number do not count for a condition that was reset since.
    reset: BTreeMap<ConditionName, u64>,
}

impl Latches {
    /// As they were stored.
    #[must_use]
    pub const fn new(
        held: BTreeMap<ConditionName, Latch>,
        reset: BTreeMap<ConditionName, u64>,
    ) -> Self {
        Self { held, reset }
    }

    /// Whether a condition is true.
    #[must_use]
    pub fn holds(&self, condition: &ConditionName) -> bool {
        self.held.contains_key(condition)
    }

    /// The conditions that are true, each with why.
    #[must_use]
    pub const fn held(&self) -> &BTreeMap<ConditionName, Latch> {
        &self.held
    }

    /// The conditions that are true.
    #[must_use]
    pub fn names(&self) -> BTreeSet<ConditionName> {
        self.held.keys().cloned().collect()
    }

    /// Whether a report counts for a condition: it came after the condition was last reset.
    #[must_use]
    pub fn counts(&self, condition: &ConditionName, report: &Report) -> bool {
        self.reset
            .get(condition)
            .is_none_or(|seen| report.number > *seen)
    }

    /// Takes in what became true; what was true already keeps its reason.
    pub fn take_in(&mut self, new: BTreeMap<ConditionName, Latch>) {
        for (name, latch) in new {
            self.held.entry(name).or_insert(latch);
        }
    }

    /// Makes a condition false, and has it forget the reports up to the number `seen`.
    pub fn reset(&mut self, condition: &ConditionName, seen: u64) {
        self.held.remove(condition);
        self.reset.insert(condition.clone(), seen);
    }
}
