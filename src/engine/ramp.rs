//! The points between two stances.
//!
//! Every figure goes in a straight line from where it stood to where it will stand, so that sums that fit
//! at both ends fit all the way. The beginning is made to fit once, in proportion ([`start`]): somebody
//! else may have changed what stood, the pool may carry less by now, places may have come
//! since.

use std::collections::BTreeMap;

use crate::model::desired::{Desired, Holding};
use crate::model::names::CircuitName;
use crate::model::node::{NodeKey, Place};
use crate::policy::Policy;
use crate::units::{Direction, Fraction, Rate, Rates};

type Nodes = BTreeMap<NodeKey, Holding>;

/// Where each place of `goal` begins, from what places held before.
///
/// What held nothing (a new class, a circuit whose device was made again) begins with its goal as far as
/// there is room: not with next to nothing, because HTB keeps the debt of a class that sent at a tiny rate
/// for up to a minute.
///
/// Pools carry what they will from the beginning.
pub fn start(policy: &Policy, held: &Nodes, goal: &Desired) -> Desired {
    let begin = |(key, goal): (&NodeKey, &Holding)| {
        let begins = match held.get(key) {
            Some(held) => Holding {
                guarantee: held.guarantee,
                ceiling: held.ceiling,
                ..*goal
            },
            None => *goal,
        };
        (key.clone(), begins)
    };
    let mut start = Desired {
        phase: goal.phase.clone(),
        pools: goal.pools.clone(),
        nodes: goal.nodes.iter().map(begin).collect(),
        blocks: goal.blocks.clone(),
    };
    for direction in [Direction::Up, Direction::Down] {
        fit_pools(policy, held, &mut start, direction);
        cap_circuits(goal, &mut start, direction);
        fit_children(&mut start.nodes, direction);
    }
    start
}

/// What each place has where `at` of the way is done.
pub fn between(start: &Desired, goal: &Desired, at: Fraction) -> Desired {
    let toward = |start: Rates, goal: Rates| start.zip(goal, |from, to| from.toward(to, at));
    let point = |(key, goal): (&NodeKey, &Holding)| {
        let start = start.nodes.get(key).unwrap_or(goal);
        let guarantee = toward(start.guarantee, goal.guarantee);
        let ceiling = toward(start.ceiling, goal.ceiling).zip(guarantee, Rate::max);
        let holding = Holding {
            guarantee,
            ceiling,
            ..*goal
        };
        (key.clone(), holding)
    };
    // How one holds is the goal's to say.
    let mut blocks = start.blocks.clone();
    blocks.extend(goal.blocks.iter().map(|(name, hold)| (name.clone(), *hold)));
    Desired {
        phase: goal.phase.clone(),
        pools: goal.pools.clone(),
        nodes: goal.nodes.iter().map(point).collect(),
        blocks,
    }
}

/// Lowers the shares of each pool until they fit it: first those that held nothing, then all.
fn fit_pools(policy: &Policy, held: &Nodes, start: &mut Desired, direction: Direction) {
    let key = |circuit: &CircuitName| NodeKey::new(circuit.clone(), Place::Circuit);
    for pool in policy.pools().values() {
        let Some(room) = start.pools.get(&pool.name) else {
            continue;
        };
        let room = room.get(direction).bits();
        let circuits = pool.circuits.iter().map(key);
        let (old, new): (Vec<NodeKey>, Vec<NodeKey>) =
            circuits.partition(|key| held.contains_key(key));
        let nodes = &mut start.nodes;
        fit(
            nodes,
            &old,
            room.saturating_sub(8 * new.len() as u64),
            direction,
        );
        let left = room.saturating_sub(sum(nodes, &old, direction));
        fit(nodes, &new, left, direction);
    }
}

/// A circuit has no more than its share, but where it will have more: there it keeps what it had.
fn cap_circuits(goal: &Desired, start: &mut Desired, direction: Direction) {
    let circuits = start
        .nodes
        .iter_mut()
        .filter(|(key, _)| key.place == Place::Circuit);
    for (key, holding) in circuits {
        let share = holding.guarantee.get(direction);
        let lends = goal
            .nodes
            .get(key)
            .is_some_and(|goal| goal.ceiling.get(direction) > goal.guarantee.get(direction));
        let most = if lends {
            holding.ceiling.get(direction).max(share)
        } else {
            share
        };
        set(&mut holding.ceiling, direction, most);
    }
}

/// Lowers what hangs below each place until it fits that, from the top down.
fn fit_children(nodes: &mut Nodes, direction: Direction) {
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
            .map(|parent| parent.guarantee.get(direction).bits())
        {
            fit(nodes, &keys, room, direction);
        }
    }
}

fn sum(nodes: &Nodes, keys: &[NodeKey], direction: Direction) -> u64 {
    let bits = |key: &NodeKey| {
        nodes
            .get(key)
            .map_or(0, |node| node.guarantee.get(direction).bits())
    };
    keys.iter().map(bits).sum()
}

/// Lowers what `keys` have for certain, in proportion, until it sums to at most `room` bit/s.
///
/// No rate goes below the smallest that there is; what these are too much is taken from the others.
fn fit(nodes: &mut Nodes, keys: &[NodeKey], room: u64, direction: Direction) {
    let total = sum(nodes, keys, direction);
    if total <= room {
        return;
    }
    let scale = |bits: u64, room: u64, total: u64| {
        let part = u128::from(bits) * u128::from(room) / u128::from(total.max(1));
        Rate::floor(u64::try_from(part).unwrap_or(u64::MAX))
    };
    // What rounding up to the smallest rate may add, at the most.
    let least = Rate::MIN.bits().saturating_mul(keys.len() as u64);
    let room = room.saturating_sub(least);
    for key in keys {
        if let Some(node) = nodes.get_mut(key) {
            let lowered = scale(node.guarantee.get(direction).bits(), room, total);
            set(&mut node.guarantee, direction, lowered);
        }
    }
}

const fn set(rates: &mut Rates, direction: Direction, rate: Rate) {
    match direction {
        Direction::Up => rates.up = rate,
        Direction::Down => rates.down = rate,
    }
}
