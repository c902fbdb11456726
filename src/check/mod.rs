//! Lint over a policy that is valid: what its writer would likely want to know.
//!
//! A note is never an error. Each rule has a function; [`notes`] asks them all.

mod debts;
mod down;
mod floors;
pub mod session;
pub mod surroundings;
mod tails;
mod unsupported;
mod unused;

use std::sync::Arc;

pub use unsupported::unsupported;

use serde::Serialize;

use crate::lower::departures;
use crate::model::names::Origin;
use crate::policy::Policy;
use crate::units::Direction;

/// The largest packet that segmentation offload hands down in one piece, in bytes.
const GSO: u64 = 65_536;

/// Something that is worth a look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// The file, as it was named to the reader.
    pub file: Arc<str>,
    /// The line, counted from 1; `None` where the file as a whole is meant.
    pub line: Option<usize>,
    /// What was noticed.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl Note {
    fn at(origin: &Origin, message: String, help: impl Into<String>) -> Self {
        Self {
            file: Arc::clone(&origin.file),
            line: Some(origin.line),
            message,
            help: help.into(),
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}\n  help: {}", self.message, self.help)
    }
}

/// All notes over `policy`, in the order of the files' names and lines.
#[must_use]
pub fn notes(policy: &Policy) -> Vec<Note> {
    let mut notes = Vec::new();
    notes.extend(unused::notes(policy));
    notes.extend(tails::notes(policy));
    notes.extend(debts::notes(policy));
    notes.extend(floors::notes(policy));
    notes.extend(down::notes(policy));
    notes.sort();
    notes.dedup();
    notes
}

/// Whether anything is shaped in `direction`.
fn shapes(policy: &Policy, direction: Direction) -> bool {
    match direction {
        Direction::Up => true,
        Direction::Down => departures(policy).next().is_some(),
    }
}
