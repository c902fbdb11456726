//! Circuits share pools, and splits never give more than there is.

use std::collections::BTreeMap;

use super::super::Policy;
use super::super::cx::{Cx, Item, State, Written};
use super::super::document::Value;
use super::super::draft::Draft;
use super::super::fault::At;
use super::super::spec::Kind;
use super::{above, figures};
use crate::model::circuit::Pool;
use crate::model::names::{CircuitName, PoolName};
use crate::model::phase::{Follow, Phase, Split};
use crate::units::{PerDirection, Rate, Rates, bits_text};

pub(super) fn judge(cx: &mut Cx<'_>, draft: &Draft<'_>, policy: &Policy) {
    memberships(cx, draft);
    for phase in &draft.phases {
        for pool in &draft.pools {
            split_of(cx, draft, policy, phase, pool);
        }
    }
}

/// A circuit is in one pool, or has a capacity of its own.
fn memberships(cx: &mut Cx<'_>, draft: &Draft<'_>) {
    let mut holder: BTreeMap<&CircuitName, (&PoolName, At)> = BTreeMap::new();
    for pool in &draft.pools {
        for circuit in &pool.value.circuits {
            let at = pool.table.get("circuits").map_or(pool.table.at, |item| {
                let texts = super::super::table::texts(item);
                let place = texts.iter().find(|(name, _)| *name == circuit.as_str());
                place.map_or(item.at, |(_, at)| *at)
            });
            if let Some((other, first)) = holder.get(circuit) {
                cx.fault(
                    at,
                    format!("circuit `{circuit}` is in pool `{other}` already"),
                )
                .help("a circuit shares one pool; take it out of one of them")
                .see(*first, format!("in pool `{other}` here"));
            } else {
                holder.insert(circuit, (&pool.value.name, at));
            }
        }
    }
    if draft.pools_state == State::Faulty {
        return;
    }
    for circuit in &draft.circuits {
        if circuit.table.get("capacity").is_none() && !holder.contains_key(&circuit.value.name) {
            let message = format!("{} is in no pool and has no capacity", circuit.table.who);
            cx.fault(circuit.table.at, message)
                .help("add capacity = \"100mbit\", or name the circuit in a pool");
        }
    }
}

fn split_of(
    cx: &mut Cx<'_>,
    draft: &Draft<'_>,
    policy: &Policy,
    phase: &Written<'_, Phase>,
    pool: &Written<'_, Pool>,
) {
    let name = &pool.value.name;
    let written = phase
        .table
        .get("split")
        .and_then(|item| item.child(name.as_str()));
    if written.is_some_and(|written| !matches!(written.value, Value::Table(_))) {
        return;
    }
    let (Some(written), Some(split)) = (written, phase.value.splits.get(name)) else {
        if written.is_none() && !misspelt(cx, phase) {
            let circuits: Vec<String> = pool
                .value
                .circuits
                .iter()
                .map(|circuit| format!("{circuit} = \"…mbit\""))
                .collect();
            cx.fault(
                phase.table.at,
                format!("{} does not split pool `{name}`", phase.table.who),
            )
            .help(format!("add split.{name} = {{ {} }}", circuits.join(", ")))
            .see(pool.table.at, "the pool");
        }
        return;
    };
    for (circuit, share) in &split.shares {
        let entry = written.child(circuit.as_str());
        let at = entry.map_or(written.at, |entry| entry.at);
        if !pool.value.circuits.contains(circuit) {
            cx.fault(
                entry.map_or(written.at, |entry| entry.key_at),
                format!("circuit `{circuit}` is not in pool `{name}`"),
            )
            .help("take it out of this split, or into the pool")
            .see(pool.table.place("circuits"), "the pool's circuits");
        }
        own_capacity(cx, draft, circuit, *share, at);
    }
    let left_out: Vec<&CircuitName> = pool
        .value
        .circuits
        .iter()
        .filter(|circuit| written.child(circuit.as_str()).is_none())
        .collect();
    for circuit in left_out {
        cx.fault(
            written.at,
            format!("this split leaves out circuit `{circuit}`"),
        )
        .help(format!("add {circuit} = \"…mbit\"; a share is never 0"))
        .see(pool.table.place("circuits"), "the pool's circuits");
    }
    sum(cx, policy, phase, pool, split, written);
    bounds(cx, phase, pool, split, written);
}

/// Whether the phase splits a pool that is not there: then it may well mean this one.
fn misspelt(cx: &Cx<'_>, phase: &Written<'_, Phase>) -> bool {
    let Some(Value::Table(pools)) = phase.table.get("split").map(|item| item.value) else {
        return false;
    };
    pools
        .keys()
        .any(|name| cx.defined(Kind::Pool, name.get_ref()).is_none())
}

fn bits(rates: Rates) -> PerDirection<u64> {
    rates.map(Rate::bits)
}

fn total(shares: &BTreeMap<CircuitName, Rates>) -> PerDirection<u64> {
    shares
        .values()
        .fold(PerDirection::both(0), |sum: PerDirection<u64>, share| {
            sum.zip(bits(*share), u64::saturating_add)
        })
}

fn own_capacity(cx: &mut Cx<'_>, draft: &Draft<'_>, name: &CircuitName, share: Rates, at: At) {
    let circuit = draft.circuits.iter().find(|one| one.value.name == *name);
    let Some((circuit, capacity)) =
        circuit.and_then(|circuit| Some((circuit, circuit.value.capacity?)))
    else {
        return;
    };
    if let Some((direction, words)) = above(bits(share), bits(capacity)) {
        let most = bits_text(capacity.get(direction).bits());
        let message = format!("circuit `{name}` is given more than it can carry, {words}");
        cx.fault(at, message)
            .label(format!("more than {most}"))
            .help(format!("give it at most {most}"))
            .see(circuit.table.place("capacity"), "what it can carry");
    }
}

