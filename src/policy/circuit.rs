//! `[circuit.C]` and `[pool.P]`.

use super::cx::{Cx, Item, Table, Written};
use super::spec::{Given, Kind, Shape, Spec, may, must};
use super::value;
use crate::model::circuit::{Circuit, LeafChoice, LinkLayer, Overhead, Pool, TakeOver};
use crate::model::names::{CircuitName, ConditionName, DeviceName};

/// The leaves that can be chosen.
pub(super) const LEAVES: Shape = Shape::Choice(&["best", "fq_codel", "sfq", "pfifo", "cake"]);

/// `[circuit.C]`
pub(super) static CIRCUIT: Spec = Spec {
    doc: "A provider's service behind a Linux device",
    given: Given::Any,
    keys: &[
        must("device", Shape::Device, "the device behind which it lies"),
        may(
            "also",
            Shape::List(&Shape::Device),
            "further names under which its traffic arrives",
        ),
        may(
            "capacity",
            Shape::Rates,
            "what it can carry (needed in no pool)",
        ),
        // The kernel's `tc_ratespec` has a signed field, but HTB adds it to unsigned lengths.
        may(
            "overhead",
            Shape::Integer(0, 255),
            "bytes that the link adds to each packet",
        ),
        may(
            "link_layer",
            Shape::Choice(&["ethernet", "atm"]),
            "how the link frames packets",
        ),
        may("leaf", LEAVES, "the leaf of its classes"),
        may(
            "adopt",
            Shape::Bool,
            "whether somebody else's root qdisc is replaced",
        ),
    ],
};

/// `[pool.P]`
pub(super) static POOL: Spec = Spec {
    doc: "Capacity that circuits share",
    given: Given::Any,
    keys: &[
        must(
            "circuits",
            Shape::List(&Shape::Name(Kind::Circuit)),
            "the circuits that share it",
        ),
        must("capacity", Shape::Rates, "what it carries"),
        may(
            "device",
            Shape::Device,
            "the access device, where the circuits are VLANs of one",
        ),
        may(
            "after",
            Shape::Map(Kind::Condition, &Shape::Table(&AFTER)),
            "what it carries once a condition is true",
        ),
    ],
};

/// `[pool.P.after.CONDITION]`
static AFTER: Spec = Spec {
    doc: "What a pool carries once a condition is true",
    given: Given::Any,
    keys: &[must("capacity", Shape::Rates, "what it then carries")],
};

/// A leaf by name.
pub(super) fn leaf<'t>(cx: &mut Cx<'t>, table: &Table<'t>) -> Option<LeafChoice> {
    let item = table.get("leaf")?;
    Some(match cx.choice(item)? {
        "pfifo" => LeafChoice::Pfifo,
        "sfq" => LeafChoice::Sfq,
        "fq_codel" => LeafChoice::FqCodel,
        "cake" => LeafChoice::Cake,
        _ => LeafChoice::Best,
    })
}

/// Reads a circuit.
pub(super) fn circuit<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Written<'t, Circuit>> {
    cx.written(item, Kind::Circuit, &CIRCUIT, |cx, table| {
        let device = table.get("device").and_then(|item| cx.parse(item));
        let also = table.get("also").map_or_else(Vec::new, |item| {
            cx.each(item, Cx::parse::<DeviceName>)
                .into_iter()
                .map(|(device, _)| device)
                .collect()
        });
        let capacity = table
            .get("capacity")
            .and_then(|item| value::rates(cx, item));
        let overhead = table.get("overhead").and_then(|item| overhead(cx, item));
        let link_layer = table.get("link_layer").and_then(|item| cx.choice(item));
        let leaf = leaf(cx, table).unwrap_or_default();
        let adopt = table.get("adopt").and_then(|item| cx.boolean(item));
        Some(Circuit {
            name: item.name.parse::<CircuitName>().ok()?,
            device: device?,
            also,
            capacity,
            overhead: Overhead(overhead.unwrap_or(0)),
            link_layer: match link_layer {
                Some("atm") => LinkLayer::Atm,
                _ => LinkLayer::Ethernet,
            },
            leaf,
            takeover: match adopt {
                Some(true) => TakeOver::Adopt,
                _ => TakeOver::Refuse,
            },
            origin: cx.origin(table.at),
        })
    })
}

fn overhead<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<u16> {
    if let super::document::Value::Integer(number) = item.value
        && number.as_str().starts_with('-')
    {
        cx.fault(item.at, "`overhead` is never negative")
            .help("HTB adds it to each packet's length as an unsigned number; leave it out, or write what the link adds");
        return None;
    }
    cx.integer(item).and_then(|bytes| u16::try_from(bytes).ok())
}

/// Reads a pool.
pub(super) fn pool<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Written<'t, Pool>> {
    cx.written(item, Kind::Pool, &POOL, |cx, table| {
        let circuits = table.get("circuits").map_or_else(Vec::new, |item| {
            cx.each(item, |cx, item| cx.refer(item, Kind::Circuit))
        });
        let mut seen: Vec<CircuitName> = Vec::with_capacity(circuits.len());
        for (circuit, at) in circuits {
            if seen.contains(&circuit) {
                cx.fault(at, format!("circuit `{circuit}` is in this pool already"))
                    .help("name each circuit once");
            } else {
                seen.push(circuit);
            }
        }
        let capacity = table
            .get("capacity")
            .and_then(|item| value::rates(cx, item));
        let device = table.get("device").and_then(|item| cx.parse(item));
        let entries = table
            .get("after")
            .map_or_else(Vec::new, |item| cx.entries(item));
        let mut after = Vec::with_capacity(entries.len());
        for entry in entries {
            let condition: Option<ConditionName> =
                cx.refer_text(entry.key_at, entry.name, Kind::Condition);
            let who = format!("pool `{}` after `{}`", item.name, entry.name);
            let capacity = cx
                .table(entry, &AFTER, who)
                .and_then(|table| table.get("capacity"))
                .and_then(|item| value::rates(cx, item));
            after.extend(condition.zip(capacity));
        }
        Some(Pool {
            name: item.name.parse().ok()?,
            circuits: seen,
            capacity: capacity?,
            device,
            after,
            origin: cx.origin(table.at),
        })
    })
}
