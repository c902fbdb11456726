//! What shaping down cannot do: for what ends on this host, and where the queue is the provider's.

use super::Note;
use crate::model::circuit::{Circuit, Pool};
use crate::model::phase::{Phase, Split};
use crate::policy::Policy;
use crate::units::{Direction, Rate};

/// How much of what a pool carries down may be given out, in percent, so that queues form here.
const ROOM: u64 = 97;

/// The notes on shaping down, where the policy does.
pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    if !super::shapes(policy, Direction::Down) {
        return Vec::new();
    }
    let mut notes = vec![Note::at(
        &policy.host().origin,
        "what arrives for this host itself (a proxy's fetches, a tunnel's packets, downloads) is not shaped down, only what it forwards"
            .to_owned(),
        "where that is much, leave room for it in what circuits are given `down`",
    )
    .of_a_limit()];
    let pools = policy.pools().values();
    notes.extend(pools.filter_map(|pool| without_room(policy, pool)));
    let circuits = policy.circuits().values();
    notes.extend(circuits.filter_map(|circuit| line_without_room(policy, circuit)));
    notes
}

/// A split that gives out too much: of what, and of how much.
struct Full<'a> {
    phase: &'a Phase,
    split: &'a Split,
    given: u64,
    carries: Rate,
}

impl<'a> Full<'a> {
    /// Where so much is given out that the provider's queue fills before ours.
    fn of(phase: &'a Phase, split: &'a Split, given: u64, carries: Rate) -> Option<Self> {
        let over = u128::from(given) * 100 > u128::from(carries.bits()) * u128::from(ROOM);
        over.then_some(Self {
            phase,
            split,
            given,
            carries,
        })
    }
}

/// A note where phases give out so much of a pool that the provider's queue fills before ours.
fn without_room(policy: &Policy, pool: &Pool) -> Option<Note> {
    let full = policy.phases().values().filter_map(|phase| {
        let split = phase.splits.get(&pool.name)?;
        let shares = split.shares.values();
        let given: u64 = shares.map(|share| share.down.bits()).sum();
        Full::of(phase, split, given, policy.capacity_in(pool, phase).down)
    });
    told(full.collect(), |full| {
        let (given, carries) = (Rate::floor(full.given), full.carries);
        let pool = &pool.name;
        format!("gives out {given} of the {carries} that pool `{pool}` carries down")
    })
}

/// The same where a circuit in a pool has a line of its own, and is given all that this carries.
fn line_without_room(policy: &Policy, circuit: &Circuit) -> Option<Note> {
    let (pool, carries) = (policy.pool_of(&circuit.name)?, circuit.capacity?.down);
    let full = policy.phases().values().filter_map(|phase| {
        let split = phase.splits.get(&pool.name)?;
        let share = split.shares.get(&circuit.name)?;
        Full::of(phase, split, share.down.bits(), carries)
    });
    told(full.collect(), |full| {
        let (given, carries) = (Rate::floor(full.given), full.carries);
        let circuit = &circuit.name;
        format!("gives circuit `{circuit}` {given} of the {carries} that its line carries down")
    })
}

/// One note for all phases: at the first.
fn told(mut full: Vec<Full<'_>>, gives: impl Fn(&Full<'_>) -> String) -> Option<Note> {
    full.sort_by_key(|full| &full.split.origin);
    let and = match full.len().saturating_sub(1) {
        0 => String::new(),
        1 => ", and one more phase does so".to_owned(),
        more => format!(", and {more} more phases do so"),
    };
    let first = full.first()?;
    Some(Note::at(
        &first.split.origin,
        format!(
            "phase `{}` {}{and}: shaping down works only while queues form here, and at the line's own rate they form at the provider's",
            first.phase.name,
            gives(first),
        ),
        format!(
            "give out {ROOM} % at the most; where the `capacity` is a few per cent below what the line carries down, there is room already"
        ),
    ))
}
