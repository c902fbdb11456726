//! Dates that may be believed, on clocks that are set, slewed, and go on while the host sleeps.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use wanshift::engine::condition::evaluate;
use wanshift::engine::dates::{CALM, Dates, JUMP, Sync};
use wanshift::model::readings::{Latches, Readings, WallClock};
use wanshift::policy::{Policy, Source, read};
use wanshift::units::Moment;

const START: &str = "2024-06-14T12:00:00Z";

/// A host whose clocks can be played with.
struct Machine {
    dates: Dates,
    wall: Timestamp,
    now: Duration,
    sync: Sync,
}

impl Machine {
    fn new() -> Self {
        Self {
            dates: Dates::new("boot-1".to_owned()),
            wall: START.parse().unwrap(),
            now: Duration::from_secs(100),
            sync: Sync::Synchronised,
        }
    }

    /// Time passes, on a date that goes wrong by so many parts in a million.
    fn pass(&mut self, time: Duration, ppm: i32) {
        self.now += time;
        let time = SignedDuration::try_from(time).unwrap();
        let slew = time / 1_000_000 * ppm;
        self.wall = self.wall + time + slew;
    }

    fn look(&mut self) -> WallClock {
        self.dates.look(self.wall, self.sync, Moment(self.now))
    }

    fn believed(&mut self) -> bool {
        matches!(self.look(), WallClock::Trusted(date) if date == self.wall)
    }

    /// Looks each second for so long; whether the date was believed each time, or never.
    #[track_caller]
    fn watched(&mut self, seconds: u64, believed: bool) {
        for second in 0..seconds {
            self.pass(Duration::from_secs(1), 0);
            assert_eq!(self.believed(), believed, "after {second} s");
        }
    }

    /// The program starts again, under that boot.
    fn restart(&mut self, boot: &str) {
        let saved = serde_json::to_string(&self.dates.saved()).unwrap();
        let saved = serde_json::from_str(&saved).unwrap();
        self.dates = Dates::restored(saved, boot.to_owned());
    }
}

#[test]
fn a_clock_that_goes_to_2100_and_back_is_not_believed_for_a_while() {
    let mut machine = Machine::new();
    assert!(machine.believed());
    machine.watched(60, true);
    let right = machine.wall;
    machine.wall = "2100-01-01T00:00:00Z".parse().unwrap();
    assert!(!machine.believed());
    machine.watched(300, false);
    machine.wall = right + SignedDuration::from_secs(301);
    assert!(!machine.believed());
    assert_eq!(machine.dates.next(), Some(Moment(machine.now + CALM)));
    machine.watched(CALM.as_secs() - 1, false);
    machine.watched(100, true);
    assert_eq!(machine.dates.next(), None);
}

#[test]
fn what_the_clock_says_of_itself_is_not_enough() {
    let right: Timestamp = START.parse().unwrap();
    let mut dates = Dates::new("boot-1".to_owned());
    let now = Moment(Duration::from_secs(100));
    let trusted = WallClock::Trusted(right);
    assert_eq!(dates.judge(trusted, now), trusted);
    let untrusted = WallClock::Untrusted(right);
    assert_eq!(dates.judge(untrusted, now), untrusted);
    let wrong: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    let judged = dates.judge(WallClock::Trusted(wrong), now);
    assert_eq!(judged, WallClock::Untrusted(wrong));
}

#[test]
fn what_nobody_keeps_right_is_not_believed_and_does_not_end_a_doubt() {
    let mut machine = Machine::new();
    machine.sync = Sync::Alone;
    assert!(!machine.believed());
    machine.sync = Sync::Synchronised;
    assert!(machine.believed());
    machine.wall += SignedDuration::from_hours(-1);
    machine.watched(500, false);
    machine.sync = Sync::Alone;
    machine.watched(500, false);
    assert_eq!(machine.dates.next(), None);
    machine.sync = Sync::Synchronised;
    machine.watched(CALM.as_secs(), false);
    machine.watched(1, true);
}

#[test]
fn a_clock_that_is_slewed_is_believed() {
    for ppm in [-500, 500] {
        let mut machine = Machine::new();
        for hours in [0, 1, 10, 100, 2_000] {
            machine.pass(Duration::from_secs(3_600 * hours), ppm);
            assert!(machine.believed(), "{hours} h at {ppm} ppm");
        }
        // As much as a leap second, and as NTP steps by on a busy host.
        machine.wall += SignedDuration::from_secs(1);
        assert!(machine.believed());
    }
}

#[test]
fn small_steps_are_one_large_one() {
    let mut machine = Machine::new();
    assert!(machine.believed());
    machine.wall += SignedDuration::from_secs(29);
    machine.watched(5, true);
    machine.wall += SignedDuration::from_secs(29);
    machine.watched(5, false);
}

