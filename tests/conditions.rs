//! What becomes true, and what that changes: latched, monotone, in no order, and never in circles.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use wanshift::engine::condition::evaluate;
use wanshift::engine::effects::{effects, needs};
use wanshift::engine::{Engine, EngineError};
use wanshift::model::names::{ConditionName, PhaseName};
use wanshift::model::readings::{Cause, Latches, LinkReading, Readings, Report, WallClock};
use wanshift::policy::{Policy, Source, read};
use wanshift::units::Moment;

/// The date at which tests begin.
const START: i64 = 1_600_000_000;

fn policy(more: &str) -> Arc<Policy> {
    let text = format!(
        "name = \"edge\"\ntimezone = \"UTC\"\n\
         [circuit.wan]\ndevice = \"wan0\"\n\
         [pool.access]\ncircuits = [\"wan\"]\ncapacity = \"100mbit\"\n\
         [policy]\nstart = \"nominal\"\n\
         [phase.nominal]\nsplit.access = {{ wan = \"40mbit\" }}\n{more}"
    );
    let source = Source {
        name: "host.toml".into(),
        text: text.into(),
    };
    Arc::new(read(&[source]).unwrap_or_else(|faults| panic!("{faults}")))
}

fn date(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

fn name(name: &str) -> ConditionName {
    name.parse().unwrap()
}

fn names(list: &[&str]) -> BTreeSet<ConditionName> {
    list.iter().map(|one| name(one)).collect()
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

/// Nothing reported, no link known, a clock that is right.
fn nothing(seconds: i64) -> Readings {
    Readings {
        events: BTreeMap::new(),
        date: WallClock::Trusted(date(seconds)),
        links: BTreeMap::new(),
    }
}

fn report(readings: &mut Readings, event: &str, number: u64) {
    let report = Report {
        number,
        at: date(0),
        by: format!("user-{event}"),
    };
    readings.events.insert(event.parse().unwrap(), report);
}

fn links(readings: &mut Readings, device: &str, speed: &str, since: u64) {
    let link = LinkReading {
        speed: speed.parse().unwrap(),
        since: at(since),
    };
    readings.links.insert(device.parse().unwrap(), link);
}

const NESTED: &str = "\
[condition.either]\nany = [{ event = \"a\" }, { condition = \"both\" }]\n\
[condition.both]\nall = [{ event = \"b\" }, { event = \"c\" }]\n\
[condition.dated]\nall = [{ after = 2030-01-01T00:00:00 }]\n\
[condition.fast]\nany = [{ link_speed = { device = \"wan0\", at_least = \"1gbit\", for = \"10m\" } }]\n\
[condition.all-of-it]\nall = [{ condition = \"either\" }, { condition = \"dated\" }]\n";

#[test]
fn each_kind_of_term_becomes_true_by_what_it_says() {
    let policy = policy(NESTED);
    let none = Latches::default();
    let new = |readings: &Readings, now| evaluate(&policy, &none, readings, at(now)).new;
    assert!(new(&nothing(0), 0).is_empty());

    let mut readings = nothing(0);
    report(&mut readings, "c", 1);
    assert!(new(&readings, 0).is_empty());
    report(&mut readings, "b", 2);
    let found = new(&readings, 0);
    assert_eq!(
        found.keys().map(ConditionName::as_str).collect::<Vec<_>>(),
        ["both", "either"]
    );
    assert_eq!(found[&name("both")].by, ["user-b", "user-c"]);
    assert_eq!(
        found[&name("either")].because,
        [Cause::Condition(name("both"))]
    );
    assert_eq!(found[&name("either")].by, ["user-b", "user-c"]);
    assert_eq!(found[&name("either")].since, date(0));

    // A link is fast enough, and then for long enough.
    let mut readings = nothing(0);
    links(&mut readings, "wan0", "100mbit", 0);
    assert!(new(&readings, 10_000).is_empty());
    links(&mut readings, "wan0", "10gbit", 100);
    assert!(new(&readings, 699).is_empty());
    assert!(new(&readings, 700).contains_key(&name("fast")));
    // Another device's speed is none of its business.
    links(&mut readings, "lan0", "10gbit", 0);
    readings.links.remove(&"wan0".parse().unwrap());
    assert!(new(&readings, 10_000).is_empty());
}

#[test]
fn a_date_is_believed_of_a_clock_that_somebody_keeps_right_only() {
    let policy = policy(NESTED);
    let mut readings = nothing(0);
    let year_2100: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    readings.date = WallClock::Untrusted(year_2100);
    let told = evaluate(&policy, &Latches::default(), &readings, at(5));
    assert_eq!(told, wanshift::engine::condition::Evaluation::default());
    readings.date = WallClock::Trusted("2030-01-01T00:00:00Z".parse().unwrap());
    let told = evaluate(&policy, &Latches::default(), &readings, at(5));
    assert!(told.new.contains_key(&name("dated")));
    readings.date = WallClock::Trusted("2029-12-31T23:59:59Z".parse().unwrap());
    let told = evaluate(&policy, &Latches::default(), &readings, at(5));
    assert!(told.new.is_empty());
    assert_eq!(told.next, Some(at(6)));
}

#[test]
fn a_reset_forgets_what_was_reported_before_and_nothing_else() {
    let policy = policy(NESTED);
    let mut readings = nothing(0);
    report(&mut readings, "a", 1);
    let mut latches = Latches::default();
    latches.take_in(evaluate(&policy, &latches, &readings, at(0)).new);
    assert_eq!(latches.names(), names(&["either"]));
    latches.reset(&name("either"), 1);
    assert!(evaluate(&policy, &latches, &readings, at(0)).new.is_empty());
    report(&mut readings, "a", 2);
    latches.take_in(evaluate(&policy, &latches, &readings, at(0)).new);
    assert_eq!(latches.names(), names(&["either"]));
}

const UPGRADE: &str = "\
[pool.access.after.up]\ncapacity = \"1gbit\"\n\
[phase.crisis]\nsplit.access = { wan = \"90mbit\" }\nblock = [\"web\"]\nuntil = \"up\"\nthen = \"wide\"\n\
[phase.wide]\nrequires = \"up\"\nsplit.access = { wan = \"800mbit\" }\n\
[block.web]\ncircuit = \"wan\"\nservice = [\"http\"]\nuntil = \"up\"\n\
[condition.up]\nany = [{ event = \"a\" }]\n";

#[test]
fn what_is_true_opens_a_phase_closes_another_and_widens_the_pool() {
    let policy = policy(UPGRADE);
    let phase = |name: &str| -> PhaseName { name.parse().unwrap() };
    let enter = |name: &str, latched: &[&str]| {
        Engine::entering(policy.clone(), phase(name), names(latched))
    };
    let refusal = enter("wide", &[]).unwrap_err();
    assert!(matches!(refusal, EngineError::Requires { .. }), "{refusal}");
    let wide = enter("wide", &["up"]).unwrap();
    assert!(wide.lifted(&name("up")) && !wide.lifted(&name("other")));
    let carries = |engine: &Engine| {
        let desired = engine.goal();
        desired.pools[&"access".parse().unwrap()].to_string()
    };
    assert_eq!(carries(&wide), "1gbit");
    assert_eq!(carries(&enter("nominal", &["up"]).unwrap()), "1gbit");
    assert_eq!(carries(&enter("nominal", &[]).unwrap()), "100mbit");

    let refusal = enter("crisis", &["up"]).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "phase `crisis` is over: its condition `up` is true; `wide` follows it: wanshift phase wide"
    );
    // What holds already stays until the next is entered.
    let kept = Engine::keeping(policy.clone(), phase("crisis"), names(&["up"])).unwrap();
    assert_eq!(kept.over(), Some((&name("up"), Some(&phase("wide")))));

    let told = effects(&policy, &names(&[]), &names(&["up"]));
    assert_eq!(told.lifts, ["web".parse().unwrap()]);
    assert_eq!(told.opens, [phase("wide")]);
    assert_eq!(told.closes, [phase("crisis")]);
    assert_eq!(told.pools.len(), 1);
    assert!(effects(&policy, &names(&["up"]), &names(&["up"])).is_empty());

    let why = needs(&policy, &phase("wide"), &names(&["up"]), &name("up"));
    assert!(why.unwrap().contains("`wide` requires `up`"));
    assert_eq!(
        needs(&policy, &phase("nominal"), &names(&["up"]), &name("up")),
        None
    );
}

/// A pool that shrinks ends the phase that gives out more; where that phase stays all the same, its split is
/// refused rather than cut.
#[test]
fn a_phase_that_stays_past_its_end_may_not_give_out_more_than_there_is() {
    let policy = policy(
        "[pool.access.after.cut]\ncapacity = \"60mbit\"\n\
         [phase.large]\nsplit.access = { wan = \"90mbit\" }\nuntil = \"cut\"\nthen = \"nominal\"\n\
         [condition.cut]\nany = [{ event = \"a\" }]\n",
    );
    let keep = |phase: &str, latched: &[&str]| {
        Engine::keeping(policy.clone(), phase.parse().unwrap(), names(latched))
    };
    keep("large", &[]).unwrap();
    keep("nominal", &["cut"]).unwrap();
    let refusal = keep("large", &["cut"]).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "phase `large` gives out 90mbit of pool `access`, which carries 60mbit by what is true now; \
         `nominal` follows it: wanshift phase nominal"
    );
}

