//! What a rule looks at, and the values that it asks for.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::words;

/// What a rule looks at in a packet, or in its connection as it was opened. In the order in which
/// rules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// `meta nfproto`: 2 for IPv4, 10 for IPv6.
    Family,
    /// `fib saddr type`: 2 where the source is an address of this host.
    SourceType,
    /// `ct state`, as a bit.
    State,
    /// `ip saddr`.
    Source4,
    /// `ip6 saddr`.
    Source6,
    /// `ct original ip saddr`: who opened the connection.
    From4,
    /// `ct original ip6 saddr`.
    From6,
    /// `ct original ip daddr`: who was asked.
    To4,
    /// `ct original ip6 daddr`.
    To6,
    /// `meta l4proto`.
    Transport,
    /// `ct original proto-dst`: the port that was asked for.
    Service,
    /// `th sport`.
    SourcePort,
    /// `th dport`.
    DestinationPort,
    /// `icmpv6 type`.
    Icmp6Type,
    /// `ip dscp`.
    Dscp4,
    /// `ip6 dscp`.
    Dscp6,
}

/// `meta nfproto` of IPv4.
pub const IPV4: u128 = 2;
/// `meta nfproto` of IPv6.
pub const IPV6: u128 = 10;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// IPv4 addresses and prefixes.
    Address4,
    /// IPv6 addresses and prefixes.
    Address6,
    /// Numbers, which form ranges.
    Port,
    /// `meta nfproto`.
    Family,
    /// Types of routes.
    RouteType,
    /// States of connections.
    State,
    /// Protocols.
    Transport,
    /// Types of ICMPv6.
    Icmp6Type,
    /// Code points.
    Dscp,
}

impl Field {
    /// How its values are written.
    #[must_use]
    pub const fn kind(self) -> FieldKind {
        match self {
            Self::Family => FieldKind::Family,
            Self::SourceType => FieldKind::RouteType,
            Self::State => FieldKind::State,
            Self::Source4 | Self::From4 | Self::To4 => FieldKind::Address4,
            Self::Source6 | Self::From6 | Self::To6 => FieldKind::Address6,
            Self::Transport => FieldKind::Transport,
            Self::Service | Self::SourcePort | Self::DestinationPort => FieldKind::Port,
            Self::Icmp6Type => FieldKind::Icmp6Type,
            Self::Dscp4 | Self::Dscp6 => FieldKind::Dscp,
        }
    }

    /// The family that a rule with it is about, as `meta nfproto` has it.
    #[must_use]
    pub const fn family(self) -> Option<u128> {
        match self {
            Self::Source4 | Self::From4 | Self::To4 | Self::Dscp4 => Some(IPV4),
            Self::Source6 | Self::From6 | Self::To6 | Self::Dscp6 => Some(IPV6),
            Self::Family
            | Self::SourceType
            | Self::State
            | Self::Transport
            | Self::Service
            | Self::SourcePort
            | Self::DestinationPort
            | Self::Icmp6Type => None,
        }
    }

    /// In nft's words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Family => "meta nfproto",
            Self::SourceType => "fib saddr type",
            Self::State => "ct state",
            Self::Source4 => "ip saddr",
            Self::Source6 => "ip6 saddr",
            Self::From4 => "ct original ip saddr",
            Self::From6 => "ct original ip6 saddr",
            Self::To4 => "ct original ip daddr",
            Self::To6 => "ct original ip6 daddr",
            Self::Transport => "meta l4proto",
            Self::Service => "ct original proto-dst",
            Self::SourcePort => "th sport",
            Self::DestinationPort => "th dport",
            Self::Icmp6Type => "icmpv6 type",
            Self::Dscp4 => "ip dscp",
            Self::Dscp6 => "ip6 dscp",
        }
    }
}

impl FieldKind {
    /// The largest value.
    #[must_use]
    pub const fn most(self) -> u128 {
        match self {
            Self::Address4 => u32::MAX as u128,
            Self::Address6 => u128::MAX,
            Self::Port => u16::MAX as u128,
            Self::State | Self::RouteType => u32::MAX as u128,
            Self::Family | Self::Transport | Self::Icmp6Type => u8::MAX as u128,
            Self::Dscp => 63,
        }
    }

