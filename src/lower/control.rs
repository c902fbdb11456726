//! What keeps the line itself alive: how it is recognised.
//!
//! Only what the host itself sends, over IP; what never meets the packet filter (ARP, LLDP, a DHCP
//! client's raw socket) is control anyway, by HTB's default. Two buckets for each circuit, because the
//! two kinds must not take from each other: a copy over ssh would else push a routing protocol out.
//! Beyond its bucket a packet is classified like any other.

use crate::model::filter::{Action, Chain, ChainName, ChainRole, Field, Limit, Rule, Values};
use crate::model::names::CircuitName;

/// The most that a bucket lets into control: half a megabit a second.
const BUCKET: Limit = Limit {
    bytes_per_second: 64 * 1024,
    burst: 64 * 1024,
};

/// `fib saddr type local`.
pub(super) const LOCAL: u128 = 2;
const ICMP: u128 = 1;
const IGMP: u128 = 2;
const TCP: u128 = 6;
const UDP: u128 = 17;
const ICMP6: u128 = 58;
const EIGRP: u128 = 88;
const OSPF: u128 = 89;
const PIM: u128 = 103;
const VRRP: u128 = 112;

/// Multicast listeners (130 to 132, 143), routers and neighbours (133 to 137).
const LINE_ICMP6: [u128; 9] = [130, 131, 132, 133, 134, 135, 136, 137, 143];
/// DHCP (67, 68), RIP (520), RIPng (521), DHCPv6 (546, 547), BFD (3784, 3785, 4784).
const LINE_UDP: [u128; 9] = [67, 68, 520, 521, 546, 547, 3784, 3785, 4784];
const BGP: u128 = 179;
const SSH: u128 = 22;

/// The rules by which what the host itself sends is told apart, to `own`.
///
/// Duplicate address detection and first DHCP packets have no source yet; no such packet is ever
/// forwarded. Addresses in a VRF are local there alone, so of a circuit that may be in one (it has further
/// names then) the device's own ones are asked for too. An address of the VRF device itself is not found so.
pub(super) fn own_packets(own: &ChainName, named: bool) -> impl Iterator<Item = Rule> {
    let there = Field::SourceTypeThere;
    [
        Some((Field::SourceType, LOCAL)),
        named.then_some((there, LOCAL)),
        Some((Field::Source4, 0)),
        Some((Field::Source6, 0)),
    ]
    .into_iter()
    .flatten()
    .map(|(field, value)| {
        let goto = Action::Goto(own.clone());
        Rule::new([(field, Values::of([value]))], None, goto)
    })
}

/// Whether what the host itself sends over TCP is control: one of the two ports says so, at either end.
pub(super) fn is_own_tcp(ports: [u16; 2]) -> bool {
    ports
        .iter()
        .any(|port| [BGP, SSH].contains(&u128::from(*port)))
}

/// The chains behind `own`.
pub(super) fn chains(
    circuit: &CircuitName,
    control: &ChainName,
    traffic: &ChainName,
) -> [(ChainName, Chain); 3] {
    let own = ChainRole::Own(circuit.clone()).name();
    let line = ChainRole::Line(circuit.clone()).name();
    let hand = ChainRole::Hand(circuit.clone()).name();
    let transport = |number| (Field::Transport, Values::of([number]));
    let to_line = || Action::Goto(line.clone());
    let to_hand = || Action::Goto(hand.clone());
    let rules = [
        Rule::new(
            [(Field::Icmp6Type, Values::of(LINE_ICMP6))],
            None,
            to_line(),
        ),
        Rule::new(
            [(Field::Transport, Values::of([IGMP, EIGRP, OSPF, PIM, VRRP]))],
            None,
            to_line(),
        ),
        Rule::new(
            [
                transport(UDP),
                (Field::DestinationPort, Values::of(LINE_UDP)),
            ],
            None,
            to_line(),
        ),
        Rule::new(
            [transport(TCP), (Field::DestinationPort, Values::of([BGP]))],
            None,
            to_line(),
        ),
        Rule::new(
            [transport(TCP), (Field::SourcePort, Values::of([BGP]))],
            None,
            to_line(),
        ),
        Rule::new(
            [transport(TCP), (Field::DestinationPort, Values::of([SSH]))],
            None,
            to_hand(),
        ),
        Rule::new(
            [transport(TCP), (Field::SourcePort, Values::of([SSH]))],
            None,
            to_hand(),
        ),
        Rule::new(
            [(Field::Transport, Values::of([ICMP, ICMP6]))],
            None,
            to_hand(),
        ),
        Rule::always(Action::Goto(traffic.clone())),
    ];
    let bucket = || {
        Chain::of([
            Rule::new([], Some(BUCKET), Action::Goto(control.clone())),
            Rule::always(Action::Goto(traffic.clone())),
        ])
    };
    [(own, Chain::of(rules)), (line, bucket()), (hand, bucket())]
}