#[test]
fn a_host_that_slept_knows_the_date() {
    let mut machine = Machine::new();
    assert!(machine.believed());
    // The boot clock goes on meanwhile.
    machine.pass(Duration::from_secs(3 * 86_400), 0);
    assert!(machine.believed());
    // A clock that stood still while it slept is behind, and is set again.
    machine.now += Duration::from_secs(7_200);
    assert!(!machine.believed());
}

#[test]
fn a_restart_does_not_make_a_jump_believed() {
    let mut machine = Machine::new();
    assert!(machine.believed());
    machine.restart("boot-1");
    machine.watched(10, true);
    machine.wall = "2100-01-01T00:00:00Z".parse().unwrap();
    assert!(!machine.believed());
    machine.restart("boot-1");
    machine.watched(CALM.as_secs() - 1, false);
    // One that came while it did not run.
    let mut machine = Machine::new();
    assert!(machine.believed());
    machine.wall = "2100-01-01T00:00:00Z".parse().unwrap();
    machine.restart("boot-1");
    assert!(!machine.believed());
}

#[test]
fn another_boot_begins_anew_but_time_does_not_go_back() {
    let mut machine = Machine::new();
    machine.watched(10, true);
    let known = machine.wall;
    machine.wall = "2100-01-01T00:00:00Z".parse().unwrap();
    assert!(!machine.believed());
    machine.restart("boot-2");
    machine.now = Duration::from_secs(5);
    machine.wall = known + SignedDuration::from_secs(60);
    machine.watched(10, true);

    machine.restart("boot-3");
    machine.now = Duration::from_secs(5);
    machine.wall = known;
    assert!(!machine.believed());
    machine.watched(CALM.as_secs() - 1, false);
    machine.watched(1, true);
}

fn policy() -> Policy {
    let text = "name = \"edge\"\n[circuit.a]\ndevice = \"wan0\"\ncapacity = \"1mbit\"\n[policy]\nstart = \"p\"\n[phase.p]\n\
                [condition.later]\nany = [{ after = \"2024-06-15T12:00:00Z\" }]\n";
    read(&[Source {
        name: "host.toml".into(),
        text: text.into(),
    }])
    .unwrap_or_else(|faults| panic!("{faults}"))
}

/// What happens to a host.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// So many milliseconds pass, slewed by so much.
    Passes(u64, i32),
    /// The clock is set, by so many seconds.
    Set(i64),
    Synchronised(bool),
    Restarted,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..250_000_u64, -500..=500_i32).prop_map(|(time, ppm)| Happens::Passes(time, ppm)),
        2 => (-100_i64..100).prop_map(Happens::Set),
        2 => (-4_000_000_000_i64..4_000_000_000).prop_map(Happens::Set),
        2 => any::<bool>().prop_map(Happens::Synchronised),
        1 => Just(Happens::Restarted),
    ]
}

proptest! {
    /// Whatever happens, a date that is believed has not moved for as long as it takes to believe it again, and a date
    /// to come is never thought to be past by a clock that was set to it meanwhile.
    #[test]
    fn after_is_never_true_by_a_clock_that_jumped(story in proptest::collection::vec(happens(), 1..60)) {
        let policy = policy();
        let mut machine = Machine::new();
        machine.look();
        let right: Timestamp = START.parse().unwrap();
        // How far the date is from the right one, at each look.
        let mut offs: Vec<(Duration, SignedDuration)> = vec![(machine.now, SignedDuration::ZERO)];
        let begun = machine.now;
        for happens in story {
            match happens {
                Happens::Passes(time, ppm) => machine.pass(Duration::from_millis(time), ppm),
                Happens::Set(by) => machine.wall += SignedDuration::from_secs(by),
                Happens::Synchronised(true) => machine.sync = Sync::Synchronised,
                Happens::Synchronised(false) => machine.sync = Sync::Alone,
                Happens::Restarted => machine.restart("boot-1"),
            }
            let date = machine.look();
            let passed = SignedDuration::try_from(machine.now - begun).unwrap();
            let off = machine.wall.duration_since(right + passed);
            offs.push((machine.now, off));
            let WallClock::Trusted(shown) = date else { continue };
            prop_assert_eq!(machine.sync, Sync::Synchronised);
            prop_assert_eq!(shown, machine.wall);
            let recent = |(at, _): &&(Duration, SignedDuration)| machine.now - *at < CALM;
            for (at, before) in offs.iter().filter(recent) {
                let slew = SignedDuration::try_from((machine.now - *at) / 2_000).unwrap();
                let most = JUMP + JUMP + slew + SignedDuration::from_secs(1);
                prop_assert!((off - *before).abs() <= most, "{} after {}", off, before);
            }
            let calm = offs.iter().filter(recent).all(|(_, before)| before.abs() > SignedDuration::from_hours(1));
            let readings = Readings { events: BTreeMap::new(), date, links: BTreeMap::new() };
            let found = evaluate(&policy, &Latches::default(), &readings, Moment(machine.now));
            // It may be so only by a clock that kept to that date for all of the time.
            prop_assert!(found.new.is_empty() || calm, "{:?}", offs);
        }
    }
}