    /// Reads a value, a prefix or a range: names and numbers, decimal or hexadecimal.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Range> {
        if let Some(one) = self.read_one(text) {
            return Some(Range::one(one));
        }
        if let Some((address, length)) = text.split_once('/') {
            return self.prefix(self.read_one(address)?, length.parse().ok()?);
        }
        let (first, last) = text.split_once('-')?;
        Range::new(self.read_one(first)?, self.read_one(last)?)
    }

    fn read_one(self, text: &str) -> Option<u128> {
        match self {
            Self::Address4 => text
                .parse::<Ipv4Addr>()
                .ok()
                .map(|address| u128::from(u32::from(address))),
            Self::Address6 => text.parse::<Ipv6Addr>().ok().map(u128::from),
            Self::Port
            | Self::Family
            | Self::RouteType
            | Self::State
            | Self::Transport
            | Self::Icmp6Type
            | Self::Dscp => number(text)
                .or_else(|| words::number_of(self, text))
                .filter(|number| *number <= self.most()),
        }
    }

    fn prefix(self, address: u128, length: u32) -> Option<Range> {
        let width = match self {
            Self::Address4 => 32,
            Self::Address6 => 128,
            Self::Port
            | Self::Family
            | Self::RouteType
            | Self::State
            | Self::Transport
            | Self::Icmp6Type
            | Self::Dscp => return None,
        };
        let hosts = self.most().checked_shr(length).unwrap_or(0);
        (length <= width && address & hosts == 0)
            .then(|| Range::new(address, address | hosts))
            .flatten()
    }

    /// Writes a range: as a value, a prefix where it is one, or from the first to the last.
    #[must_use]
    pub fn write(self, range: Range) -> String {
        let Range { first, last } = range;
        if first == last {
            return self.write_one(first);
        }
        let hosts = first ^ last;
        if matches!(self, Self::Address4 | Self::Address6)
            && first & hosts == 0
            && (hosts & hosts.wrapping_add(1)) == 0
        {
            let length = self.most().count_ones() - hosts.count_ones();
            return format!("{}/{length}", self.write_one(first));
        }
        format!("{}-{}", self.write_one(first), self.write_one(last))
    }

    /// Whether a range is written as one, where a set of few values is written one by one.
    #[must_use]
    pub const fn ranges(self) -> bool {
        matches!(self, Self::Address4 | Self::Address6 | Self::Port)
    }

    fn write_one(self, value: u128) -> String {
        match self {
            Self::Address4 => Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX)).to_string(),
            Self::Address6 => Ipv6Addr::from(value).to_string(),
            Self::Port
            | Self::Family
            | Self::RouteType
            | Self::State
            | Self::Transport
            | Self::Icmp6Type
            | Self::Dscp => {
                words::name_of(self, value).map_or_else(|| value.to_string(), ToOwned::to_owned)
            }
        }
    }
}

fn number(text: &str) -> Option<u128> {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Values from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    first: u128,
    last: u128,
}

impl Range {
    /// From `first` to `last`; `None` where they are the wrong way round.
    #[must_use]
    pub const fn new(first: u128, last: u128) -> Option<Self> {
        if first <= last {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// One value.
    #[must_use]
    pub const fn one(value: u128) -> Self {
        Self {
            first: value,
            last: value,
        }
    }

    /// The first.
    #[must_use]
    pub const fn first(self) -> u128 {
        self.first
    }

    /// The last.
    #[must_use]
    pub const fn last(self) -> u128 {
        self.last
    }

    /// The addresses of a prefix.
    #[must_use]
    pub fn of_prefix(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(prefix) => Self {
                first: u128::from(u32::from(prefix.network())),
                last: u128::from(u32::from(prefix.broadcast())),
            },
            IpNet::V6(prefix) => Self {
                first: u128::from(prefix.network()),
                last: u128::from(prefix.broadcast()),
            },
        }
    }
}

/// A set of values: ranges in order, which neither overlap nor touch, so that there is one way to
/// say each set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Values(Vec<Range>);

impl Values {
    /// The set of all values in `ranges`.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut ranges: Vec<Range> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(before) if range.first <= before.last.saturating_add(1) => {
                    before.last = before.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The set of `values`.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = u128>) -> Self {
        Self::new(values.into_iter().map(Range::one))
    }

    /// Its ranges, in order.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has every value of that kind, so that asking for it asks for nothing.
    #[must_use]
    pub fn covers(&self, kind: FieldKind) -> bool {
        matches!(self.0.as_slice(), [all] if all.first == 0 && all.last >= kind.most())
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|range| (range.first, range.last)))
            .finish()
    }
}

impl TryFrom<Vec<String>> for Values {
    type Error = String;

    fn try_from(ranges: Vec<String>) -> Result<Self, String> {
        let read = |text: &String| {
            let (first, last) = text.split_once('-')?;
            Range::new(first.parse().ok()?, last.parse().ok()?)
        };
        ranges
            .iter()
            .map(|text| read(text).ok_or_else(|| format!("`{text}` is no range")))
            .collect::<Result<Vec<_>, _>>()
            .map(Self::new)
    }
}

impl From<Values> for Vec<String> {
    fn from(values: Values) -> Self {
        values
            .0
            .iter()
            .map(|range| format!("{}-{}", range.first, range.last))
            .collect()
    }
}
