//! `[block.B]` and `[condition.C]`.

use std::time::Duration;

use super::cx::{Cx, Item, Table, Written};
use super::document::Value;
use super::matching::{addresses, families, service};
use super::spec::{Given, Kind, Shape, Spec, may, must};
use super::{schedule, value};
use crate::model::calendar::Calendar;
use crate::model::hold::{Block, Combine, Condition, ConditionTerm, Established, Exception};

/// How long a drained connection may last where the block does not say.
const DRAIN: Duration = Duration::from_secs(8 * 3600);

/// `[block.B]`
pub(super) static BLOCK: Spec = Spec {
    doc: "Traffic that is rejected while it holds",
    given: Given::Any,
    keys: &[
        may(
            "from",
            Shape::List(&Shape::Prefix),
            "who opens the connection",
        ),
        may("to", Shape::List(&Shape::Prefix), "who is asked"),
        may("circuit", Shape::Name(Kind::Circuit), "over which circuit"),
        may("service", Shape::List(&Shape::Service), "for what"),
        may(
            "except",
            Shape::List(&Shape::PrefixOr(&EXCEPT)),
            "what is let through all the same",
        ),
        may(
            "established",
            Shape::Choice(&["cut", "drain"]),
            "what becomes of open connections",
        ),
        may(
            "drain_for",
            Shape::Duration,
            "how long drained connections may last",
        ),
        may(
            "schedule",
            Shape::Schedule,
            "when it holds, in local time; a window past midnight is of the day on which it begins",
        ),
        may(
            "until",
            Shape::Name(Kind::Condition),
            "the condition that lifts it",
        ),
    ],
};

/// `{ from, to }` in `except`.
static EXCEPT: Spec = Spec {
    doc: "Traffic that a block lets through",
    given: Given::Some,
    keys: &[
        may(
            "from",
            Shape::List(&Shape::Prefix),
            "who opens the connection",
        ),
        may("to", Shape::List(&Shape::Prefix), "who is asked"),
    ],
};

/// Reads a block.
pub(super) fn block<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Written<'t, Block>> {
    cx.written(item, Kind::Block, &BLOCK, |cx, table| {
        let aimed = ["from", "to", "circuit", "service"];
        if aimed.iter().all(|key| table.get(key).is_none()) {
            cx.fault(table.at, format!("{} would stop all traffic", table.who))
                .help("say at least one of from, to, circuit, service");
        }
        let (from, to) = (
            addresses(cx, table.get("from")),
            addresses(cx, table.get("to")),
        );
        families(cx, table, &from, &to);
        let circuit = table
            .get("circuit")
            .and_then(|item| cx.refer(item, Kind::Circuit));
        let service = service(cx, table.get("service"));
        let except = table
            .get("except")
            .map_or_else(Vec::new, |item| cx.each(item, exception));
        let established = established(cx, table);
        let schedule = table.get("schedule").and_then(|item| schedule(cx, item));
        let until = table
            .get("until")
            .and_then(|item| cx.refer(item, Kind::Condition));
        Some(Block {
            name: item.name.parse().ok()?,
            from,
            to,
            circuit,
            service,
            except: except.into_iter().map(|(one, _)| one).collect(),
            established,
            schedule,
            until,
            origin: cx.origin(table.at),
        })
    })
}

fn exception<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Exception> {
    if let Value::Table(table) = item.value {
        let keys = cx.keys(table, item.at, &EXCEPT, "an exception".to_owned());
        if table.is_empty() {
            cx.fault(item.at, "this lets everything through")
                .help("say from or to");
        }
        let one = Exception {
            from: addresses(cx, keys.get("from")),
            to: addresses(cx, keys.get("to")),
        };
        families(cx, &keys, &one.from, &one.to)?;
        return (one != Exception::default()).then_some(one);
    }
    let to = super::matching::prefixes(cx, item)?;
    Some(Exception {
        from: Vec::new(),
        to,
    })
}

fn established<'t>(cx: &mut Cx<'t>, table: &Table<'t>) -> Established {
    let how = table.get("established").and_then(|item| cx.choice(item));
    let lasting = table
        .get("drain_for")
        .and_then(|item| value::positive(cx, item));
    if how == Some("drain") {
        return Established::Drain(lasting.unwrap_or(DRAIN));
    }
    if let Some(item) = table.get("drain_for")
        && (how.is_some() || table.get("established").is_none())
    {
        cx.fault(item.key_at, "`drain_for` without `established = \"drain\"`")
            .help("write established = \"drain\", or remove drain_for");
    }
    Established::Cut
}

