//! What shaping down cannot do: for what ends on this host, and where the queue is the provider's.

use super::Note;
use crate::model::circuit::Pool;
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
        "where that is much, leave room for it in the splits' `down`",
    )];
    let pools = policy.pools().values();
    notes.extend(pools.filter_map(|pool| without_room(policy, pool)));
    notes
}

/// A note where phases give out so much of a pool that the provider's queue fills before ours.
fn without_room(policy: &Policy, pool: &Pool) -> Option<Note> {
    let mut full: Vec<(&Phase, &Split, u64, Rate)> = policy
        .phases()
        .values()
        .filter_map(|phase| {
            let split = phase.splits.get(&pool.name)?;
            let shares = split.shares.values();
            let given: u64 = shares.map(|share| share.down.bits()).sum();
            let carries = policy.capacity_in(pool, phase).down;
            let over = u128::from(given) * 100 > u128::from(carries.bits()) * u128::from(ROOM);
            over.then_some((phase, split, given, carries))
        })
        .collect();
    full.sort_by(|a, b| a.1.origin.cmp(&b.1.origin));
    let others = full.len().saturating_sub(1);
    let (phase, split, given, carries) = full.first()?;
    let and = match others {
        0 => String::new(),
        1 => ", and one more phase does so".to_owned(),
        more => format!(", and {more} more phases do so"),
    };
    Some(Note::at(
        &split.origin,
        format!(
            "phase `{}` gives out {} of the {carries} that pool `{}` carries down{and}: shaping down works only while \
             queues form here, and at the line's own rate they form at the provider's",
            phase.name,
            Rate::floor(*given),
            pool.name,
        ),
        format!(
            "give out {ROOM} % at the most; where the pool's `capacity` is a few per cent below what the line carries down, there is room already"
        ),
    ))
}
