//! Whether what some matches ask for leaves anything of what another asks for.
//!
//! A match is a box in four dimensions: who opened, who was asked, for what, marked how. Taking one box out of another
//! leaves at most four, so what is left is known exactly; where it falls into too many pieces nothing is claimed.
//!
//! What nftables makes of a match agrees with this: a class by code points takes replies by the points that the connection
//! remembers, each for itself, so a class that takes a point before takes its replies as well.

use ipnet::IpNet;

use crate::model::class::{Match, Transport};

/// Into how many pieces a match may fall before nothing is claimed.
const PIECES: usize = 64;

/// Numbers, in stretches from one to another, both included: sorted and apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Set(Vec<(u128, u128)>);

impl Set {
    fn new(mut spans: Vec<(u128, u128)>) -> Self {
        spans.sort_unstable();
        let mut kept: Vec<(u128, u128)> = Vec::with_capacity(spans.len());
        for (first, last) in spans {
            match kept.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => kept.push((first, last)),
            }
        }
        Self(kept)
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they are so far apart that they can share nothing; cheap.
    fn is_apart(&self, other: &Self) -> bool {
        match (
            self.0.first(),
            self.0.last(),
            other.0.first(),
            other.0.last(),
        ) {
            (Some(first), Some(last), Some(from), Some(to)) => last.1 < from.0 || to.1 < first.0,
            _ => true,
        }
    }

    fn both(&self, other: &Self) -> Self {
        let mut kept = Vec::new();
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(a), Some(b)) = (mine.peek(), theirs.peek()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                kept.push((first, last));
            }
            if a.1 <= b.1 {
                mine.next();
            } else {
                theirs.next();
            }
        }
        Self(kept)
    }

    fn without(&self, other: &Self) -> Self {
        let mut kept = Vec::new();
        for &(first, last) in &self.0 {
            let mut from = Some(first);
            for &(start, end) in &other.0 {
                let Some(next) = from else { break };
                if end < next || start > last {
                    continue;
                }
                if start > next {
                    kept.push((next, start - 1));
                }
                from = (end < last).then(|| end + 1);
            }
            if let Some(from) = from {
                kept.push((from, last));
            }
        }
        Self(kept)
    }
}

/// Which addresses are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Four,
    Six,
}

/// What a match asks for within one family of addresses.
#[derive(Debug, Clone)]
struct Piece {
    family: Family,
    /// From, to, service, code point.
    sides: [Set; 4],
}

impl Piece {
    fn is_apart(&self, other: &Self) -> bool {
        self.family != other.family
            || self
                .sides
                .iter()
                .zip(&other.sides)
                .any(|(mine, theirs)| mine.is_apart(theirs))
    }

    /// What is left of it without `other`; `None` where that takes nothing.
    fn without(&self, other: &Self) -> Option<Vec<Self>> {
        if self.is_apart(other) {
            return None;
        }
        let shared: Vec<Set> = self
            .sides
            .iter()
            .zip(&other.sides)
            .map(|(mine, theirs)| mine.both(theirs))
            .collect();
        if shared.iter().any(Set::is_empty) {
            return None;
        }
        let mut left = Vec::new();
        let mut rest = self.clone();
        let sides = rest.sides.clone();
        for (index, ((mine, theirs), shared)) in
            sides.into_iter().zip(&other.sides).zip(shared).enumerate()
        {
            let outside = mine.without(theirs);
            if !outside.is_empty() {
                let mut piece = rest.clone();
                if let Some(side) = piece.sides.get_mut(index) {
                    *side = outside;
                }
                left.push(piece);
            }
            if let Some(side) = rest.sides.get_mut(index) {
                *side = shared;
            }
        }
        Some(left)
    }
}

/// All that a match asks for.
#[derive(Debug, Clone)]
pub(super) struct Area(Vec<Piece>);

/// UDP's ports come after TCP's on one line, and after both all that has no ports.
const UDP: u128 = 1 << 16;
const OTHER: u128 = 1 << 17;
/// The last code point.
const LAST_POINT: u128 = 63;

impl Area {
    /// What `one` asks for.
    pub(super) fn of(one: &Match) -> Self {
        let service = if one.service.is_empty() {
            Set(vec![(0, OTHER)])
        } else {
            let spans = one.service.iter().map(|range| {
                let base = match range.transport {
                    Transport::Tcp => 0,
                    Transport::Udp => UDP,
                };
                let port = |port: u16| base + u128::from(port);
                (port(*range.ports.start()), port(*range.ports.end()))
            });
            // Ports of TCP and UDP do not meet where one ends and the other begins: port 0 is no port.
            Set::new(spans.collect())
        };
        let points = if one.dscp.is_empty() {
            Set(vec![(0, LAST_POINT)])
        } else {
            let points = one.dscp.iter().map(|point| u128::from(point.get()));
            Set::new(points.map(|point| (point, point)).collect())
        };
        let pieces = [Family::Four, Family::Six].map(|family| Piece {
            family,
            sides: [
                addresses(&one.from, family),
                addresses(&one.to, family),
                service.clone(),
                points.clone(),
            ],
        });
        let some = |piece: &Piece| !piece.sides.iter().any(Set::is_empty);
        Self(pieces.into_iter().filter(some).collect())
    }

