//! Classes whose guarantee grows from next to nothing: HTB makes them wait for it.
//!
//! A class that sends a packet pays for it at its own rate, and keeps the debt, in time, through a change of
//! rate; at 8 kbit a packet of 64 KB costs 65 s, of which the kernel remembers 60 (`mbuffer` in
//! `net/sched/sch_htb.c`). So a guarantee that grows from there is only there when the debt is over.

use std::collections::BTreeMap;

use super::{GSO, Note};
use crate::model::node::{NodeKey, Place};
use crate::model::phase::Phase;
use crate::policy::Policy;
use crate::units::{Direction, Rate};

/// What the kernel remembers of a debt, at the most.
const MEMORY_NS: u64 = 60_000_000_000;
/// Shorter waits are not worth a word.
const WORTH_NS: u64 = 2_000_000_000;

/// A note for each class whose guarantee would be late after a change of phase.
pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    let mut bounds: BTreeMap<NodeKey, (Rate, &Phase, Rate, &Phase)> = BTreeMap::new();
    for phase in policy.phases().values() {
        for (key, holding) in policy.promises(phase) {
            if !matches!(key.place, Place::Class(_)) {
                continue;
            }
            let rate = holding.guarantee.get(Direction::Up);
            let (least, low, most, high) = bounds.entry(key).or_insert((rate, phase, rate, phase));
            if rate < *least {
                (*least, *low) = (rate, phase);
            }
            if rate > *most {
                (*most, *high) = (rate, phase);
            }
        }
    }
    let late = |(key, (least, low, most, high)): (&NodeKey, &(Rate, &Phase, Rate, &Phase))| {
        let debt = least.nanoseconds_for(GSO).min(MEMORY_NS);
        let Place::Class(class) = &key.place else {
            return None;
        };
        let origin = &policy.class(class)?.origin;
        (debt > WORTH_NS && most.bits() >= least.bits() * 10).then(|| {
            Note::at(
                origin,
                format!(
                    "class `{class}` has {most} in phase `{}`, but may wait up to {} s for it when it comes from phase `{}`, where it has {least}",
                    high.name,
                    debt / 1_000_000_000,
                    low.name,
                ),
                format!(
                    "give it more in phase `{}`: HTB remembers the cost of the last packet at the old rate",
                    low.name
                ),
            )
        })
    };
    bounds.iter().filter_map(late).collect()
}