/// A condition of a random policy: whether all its terms are needed, and its terms by number.
type Written = (bool, Vec<(u8, usize)>);

/// Conditions `c0`, `c1`, ...: each may name those before it.
fn conditions() -> impl Strategy<Value = Vec<Written>> {
    let term = (0_u8..4, 0_usize..6);
    prop::collection::vec((any::<bool>(), prop::collection::vec(term, 1..4)), 1..7)
}

fn written(conditions: &[Written]) -> Arc<Policy> {
    let mut text = String::new();
    for (index, (all, terms)) in conditions.iter().enumerate() {
        let terms: Vec<String> = terms
            .iter()
            .map(|(kind, which)| match kind {
                1 => format!("{{ after = 2020-09-{:02}T00:00:00Z }}", 14 + which),
                2 => format!(
                    "{{ link_speed = {{ device = \"wan{which}\", at_least = \"1gbit\", for = \"{which}m\" }} }}"
                ),
                3 if *which < index => format!("{{ condition = \"c{which}\" }}"),
                _ => format!("{{ event = \"e{which}\" }}"),
            })
            .collect();
        let how = if *all { "all" } else { "any" };
        text += &format!("[condition.c{index}]\n{how} = [{}]\n", terms.join(", "));
    }
    policy(&text)
}

