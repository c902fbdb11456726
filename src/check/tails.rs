//! Tails so thin that one offloaded packet holds up all others.

use super::{GSO, Note};
use crate::policy::Policy;
use crate::units::Direction;

/// How long one packet may take before it is worth a word: a voice packet comes every 20 ms.
const WORTH_A_WORD: u64 = 50_000_000;

pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    let mut thin: Vec<_> = policy
        .sites()
        .values()
        .filter_map(|site| {
            let capacity = site.terms.capacity;
            let slower = if capacity.up <= capacity.down {
                Direction::Up
            } else {
                Direction::Down
            };
            let rate = capacity.get(slower);
            let time = rate.nanoseconds_for(GSO);
            (time > WORTH_A_WORD).then_some((time, rate, slower, site))
        })
        .collect();
    thin.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.3.name.cmp(&b.3.name)));
    let others = thin.len().saturating_sub(1);
    // One note for all: a hundred thin tails are one thing to know, not a hundred.
    thin.first()
        .map(|(time, rate, slower, site)| {
            let and = match others {
                0 => String::new(),
                1 => ", and one more site like it".to_owned(),
                more => format!(", and {more} more sites like it"),
            };
            Note::at(
                &site.origin,
                format!(
                    "a 64 KB packet of segmentation offload takes {} ms {slower} at {rate}, the tail of site `{}`{and}",
                    time / 1_000_000,
                    site.name
                ),
                "where that hurts voice or desktops, turn off GSO and TSO of what sends there (ethtool -K DEVICE gso off tso off), or GRO of the device that it arrives on",
            )
        })
        .into_iter()
        .collect()
}
