//! kill -9 of the daemon at any time: while it ramps, applies, waits to be confirmed, takes back, hears of events.
//!
//! What is killed, and when, is drawn by chance. After each kill the kernel conserves and blocks what it should, as
//! it was left; and a daemon started again comes to a state that what was answered explains, with the way back
//! intact. `WANSHIFT_SEED` has the same orders drawn again; `WANSHIFT_ALL` has it done a thousand times.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "what a test's helpers cannot do fails the test, and a test waits for what a daemon does"
)]

#[path = "../common/mod.rs"]
mod common;
mod lab;
mod model;

use std::time::Duration;

use common::in_namespace;
use lab::Lab;
use model::{Change, Deed, Ending, Phase, Stance};
use wanshift::api::{Insist, Order};

/// So many hosts side by side: they mostly wait.
const HOSTS: u64 = 6;

/// Numbers that follow from a seed (`splitmix64`).
pub struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `among`, each as likely.
    pub fn one<T: Copy>(&mut self, among: &[T]) -> T {
        let count = u64::try_from(among.len()).unwrap();
        among[usize::try_from(self.next() % count).unwrap()]
    }

    /// A time shorter than `time`.
    pub fn within(&mut self, time: Duration) -> Duration {
        let micros = u64::try_from(time.as_micros()).unwrap().max(1);
        Duration::from_micros(self.next() % micros)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }
}

/// What is done next to a host that is as `now` says.
fn deed(chance: &mut Chance, now: Stance) -> Deed {
    let phases: &[Phase] = match (now.phase, now.landed) {
        (Phase::Nominal, false) => &[Phase::Telework],
        (Phase::Nominal, true) => &[Phase::Upgraded],
        (Phase::Telework | Phase::Upgraded, _) => &[Phase::Nominal],
    };
    let endings = [
        Ending::Plain,
        Ending::Expires,
        Ending::Confirmed,
        Ending::TakenBack,
        Ending::RolledBack,
    ];
    let change = |chance: &mut Chance| match chance.next() % 4 {
        0 => Change::Apply,
        _ => Change::Enter(chance.one(phases)),
    };
    match chance.next() % 8 {
        0 if now.landed && now.phase == Phase::Nominal => Deed::Reset,
        0 if !now.landed => Deed::Event,
        1 if !now.landed => Deed::EventDuring(change(chance), chance.one(&endings[..2])),
        _ => Deed::Change(change(chance), chance.one(&endings)),
    }
}

fn kills() -> u64 {
    match std::env::var_os("WANSHIFT_ALL") {
        Some(_) => 1_000,
        None => 200,
    }
}

fn seed() -> u64 {
    match std::env::var("WANSHIFT_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => jiff::Timestamp::now().as_microsecond().unsigned_abs(),
    }
}

/// A host whose files were changed and are not applied yet: how it is, and how it will be.
fn with_other_files() -> (Lab, Stance, Stance) {
    let mut lab = Lab::new(0, Duration::from_millis(100));
    let before = lab.stance();
    let after = before.after(Change::Apply);
    lab.write(after.files);
    (lab, before, after)
}

/// Files that were taken back lie there still, and stay out of force until somebody orders them again.
#[test]
fn files_that_were_taken_back_do_not_come_back_with_the_next_daemon() {
    in_namespace(|| {
        let (mut lab, before, after) = with_other_files();
        let apply = |confirm_within| Order::Apply {
            confirm_within,
            force: Insist::No,
        };
        lab.must(apply(Some(Duration::from_millis(200))));
        lab.settled(&[before.into()], "not confirmed in time");
        lab.restart();
        lab.settled(&[before.into()], "another daemon");
        lab.must(apply(None));
        lab.settled(&[after.into()], "ordered again");
        lab.restart();
        lab.settled(&[after.into()], "another daemon");
        lab.must(Order::Rollback {
            changes: 1,
            force: Insist::No,
        });
        lab.restart();
        lab.settled(&[before.into()], "rolled back");
    });
}

/// The same where the daemon was killed as soon as it was on record that they go back.
#[test]
fn files_stay_out_that_were_going_back_when_the_daemon_was_killed() {
    in_namespace(|| {
        let (mut lab, before, after) = with_other_files();
        lab.must(model::order(
            Change::Apply,
            Some(Duration::from_secs(3_600)),
        ));
        let pending = model::Settled {
            stance: after,
            pending: true,
        };
        lab.settled(&[pending], "waiting to be confirmed");
        lab.kill();
        lab.turn_back();
        lab.restart();
        lab.settled(&[before.into()], "another daemon");
    });
}

/// What is true is on disk by the time that who reported it is answered; and a daemon that ends, in whatever way,
/// leaves the kernel as it is.
#[test]
fn what_is_answered_is_on_disk_and_what_is_blocked_stays_so() {
    in_namespace(|| {
        let mut lab = Lab::new(0, Duration::from_millis(100));
        lab.must(Order::Phase {
            name: Phase::Telework.name(),
            confirm_within: None,
            force: Insist::No,
        });
        lab.end();
        assert!(lab.blocks());
        lab.restart();
        let before = Stance {
            phase: Phase::Telework,
            ..lab.stance()
        };
        lab.settled(&[before.into()], "another daemon");
        lab.must(model::landing());
        lab.kill();
        assert!(lab.landed());
    });
}

/// Does as chance wills to one host until the daemon was killed `kills` times.
fn a_host(seed: u64, number: u64, kills: u64) {
    let mut chance = Chance(seed ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03));
    let ramp = chance.one(&[100, 300, 600, 1_000].map(Duration::from_millis));
    let mut lab = Lab::new(number, ramp);
    let mut now = lab.learn();
    while lab.kills < kills {
        let deed = deed(&mut chance, now);
        lab.tell(&format!("kill {}: {now:?}: {deed:?}", lab.kills));
        now = lab.kill_during(&mut chance, now, deed);
        // Landed for good would be dull.
        if now.phase == Phase::Upgraded && chance.once_in(2) {
            lab.must(Order::Phase {
                name: Phase::Nominal.name(),
                confirm_within: None,
                force: Insist::No,
            });
            now.phase = Phase::Nominal;
        }
        if now.landed && now.phase == Phase::Nominal && chance.once_in(2) {
            lab.must(Order::ResetCondition {
                name: "uplink-upgraded".parse().unwrap(),
            });
            now.landed = false;
        }
        now = lab.settled(&[now.into()], "before the next").stance;
    }
}

#[test]
fn killed_at_any_time_it_ends_where_its_answers_say() {
    let (seed, kills) = (seed(), kills());
    println!("WANSHIFT_SEED={seed}");
    let hosts: Vec<_> = (0..HOSTS)
        .map(|number| {
            let run = move || in_namespace(move || a_host(seed, number, kills.div_ceil(HOSTS)));
            let name = format!("host {number}");
            std::thread::Builder::new().name(name).spawn(run).unwrap()
        })
        .collect();
    let failed = hosts
        .into_iter()
        .filter_map(|host| host.join().err())
        .count();
    assert_eq!(failed, 0, "hosts failed; again: WANSHIFT_SEED={seed}");
}
