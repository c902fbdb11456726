//! One rule: what must hold of a packet, and what is done then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::{ChainName, MapName};
use super::values::{Field, IPV4, IPV6, Values};
use super::{Chain, Line, MapKind};
use crate::model::node::NodeKey;
use crate::model::state::{ClassId, Major, Minor};

/// A rule, said in the one way in which each rule is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    criteria: BTreeMap<Field, Values>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// How much a rule takes; what is beyond goes on to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// Bytes at once.
    pub burst: u64,
}

/// What a rule does with a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It goes to a chain and does not come back.
    Goto(ChainName),
    /// It goes where a map says, if it says anything.
    Lookup(LookupKey, MapName),
    /// It belongs to a class.
    Priority(ClassId),
    /// It goes no further in this chain.
    Return,
    /// Nothing: only that it was looked at.
    Continue,
}

/// What a map is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupKey {
    /// `oifname`.
    Device,
    /// `ip daddr`.
    Destination4,
    /// `ip6 daddr`.
    Destination6,
}

impl LookupKey {
    /// In nft's words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Device => "oifname",
            Self::Destination4 => "ip daddr",
            Self::Destination6 => "ip6 daddr",
        }
    }

    /// The kind of map that it is asked of.
    #[must_use]
    pub const fn kind(self) -> MapKind {
        match self {
            Self::Device => MapKind::Device,
            Self::Destination4 => MapKind::Address4,
            Self::Destination6 => MapKind::Address6,
        }
    }

    const fn family(self) -> Option<u128> {
        match self {
            Self::Device => None,
            Self::Destination4 => Some(IPV4),
            Self::Destination6 => Some(IPV6),
        }
    }
}

/// `meta l4proto` of ICMPv6.
const ICMP6: u128 = 58;

impl Rule {
    /// A rule that does `action` with all packets of which `criteria` hold.
    ///
    /// What asks for nothing, or for what something else in the rule already asks for, is left out, as
    /// `nft` does when it prints.
    #[must_use]
    pub fn new(
        criteria: impl IntoIterator<Item = (Field, Values)>,
        limit: Option<Limit>,
        action: Action,
    ) -> Self {
        let mut kept: BTreeMap<Field, Values> = criteria.into_iter().collect();
        let all: Vec<Field> = kept
            .iter()
            .filter(|(field, values)| values.covers(field.kind()))
            .map(|(field, _)| *field)
            // Of a connection without ports there is nothing to ask: the transport must say that it has.
            .filter(|field| {
                field.family().is_some()
                    || (*field == Field::Service && kept.contains_key(&Field::Transport))
            })
            .collect();
        for field in all {
            kept.remove(&field);
            if let Some(family) = field.family() {
                kept.entry(Field::Family)
                    .or_insert_with(|| Values::of([family]));
            }
        }
        let implied = kept.keys().find_map(|field| field.family()).or(
            if let Action::Lookup(key, _) = &action {
                key.family()
            } else {
                None
            },
        );
        if let (Some(implied), Some(family)) = (implied, kept.get(&Field::Family))
            && *family == Values::of([implied])
        {
            kept.remove(&Field::Family);
        }
        if kept.contains_key(&Field::Icmp6Type)
            && kept.get(&Field::Transport) == Some(&Values::of([ICMP6]))
        {
            kept.remove(&Field::Transport);
        }
        Self {
            criteria: kept,
            limit,
            action,
            note: None,
        }
    }

    /// A rule for every packet.
    #[must_use]
    pub fn always(action: Action) -> Self {
        Self::new([], None, action)
    }

    /// The same rule with a note beside it.
    #[must_use]
    pub fn noted(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }

    /// The same rule with another action.
    #[must_use]
    pub fn doing(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    /// What must hold of a packet.
    #[must_use]
    pub const fn criteria(&self) -> &BTreeMap<Field, Values> {
        &self.criteria
    }

    /// How much it takes.
    #[must_use]
    pub const fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// What it does.
    #[must_use]
    pub const fn action(&self) -> &Action {
        &self.action
    }

    /// The note beside it.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Whether every packet that comes so far is done with here.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.criteria.is_empty() && self.limit.is_none()
    }
}

impl Chain {
    /// The class into which every packet here is put, where that is all it does.
    #[must_use]
    pub fn class(&self) -> Option<ClassId> {
        match self.lines.as_slice() {
            [Line::Rule(rule)] if rule.is_always() => match rule.action {
                Action::Priority(id) => Some(id),
                Action::Goto(_) | Action::Lookup(..) | Action::Return | Action::Continue => None,
            },
            _ => None,
        }
    }
}

/// The note by which the number of a place that has no packets of its own can be learnt back.
#[must_use]
pub fn note_of(key: &NodeKey, id: ClassId) -> String {
    format!("{key} {id}")
}

/// What [`note_of`] wrote.
#[must_use]
pub fn read_note(note: &str) -> Option<(NodeKey, ClassId)> {
    let (key, id) = note.split_once(' ')?;
    Some((key.parse().ok()?, read_class_id(id)?))
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