/// What may happen.
#[derive(Debug, Clone)]
enum Happening {
    Event(usize),
    Date(i64, bool),
    Link(usize, bool),
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0_usize..6).prop_map(Happening::Event),
        (-500_000_i64..900_000, any::<bool>()).prop_map(|(date, kept)| Happening::Date(date, kept)),
        (0_usize..6, any::<bool>()).prop_map(|(device, fast)| Happening::Link(device, fast)),
        (0_u64..400).prop_map(Happening::Pass),
    ]
}

/// The world, as it goes on.
struct World {
    readings: Readings,
    now: Moment,
    reports: u64,
}

impl World {
    fn new() -> Self {
        Self {
            readings: nothing(0),
            now: at(1000),
            reports: 0,
        }
    }

    fn meet(&mut self, happening: &Happening) {
        match happening {
            Happening::Event(which) => {
                self.reports += 1;
                report(&mut self.readings, &format!("e{which}"), self.reports);
            }
            Happening::Date(seconds, true) => {
                self.readings.date = WallClock::Trusted(date(*seconds));
            }
            Happening::Date(seconds, false) => {
                self.readings.date = WallClock::Untrusted(date(*seconds));
            }
            Happening::Link(device, fast) => {
                let speed = if *fast { "1gbit" } else { "100mbit" };
                let since = self.now.0.as_secs();
                links(&mut self.readings, &format!("wan{device}"), speed, since);
            }
            Happening::Pass(seconds) => self.now = self.now.plus(Duration::from_secs(*seconds)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens, clocks that jump included: what is true stays true with the reason that it had, asking
    /// twice adds nothing, and the next time to ask lies ahead.
    #[test]
    fn what_is_true_stays_true(conditions in conditions(), happenings in prop::collection::vec(happening(), 0..20)) {
        let policy = written(&conditions);
        let (mut world, mut latches) = (World::new(), Latches::default());
        for happening in &happenings {
            world.meet(happening);
            let told = evaluate(&policy, &latches, &world.readings, world.now);
            prop_assert!(told.new.keys().all(|name| !latches.holds(name)));
            prop_assert!(told.new.values().all(|latch| !latch.because.is_empty()));
            let before = latches.clone();
            latches.take_in(told.new.clone());
            prop_assert!(before.held().iter().all(|(name, latch)| latches.held().get(name) == Some(latch)));
            let again = evaluate(&policy, &latches, &world.readings, world.now);
            prop_assert!(again.new.is_empty());
            prop_assert_eq!(again.next, told.next);
            prop_assert!(told.next.is_none_or(|next| next > world.now));
        }
    }

    /// Who waits until the deadline that was told and asks again gets to the end: nothing is asked in circles.
    #[test]
    fn waiting_comes_to_an_end(conditions in conditions(), happenings in prop::collection::vec(happening(), 0..20)) {
        let policy = written(&conditions);
        let (mut world, mut latches) = (World::new(), Latches::default());
        for happening in &happenings {
            world.meet(happening);
        }
        let terms: usize = conditions.iter().map(|(_, terms)| terms.len()).sum();
        let mut asked = 0;
        loop {
            let told = evaluate(&policy, &latches, &world.readings, world.now);
            latches.take_in(told.new);
            let Some(next) = told.next else { break };
            let passed = next.since(world.now);
            world.now = next;
            if let WallClock::Trusted(date) = world.readings.date {
                world.readings.date = WallClock::Trusted(date.saturating_add(passed).unwrap());
            }
            asked += 1;
            prop_assert!(asked <= terms, "{asked} times for {terms} terms");
        }
    }

    /// More of it never makes less true, and in which order events come decides nothing in the end.
    #[test]
    fn more_makes_more_true_in_any_order(
        conditions in conditions(),
        events in prop::collection::vec(0_usize..6, 0..8),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let policy = written(&conditions);
        let run = |events: &[usize], step_by_step: bool| {
            let (mut world, mut latches) = (World::new(), Latches::default());
            for event in events {
                world.meet(&Happening::Event(*event));
                if step_by_step {
                    latches.take_in(evaluate(&policy, &latches, &world.readings, world.now).new);
                }
            }
            latches.take_in(evaluate(&policy, &latches, &world.readings, world.now).new);
            latches.names()
        };
        let whole = run(&events, true);
        prop_assert!(run(&events[..events.len() / 2], true).is_subset(&whole));
        let mut other = events.clone();
        if !other.is_empty() {
            let by = shuffled.index(other.len());
            other.rotate_left(by);
            other.reverse();
        }
        prop_assert_eq!(run(&other, true), whole.clone());
        prop_assert_eq!(run(&other, false), whole);
    }
}
