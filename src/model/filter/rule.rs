//! One rule: what must hold of a packet, and what is done then.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::fields::{Field, IPV4, IPV6};
use super::memory::Memory;
use super::names::{ChainName, CounterName, MapName};
use super::values::Values;
use crate::model::circuit::MarkMask;
use crate::model::state::{ClassId, Minor};

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
    /// It goes to a chain, and comes back where that one leads no further.
    Jump(ChainName),
    /// It belongs to a class of the tree on the device that it leaves by.
    Priority(ClassId),
    /// It belongs to a class of the tree for what arrived: our bits of its mark say which.
    Mark {
        /// Our bits; the others stay.
        mask: MarkMask,
        /// The class.
        minor: Minor,
    },
    /// Our bits of its mark say nothing; the others stay.
    Unmark(MarkMask),
    /// Its connection remembers something from now on.
    Remember(Memory),
    /// It is counted and goes no further; who sent it is told.
    Reject {
        /// How it is told.
        answer: Answer,
        /// What counts it.
        counter: CounterName,
    },
    /// It goes no further in this chain.
    Return,
    /// Nothing: only that it was looked at.
    Continue,
}

/// How who sent a packet is told that it goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The connection is over: a TCP reset.
    Reset,
    /// An ICMP error of the packet's family: administratively prohibited.
    Prohibited,
}

impl Action {
    /// The chain to which it leads.
    #[must_use]
    pub const fn target(&self) -> Option<&ChainName> {
        match self {
            Self::Goto(chain) | Self::Jump(chain) => Some(chain),
            Self::Lookup(..)
            | Self::Priority(_)
            | Self::Mark { .. }
            | Self::Unmark(_)
            | Self::Remember(_)
            | Self::Reject { .. }
            | Self::Return
            | Self::Continue => None,
        }
    }

    /// The map that it asks.
    #[must_use]
    pub const fn map(&self) -> Option<&MapName> {
        match self {
            Self::Lookup(_, map) => Some(map),
            Self::Goto(_)
            | Self::Jump(_)
            | Self::Priority(_)
            | Self::Mark { .. }
            | Self::Unmark(_)
            | Self::Remember(_)
            | Self::Reject { .. }
            | Self::Return
            | Self::Continue => None,
        }
    }

    /// The same, but that where it leads to a chain it leads to the one that `other` gives.
    #[must_use]
    pub fn leading(&self, other: impl FnOnce(&ChainName) -> ChainName) -> Self {
        match self {
            Self::Goto(chain) => Self::Goto(other(chain)),
            Self::Jump(chain) => Self::Jump(other(chain)),
            Self::Lookup(..)
            | Self::Priority(_)
            | Self::Mark { .. }
            | Self::Unmark(_)
            | Self::Remember(_)
            | Self::Reject { .. }
            | Self::Return
            | Self::Continue => self.clone(),
        }
    }
}

/// What a map is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupKey {
    /// `oifname`.
    Device,
    /// `iifname`.
    Arrival,
    /// `iifname . oifname`.
    Pair,
    /// `ip saddr`.
    Source4,
    /// `ip6 saddr`.
    Source6,
    /// `ct original ip saddr`: who opened the connection.
    Opener4,
    /// `ct original ip6 saddr`.
    Opener6,
    /// `ct reply ip saddr`: who answers in it.
    Answerer4,
    /// `ct reply ip6 saddr`.
    Answerer6,
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
            Self::Arrival => "iifname",
            Self::Pair => "iifname . oifname",
            Self::Source4 => "ip saddr",
            Self::Source6 => "ip6 saddr",
            Self::Opener4 => "ct original ip saddr",
            Self::Opener6 => "ct original ip6 saddr",
            Self::Answerer4 => "ct reply ip saddr",
            Self::Answerer6 => "ct reply ip6 saddr",
            Self::Destination4 => "ip daddr",
            Self::Destination6 => "ip6 daddr",
        }
    }

    /// What makes of the address that a packet shows the network that `map` is asked with; `None` where it is asked
    /// with the address itself.
    #[must_use]
    pub fn mask(self, map: &MapName) -> Option<IpAddr> {
        let length = u32::from(map.length()?);
        match self.family()? {
            IPV4 => {
                let hosts = u32::MAX.checked_shr(length)?;
                Some(Ipv4Addr::from(!hosts).into())
            }
            _ => {
                let hosts = u128::MAX.checked_shr(length)?;
                Some(Ipv6Addr::from(!hosts).into())
            }
        }
    }

    /// What `map` is asked with, in nft's words: `ip daddr & 255.255.255.0`.
    #[must_use]
    pub fn asking(self, map: &MapName) -> String {
        match self.mask(map) {
            Some(mask) => format!("{} & {mask}", self.text()),
            None => self.text().to_owned(),
        }
    }

    const fn family(self) -> Option<u128> {
        match self {
            Self::Device | Self::Arrival | Self::Pair => None,
            Self::Source4 | Self::Opener4 | Self::Answerer4 | Self::Destination4 => Some(IPV4),
            Self::Source6 | Self::Opener6 | Self::Answerer6 | Self::Destination6 => Some(IPV6),
        }
    }
}

/// `meta l4proto` of TCP.
const TCP: u128 = 6;
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
                let port = matches!(
                    field,
                    Field::Service | Field::SourcePort | Field::DestinationPort
                );
                field.family().is_some() || (port && kept.contains_key(&Field::Transport))
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
        // Nothing else can be reset, so a version of nft need not say so.
        if let Action::Reject {
            answer: Answer::Reset,
            ..
        } = &action
        {
            kept.entry(Field::Transport)
                .or_insert_with(|| Values::of([TCP]));
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

    /// The rule in words: `to 192.0.2.10, service tcp/443 → internet.class.gateway`.
    #[must_use]
    pub fn words(&self) -> String {
        super::tell::rule(self)
    }

    /// Whether every packet that comes so far is done with here.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.criteria.is_empty() && self.limit.is_none()
    }
}