    /// Takes `other` out of it: whether that took anything. `None` where what is left falls into too many pieces.
    pub(super) fn take_out(&mut self, other: &Self) -> Option<bool> {
        let mut took = false;
        for theirs in &other.0 {
            let mut left = Vec::new();
            for piece in self.0.drain(..) {
                match piece.without(theirs) {
                    Some(pieces) => {
                        took = true;
                        left.extend(pieces);
                    }
                    None => left.push(piece),
                }
            }
            self.0 = left;
            if self.0.len() > PIECES {
                return None;
            }
        }
        Some(took)
    }

    /// Whether nothing is left.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The addresses of one family; all where none of either is asked for.
fn addresses(prefixes: &[IpNet], family: Family) -> Set {
    if prefixes.is_empty() {
        let last = match family {
            Family::Four => u128::from(u32::MAX),
            Family::Six => u128::MAX,
        };
        return Set(vec![(0, last)]);
    }
    let spans = prefixes.iter().filter_map(|prefix| match (prefix, family) {
        (IpNet::V4(prefix), Family::Four) => Some((
            u32::from(prefix.network()).into(),
            u32::from(prefix.broadcast()).into(),
        )),
        (IpNet::V6(prefix), Family::Six) => {
            Some((u128::from(prefix.network()), u128::from(prefix.broadcast())))
        }
        (IpNet::V4(_), Family::Six) | (IpNet::V6(_), Family::Four) => None,
    });
    Set::new(spans.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::class::{Dscp, PortRange};
    use proptest::prelude::*;

    /// Addresses and ports out of few, so that matches meet.
    fn any_match() -> impl Strategy<Value = Match> {
        let prefixes = [
            "10.0.0.0/8",
            "10.0.0.0/9",
            "10.128.0.0/9",
            "10.0.0.0/32",
            "fd00::/8",
            "fd00::/64",
            "0.0.0.0/0",
        ];
        let prefixes = move || {
            prop::collection::vec(prop::sample::select(prefixes.to_vec()), 0..3).prop_map(|list| {
                list.iter()
                    .map(|text| text.parse().unwrap())
                    .collect::<Vec<IpNet>>()
            })
        };
        let ports = (any::<bool>(), 1..4_u16, 0..3_u16).prop_map(|(udp, first, more)| PortRange {
            transport: if udp { Transport::Udp } else { Transport::Tcp },
            ports: first..=first + more,
        });
        let points = prop::collection::vec(0..4_u8, 0..3)
            .prop_map(|points| points.into_iter().filter_map(Dscp::new).collect());
        (
            prefixes(),
            prefixes(),
            prop::collection::vec(ports, 0..3),
            points,
        )
            .prop_map(|(from, to, service, dscp)| Match {
                from,
                to,
                service,
                dscp,
            })
    }

    /// Whether a packet belongs to a match, asked the plain way. No transport is anything but TCP and UDP.
    fn belongs(
        one: &Match,
        from: &IpNet,
        to: &IpNet,
        port: Option<(Transport, u16)>,
        dscp: u8,
    ) -> bool {
        let at = |list: &[IpNet], address: &IpNet| {
            list.is_empty() || list.iter().any(|prefix| prefix.contains(address))
        };
        let service = one.service.is_empty()
            || port.is_some_and(|(transport, port)| {
                one.service
                    .iter()
                    .any(|range| range.transport == transport && range.ports.contains(&port))
            });
        let point = one.dscp.is_empty() || one.dscp.iter().any(|point| point.get() == dscp);
        at(&one.from, from) && at(&one.to, to) && service && point
    }

    /// From, to, port, code point.
    type Packet = (IpNet, IpNet, Option<(Transport, u16)>, u8);

    /// A packet out of each corner that the matches above can part.
    fn packets() -> Vec<Packet> {
        let four = ["10.0.0.0", "10.0.0.1", "10.128.0.0", "192.0.2.1"];
        let six = ["fd00::1", "fd00:0:0:1::", "2001:db8::"];
        let net = |text: &str| IpNet::from(text.parse::<std::net::IpAddr>().unwrap());
        let mut all = Vec::new();
        for family in [&four[..], &six] {
            for (from, to) in family
                .iter()
                .flat_map(|a| family.iter().map(move |b| (a, b)))
            {
                for port in 0..8 {
                    for transport in [Some(Transport::Tcp), Some(Transport::Udp), None] {
                        let port = transport.map(|transport| (transport, port));
                        all.extend((0..5).map(|dscp| (net(from), net(to), port, dscp)));
                    }
                }
            }
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Nothing is left exactly where no packet is.
        #[test]
        fn what_is_left_is_what_no_earlier_one_takes(
            later in any_match(),
            earlier in prop::collection::vec(any_match(), 0..4),
        ) {
            let mut left = Area::of(&later);
            for one in &earlier {
                prop_assume!(left.take_out(&Area::of(one)).is_some());
            }
            let missed = packets().into_iter().any(|(from, to, port, dscp)| {
                belongs(&later, &from, &to, port, dscp)
                    && !earlier.iter().any(|one| belongs(one, &from, &to, port, dscp))
            });
            prop_assert_eq!(left.is_empty(), !missed);
        }
    }
}
