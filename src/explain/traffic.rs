//! The packets of a connection, as the packet filter sees them.
//!
//! A connection is opened, and answered: so there are requests and replies, each of which passes the host if neither
//! end is the host itself. No address is translated; what a translation hides is said in the words of the verb.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::asked::{Carried, Wanted};
use super::path::{Path, Side};
use crate::model::class::{Dscp, Transport};
use crate::model::filter::{Field, IPV4, IPV6, Line, Packet, Table};
use crate::model::names::DeviceName;

/// `ct state`, as bits.
const ESTABLISHED: u128 = 2;
const NEW: u128 = 8;
/// `fib saddr type`.
const UNICAST: u128 = 1;
const LOCAL: u128 = 2;
/// `ct direction`.
const ORIGINAL: u128 = 0;
const REPLY: u128 = 1;
/// `meta l4proto`.
const ICMP: u128 = 1;
const TCP: u128 = 6;
const UDP: u128 = 17;
const ICMP6: u128 = 58;
/// `icmpv6 type`.
const ECHO_REQUEST: u128 = 128;
const ECHO_REPLY: u128 = 129;
/// The port of who opens a connection: any of those that no service has would do.
const CLIENT: u16 = 50_000;

/// A connection between two addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connection {
    pub from: IpAddr,
    pub to: IpAddr,
    pub carried: Carried,
    pub dscp: Dscp,
}

/// The packets of who opened a connection, or those of who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Requests,
    Replies,
}

/// Packets on their way by this host: whence and whither.
#[derive(Debug, Clone)]
pub(super) struct Passing {
    pub packet: Packet,
    /// The device by which they came; `None` of those that this host sends.
    pub arrival: Option<DeviceName>,
    /// The device by which they leave; `None` where the policy names none there.
    pub departure: Option<DeviceName>,
    /// Whether they go through the host.
    pub through: Through,
}

/// Whether packets go through the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    /// They came from elsewhere.
    Forwarded,
    /// The host itself sends them.
    Own,
}

impl Connection {
    /// Those packets on that way; `None` where they end at this host.
    pub(super) fn passing(&self, path: &Path, which: Which) -> Option<Passing> {
        let (source, target, arrival, departure) = match which {
            Which::Requests => (&path.from, &path.to, path.arrival(), path.to.device()),
            Which::Replies => (&path.to, &path.from, path.to.device(), path.returning()),
        };
        if *target == Side::Here {
            return None;
        }
        let through = match source {
            Side::Here => Through::Own,
            Side::Beyond(_) => Through::Forwarded,
        };
        Some(Passing {
            packet: self.shown(which, through).passing(arrival, departure),
            arrival: arrival.cloned(),
            departure: departure.cloned(),
            through,
        })
    }

    fn shown(&self, which: Which, through: Through) -> Packet {
        let (source, destination, state, direction, dscp) = match which {
            Which::Requests => (self.from, self.to, NEW, ORIGINAL, self.dscp.get()),
            Which::Replies => (self.to, self.from, ESTABLISHED, REPLY, 0),
        };
        let fields = if self.from.is_ipv4() { FOUR } else { SIX };
        let kind = match through {
            Through::Own => LOCAL,
            Through::Forwarded => UNICAST,
        };
        let packet = Packet::default()
            .showing(Field::Family, fields.family)
            .showing(Field::State, state)
            .showing(Field::Direction, direction)
            .showing(Field::SourceType, kind)
            .showing(Field::SourceTypeThere, kind)
            .showing(fields.source, number(source))
            .showing(fields.destination, number(destination))
            .showing(fields.from, number(self.from))
            .showing(fields.to, number(self.to))
            .showing(fields.dscp, dscp.into())
            .answered_by(self.to);
        match self.carried {
            Carried::Echo if self.from.is_ipv4() => packet.showing(Field::Transport, ICMP),
            Carried::Echo => packet.showing(Field::Transport, ICMP6).showing(
                Field::Icmp6Type,
                match which {
                    Which::Requests => ECHO_REQUEST,
                    Which::Replies => ECHO_REPLY,
                },
            ),
            Carried::Port(transport, port) => {
                let (own, theirs) = match which {
                    Which::Requests => (CLIENT, port),
                    Which::Replies => (port, CLIENT),
                };
                let number = match transport {
                    Transport::Tcp => TCP,
                    Transport::Udp => UDP,
                };
                packet
                    .showing(Field::Transport, number)
                    .showing(Field::Service, port.into())
                    .showing(Field::SourcePort, own.into())
                    .showing(Field::DestinationPort, theirs.into())
            }
        }
    }
}

/// The fields of one family.
#[derive(Clone, Copy)]
struct Fields {
    family: u128,
    source: Field,
    destination: Field,
    from: Field,
    to: Field,
    dscp: Field,
}

const FOUR: Fields = Fields {
    family: IPV4,
    source: Field::Source4,
    destination: Field::Destination4,
    from: Field::From4,
    to: Field::To4,
    dscp: Field::Dscp4,
};

const SIX: Fields = Fields {
    family: IPV6,
    source: Field::Source6,
    destination: Field::Destination6,
    from: Field::From6,
    to: Field::To6,
    dscp: Field::Dscp6,
};

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Things that the rules of a table treat alike: echo requests, or the ports from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alike {
    pub first: Carried,
    pub last: Carried,
}

impl Alike {
    /// This and `next` in one, where that begins where this ends.
    pub(super) fn and(self, next: Self) -> Option<Self> {
        let (Carried::Port(transport, last), Carried::Port(other, first)) = (self.last, next.first)
        else {
            return None;
        };
        let touches = transport == other && last.checked_add(1) == Some(first);
        touches.then_some(Self {
            last: next.last,
            ..self
        })
    }
}

impl fmt::Display for Alike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Carried::Port(_, last) if self.first != self.last => write!(f, "{}-{last}", self.first),
            Carried::Port(..) | Carried::Echo => write!(f, "{}", self.first),
        }
    }
}

/// What of `wanted` the rules of `table` may tell apart.
pub(super) fn told_apart(wanted: &[Wanted], table: &Table) -> Vec<Alike> {
    let begins = begins(table);
    let mut all: Vec<Alike> = Vec::new();
    for one in wanted {
        let range = match one {
            Wanted::Echo => {
                let (first, last) = (Carried::Echo, Carried::Echo);
                all.push(Alike { first, last });
                continue;
            }
            Wanted::Ports(range) => range,
        };
        for port in range.ports.clone() {
            let carried = Carried::Port(range.transport, port);
            let begins = port == *range.ports.start() || begins.contains(&port.into());
            match all.last_mut() {
                Some(run) if !begins => run.last = carried,
                Some(_) | None => all.push(Alike {
                    first: carried,
                    last: carried,
                }),
            }
        }
    }
    all
}

/// The ports from which on the rules of `table` may say something else.
fn begins(table: &Table) -> BTreeSet<u128> {
    let mut begins = BTreeSet::new();
    let rules = table.chains.values().flat_map(|chain| &chain.lines);
    for line in rules {
        let Line::Rule(rule) = line else { continue };
        for field in [Field::Service, Field::SourcePort, Field::DestinationPort] {
            let asked = rule.criteria().get(&field);
            for range in asked.into_iter().flat_map(|values| values.ranges()) {
                begins.insert(range.first());
                begins.insert(range.last().saturating_add(1));
            }
        }
    }
    begins
}
