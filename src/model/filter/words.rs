//! nft's names for numbers.
//!
//! Only those that nft itself knows are written: names of protocols it takes from `/etc/protocols`,
//! which a host need not have. Those, and names that only some versions have, are read.

use super::fields::{FieldKind, IPV4, IPV6};

type Words = &'static [(&'static str, u128)];

const FAMILIES: Words = &[("ipv4", IPV4), ("ipv6", IPV6)];
const ROUTE_TYPES: Words = &[("unicast", 1), ("local", 2), ("broadcast", 3)];
const STATES: Words = &[
    ("invalid", 1),
    ("established", 2),
    ("related", 4),
    ("new", 8),
    ("untracked", 64),
];
const DIRECTIONS: Words = &[("original", 0), ("reply", 1)];
const TRANSPORTS: Words = &[("tcp", 6), ("udp", 17), ("icmp", 1), ("icmpv6", 58)];
const TRANSPORTS_READ: Words = &[
    ("ipv6-icmp", 58),
    ("igmp", 2),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
];
const CODE_POINTS_READ: Words = &[
    ("df", 0),
    ("be", 0),
    ("lephb", 1),
    ("va", 44),
    ("voice-admit", 44),
];
const ICMP6_TYPES: Words = &[
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
    ("mld2-listener-report", 143),
];
const CODE_POINTS: Words = &[
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("ef", 46),
];

const fn written(kind: FieldKind) -> Words {
    match kind {
        FieldKind::Address4
        | FieldKind::Address6
        | FieldKind::Port
        | FieldKind::Device
        | FieldKind::Mark(_)
        | FieldKind::Label => &[],
        FieldKind::Family => FAMILIES,
        FieldKind::RouteType => ROUTE_TYPES,
        FieldKind::State => STATES,
        FieldKind::Direction => DIRECTIONS,
        FieldKind::Transport => TRANSPORTS,
        FieldKind::Icmp6Type => ICMP6_TYPES,
        FieldKind::Dscp => CODE_POINTS,
    }
}

const fn only_read(kind: FieldKind) -> Words {
    match kind {
        FieldKind::Transport => TRANSPORTS_READ,
        FieldKind::Dscp => CODE_POINTS_READ,
        FieldKind::Address4
        | FieldKind::Address6
        | FieldKind::Port
        | FieldKind::Family
        | FieldKind::RouteType
        | FieldKind::State
        | FieldKind::Direction
        | FieldKind::Device
        | FieldKind::Label
        | FieldKind::Mark(_)
        | FieldKind::Icmp6Type => &[],
    }
}

/// The number that has this name.
pub(super) fn number_of(kind: FieldKind, name: &str) -> Option<u128> {
    let mut words = written(kind).iter().chain(only_read(kind));
    words
        .find(|(word, _)| *word == name)
        .map(|(_, number)| *number)
}

/// The name that is written for a number.
pub(super) fn name_of(kind: FieldKind, number: u128) -> Option<&'static str> {
    let (name, _) = written(kind).iter().find(|(_, known)| *known == number)?;
    Some(name)
}
