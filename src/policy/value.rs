//! Values that several tables share: rates, durations, dates.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil;

use super::cx::{Cx, Item};
use super::document::Value;
use super::spec::{Given, Shape, Spec, must};
use crate::units::{Amounts, PerDirection, Rates};

/// `{ up, down }` of rates.
static RATES: Spec = Spec {
    doc: "One rate for each direction",
    given: Given::Any,
    keys: &[
        must("up", Shape::Rate, "what leaves this host"),
        must("down", Shape::Rate, "what arrives"),
    ],
};

/// The longest time that a policy may name.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

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
    match read_duration(text) {
        Ok(duration) => Some(duration),
        Err((message, help)) => {
            cx.fault(item.at, message).help(help);
            None
        }
    }
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

/// The units of time, the longest first, in milliseconds.
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `1h30m`: numbers with units, the longer unit first.
fn read_duration(text: &str) -> Result<Duration, (String, String)> {
    const UNITS: &str = "the units are d, h, m, s and ms, the longer first: \"90s\", \"1h30m\"";
    let wrong = |help: &str| {
        let text: String = text.chars().take(48).collect();
        (format!("`{text}` is not a duration"), help.to_owned())
    };
    let mut left = text.trim();
    let mut sum: u64 = 0;
    let mut units = TIMES.iter();
    if left.is_empty() {
        return Err(wrong(UNITS));
    }
    while !left.is_empty() {
        let digits = left
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(left.len());
        let (number, rest) = left.split_at(digits);
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(letters);
        if unit.is_empty() && !number.is_empty() && rest.is_empty() {
            return Err(wrong(&format!(
                "a duration needs a unit: \"{number}s\" or \"{number}m\""
            )));
        }
        let scale = units.find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
        let (Ok(number), Some(scale)) = (number.parse::<u64>(), scale) else {
            return Err(wrong(UNITS));
        };
        sum = number.saturating_mul(scale).saturating_add(sum);
        left = rest.trim_start();
    }
    let duration = Duration::from_millis(sum);
    if duration > LONGEST {
        return Err((
            "a duration is at most 366 days".to_owned(),
            "for something that lasts, leave the end to a condition".to_owned(),
        ));
    }
    Ok(duration)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_refused() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5_400),
            ("8h", 28_800),
            ("1d", 86_400),
            ("0s", 0),
            ("1h 30m", 5_400),
        ] {
            assert_eq!(
                read_duration(text).unwrap(),
                Duration::from_secs(seconds),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "10",
            "30m1h",
            "1h1h",
            "-5s",
            "1.5h",
            "5 m",
            "400d",
            "1w",
            "99999999999999999999s",
            "５m",
        ] {
            assert!(read_duration(text).is_err(), "{text} was read");
        }
    }
}
