//! What `status` tells of what was put right: the first thing of the last time, and how many more there were.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

#[path = "common/status.rs"]
mod status;

use jiff::tz::TimeZone;
use serde_json::json;
use status::{AT, rate};
use wanshift::api::{Repairs, Status};
use wanshift::keeper::text::text;
use wanshift::plan::{Promised, Repaired};

/// So many classes that somebody changed.
fn classes(count: u16) -> Vec<Repaired> {
    let class = |at: u16| Repaired {
        device: Some("wan0".parse().unwrap()),
        class_id: Some(format!("7a01:{at:x}")),
        place: format!("internet.class.c{at}"),
        found: Some(Promised {
            guarantee: rate(8_000),
            ceiling: rate(1_000_000),
        }),
        restored: None,
        what: format!("class 7a01:{at:x} of wan0 (internet.class.c{at}) was put in: taken out"),
    };
    (0..count).map(class).collect()
}

fn told(repairs: Repairs) -> Vec<String> {
    let status = Status {
        repairs,
        ..status::status()
    };
    let text = text(&status, &TimeZone::UTC);
    let lines = text.lines().map(str::to_owned);
    lines
        .skip_while(|line| !line.starts_with("Last repair"))
        .collect()
}

#[test]
fn the_first_thing_is_told_and_how_many_more_there_were() {
    let mut repairs = Repairs::default();
    assert!(told(repairs.clone()).is_empty());
    let what = "somebody else changed what is ours: 30 writes to put it right";
    repairs.add(AT.parse().unwrap(), what.to_owned(), classes(30));
    assert_eq!((repairs.changes.len(), repairs.more), (20, 10));
    assert_eq!(
        told(repairs.clone()),
        [
            "Last repair: 2026-11-22 03:00:00 UTC (of 1)",
            "  somebody else changed what is ours: 30 writes to put it right",
            "  class 7a01:0 of wan0 (internet.class.c0) was put in: taken out",
            "  and 29 more: `wanshift --json status`",
        ]
    );
    // The next time is told alone.
    let what = "somebody else changed what is ours: 1 write to put it right";
    repairs.add(AT.parse().unwrap(), what.to_owned(), classes(1));
    assert_eq!((repairs.count, repairs.more), (2, 0));
    let told = told(repairs);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert_eq!(told[0], "Last repair: 2026-11-22 03:00:00 UTC (of 2)");
}

#[test]
fn a_daemon_of_before_is_understood() {
    let before = json!({ "count": 3, "last": AT, "what": "somebody else changed what is ours" });
    let repairs: Repairs = serde_json::from_value(before).unwrap();
    assert_eq!(told(repairs).len(), 2);
}
