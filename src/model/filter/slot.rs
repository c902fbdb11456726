//! Where a chain puts packets, and how that is learnt back from the kernel.

use std::fmt;

use super::rule::Action;
use super::{Chain, Line};
use crate::model::node::NodeKey;
use crate::model::state::{ClassId, Major, Minor};

/// Where a chain puts packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// Into a class of the tree on the device that they leave by: by their priority.
    Class(ClassId),
    /// Into a class of the tree for what arrived over circuits: by their mark.
    Mark(Minor),
}

impl Slot {
    /// The class's number in its tree: a place has the same in both.
    #[must_use]
    pub const fn minor(self) -> Minor {
        match self {
            Self::Class(id) => id.minor,
            Self::Mark(minor) => minor,
        }
    }
}

const MARK: &str = "mark ";

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(id) => write!(f, "{id}"),
            Self::Mark(minor) => write!(f, "{MARK}{:x}", minor.get()),
        }
    }
}

impl Chain {
    /// Where every packet here is put, where that is all that the chain does.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        match self.lines.as_slice() {
            [Line::Rule(rule)] if rule.is_always() => match rule.action() {
                Action::Priority(id) => Some(Slot::Class(*id)),
                Action::Mark { minor, .. } => Some(Slot::Mark(*minor)),
                Action::Goto(_)
                | Action::Jump(_)
                | Action::Lookup(..)
                | Action::Unmark(_)
                | Action::Remember(_)
                | Action::Reject { .. }
                | Action::Return
                | Action::Continue => None,
            },
            _ => None,
        }
    }

    /// The class into which every packet here is put by its priority, where that is all that the chain does.
    #[must_use]
    pub fn class(&self) -> Option<ClassId> {
        match self.slot()? {
            Slot::Class(id) => Some(id),
            Slot::Mark(_) => None,
        }
    }
}

/// The note by which the number of a place that has no packets of its own can be learnt back.
#[must_use]
pub fn note_of(key: &NodeKey, slot: Slot) -> String {
    format!("{key} {slot}")
}

/// What [`note_of`] wrote.
#[must_use]
pub fn read_note(note: &str) -> Option<(NodeKey, Slot)> {
    let (key, slot) = note.split_once(' ')?;
    let slot = match slot.strip_prefix(MARK) {
        Some(minor) => Slot::Mark(Minor::new(u16::from_str_radix(minor, 16).ok()?)?),
        None => Slot::Class(read_class_id(slot)?),
    };
    Some((key.parse().ok()?, slot))
}

/// Reads a class id of ours, as nft writes it: `7a01:15`, `7a01:0015`, `0x7a010015`.
#[must_use]
pub fn read_class_id(text: &str) -> Option<ClassId> {
    let (major, minor) = match text.split_once(':') {
        Some((major, minor)) => (
            u16::from_str_radix(major, 16).ok()?,
            u16::from_str_radix(minor, 16).ok()?,
        ),
        None => {
            let number = u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
            (
                u16::try_from(number >> 16).ok()?,
                u16::try_from(number & 0xffff).ok()?,
            )
        }
    };
    Some(ClassId {
        major: Major::new(major)?,
        minor: Minor::new(minor)?,
    })
}
