//! Blocks: what is rejected while they hold, on its way through the host.
//!
//! Rules speak of connections as they were opened, before any translation, so those about who opened one and
//! what was asked for fit its packets of both directions as they stand: the server's next packet is rejected
//! like the client's. Only the circuit is seen from the packet: the connection's own packets leave over it, the
//! replies arrive by it (where replies come another way, it is the connection's own packets that are rejected).
//!
//! - What belongs to no connection is gone by as it stands, once as if it were of who opened one and once as a
//!   reply. `untracked` it may be by somebody's `notrack`; `invalid` are the last packets of a connection
//!   that was just reset, for which the answer is the same.
//! - Errors about connections (`related`, over ICMP) pass: they carry nothing, and who is told of one that is
//!   rejected stops earlier.
//! - A block that drains rejects what is `new` alone. What an open connection brings along
//!   (`related`: the data of FTP) and what is `invalid` goes on with it; what is untracked does not, because none
//!   can say that it was open.
//! - The host's own traffic meets none of it: it is not on its way through.

use super::{BlockRules, Table};
use crate::lower::criteria::{Criteria, as_it_stands};
use crate::model::class::Match;
use crate::model::filter::{
    Action, Answer, Chain, ChainName, ChainRole, CounterName, Field, Hook, Rule, Values,
    number_of_device,
};
use crate::model::names::DeviceName;

/// Before `filter`, which is 0: a firewall's own chains need not let pass what is rejected.
const BEFORE_FILTER: i32 = -10;

/// `ct state`, as bits.
const INVALID: u128 = 1;
const RELATED: u128 = 4;
const NEW: u128 = 8;
const UNTRACKED: u128 = 64;

/// `ct direction`.
const ORIGINAL: u128 = 0;
const REPLY: u128 = 1;

/// ICMP and ICMPv6.
const ERRORS: [u128; 2] = [1, 58];

/// Adds the chains of `blocks`, where there are any.
pub(super) fn add(blocks: &[BlockRules], table: &mut Table) {
    if blocks.is_empty() {
        return;
    }
    let mut entry = vec![errors_pass()];
    for block in blocks {
        let rejected = ChainRole::Rejected(block.name.clone()).name();
        let counter = CounterName::blocked(&block.name);
        let chain = ChainRole::Block {
            block: block.name.clone(),
            digest: 0,
        }
        .name();
        table.chains.insert(chain.clone(), rules(block, &rejected));
        table.chains.insert(rejected, rejecting(&counter));
        table.counters.insert(counter);
        entry.push(Rule::always(Action::Jump(chain)));
    }
    let mut forward = Chain::of(entry);
    forward.hook = Some(Hook {
        kind: "filter".to_owned(),
        point: "forward".to_owned(),
        priority: BEFORE_FILTER,
        policy: "accept".to_owned(),
    });
    table.chains.insert(ChainRole::Forward.name(), forward);
}

fn errors_pass() -> Rule {
    let criteria = [
        (Field::State, Values::of([RELATED])),
        (Field::Transport, Values::of(ERRORS)),
    ];
    Rule::new(criteria, None, Action::Return)
}

fn rejecting(counter: &CounterName) -> Chain {
    Chain::of([Answer::Reset, Answer::Prohibited].map(|answer| {
        let counter = counter.clone();
        Rule::always(Action::Reject { answer, counter })
    }))
}

/// How a packet shows what its connection is about.
#[derive(Clone, Copy)]
enum View {
    /// By the connection.
    Connection,
    /// By itself, as one of who opened it.
    Opener,
    /// By itself, as a reply.
    Replier,
}

/// Exceptions, then what is rejected.
fn rules(block: &BlockRules, rejected: &ChainName) -> Chain {
    let views = [View::Connection, View::Opener, View::Replier];
    let seen = |one: &Match, view: View| -> Vec<Criteria> {
        let criteria = as_it_stands(one).into_iter();
        criteria.map(|criteria| view.of(criteria)).collect()
    };
    let excepted = block.except.iter().flat_map(|one| {
        let all = views.into_iter().flat_map(|view| {
            let criteria = seen(one, view).into_iter();
            criteria.map(move |criteria| view.in_states(criteria, false))
        });
        all.collect::<Vec<_>>()
    });
    let excepted = excepted.map(|criteria| Rule::new(criteria, None, Action::Return));
    let hit = views.into_iter().flat_map(|view| {
        let all = seen(&block.what, view).into_iter();
        all.flat_map(move |criteria| view.over(&block.devices, criteria))
            .map(move |criteria| view.in_states(criteria, block.drains))
    });
    let hit = hit.map(|criteria| Rule::new(criteria, None, Action::Goto(rejected.clone())));
    Chain::of(excepted.chain(hit))
}

impl View {
    /// What must hold of a packet whose connection fits `criteria`.
    fn of(self, criteria: Criteria) -> Criteria {
        let seen = criteria.into_iter();
        seen.map(|(field, values)| (self.field(field), values))
            .collect()
    }

    /// The same, of packets that pass by one of `devices` in the direction in which they go; of all where there is none.
    fn over(self, devices: &[DeviceName], criteria: Criteria) -> Vec<Criteria> {
        if devices.is_empty() {
            return vec![criteria];
        }
        let devices = Values::of(devices.iter().map(number_of_device));
        let passing = |direction: Option<u128>, field: Field| {
            let mut criteria = criteria.clone();
            criteria.insert(field, devices.clone());
            let direction = direction.map(|direction| Values::of([direction]));
            criteria.extend(direction.map(|direction| (Field::Direction, direction)));
            criteria
        };
        match self {
            Self::Connection => vec![
                passing(Some(ORIGINAL), Field::Departure),
                passing(Some(REPLY), Field::Arrival),
            ],
            Self::Opener => vec![passing(None, Field::Departure)],
            Self::Replier => vec![passing(None, Field::Arrival)],
        }
    }

    /// The same, of packets in the states in which this is how they show it, and in which they are rejected.
    fn in_states(self, mut criteria: Criteria, drains: bool) -> Criteria {
        let states: &[u128] = match (self, drains) {
            (Self::Connection, false) => return criteria,
            (Self::Connection, true) => &[NEW],
            (Self::Opener | Self::Replier, false) => &[INVALID, UNTRACKED],
            (Self::Opener | Self::Replier, true) => &[UNTRACKED],
        };
        criteria.insert(Field::State, Values::of(states.iter().copied()));
        criteria
    }

    /// Where a packet shows what `field` is of its connection.
    const fn field(self, field: Field) -> Field {
        match (self, field) {
            (Self::Opener, Field::From4) | (Self::Replier, Field::To4) => Field::Source4,
            (Self::Opener, Field::From6) | (Self::Replier, Field::To6) => Field::Source6,
            (Self::Opener, Field::To4) | (Self::Replier, Field::From4) => Field::Destination4,
            (Self::Opener, Field::To6) | (Self::Replier, Field::From6) => Field::Destination6,
            (Self::Opener, Field::Service) => Field::DestinationPort,
            (Self::Replier, Field::Service) => Field::SourcePort,
            (_, field) => field,
        }
    }
}
