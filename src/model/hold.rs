//! Blocks and the conditions that lift them.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::calendar::Calendar;
use super::class::PortRange;
use super::names::{BlockName, CircuitName, ConditionName, DeviceName, EventName, Origin};
use crate::units::Rate;

/// Traffic that is rejected while it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub name: BlockName,
    /// Who opens the connection; anybody where empty.
    pub from: Vec<IpNet>,
    /// Who is asked; anybody where empty.
    pub to: Vec<IpNet>,
    /// The circuit over which it would leave; any where `None`.
    pub circuit: Option<CircuitName>,
    /// For what; anything where empty.
    pub service: Vec<PortRange>,
    /// What is let through all the same.
    pub except: Vec<Exception>,
    /// Where each of these was written.
    pub except_at: Vec<Origin>,
    /// What becomes of connections that are open already.
    pub established: Established,
    /// When it holds, within the time that it holds at all; always where `None`.
    pub schedule: Option<Calendar>,
    /// The condition that lifts it.
    pub until: Option<ConditionName>,
    /// Where it was written.
    pub origin: Origin,
}

/// Traffic that a block lets through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exception {
    /// Who opens the connection; anybody where empty.
    pub from: Vec<IpNet>,
    /// Who is asked; anybody where empty.
    pub to: Vec<IpNet>,
}

/// What becomes of connections that are open when a block begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Established {
    /// They are cut.
    Cut,
    /// They may finish, for so long at the most.
    Drain(Duration),
}

/// What is true once, and from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its name.
    pub name: ConditionName,
    /// How the terms are taken together.
    pub combine: Combine,
    /// What must be.
    pub terms: Vec<ConditionTerm>,
    /// Where it was written.
    pub origin: Origin,
}

/// How the terms of a condition are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// One of them is enough.
    Any,
    /// All of them.
    All,
}

/// One term of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionTerm {
    /// Somebody reported this.
    Event(EventName),
    /// This time has come.
    After(jiff::Timestamp),
    /// A device has had this speed for so long.
    LinkSpeed {
        /// The device.
        device: DeviceName,
        /// The speed.
        at_least: Rate,
        /// For how long.
        lasting: Duration,
    },
    /// Another condition is true.
    Condition(ConditionName),
}

impl fmt::Display for ConditionTerm {
    /// What it asks for, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => write!(f, "event `{event}`"),
            Self::After(date) => write!(f, "the date {date}"),
            Self::LinkSpeed {
                device,
                at_least,
                lasting,
            } if lasting.is_zero() => write!(f, "{device} at {at_least} or more"),
            Self::LinkSpeed {
                device,
                at_least,
                lasting,
            } => {
                let seconds = lasting.as_secs_f64();
                write!(f, "{device} at {at_least} or more for {seconds} s")
            }
            Self::Condition(name) => write!(f, "condition `{name}`"),
        }
    }
}

impl Condition {
    /// What it waits for while it is not true, in words.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let terms: Vec<String> = self.terms.iter().map(ToString::to_string).collect();
        match (terms.as_slice(), self.combine) {
            ([only], _) => format!("waits for {only}"),
            (_, Combine::Any) => format!("waits for any of: {}", terms.join(", ")),
            (_, Combine::All) => format!("waits for all of: {}", terms.join(", ")),
        }
    }
}
