//! `[phase.P]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::circuit::{LEAVES, leaf};
use super::class::{PRIORITY, WEIGHT, priority, weight};
use super::cx::{Cx, Item, Table, Written};
use super::spec::{Given, Kind, Shape, Spec, may, must};
use super::value;
use crate::model::names::{CircuitName, PoolName};
use crate::model::phase::{ClassOverride, Follow, Phase, SiteOverride, Split};
use crate::units::Rates;

const CONDITION: Shape = Shape::Name(Kind::Condition);
/// A rate for each circuit of each pool.
const SHARES: Shape = Shape::Map(Kind::Pool, &Shape::Map(Kind::Circuit, &Shape::Rates));

/// `[phase.P]`
pub(super) static PHASE: Spec = Spec {
    doc: "A named stance: splits, overrides, blocks",
    given: Given::Any,
    keys: &[
        may("split", SHARES, "how each pool is divided"),
        may(
            "follow",
            Shape::Map(Kind::Pool, &Shape::Choice(&["demand"])),
            "what the split of a pool follows",
        ),
        may("floor", SHARES, "what each circuit keeps at the least"),
        may("ceiling", SHARES, "what each circuit gets at the most"),
        may(
            "weight",
            Shape::Map(Kind::Pool, &Shape::Map(Kind::Circuit, &WEIGHT)),
            "how spare capacity is divided",
        ),
        may(
            "requires",
            CONDITION,
            "the condition before which it cannot be entered",
        ),
        may(
            "class",
            Shape::Map(Kind::Class, &Shape::Table(&CLASS)),
            "the keys of classes that it replaces",
        ),
        may(
            "site",
            Shape::Map(Kind::Site, &Shape::Table(&SITE)),
            "the keys of sites that it replaces",
        ),
        may(
            "block",
            Shape::List(&Shape::Name(Kind::Block)),
            "the blocks that hold while it lasts",
        ),
        may(
            "ramp",
            Shape::Duration,
            "how long the way from the present split takes",
        ),
        may("from", Shape::Date, "when it begins by itself"),
        may("until", CONDITION, "the condition at which it ends"),
        may(
            "then",
            Shape::Name(Kind::Phase),
            "the phase that follows it",
        ),
        may("wave", Shape::Later, "admission in steps"),
    ],
};

/// `class.C` in a phase.
static CLASS: Spec = Spec {
    doc: "The keys of a class that a phase replaces",
    given: Given::Any,
    keys: &[
        may("guarantee", Shape::Amounts, "what it has for certain"),
        may("ceiling", Shape::Amounts, "what it never goes beyond"),
        may("priority", PRIORITY, "who is served first"),
        may("weight", WEIGHT, "how spare capacity is divided"),
        may("leaf", LEAVES, "where its packets wait"),
    ],
};

/// `site.S` in a phase.
static SITE: Spec = Spec {
    doc: "The keys of a site that a phase replaces",
    given: Given::Any,
    keys: &[
        may("capacity", Shape::Rates, "what its tail carries"),
        may("guarantee", Shape::Amounts, "what it has for certain"),
        may("priority", PRIORITY, "who is served first"),
    ],
};

/// `[policy]`
pub(super) static POLICY: Spec = Spec {
    doc: "The policy as a whole",
    given: Given::Any,
    keys: &[must(
        "start",
        Shape::Name(Kind::Phase),
        "the phase of a host that was never told another",
    )],
};

/// Reads a phase.
pub(super) fn phase<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Written<'t, Phase>> {
    cx.written(item, Kind::Phase, &PHASE, |cx, table| {
        let splits = splits(cx, table);
        let requires = reference(cx, table, "requires", Kind::Condition);
        let until = reference(cx, table, "until", Kind::Condition);
        let then = reference(cx, table, "then", Kind::Phase);
        let classes = named(cx, table, "class", Kind::Class, class_override);
        let sites = named(cx, table, "site", Kind::Site, site_override);
        let blocks = table.get("block").map_or_else(Vec::new, |item| {
            cx.each(item, |cx, item| cx.refer(item, Kind::Block))
        });
        let ramp = table.get("ramp").and_then(|item| value::duration(cx, item));
        let from = table.get("from").and_then(|item| value::date(cx, item));
        for (given, needed, why) in [
            ("then", "until", "the condition at which this phase ends"),
            ("until", "then", "the phase that follows when it ends"),
        ] {
            if let Some(item) = table.get(given)
                && table.get(needed).is_none()
            {
                cx.fault(
                    item.key_at,
                    format!("{} has `{given}` without `{needed}`", table.who),
                )
                .help(format!("add `{needed}`: {why}"));
            }
        }
        Some(Phase {
            name: item.name.parse().ok()?,
            splits,
            requires,
            classes,
            sites,
            blocks: blocks.into_iter().map(|(block, _)| block).collect(),
            ramp: ramp.unwrap_or(Duration::ZERO),
            from,
            until,
            then,
            origin: cx.origin(table.at),
        })
    })
}

