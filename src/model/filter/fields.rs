//! What a rule looks at, and how the values that it may ask for are written.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::values::Range;
use super::words;
use crate::model::circuit::MarkMask;
use crate::model::names::DeviceName;

/// What a rule looks at in a packet, or in its connection as it was opened. In the order in which
/// rules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Field {
    /// `meta nfproto`: 2 for IPv4, 10 for IPv6.
    Family,
    /// `ct state`, as a bit.
    State,
    /// `ct direction`: 0 for the packets of who opened the connection, 1 for replies.
    Direction,
    /// `ct label`: one that is set.
    Label,
    /// `fib saddr type`: 2 where the source is an address of this host.
    SourceType,
    /// `fib saddr . oif type`: 2 where the source is an address of the device by which the packet leaves. That
    /// device's VRF is asked, where it is in one; [`Field::SourceType`] knows only what is in none.
    SourceTypeThere,
    /// `iifname`: the device by which it came.
    Arrival,
    /// `oifname`: the device by which it leaves.
    Departure,
    /// `meta mark`: what these bits of it say.
    Mark(MarkMask),
    /// `ip saddr`.
    Source4,
    /// `ip6 saddr`.
    Source6,
    /// `ip daddr`.
    Destination4,
    /// `ip6 daddr`.
    Destination6,
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

/// The names under which fields are stored, but for those that look at a part of a mark.
const STORED: [(Field, &str); 23] = [
    (Field::Family, "family"),
    (Field::SourceType, "source_type"),
    (Field::SourceTypeThere, "source_type_there"),
    (Field::State, "state"),
    (Field::Direction, "direction"),
    (Field::Arrival, "arrival"),
    (Field::Departure, "departure"),
    (Field::Label, "label"),
    (Field::Source4, "source4"),
    (Field::Source6, "source6"),
    (Field::Destination4, "destination4"),
    (Field::Destination6, "destination6"),
    (Field::From4, "from4"),
    (Field::From6, "from6"),
    (Field::To4, "to4"),
    (Field::To6, "to6"),
    (Field::Transport, "transport"),
    (Field::Service, "service"),
    (Field::SourcePort, "source_port"),
    (Field::DestinationPort, "destination_port"),
    (Field::Icmp6Type, "icmp6_type"),
    (Field::Dscp4, "dscp4"),
    (Field::Dscp6, "dscp6"),
];
const MARK: &str = "mark";

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Mark(mask) = self {
            return write!(f, "{MARK} {:#010x}", mask.bits());
        }
        let stored = STORED.iter().find(|(field, _)| field == self);
        f.write_str(stored.map_or("", |(_, name)| name))
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let masked = || {
            let (name, mask) = text.split_once(' ')?;
            let mask = MarkMask::new(u32::try_from(number(mask)?).ok()?)?;
            (name == MARK).then_some(Self::Mark(mask))
        };
        let stored = STORED.iter().find(|(_, name)| *name == text);
        stored
            .map(|(field, _)| *field)
            .or_else(masked)
            .ok_or_else(|| format!("`{text}` is nothing that a rule looks at"))
    }
}

