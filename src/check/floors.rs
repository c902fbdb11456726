//! Under a split that follows demand, guarantees above a floor hold only while demand allows.

use std::collections::BTreeMap;

use super::Note;
use crate::model::names::CircuitName;
use crate::model::node::{NodeKey, Place};
use crate::model::phase::{Follow, Phase};
use crate::policy::Policy;
use crate::units::{Direction, Rate, Rates};

pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    policy
        .phases()
        .values()
        .flat_map(|phase| of_phase(policy, phase))
        .collect()
}

fn of_phase(policy: &Policy, phase: &Phase) -> Vec<Note> {
    let floors: BTreeMap<&CircuitName, Rates> = phase
        .splits
        .values()
        .filter_map(|split| match &split.follow {
            Follow::Fixed => None,
            Follow::Demand { floor, .. } => Some(floor),
        })
        .flatten()
        .map(|(circuit, floor)| (circuit, *floor))
        .collect();
    if floors.is_empty() {
        return Vec::new();
    }
    // The promises as they would be at the floor: percentages shrink with the share.
    let mut lowest = phase.clone();
    for split in lowest.splits.values_mut() {
        for (circuit, share) in &mut split.shares {
            if let Some(floor) = floors.get(circuit) {
                *share = *floor;
            }
        }
    }
    let nodes = policy.promises(&lowest);
    let mut notes = Vec::new();
    for (circuit, floor) in floors {
        let whole = NodeKey::new(circuit.clone(), Place::Circuit);
        for direction in [Direction::Up, Direction::Down] {
            let sum: u64 = nodes
                .iter()
                .filter(|(key, _)| key.parent().as_ref() == Some(&whole))
                .map(|(_, holding)| holding.guarantee.get(direction).bits())
                .fold(0, u64::saturating_add);
            let floor = floor.get(direction);
            if sum > floor.bits() {
                let origin = &phase.origin;
                notes.push(Note::at(
                    origin,
                    format!(
                        "at its floor of {floor}, circuit `{circuit}` has {} {direction} less than phase `{}` promises on it",
                        Rate::floor(sum - floor.bits()),
                        phase.name
                    ),
                    format!("guarantees are then scaled down; raise floor.POOL.{circuit} where they must hold"),
                ));
            }
        }
    }
    notes
}