fn reference<'t, N: std::str::FromStr>(
    cx: &mut Cx<'t>,
    table: &Table<'t>,
    key: &str,
    kind: Kind,
) -> Option<N> {
    table.get(key).and_then(|item| cx.refer(item, kind))
}

/// A table by names of things, and what `read` makes of each.
fn named<'t, N: std::str::FromStr + Ord, T>(
    cx: &mut Cx<'t>,
    table: &Table<'t>,
    key: &str,
    kind: Kind,
    mut read: impl FnMut(&mut Cx<'t>, Item<'t>) -> Option<T>,
) -> BTreeMap<N, T> {
    let entries = table
        .get(key)
        .map_or_else(Vec::new, |item| cx.entries(item));
    let mut all = BTreeMap::new();
    for entry in entries {
        let name = cx.refer_text(entry.key_at, entry.name, kind);
        let value = read(cx, entry);
        all.extend(name.zip(value));
    }
    all
}

fn class_override<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<ClassOverride> {
    let who = format!("class `{}` in a phase", super::cx::shorten(item.name));
    let table = cx.table(item, &CLASS, who)?;
    let mut amounts = |name| table.get(name).and_then(|item| value::amounts(cx, item));
    let (guarantee, ceiling) = (amounts("guarantee"), amounts("ceiling"));
    Some(ClassOverride {
        guarantee,
        ceiling,
        priority: priority(cx, &table),
        weight: weight(cx, table.get("weight")),
        leaf: leaf(cx, &table),
        origin: cx.origin(table.at),
    })
}

fn site_override<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<SiteOverride> {
    let who = format!("site `{}` in a phase", super::cx::shorten(item.name));
    let table = cx.table(item, &SITE, who)?;
    let capacity = table
        .get("capacity")
        .and_then(|item| value::rates(cx, item));
    let guarantee = table
        .get("guarantee")
        .and_then(|item| value::amounts(cx, item));
    Some(SiteOverride {
        capacity,
        guarantee,
        priority: priority(cx, &table),
        origin: cx.origin(table.at),
    })
}

type Shares = BTreeMap<PoolName, BTreeMap<CircuitName, Rates>>;

fn splits<'t>(cx: &mut Cx<'t>, table: &Table<'t>) -> BTreeMap<PoolName, Split> {
    let split: BTreeMap<PoolName, _> = named(cx, table, "split", Kind::Pool, |cx, pool| {
        Some((rates_of(cx, pool), cx.origin(pool.key_at)))
    });
    let mut bounds = |key| -> Shares {
        named(cx, table, key, Kind::Pool, |cx, pool| {
            Some(rates_of(cx, pool))
        })
    };
    let (mut floor, mut ceiling) = (bounds("floor"), bounds("ceiling"));
    let follow: BTreeMap<PoolName, _> = named(cx, table, "follow", Kind::Pool, Cx::choice);
    let mut weight: BTreeMap<PoolName, BTreeMap<CircuitName, _>> =
        named(cx, table, "weight", Kind::Pool, |cx, pool| {
            Some(
                cx.entries(pool)
                    .into_iter()
                    .filter_map(|entry| {
                        let circuit = cx.refer_text(entry.key_at, entry.name, Kind::Circuit);
                        circuit.zip(self::weight(cx, Some(entry)))
                    })
                    .collect(),
            )
        });
    for key in ["floor", "ceiling", "weight"] {
        bounds_follow(cx, table, key);
    }
    split
        .into_iter()
        .map(|(pool, (shares, origin))| {
            let follow = match follow.get(&pool) {
                None => Follow::Fixed,
                Some(_) => Follow::Demand {
                    floor: floor.remove(&pool).unwrap_or_default(),
                    ceiling: ceiling.remove(&pool).unwrap_or_default(),
                    weight: weight.remove(&pool).unwrap_or_default(),
                },
            };
            let split = Split {
                shares,
                follow,
                origin,
            };
            (pool, split)
        })
        .collect()
}

/// Bounds on a split that stays as it is written would say nothing.
fn bounds_follow<'t>(cx: &mut Cx<'t>, table: &Table<'t>, key: &str) {
    let Some(item) = table.get(key) else {
        return;
    };
    let super::document::Value::Table(pools) = item.value else {
        return;
    };
    for pool in super::cx::items(pools, item.at.file, |_| item.shape) {
        let follows = table
            .get("follow")
            .is_some_and(|follow| follow.child(pool.name).is_some());
        if !follows {
            let pool_name = super::cx::shorten(pool.name);
            cx.fault(
                pool.key_at,
                format!("`{key}.{pool_name}` bounds a split that does not move"),
            )
            .help(format!(
                "add follow.{pool_name} = \"demand\", or remove `{key}.{pool_name}`"
            ));
        }
    }
}

fn rates_of<'t>(cx: &mut Cx<'t>, pool: Item<'t>) -> BTreeMap<CircuitName, Rates> {
    cx.entries(pool)
        .into_iter()
        .filter_map(|entry| {
            let circuit = cx.refer_text(entry.key_at, entry.name, Kind::Circuit);
            circuit.zip(value::rates(cx, entry))
        })
        .collect()
}
