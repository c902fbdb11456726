//! The points between two stances.
//!
//! Every guarantee goes in a straight line from where it stood to where it will stand, so that sums
//! that fit at both ends fit all the way. Where the beginning did not fit (somebody else changed
//! it, or places were added since), what is too much is taken from the largest.

use std::collections::BTreeMap;

use crate::model::desired::Holding;
use crate::model::node::{NodeKey, Place};
use crate::policy::Policy;
use crate::units::{Direction, Fraction, PerDirection, Rate, Rates};

/// What each place of `to` has, where `at` of the way from `from` is done.
pub fn between(
    policy: &Policy,
    from: &BTreeMap<NodeKey, Holding>,
    to: &BTreeMap<NodeKey, Holding>,
    at: Fraction,
) -> BTreeMap<NodeKey, Holding> {
    let mut nodes: BTreeMap<NodeKey, Holding> = to
        .iter()
        .map(|(key, goal)| {
            let start = from.get(key);
            let guarantee = start.map_or(PerDirection::both(Rate::MIN), |start| start.guarantee);
            let ceiling = start.map_or(goal.ceiling, |start| start.ceiling);
            let guarantee = guarantee.zip(goal.guarantee, |from, to| from.toward(to, at));
            let ceiling = ceiling.zip(goal.ceiling, |from, to| from.toward(to, at));
            let ceiling = ceiling.zip(guarantee, Rate::max);
            (
                key.clone(),
                Holding {
                    guarantee,
                    ceiling,
                    ..*goal
                },
            )
        })
        .collect();
    for direction in [Direction::Up, Direction::Down] {
        fit_pools(policy, &mut nodes, direction);
        fit_children(&mut nodes, direction);
    }
    nodes
}

/// Takes from the largest shares of a pool what they are above it.
fn fit_pools(policy: &Policy, nodes: &mut BTreeMap<NodeKey, Holding>, direction: Direction) {
    for pool in policy.pools().values() {
        let keys: Vec<NodeKey> = pool
            .circuits
            .iter()
            .map(|circuit| NodeKey::new(circuit.clone(), Place::Circuit))
            .collect();
        fit(nodes, &keys, pool.capacity.get(direction), direction);
    }
}

/// Takes from the largest children of each place what they are above it, from the top down.
fn fit_children(nodes: &mut BTreeMap<NodeKey, Holding>, direction: Direction) {
    let mut children: BTreeMap<(usize, NodeKey), Vec<NodeKey>> = BTreeMap::new();
    for key in nodes.keys() {
        if let Some(parent) = key.parent() {
            children
                .entry((parent.depth(), parent))
                .or_default()
                .push(key.clone());
        }
    }
    for ((_, parent), keys) in children {
        if let Some(room) = nodes
            .get(&parent)
            .map(|parent| parent.guarantee.get(direction))
        {
            fit(nodes, &keys, room, direction);
        }
    }
}

fn fit(nodes: &mut BTreeMap<NodeKey, Holding>, keys: &[NodeKey], room: Rate, direction: Direction) {
    let held = |nodes: &BTreeMap<NodeKey, Holding>, key: &NodeKey| {
        nodes
            .get(key)
            .map_or(0, |holding| holding.guarantee.get(direction).bits())
    };
    let sum: u64 = keys.iter().map(|key| held(nodes, key)).sum();
    let mut over = sum.saturating_sub(room.bits());
    if over == 0 {
        return;
    }
    let mut largest: Vec<&NodeKey> = keys.iter().collect();
    largest.sort_by_key(|key| std::cmp::Reverse(held(nodes, key)));
    for key in largest {
        let Some(holding) = nodes.get_mut(key) else {
            continue;
        };
        let had = holding.guarantee.get(direction);
        let left = Rate::floor(had.bits().saturating_sub(over));
        over = over.saturating_sub(had.bits() - left.bits());
        set(&mut holding.guarantee, direction, left);
        if key.place == Place::Circuit {
            set(&mut holding.ceiling, direction, left);
        }
        if over == 0 {
            return;
        }
    }
}

const fn set(rates: &mut Rates, direction: Direction, rate: Rate) {
    match direction {
        Direction::Up => rates.up = rate,
        Direction::Down => rates.down = rate,
    }
}