fn sum(
    cx: &mut Cx<'_>,
    policy: &Policy,
    phase: &Written<'_, Phase>,
    pool: &Written<'_, Pool>,
    split: &Split,
    written: Item<'_>,
) {
    let sum = total(&split.shares);
    let name = &pool.value.name;
    let capacity = policy.capacity_in(&pool.value, &phase.value);
    let after = pool
        .value
        .after
        .iter()
        .find(|(_, after)| *after == capacity && capacity != pool.value.capacity);
    let place = after.and_then(|(condition, _)| after_place(pool, condition.as_str()));
    if let Some((direction, words)) = above(sum, bits(capacity)) {
        let excess = sum.get(direction) - capacity.get(direction).bits();
        let message = format!(
            "this split gives {} more than pool `{name}` carries, {words}",
            bits_text(excess)
        );
        let (there, what) = match (after, place) {
            (Some((condition, _)), Some(at)) => {
                (at, format!("what it carries after `{condition}`"))
            }
            _ => (pool.table.place("capacity"), "what it carries".to_owned()),
        };
        let waits = phase.value.requires.is_none() && !pool.value.after.is_empty();
        let help = match (waits, pool.value.after.first()) {
            (true, Some((condition, rates))) => format!(
                "lower the shares; or add requires = \"{condition}\", after which it carries {rates}"
            ),
            _ => "lower the shares".to_owned(),
        };
        cx.fault(written.at, message)
            .label(format!("{} in all", figures(sum)))
            .help(help)
            .see(there, what);
        return;
    }
    // A condition can also make a pool smaller, under a phase that does not end with it.
    for (condition, after) in &pool.value.after {
        let ends = phase.value.until.as_ref() == Some(condition);
        let counted = phase.value.requires.is_some() && *after == capacity;
        if !ends
            && !counted
            && let Some((_, words)) = above(sum, bits(*after))
        {
            let message = format!(
                "this split gives more than pool `{name}` carries once `{condition}` is true, {words}"
            );
            let at = after_place(pool, condition.as_str()).unwrap_or(pool.table.at);
            cx.fault(written.at, message)
                .label(format!("{} in all", figures(sum)))
                .help(format!(
                    "lower the shares, or end the phase with until = \"{condition}\""
                ))
                .see(at, "what it then carries");
        }
    }
}

fn after_place(pool: &Written<'_, Pool>, condition: &str) -> Option<At> {
    let after = pool.table.get("after")?.child(condition)?;
    Some(after.child("capacity").map_or(after.key_at, |item| item.at))
}

/// Under `follow`, each circuit has a floor, below its share, below its ceiling, below the pool.
fn bounds(
    cx: &mut Cx<'_>,
    phase: &Written<'_, Phase>,
    pool: &Written<'_, Pool>,
    split: &Split,
    written: Item<'_>,
) {
    let Follow::Demand {
        floor,
        ceiling,
        weight,
    } = &split.follow
    else {
        return;
    };
    let name = pool.value.name.as_str();
    let place = |key: &str, circuit: Option<&str>| {
        let pool = phase.table.get(key).and_then(|item| item.child(name));
        let one = circuit.and_then(|circuit| pool?.child(circuit));
        one.or(pool).map_or(written.at, |item| item.at)
    };
    for (key, names) in [
        ("floor", floor.keys().collect::<Vec<_>>()),
        ("ceiling", ceiling.keys().collect()),
        ("weight", weight.keys().collect()),
    ] {
        for circuit in names {
            if !pool.value.circuits.contains(circuit) {
                let at = place(key, Some(circuit.as_str()));
                cx.fault(at, format!("circuit `{circuit}` is not in pool `{name}`"))
                    .help(format!("take it out of `{key}.{name}`"))
                    .see(pool.table.place("circuits"), "the pool's circuits");
            }
        }
    }
    let floors = phase.table.get("floor").and_then(|item| item.child(name));
    for (circuit, share) in &split.shares {
        if floors.is_none_or(|floors| floors.child(circuit.as_str()).is_none()) {
            let message = format!(
                "the split of pool `{name}` follows demand, and circuit `{circuit}` has no floor"
            );
            cx.fault(place("floor", None), message).help(format!(
                "add floor.{name}.{circuit} = \"…mbit\": what it keeps at the least"
            ));
        }
        if let Some(floor) = floor.get(circuit)
            && let Some((_, words)) = above(bits(*floor), bits(*share))
        {
            let at = place("floor", Some(circuit.as_str()));
            cx.fault(
                at,
                format!("the floor of circuit `{circuit}` is above its share, {words}"),
            )
            .help(format!("write at most {}", figures(bits(*share))))
            .see(place("split", Some(circuit.as_str())), "its share");
        }
        if let Some(ceiling) = ceiling.get(circuit) {
            let at = place("ceiling", Some(circuit.as_str()));
            if let Some((_, words)) = above(bits(*share), bits(*ceiling)) {
                let message =
                    format!("the ceiling of circuit `{circuit}` is below its share, {words}");
                cx.fault(at, message)
                    .help(format!("write at least {}", figures(bits(*share))))
                    .see(place("split", Some(circuit.as_str())), "its share");
            }
        }
    }
}