impl TryFrom<String> for Field {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Field> for String {
    fn from(field: Field) -> Self {
        field.to_string()
    }
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
    /// Directions within a connection.
    Direction,
    /// Names of devices, each as a number ([`number_of_device`]).
    Device,
    /// Labels of connections.
    Label,
    /// What certain bits of a mark say.
    Mark(MarkMask),
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
            Self::SourceType | Self::SourceTypeThere => FieldKind::RouteType,
            Self::State => FieldKind::State,
            Self::Direction => FieldKind::Direction,
            Self::Label => FieldKind::Label,
            Self::Arrival | Self::Departure => FieldKind::Device,
            Self::Mark(mask) => FieldKind::Mark(mask),
            Self::Source4 | Self::Destination4 | Self::From4 | Self::To4 => FieldKind::Address4,
            Self::Source6 | Self::Destination6 | Self::From6 | Self::To6 => FieldKind::Address6,
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
            Self::Source4 | Self::Destination4 | Self::From4 | Self::To4 | Self::Dscp4 => {
                Some(IPV4)
            }
            Self::Source6 | Self::Destination6 | Self::From6 | Self::To6 | Self::Dscp6 => {
                Some(IPV6)
            }
            Self::Family
            | Self::SourceType
            | Self::SourceTypeThere
            | Self::State
            | Self::Direction
            | Self::Arrival
            | Self::Departure
            | Self::Label
            | Self::Mark(_)
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
            Self::SourceTypeThere => "fib saddr . oif type",
            Self::State => "ct state",
            Self::Direction => "ct direction",
            Self::Arrival => "iifname",
            Self::Departure => "oifname",
            Self::Mark(_) => "meta mark",
            Self::Label => "ct label",
            Self::Source4 => "ip saddr",
            Self::Source6 => "ip6 saddr",
            Self::Destination4 => "ip daddr",
            Self::Destination6 => "ip6 daddr",
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
            Self::Address6 | Self::Device => u128::MAX,
            Self::Port => u16::MAX as u128,
            Self::State | Self::RouteType => u32::MAX as u128,
            Self::Family | Self::Transport | Self::Icmp6Type => u8::MAX as u128,
            Self::Dscp => 63,
            Self::Direction => 1,
            Self::Label => 127,
            Self::Mark(mask) => mask.most() as u128,
        }
    }

    /// Reads a value, a prefix or a range: names and numbers, decimal or hexadecimal.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Range> {
        if let Some(one) = self.read_one(text) {
            return Some(Range::one(one));
        }
        // A name may hold what stands between the ends of a range.
        if matches!(self, Self::Device) {
            return None;
        }
        if let Some((address, length)) = text.split_once('/') {
            return self.prefix(self.read_one(address)?, length.parse().ok()?);
        }
        // A range of marks is none of ours: written one by one it could be endless.
        if matches!(self, Self::Mark(_)) {
            return None;
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
            | Self::Direction
            | Self::Label
            | Self::Transport
            | Self::Icmp6Type
            | Self::Dscp => number(text)
                .or_else(|| words::number_of(self, text))
                .filter(|number| *number <= self.most()),
            Self::Device => {
                let name = text.strip_prefix('"')?.strip_suffix('"')?;
                Some(number_of_device(&name.parse().ok()?))
            }
            Self::Mark(mask) => {
                let mark = u32::try_from(number(text)?).ok()?;
                (mark & mask.others() == 0).then(|| mask.number(mark).into())
            }
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
            | Self::Direction
            | Self::Device
            | Self::Label
            | Self::Mark(_)
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
        let (first, last) = (range.first(), range.last());
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
            | Self::Direction
            | Self::Label
            | Self::Transport
            | Self::Icmp6Type
            | Self::Dscp => {
                words::name_of(self, value).map_or_else(|| value.to_string(), ToOwned::to_owned)
            }
            Self::Device => format!("\"{}\"", device_of_number(value)),
            Self::Mark(mask) => {
                let number = u32::try_from(value).unwrap_or(u32::MAX);
                format!("{:#010x}", mask.holding(number).unwrap_or(mask.bits()))
            }
        }
    }
}

/// The name of a device as the kernel compares it: its bytes, filled up with zeros. It is shorter than
/// these sixteen bytes, so that no two names are neighbours.
#[must_use]
pub fn number_of_device(device: &DeviceName) -> u128 {
    let mut bytes = [0; 16];
    for (byte, of_name) in bytes.iter_mut().zip(device.as_str().bytes()) {
        *byte = of_name;
    }
    u128::from_be_bytes(bytes)
}

/// The name that a number stands for.
fn device_of_number(number: u128) -> String {
    let bytes = number.to_be_bytes();
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// A number, decimal or hexadecimal.
#[must_use]
pub fn number(text: &str) -> Option<u128> {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::Values;
    use proptest::prelude::*;

    proptest! {
        /// What is said of the bits of a mark is said in one way, whichever the bits.
        #[test]
        fn bits_of_marks_are_written_and_read(low in 0_u32..31, count in 2_u32..33, number: u32) {
            let run = u32::MAX.checked_shr(32 - count).unwrap_or(u32::MAX);
            let Some(mask) = MarkMask::new(run.checked_shl(low).unwrap_or(0)) else {
                return Ok(());
            };
            let number = number & mask.most();
            let mark = mask.holding(number).unwrap();
            prop_assert_eq!(mark & mask.others(), 0);
            prop_assert_eq!(mask.number(mark | mask.others()), number);
            let kind = FieldKind::Mark(mask);
            let one = Range::one(number.into());
            prop_assert_eq!(kind.read(&kind.write(one)), Some(one));
            let field = Field::Mark(mask);
            prop_assert_eq!(field.to_string().parse(), Ok(field));
            let but = Values::all_but(kind, number.into());
            prop_assert_eq!(but.missing(kind), Some(number.into()));
            prop_assert_eq!(Values::of([u128::from(number)]).missing(kind), None);
        }
    }

    #[test]
    fn every_field_is_stored_by_a_name_of_its_own() {
        for (field, name) in STORED {
            assert_eq!(field.to_string(), name);
            assert_eq!(name.parse(), Ok(field));
        }
        assert!("mark 0x00ff00ff".parse::<Field>().is_err());
        assert!("mark".parse::<Field>().is_err());
    }
}
