//! What a packet must look like to belong to a class: matches → criteria of rules.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::model::class::{Dscp, Match, Transport};
use crate::model::filter::{Field, Memory, Range, Rule, Values};

/// What must hold of a packet.
pub(super) type Criteria = BTreeMap<Field, Values>;

/// `ct direction` of the packets of who opened the connection.
pub(super) const OPENER: u128 = 0;
/// `ct direction` of replies.
pub(super) const REPLY: u128 = 1;

/// What a match asks for, once for each family and transport in which it can be fulfilled.
///
/// A code point is asked for in the packet, and, of a reply, in what its connection remembers of what opened it:
/// there once for each point, since nft 1.0.6 knows no sets of labels.
pub(super) fn criteria_of(one: &Match) -> Vec<Criteria> {
    let mut all = as_it_stands(one);
    if one.dscp.is_empty() {
        return all;
    }
    let replies = as_it_stands(&Match {
        dscp: Vec::new(),
        ..one.clone()
    });
    let points: BTreeSet<Dscp> = one.dscp.iter().copied().collect();
    for criteria in replies {
        for point in &points {
            let label = Memory::Dscp(*point).label().into();
            let mut criteria = criteria.clone();
            criteria.insert(Field::Direction, Values::of([REPLY]));
            criteria.insert(Field::Label, Values::of([label]));
            all.push(criteria);
        }
    }
    all
}

/// The first of `matches` from which `rule` was made; `None` where it was made from none of them.
#[must_use]
pub fn match_of(matches: &[Match], rule: &Rule) -> Option<usize> {
    let made = |criteria: Criteria| Rule::new(criteria, None, rule.action().clone());
    matches.iter().position(|one| {
        let mut all = criteria_of(one).into_iter();
        all.any(|criteria| made(criteria).criteria() == rule.criteria())
    })
}

/// The same for a match that asks for no code point.
pub(super) fn as_it_stands(one: &Match) -> Vec<Criteria> {
    let mut all = Vec::new();
    for addresses in address_criteria(one) {
        for services in service_criteria(one) {
            let mut criteria = addresses.clone();
            criteria.extend(services);
            all.push(criteria);
        }
    }
    all
}

/// Of each family in which every address that is asked for can be, or of neither where none is: a code
/// point stands in another place of each family's header, so it makes two.
fn address_criteria(one: &Match) -> Vec<Criteria> {
    if one.from.is_empty() && one.to.is_empty() && one.dscp.is_empty() {
        return vec![Criteria::new()];
    }
    let (from4, from6) = ranges_by_family(&one.from);
    let (to4, to6) = ranges_by_family(&one.to);
    let dscp = || Values::of(one.dscp.iter().map(|point| u128::from(point.get())));
    let family = |from: Values, to: Values, fields: [Field; 3]| -> Option<Criteria> {
        let asked = [
            (!one.from.is_empty(), fields[0], from),
            (!one.to.is_empty(), fields[1], to),
            (!one.dscp.is_empty(), fields[2], dscp()),
        ];
        let mut criteria = Criteria::new();
        for (asked, field, values) in asked {
            match (asked, values.is_empty()) {
                (false, _) => {}
                (true, true) => return None,
                (true, false) => {
                    criteria.insert(field, values);
                }
            }
        }
        Some(criteria)
    };
    [
        family(from4, to4, [Field::From4, Field::To4, Field::Dscp4]),
        family(from6, to6, [Field::From6, Field::To6, Field::Dscp6]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Of each transport that is asked for.
fn service_criteria(one: &Match) -> Vec<Criteria> {
    if one.service.is_empty() {
        return vec![Criteria::new()];
    }
    let transports: BTreeSet<Transport> = one.service.iter().map(|range| range.transport).collect();
    transports
        .into_iter()
        .map(|transport| {
            let ports = Values::new(
                one.service
                    .iter()
                    .filter(|range| range.transport == transport)
                    .filter_map(|range| {
                        Range::new((*range.ports.start()).into(), (*range.ports.end()).into())
                    }),
            );
            let number = match transport {
                Transport::Tcp => 6,
                Transport::Udp => 17,
            };
            Criteria::from([
                (Field::Transport, Values::of([number])),
                (Field::Service, ports),
            ])
        })
        .filter(|criteria| criteria.values().all(|values| !values.is_empty()))
        .collect()
}

fn ranges_by_family(prefixes: &[IpNet]) -> (Values, Values) {
    let (four, six): (Vec<&IpNet>, Vec<&IpNet>) = prefixes
        .iter()
        .partition(|prefix| matches!(prefix, IpNet::V4(_)));
    let values = |prefixes: Vec<&IpNet>| Values::new(prefixes.into_iter().map(Range::of_prefix));
    (values(four), values(six))
}
