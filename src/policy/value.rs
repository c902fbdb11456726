//! Values that several tables share: rates, durations, dates.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil;

use super::cx::{Cx, Item};
use super::document::Value;
use super::spec::{Given, Shape, Spec, must};
use crate::units::{Amounts, PerDirection, Rates, duration as read};

/// `{ up, down }` of rates.
static RATES: Spec = Spec {
    doc: "One rate for each direction",
    given: Given::Any,
    keys: &[
        must("up", Shape::Rate, "what leaves this host"),
        must("down", Shape::Rate, "what arrives"),
    ],
};

/// A rate, or one for each direction.
pub(super) fn rates<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Rates> {
    directions(cx, item)
}

/// A rate or a percentage, or one for each direction.
pub(super) fn amounts<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Amounts> {
    directions(cx, item)
}

fn directions<'t, T: FromStr<Err: Display> + Copy>(
    cx: &mut Cx<'t>,
    item: Item<'t>,
) -> Option<PerDirection<T>> {
    match item.value {
        Value::String(_) => cx.parse(item).map(PerDirection::both),
        Value::Table(table) => {
            let who = format!("`{}` by direction", item.name);
            let table = cx.keys(table, item.key_at, &RATES, who);
            let mut one = |name| {
                table.get(name).and_then(|one| {
                    cx.parse(Item {
                        shape: item.shape,
                        ..one
                    })
                })
            };
            let (up, down) = (one("up"), one("down"));
            Some(PerDirection {
                up: up?,
                down: down?,
            })
        }
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_) => {
            cx.wrong_type(item);
            None
        }
    }
}

/// A stretch of time.
pub(super) fn duration<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Duration> {
    let text = cx.text(item)?;
    read(text).map_err(|error| cx.error(item, &error)).ok()
}

/// A stretch of time that is not nothing.
pub(super) fn positive<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Duration> {
    let duration = duration(cx, item)?;
    if duration.is_zero() {
        cx.fault(item.at, format!("`{}` is never 0", item.name))
            .help(format!("write for example {}", item.shape.example()));
        return None;
    }
    Some(duration)
}

/// A point in time: with an offset, or in the host's zone.
pub(super) fn date<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Timestamp> {
    let text = match item.value {
        Value::String(text) => text.to_string(),
        Value::Datetime(date) => date.to_string(),
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Array(_)
        | Value::Table(_) => {
            cx.wrong_type(item);
            return None;
        }
    };
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let Ok(local) = text.parse::<civil::DateTime>() else {
        let text = super::cx::shorten(&text);
        cx.fault(item.at, format!("`{text}` is not a date"))
            .help("write \"2020-03-30\", \"2020-03-30T08:00\" or \"2020-03-30T08:00+02:00\"");
        return None;
    };
    let Some(zone) = cx.zone.clone() else {
        cx.fault(
            item.at,
            "this date is local, and the host has no `timezone`",
        )
        .help("set `timezone` in the host's file, or write an offset such as +02:00");
        return None;
    };
    let ambiguous = zone.to_ambiguous_timestamp(local);
    if matches!(ambiguous.offset(), jiff::tz::AmbiguousOffset::Gap { .. }) {
        cx.fault(
            item.at,
            "this time does not exist: the clocks go forward over it",
        )
        .help("take a time an hour earlier or later");
        return None;
    }
    // Of a time that comes twice, the first.
    match ambiguous.earlier() {
        Ok(timestamp) => Some(timestamp),
        Err(_) => {
            cx.fault(item.at, "this date is out of range")
                .help("take one between the years 1 and 9998");
            None
        }
    }
}
