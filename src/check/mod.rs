//! Lint over a policy that is valid: what its writer would likely want to know.
//!
//! A note is never an error. Each rule has a function; [`notes`] asks them all.

mod cover;
mod debts;
mod down;
mod floors;
mod hidden;
mod never;
pub mod session;
mod small;
pub mod surroundings;
mod tails;
mod unsupported;
mod unused;
mod ways;

use std::sync::Arc;

pub use unsupported::unsupported;

use serde::Serialize;

use crate::lower::departures;
use crate::model::names::Origin;
use crate::policy::{Fault, Policy, Position, Related, Source, Style, advice};
use crate::units::Direction;

/// The largest packet that segmentation offload hands down in one piece, in bytes.
const GSO: u64 = 65_536;

/// What a note is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It goes where the files or the host are put right.
    Advice,
    /// It says what wanshift does not do, whatever the files say.
    Limit,
}

/// Something that is worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The file, as it was named to the reader.
    pub file: Arc<str>,
    /// Where in it; `None` where the file as a whole is meant.
    #[serde(flatten)]
    pub position: Option<Position>,
    /// What it is for.
    pub kind: Kind,
    /// What was noticed.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Other places that have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

impl Note {
    /// About a file as a whole.
    pub fn of_file(
        file: impl Into<Arc<str>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            position: None,
            kind: Kind::Advice,
            message: message.into(),
            help: help.into(),
            related: Vec::new(),
        }
    }

    fn at(origin: &Origin, message: String, help: impl Into<String>) -> Self {
        Self {
            position: Some(Position::from(origin)),
            ..Self::of_file(Arc::clone(&origin.file), message, help)
        }
    }

    /// The same of what no file could mend.
    fn of_a_limit(mut self) -> Self {
        self.kind = Kind::Limit;
        self
    }

    /// The same with another place that has to do with it, and what is to be seen there.
    fn see(mut self, origin: &Origin, message: impl Into<String>) -> Self {
        self.related.push(Related {
            file: Arc::clone(&origin.file),
            position: Position::from(origin),
            message: message.into(),
        });
        self
    }

    /// Where it stands among others: by file, line and column.
    fn place(&self) -> (&str, Option<(usize, usize)>, &str) {
        let position = self.position.as_ref();
        let position = position.map(|position| (position.line, position.column));
        (&self.file, position, &self.message)
    }
}

impl From<&Note> for Fault {
    /// As it is drawn.
    fn from(note: &Note) -> Self {
        Self {
            file: Arc::clone(&note.file),
            position: note.position.clone(),
            message: note.message.clone(),
            help: Some(note.help.clone()),
            // Drawn beside other places, the place that is meant needs a word of its own.
            label: (!note.related.is_empty()).then(|| "here".to_owned()),
            related: note.related.clone(),
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(position) = &self.position {
            write!(f, ":{}:{}", position.line, position.column)?;
        }
        write!(f, ": {}\n  help: {}", self.message, self.help)
    }
}

/// Draws notes for people as faults are drawn, each with its line; see [`advice`].
#[must_use]
pub fn draw(notes: &[Note], sources: &[Source], style: Style, width: usize) -> String {
    let notes: Vec<Fault> = notes.iter().map(Fault::from).collect();
    advice(&notes, sources, style, width)
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
    notes.extend(hidden::notes(policy));
    notes.extend(never::notes(policy));
    notes.extend(ways::notes(policy));
    notes.extend(small::notes(policy));
    notes.sort_by(|a, b| a.place().cmp(&b.place()));
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
