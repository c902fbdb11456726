//! Calendars: `mon-fri 08:00-12:00, 13:30-18:00`.
//!
//! Days and times in words, between which are spaces or commas. Days are those of the times after them, until other days
//! come; times before which no day was named are those of every day.

use std::ops::Range;

use jiff::civil::Weekday;

use crate::model::calendar::{Calendar, Days, Minute, Window};

/// The days, the first of the week first.
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
/// A calendar is for people to read.
const LONGEST: usize = 200;
const WHOLE: &str = "a whole day is 00:00-24:00";

/// What is wrong with a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misread {
    /// The bytes that it is about.
    pub(super) at: Range<usize>,
    /// What.
    pub(super) message: String,
    /// What to do.
    pub(super) help: String,
}

/// Reads a calendar.
pub(super) fn read(text: &str) -> Result<Calendar, Misread> {
    let wrong = |at: Range<usize>, message: String, help: &str| Misread {
        at,
        message,
        help: help.to_owned(),
    };
    if text.len() > LONGEST {
        let message = format!("a schedule is at most {LONGEST} characters long");
        return Err(wrong(0..text.len(), message, "write days as mon-fri"));
    }
    let mut windows = Vec::new();
    let mut days = Days::ALL;
    // Days that wait for their times.
    let mut named: Option<Range<usize>> = None;
    for (at, word) in words(text) {
        let fault = |(message, help): (String, &str)| wrong(at.clone(), message, help);
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            windows.push(window(days, word).map_err(fault)?);
            named = None;
        } else {
            let more = days_of(word).map_err(fault)?;
            days = if named.is_some() {
                days.and(more)
            } else {
                more
            };
            named = Some(at);
        }
    }
    match named {
        Some(at) => {
            let message = format!("no times follow `{}`", text.get(at.clone()).unwrap_or(text));
            Err(wrong(at, message, WHOLE))
        }
        None if windows.is_empty() => Err(wrong(
            0..text.len(),
            "a schedule without any times".to_owned(),
            "write days and times, such as \"mon-fri 08:00-12:00\", or leave it out where the block always holds",
        )),
        None => Ok(Calendar::new(text.trim().to_owned(), windows)),
    }
}

/// The words of a text, each with where it is.
fn words(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut end = 0;
    text.split([',', ' ', '\t']).filter_map(move |word| {
        let start = end;
        end = start + word.len() + 1;
        (!word.is_empty()).then(|| (start..start + word.len(), word))
    })
}

/// `mon` or `mon-fri`.
fn days_of(word: &str) -> Result<Days, (String, &'static str)> {
    let day = |name: &str| {
        let day = DAYS.iter().find(|(known, _)| *known == name);
        day.map(|(_, day)| *day)
    };
    let (from, to) = word.split_once('-').unwrap_or((word, word));
    match (day(from), day(to)) {
        (Some(from), Some(to)) => Ok(Days::range(from, to)),
        _ => Err((
            format!("`{word}` is neither days nor times"),
            "days are mon, tue, wed, thu, fri, sat, sun, or mon-fri; times are 08:00-12:00",
        )),
    }
}

/// `08:00-12:00`.
fn window(days: Days, word: &str) -> Result<Window, (String, &'static str)> {
    let wrong = |help| (format!("`{word}` is no time from and to"), help);
    let (from, to) = word
        .split_once('-')
        .ok_or_else(|| wrong("write from when to when: 08:00-12:00"))?;
    let (Some(from), Some(to)) = (minute(from), minute(to)) else {
        return Err(wrong(
            "write hours and minutes in two digits each, from 00:00 to 24:00: 08:00-12:00",
        ));
    };
    Window::new(days, from, to).ok_or_else(|| {
        wrong("it begins before 24:00 and ends at another time than it begins; a whole day is 00:00-24:00")
    })
}

/// `08:00`.
fn minute(text: &str) -> Option<Minute> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    Minute::new(number(hour)?, number(minute)?)
}
