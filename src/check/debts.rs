//! Classes whose guarantee grows from next to nothing: HTB makes them wait for it.
//!
//! A class that sends a packet pays for it at its own rate, and keeps the debt, in time, through a change of
//! rate; at 8 kbit a packet of 64 KB costs 65 s, of which the kernel remembers 60 (`mbuffer` in
//! `net/sched/sch_htb.c`). So a guarantee that grows from there is only there when the debt is over.

use std::collections::BTreeMap;

use super::{GSO, Note};
use crate::model::names::{ClassName, PhaseName};
use crate::model::node::Place;
use crate::policy::Policy;
use crate::units::{Direction, Rate};

/// What the kernel remembers of a debt, at the most.
const MEMORY_NS: u64 = 60_000_000_000;
/// Shorter waits are not worth a word.
const WORTH_NS: u64 = 2_000_000_000;

/// A note for each class whose guarantee would be late after a change of phase.
pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    let up = late(policy, Direction::Up);
    let down = late(policy, Direction::Down);
    let told = |class: &ClassName, late: &Late<'_>, way: &str| {
        let origin = &policy.class(class)?.origin;
        let Late {
            debt,
            least: (least, low),
            most: (most, high),
        } = late;
        Some(Note::at(
            origin,
            format!(
                "class `{class}` has {most}{way} in phase `{high}`, but may wait up to {} s for it when it comes from phase `{low}`, where it has {least}",
                debt / 1_000_000_000,
            ),
            format!(
                "give it more in phase `{low}`: HTB remembers the cost of the last packet at the old rate"
            ),
        ))
    };
    let mut notes = Vec::new();
    for (class, late) in &up {
        let way = if down.get(class) == Some(late) {
            ""
        } else {
            " up"
        };
        notes.extend(told(class, late, way));
    }
    for (class, late) in &down {
        if up.get(class) != Some(late) {
            notes.extend(told(class, late, " down"));
        }
    }
    notes
}

/// How late a guarantee is.
#[derive(PartialEq, Eq)]
struct Late<'a> {
    /// What the kernel remembers, in nanoseconds.
    debt: u64,
    /// The least that the class has, and in which phase.
    least: (Rate, &'a PhaseName),
    /// The most that it has, and in which phase.
    most: (Rate, &'a PhaseName),
}

/// The classes whose guarantee grows from next to nothing.
fn late(policy: &Policy, direction: Direction) -> BTreeMap<ClassName, Late<'_>> {
    let mut found: BTreeMap<ClassName, Late<'_>> = BTreeMap::new();
    for phase in policy.phases().values() {
        for (key, holding) in policy.promises(phase) {
            let Place::Class(class) = key.place else {
                continue;
            };
            let has = (holding.guarantee.get(direction), &phase.name);
            let late = found.entry(class).or_insert(Late {
                debt: 0,
                least: has,
                most: has,
            });
            if has.0 < late.least.0 {
                late.least = has;
            }
            if has.0 > late.most.0 {
                late.most = has;
            }
        }
    }
    found.retain(|_, late| {
        late.debt = late.least.0.nanoseconds_for(GSO).min(MEMORY_NS);
        late.debt > WORTH_NS && late.most.0.bits() >= late.least.0.bits() * 10
    });
    found
}
