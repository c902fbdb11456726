//! What `status` tells of classes: enough to see who is short, and never a screen full of what is idle.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

#[path = "common/status.rs"]
mod status;

use jiff::tz::TimeZone;
use status::{circuit, class, rate};
use wanshift::api::{ClassStatus, Status};
use wanshift::keeper::classes::{Shown, classes};
use wanshift::keeper::text::text;

/// A class that carries so many bit/s upward, and nothing downward.
fn busy(place: &str, bits: f64) -> ClassStatus {
    let mut class = class(place);
    let (up, down) = (class.up.as_mut().unwrap(), class.down.as_mut().unwrap());
    up.rate = Some(bits);
    (down.guarantee, down.ceiling) = (up.guarantee, up.ceiling);
    down.rate = Some(0.0);
    class
}

fn with(classes: Vec<ClassStatus>) -> Status {
    Status {
        classes,
        ..status::status()
    }
}

/// A status with so many sites on `mpls`, of which the last three carry something.
fn of_sites(count: usize) -> Status {
    let sites = (0..count).map(|site| {
        let carries = if site + 3 >= count { 1e6 } else { 0.0 };
        busy(&format!("mpls.site.s{site}"), carries)
    });
    let mut all = vec![busy("internet.control", 0.0), busy("internet.rest", 5e6)];
    all.extend(sites);
    with(all)
}

#[test]
fn each_class_is_told_below_its_circuit_with_what_it_has_and_carries() {
    let mut few = with(vec![
        busy("internet.class.gateway", 9.6e6),
        busy("internet.rest", 0.0),
    ]);
    let line = few.classes[0].down.as_mut().unwrap();
    (line.guarantee, line.ceiling) = (rate(500_000), rate(2_000_000));
    (line.backlog_bytes, line.drops) = (12_345, 7);
    let told = classes(&few, Shown::Busiest);
    let rows: Vec<Vec<&str>> = told
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], Vec::<&str>::new());
    assert_eq!(
        rows[1].join(" "),
        "class guarantee ceiling now up now down waiting dropped"
    );
    assert_eq!(rows[2], ["internet"]);
    assert_eq!(
        rows[3].join(" "),
        "class.gateway 1mbit/500kbit 2mbit 9.60mbit 0bit 12.4 kB 8"
    );
    assert_eq!(rows[4][0], "rest");
    assert_eq!(rows.len(), 5);
    assert!(text(&few, &TimeZone::UTC).contains("class.gateway  1mbit/500kbit"));
}

#[test]
fn hundreds_of_sites_come_to_the_busiest_and_a_count() {
    let many = of_sites(400);
    let told = classes(&many, Shown::Busiest);
    let is_told = |name: &str| told.iter().any(|line| line.trim_start().starts_with(name));
    assert!(told.len() < 20, "{told:#?}");
    for busy in ["site.s397", "site.s398", "site.s399", "control", "rest"] {
        assert!(is_told(busy), "{busy}: {told:#?}");
    }
    let more = told.last().unwrap();
    assert!(
        more.contains("392 more") && more.contains("wanshift status --classes"),
        "{more}"
    );
    let all = classes(&many, Shown::All);
    assert_eq!(all.len(), 2 + 2 + 402);
    assert!(!all.iter().any(|line| line.contains("more")));
    // Nobody is told that there is one more where there is room for it.
    assert!(
        classes(&of_sites(10), Shown::Busiest)
            .iter()
            .all(|line| !line.contains("more"))
    );
}

#[test]
fn names_of_any_length_fit() {
    let long = "a-name-as-long-as-a-name-may-be1";
    assert_eq!(long.len(), 32);
    let mut status = with(vec![
        busy(&format!("{long}.site.{long}.class.{long}"), 123_456.0),
        busy(&format!("{long}.rest"), 0.0),
    ]);
    let mut named = circuit("internet");
    named.name = long.parse().unwrap();
    status.circuits = vec![named];
    let told = text(&status, &TimeZone::UTC);
    assert!(told.contains(&format!("{long} down\n")), "{told}");
    for line in told.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for shown in [Shown::Busiest, Shown::All] {
        let told = classes(&status, shown);
        for line in &told {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(
            told.iter().any(|line| line.contains("123kbit")),
            "{told:#?}"
        );
    }
}
