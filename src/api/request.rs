//! What may be asked.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::names::{ConditionName, EventName, PhaseName};
use crate::model::session::Session;
use crate::policy::Style;

/// The version of the language of requests and replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaVersion(pub u32);

impl SchemaVersion {
    /// The one that is spoken here.
    pub const NOW: Self = Self(1);
}

/// Something asked, with what of the asker's surroundings it depends on. Who asks is not told: the kernel
/// says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The language it is in.
    pub schema_version: SchemaVersion,
    /// What is asked.
    pub order: Order,
    /// The configuration directory that the asker named, where he did: one that is not the daemon's is refused,
    /// else other files would be applied than he meant.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// The state directory that the asker named, where he did.
    #[serde(default)]
    pub state: Option<PathBuf>,
    /// The ssh session that it is ordered from, which is not to be cut.
    #[serde(default)]
    pub session: Option<Session>,
    /// Who stands behind the asker: the user that `sudo` was called by.
    #[serde(default)]
    pub on_behalf_of: Option<String>,
    /// How text for people is drawn.
    pub style: Style,
}

/// Whether to go on even where that would cut the session that it is ordered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Insist {
    /// No.
    #[default]
    No,
    /// Yes: `--force`.
    Yes,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Order {
    /// What holds, why, since when.
    Status,
    /// The changes of the past.
    History,
    /// Which conditions are true, and what the others wait for.
    Conditions,
    /// The policy files are read again, and the kernel is made to hold what they say for the present phase.
    Apply {
        /// It is undone unless it is confirmed in this time after it is done.
        confirm_within: Option<Duration>,
        /// Whether to go on even where that would cut the session.
        force: Insist,
    },
    /// Another phase is entered.
    Phase {
        /// Which.
        name: PhaseName,
        /// It is undone unless it is confirmed in this time after it is done.
        confirm_within: Option<Duration>,
        /// Whether to go on even where that would cut the session.
        force: Insist,
    },
    /// The change that waits for it is to stay.
    Confirm,
    /// Back to what held before the last changes.
    Rollback {
        /// How many.
        changes: u32,
        /// Whether to go on even where that would cut the session.
        force: Insist,
    },
    /// Something happened that conditions wait for.
    Event {
        /// What.
        name: EventName,
    },
    /// A condition is to be false again.
    ResetCondition {
        /// Which.
        name: ConditionName,
    },
    /// Everything of ours is taken out of the kernel.
    Teardown,
    /// The shaping is taken out of the kernel; what is blocked stays so.
    TeardownShaping,
}

impl Order {
    /// Whether it changes nothing.
    #[must_use]
    pub const fn only_reads(&self) -> bool {
        match self {
            Self::Status | Self::History | Self::Conditions => true,
            Self::Apply { .. }
            | Self::Phase { .. }
            | Self::Confirm
            | Self::Rollback { .. }
            | Self::Event { .. }
            | Self::ResetCondition { .. }
            | Self::Teardown
            | Self::TeardownShaping => false,
        }
    }

    /// In the words of the command line.
    #[must_use]
    pub fn words(&self) -> String {
        let within = |words: String, confirm: &Option<Duration>| match confirm {
            Some(time) => format!("{words} --confirm-within {}", written(time.as_secs())),
            None => words,
        };
        match self {
            Self::Status => "status".to_owned(),
            Self::History => "history".to_owned(),
            Self::Conditions => "condition".to_owned(),
            Self::Apply { confirm_within, .. } => within("apply".to_owned(), confirm_within),
            Self::Phase {
                name,
                confirm_within,
                ..
            } => within(format!("phase {name}"), confirm_within),
            Self::Confirm => "confirm".to_owned(),
            Self::Rollback { changes: 1, .. } => "rollback".to_owned(),
            Self::Rollback { changes, .. } => format!("rollback {changes}"),
            Self::Event { name } => format!("event {name}"),
            Self::ResetCondition { name } => format!("condition reset {name}"),
            Self::Teardown => "teardown".to_owned(),
            Self::TeardownShaping => "teardown --shaping-only".to_owned(),
        }
    }
}

/// A time as it is written on the command line, in the largest unit that divides it.
fn written(seconds: u64) -> String {
    match seconds {
        whole if whole > 0 && whole % 3_600 == 0 => format!("{}h", whole / 3_600),
        whole if whole > 0 && whole % 60 == 0 => format!("{}m", whole / 60),
        seconds => format!("{seconds}s"),
    }
}
