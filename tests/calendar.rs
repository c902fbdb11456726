//! The calendars of blocks against a clock on the wall, read minute by minute.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use proptest::prelude::*;
use wanshift::model::calendar::{Calendar, Days, Minute, Window};
use wanshift::policy::{Source, read};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// The calendar of a block whose `schedule` is that, or all that is said about it.
fn calendar(schedule: &str) -> Result<Calendar, String> {
    let text = format!(
        "name = \"edge\"\ntimezone = \"Europe/Paris\"\n[circuit.a]\ndevice = \"wan0\"\ncapacity = \"1mbit\"\n\
         [policy]\nstart = \"p\"\n[phase.p]\nblock = [\"b\"]\n[block.b]\ncircuit = \"a\"\nschedule = \"{schedule}\"\n"
    );
    let source = Source {
        name: "host.toml".into(),
        text: text.into(),
    };
    let policy = read(&[source]).map_err(|faults| faults.to_string())?;
    Ok(policy
        .blocks()
        .values()
        .next()
        .unwrap()
        .schedule
        .clone()
        .unwrap())
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// The first time at which a clock in Paris shows that.
fn paris(shown: &str) -> Zoned {
    let shown: DateTime = shown.parse().unwrap();
    shown.to_zoned(zone("Europe/Paris")).unwrap()
}

/// When the next change comes, as a clock in Paris shows it, with the offset.
fn next(calendar: &Calendar, now: &Zoned) -> String {
    let at = calendar.next_change(now).unwrap();
    let at = at.to_zoned(now.time_zone().clone());
    at.strftime("%a %d %H:%M %:z").to_string()
}

#[test]
fn days_are_those_of_all_times_after_them() {
    let office = calendar("mon-fri 08:00-12:00, 13:30-18:00").unwrap();
    // A Friday.
    for (shown, holds) in [
        ("2024-06-14T07:59:59", false),
        ("2024-06-14T08:00", true),
        ("2024-06-14T11:59:59", true),
        ("2024-06-14T12:00", false),
        ("2024-06-14T13:30", true),
        ("2024-06-14T18:00", false),
        ("2024-06-15T09:00", false),
        ("2024-06-17T09:00", true),
    ] {
        assert_eq!(office.holds_at(&paris(shown)), holds, "{shown}");
    }
    assert_eq!(
        next(&office, &paris("2024-06-14T12:30")),
        "Fri 14 13:30 +02:00"
    );
    assert_eq!(
        next(&office, &paris("2024-06-14T18:00")),
        "Mon 17 08:00 +02:00"
    );
    assert_eq!(office.to_string(), "mon-fri 08:00-12:00, 13:30-18:00");

    let more = calendar("01:00-02:00 fri-mon,wed 22:00-06:00 tue 10:00-24:00").unwrap();
    for (shown, holds) in [
        ("2024-06-13T01:30", true),  // Thursday: every day, and Wednesday's night
        ("2024-06-13T06:00", false), //
        ("2024-06-13T22:00", false), // Thursday's night is not asked for
        ("2024-06-14T22:00", true),
        ("2024-06-15T05:59", true),
        ("2024-06-17T23:00", true), // Monday, over the end of the week
        ("2024-06-18T05:00", true),
        ("2024-06-18T23:59", true),
        ("2024-06-19T00:00", false),
    ] {
        assert_eq!(more.holds_at(&paris(shown)), holds, "{shown}");
    }
}

#[test]
fn what_never_changes_has_no_next_change() {
    let always = calendar("00:00-24:00").unwrap();
    assert!(always.holds_at(&paris("2024-03-31T03:00")));
    assert_eq!(always.next_change(&paris("2024-03-30T12:00")), None);
    let night_and_day = calendar("08:00-20:00, 20:00-08:00").unwrap();
    assert_eq!(night_and_day.next_change(&paris("2024-10-26T12:00")), None);
}

#[test]
fn an_hour_that_is_left_out_and_one_that_comes_twice() {
    // On 31 March 2024 02:00 was 03:00.
    let early = calendar("sun 02:30-04:00").unwrap();
    let night = paris("2024-03-31T01:00");
    assert_eq!(next(&early, &night), "Sun 31 03:00 +02:00");
    // All of it falls into that hour: it is the next week's that comes.
    let gone = calendar("sun 02:00-03:00").unwrap();
    assert_eq!(next(&gone, &night), "Sun 07 02:00 +02:00");
    let over = calendar("sat 22:00-02:30").unwrap();
    assert_eq!(next(&over, &night), "Sun 31 03:00 +02:00");

    // On 27 October 2024 03:00 was 02:00 again.
    let night = paris("2024-10-27T01:00");
    let twice = calendar("sun 02:00-03:00").unwrap();
    assert_eq!(next(&twice, &night), "Sun 27 02:00 +02:00");
    let first = paris("2024-10-27T02:30");
    assert_eq!(first.offset().seconds(), 7_200);
    assert_eq!(next(&twice, &first), "Sun 27 03:00 +01:00");
    let half = calendar("sun 01:00-02:30").unwrap();
    assert_eq!(next(&half, &night), "Sun 27 02:30 +02:00");
    let between = paris("2024-10-27T02:45");
    assert_eq!(next(&half, &between), "Sun 27 02:00 +01:00");
}

#[test]
fn what_is_no_calendar_is_shown_at_the_word() {
    // The column of the word in `schedule = "…"`, the first of which is 13.
    for (schedule, column, said) in [
        (
            "mon-fri 8:00-12:00",
            21,
            "`8:00-12:00` is no time from and to",
        ),
        (
            "mon-fry 08:00-12:00",
            13,
            "`mon-fry` is neither days nor times",
        ),
        ("08:00-12:00, Mon 10:00-11:00", 26, "`Mon` is neither"),
        ("mon 08:00-08:00", 17, "`08:00-08:00` is no time"),
        ("mon 24:00-08:00", 17, "`24:00-08:00` is no time"),
        ("mon 08:00-24:01", 17, "`08:00-24:01` is no time"),
        ("mon 08:60-09:00", 17, "`08:60-09:00` is no time"),
        ("mon 08:00", 17, "`08:00` is no time"),
        ("mon 08:00-09:00, sat", 30, "no times follow `sat`"),
        ("mon 08:00–12:00", 17, "`08:00–12:00` is no time"),
        ("every day; always", 13, "`every` is neither"),
        (" , ", 13, "without any times"),
        ("", 12, "without any times"),
    ] {
        let faults = calendar(schedule).unwrap_err();
        let place = format!("host.toml:12:{column}: ");
        assert!(
            faults.starts_with(&place) && faults.contains(said),
            "{schedule}: {faults}"
        );
    }
    let long = "mon 08:00-09:00, ".repeat(13);
    assert!(calendar(&long).unwrap_err().contains("200 characters"));
    // An escape: the places in the text are not those in the file.
    let faults = calendar(r"mon\u0020never").unwrap_err();
    assert!(faults.starts_with("host.toml:12:12: `never`"), "{faults}");
}

/// A window as it is asked of a wall: days as a list, times in minutes.
type Asked = (Vec<bool>, u16, u16);

fn asked() -> impl Strategy<Value = Vec<Asked>> {
    // Mostly near the hours at which clocks are set, on a grid that hits them.
    let minute = || prop_oneof![3 => (0..24_u16).prop_map(|n| n * 15), 1 => (0..96_u16).prop_map(|n| n * 15)];
    let window = (
        proptest::collection::vec(any::<bool>(), 7),
        minute(),
        minute(),
    );
    let window = window.prop_filter("takes time", |(_, from, to)| from != to);
    proptest::collection::vec(window, 1..4)
}

fn made(asked: &[Asked]) -> Calendar {
    let minute = |of_day: u16| Minute::new(of_day / 60, of_day % 60).unwrap();
    let window = |(days, from, to): &Asked| {
        let mut of_week = Days::NONE;
        for (offset, _) in days.iter().enumerate().filter(|(_, wanted)| **wanted) {
            let day = Weekday::from_monday_zero_offset(i8::try_from(offset).unwrap()).unwrap();
            of_week = of_week.and(Days::range(day, day));
        }
        Window::new(of_week, minute(*from), minute(*to)).unwrap()
    };
    Calendar::new(String::new(), asked.iter().map(window).collect())
}

/// Whether a window's minutes are written on the wall: counted out on paper from the Monday before.
fn on_paper(asked: &[Asked], now: &Zoned) -> bool {
    let shown = now.datetime();
    let monday = shown.date().checked_sub(
        jiff::Span::new().days(i64::from(shown.date().weekday().to_monday_zero_offset())),
    );
    let since = shown.duration_since(monday.unwrap().to_datetime(jiff::civil::Time::midnight()));
    let minute = since.as_mins();
    asked.iter().any(|(days, from, to)| {
        let (from, to) = (i64::from(*from), i64::from(*to));
        let length = if to > from {
            to - from
        } else {
            to + 1_440 - from
        };
        (-1..7_i64).any(|day| {
            let of_week = usize::try_from(day.rem_euclid(7)).unwrap();
            let begins = day * 1_440 + from;
            days[of_week] && (begins..begins + length).contains(&minute)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Three days around each change of the clocks, in zones that change by an hour, by half of one, over
    /// midnight, and by a whole day.
    #[test]
    fn every_minute_is_as_on_paper(
        asked in asked(),
        place in 0..6_usize,
        start in 0..(3 * 1_440_i64),
    ) {
        let (zone_name, day) = [
            ("Europe/Paris", "2024-03-30T00:00"),
            ("Europe/Paris", "2024-10-26T00:00"),
            ("Australia/Lord_Howe", "2024-04-06T00:00"),
            ("America/Sao_Paulo", "2018-02-16T12:00"),
            ("America/Sao_Paulo", "2018-11-03T00:00"),
            ("Pacific/Apia", "2011-12-29T00:00"),
        ][place];
        let zone = zone(zone_name);
        let calendar = made(&asked);
        let day: DateTime = day.parse().unwrap();
        let begin = day.to_zoned(zone.clone()).unwrap().timestamp() + MINUTE * i32::try_from(start).unwrap();
        let at = |minute: i32| (begin + MINUTE * minute).to_zoned(zone.clone());
        let now = at(0);
        let holds = on_paper(&asked, &now);
        let mut change: Option<Timestamp> = None;
        for minute in 0..(4 * 1_440) {
            let then = at(minute);
            let paper = on_paper(&asked, &then);
            prop_assert_eq!(calendar.holds_at(&then), paper, "{}", then);
            if paper != holds {
                change = Some(then.timestamp());
                break;
            }
        }
        let told = calendar.next_change(&now);
        match change {
            Some(change) => prop_assert_eq!(told, Some(change), "from {}", now),
            None => prop_assert!(told.is_none_or(|told| told >= at(4 * 1_440).timestamp()), "{:?}", told),
        }
    }
}
