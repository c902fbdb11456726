//! Tails so thin that one offloaded packet holds up all others.

use super::{GSO, Note, shapes};
use crate::model::class::Site;
use crate::model::names::DeviceName;
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
            let slower = [Direction::Up, Direction::Down]
                .into_iter()
                .filter(|direction| shapes(policy, *direction))
                .min_by_key(|direction| capacity.get(*direction))?;
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
                remedy(policy, site, *slower),
            )
        })
        .into_iter()
        .collect()
}

/// What keeps packets apart. Those that are forwarded come together in the GRO of the device that they arrive on; a guest or a
/// container hands down as one what it sends.
fn remedy(policy: &Policy, site: &Site, direction: Direction) -> String {
    let arrival = match direction {
        Direction::Up => policy.host().inside.first(),
        Direction::Down => policy
            .circuits()
            .get(&site.circuit)
            .map(|circuit| &circuit.device),
    };
    let device = arrival.map_or("DEVICE", DeviceName::as_str);
    format!(
        "where that hurts voice or desktops, turn off GRO of the devices that it arrives on (ethtool -K {device} gro off), \
         and GSO and TSO in guests and containers that send there"
    )
}