/// A calendar; what is wrong with it is shown at the word, where the text stands as it was written.
fn schedule<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Calendar> {
    let text = cx.text(item)?;
    match schedule::read(text) {
        Ok(calendar) => {
            if cx.zone.is_none() {
                cx.fault(
                    item.at,
                    "a schedule is local, and the host has no `timezone`",
                )
                .help("set `timezone` in the host's file");
            }
            Some(calendar)
        }
        Err(misread) => {
            let at = cx.within(item.at, text, misread.at);
            cx.fault(at, misread.message).help(misread.help);
            None
        }
    }
}

/// `[condition.C]`
pub(super) static CONDITION: Spec = Spec {
    doc: "What is true once, and from then on",
    given: Given::One,
    keys: &[
        may(
            "any",
            Shape::List(&Shape::Table(&TERM)),
            "one of these is enough",
        ),
        may(
            "all",
            Shape::List(&Shape::Table(&TERM)),
            "all of these are needed",
        ),
    ],
};

/// A term of a condition.
static TERM: Spec = Spec {
    doc: "One term of a condition: exactly one of these",
    given: Given::One,
    keys: &[
        may(
            "event",
            Shape::Word("uplink-upgraded"),
            "somebody reported this",
        ),
        may("after", Shape::Date, "this time has come"),
        may(
            "link_speed",
            Shape::Table(&LINK_SPEED),
            "a device has had a speed for so long",
        ),
        may(
            "condition",
            Shape::Name(Kind::Condition),
            "another condition is true",
        ),
    ],
};

/// `link_speed` of a term. `for` must be said: a link that comes up for a moment at full speed
/// would otherwise lift a block for good.
static LINK_SPEED: Spec = Spec {
    doc: "A device has had a speed for so long",
    given: Given::Any,
    keys: &[
        must("device", Shape::Device, "the device"),
        must("at_least", Shape::Rate, "the speed"),
        must("for", Shape::Duration, "for how long"),
    ],
};

/// Reads a condition.
pub(super) fn condition<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Written<'t, Condition>> {
    cx.written(item, Kind::Condition, &CONDITION, |cx, table| {
        let (combine, list) = match (table.get("any"), table.get("all")) {
            (Some(any), None) => (Combine::Any, any),
            (None, Some(all)) => (Combine::All, all),
            (Some(any), Some(all)) => {
                cx.fault(all.key_at, format!("{} has both `any` and `all`", table.who))
                    .help("keep one, and put the other into a condition of its own: { condition = \"NAME\" }")
                    .see(any.key_at, "`any` is here");
                return None;
            }
            (None, None) => {
                cx.fault(table.at, format!("{} needs `any` or `all`", table.who))
                    .help(format!("add any = [{{ event = \"{}\" }}]", item.name));
                return None;
            }
        };
        let terms = cx.each(list, term);
        Some(Condition {
            name: item.name.parse().ok()?,
            combine,
            terms: terms.into_iter().map(|(term, _)| term).collect(),
            origin: cx.origin(table.at),
        })
    })
}

fn term<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<ConditionTerm> {
    let Value::Table(table) = item.value else {
        cx.wrong_type(item);
        return None;
    };
    let before = cx.log.count();
    let keys = cx.keys(table, item.at, &TERM, "a condition's term".to_owned());
    let given: Vec<Item<'t>> = TERM
        .keys
        .iter()
        .filter_map(|key| keys.get(key.name))
        .collect();
    let [one] = given.as_slice() else {
        if cx.log.count() == before {
            cx.fault(
                item.at,
                "a term is exactly one of event, after, link_speed, condition",
            )
            .help("write several as { event = \"a\" }, { event = \"b\" }");
        }
        return None;
    };
    match one.name {
        "event" => cx.parse(*one).map(ConditionTerm::Event),
        "after" => value::date(cx, *one).map(ConditionTerm::After),
        "condition" => cx
            .refer(*one, Kind::Condition)
            .map(ConditionTerm::Condition),
        _ => {
            let table = cx.table(*one, &LINK_SPEED, "link_speed".to_owned())?;
            let device = table.get("device").and_then(|item| cx.parse(item));
            let at_least = table.get("at_least").and_then(|item| cx.parse(item));
            let lasting = table.get("for").and_then(|item| value::duration(cx, item));
            Some(ConditionTerm::LinkSpeed {
                device: device?,
                at_least: at_least?,
                lasting: lasting?,
            })
        }
    }
}
