//! What stands beside the phase: blocks that rest by their schedules, and drains that are over.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use wanshift::engine::Engine;
use wanshift::engine::calendar::resting;
use wanshift::lower::Names;
use wanshift::lower::classify::{Classifier, table};
use wanshift::model::desired::{Hold, Standing};
use wanshift::model::filter::{BlockFate, Table};
use wanshift::model::ids::{Ids, Wanted};
use wanshift::model::names::BlockName;
use wanshift::model::node::{NodeKey, Place};
use wanshift::model::readings::WallClock;
use wanshift::plan::op::Op;

use wanshift::plan::{Plan, Stage, Step, report};
use wanshift::policy::{Policy, Source, read};
use wanshift::units::{Moment, Rate, Rates};

const POLICY: &str = r#"
name = "edge"
timezone = "Europe/Paris"
inside = ["lan0"]
[circuit.a]
device = "wan0"
capacity = "10mbit"
[policy]
start = "open"
[phase.open]
[phase.lessons]
ramp = "10s"
block = ["mornings", "evenings", "video", "chat", "gone"]
[block.mornings]
circuit = "a"
service = ["http"]
schedule = "mon-fri 08:00-12:00"
[block.evenings]
circuit = "a"
service = ["https"]
schedule = "18:00-23:00"
[block.video]
circuit = "a"
service = ["quic"]
established = "drain"
drain_for = "1h"
[block.chat]
circuit = "a"
service = ["tcp/5222"]
[block.gone]
circuit = "a"
service = ["tcp/6667"]
schedule = "sat 08:00-12:00"
until = "landed"
[block.elsewhere]
circuit = "a"
service = ["tcp/70"]
schedule = "sun 10:00-11:00"
[condition.landed]
any = [{ event = "landed" }]
"#;

fn policy() -> Arc<Policy> {
    let source = Source {
        name: "host.toml".into(),
        text: POLICY.into(),
    };
    match read(&[source]) {
        Ok(policy) => Arc::new(policy),
        Err(faults) => panic!("{faults}"),
    }
}

fn names(names: &[&str]) -> BTreeSet<BlockName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn engine(phase: &str, resting: &[&str], drained: &[&str]) -> Engine {
    let engine = Engine::entering(policy(), phase.parse().unwrap(), BTreeSet::new()).unwrap();
    engine.standing(Standing {
        resting: names(resting),
        drained: names(drained),
    })
}

fn held(engine: &Engine) -> Vec<(String, Hold)> {
    let blocks = engine.goal().blocks.into_iter();
    blocks
        .map(|(name, hold)| (name.to_string(), hold))
        .collect()
}

/// What becomes of every name at that date in Paris.
fn at(shown: &str) -> (Vec<String>, Option<Timestamp>) {
    let date = format!("{shown}[Europe/Paris]")
        .parse::<jiff::Zoned>()
        .unwrap();
    let (resting, next) = resting(&policy(), WallClock::Trusted(date.timestamp()));
    (resting.iter().map(ToString::to_string).collect(), next)
}

#[test]
fn blocks_rest_by_their_schedules_in_the_zone_of_the_host() {
    // A Monday in summer: two hours before Greenwich.
    let (names, next) = at("2024-06-17T07:00");
    assert_eq!(names, ["elsewhere", "evenings", "gone", "mornings"]);
    assert_eq!(next.unwrap().to_string(), "2024-06-17T06:00:00Z");
    let (names, next) = at("2024-06-17T08:00");
    assert_eq!(names, ["elsewhere", "evenings", "gone"]);
    assert_eq!(next.unwrap().to_string(), "2024-06-17T10:00:00Z");
    let (names, next) = at("2024-06-15T18:30");
    assert_eq!(names, ["elsewhere", "gone", "mornings"]);
    assert_eq!(next.unwrap().to_string(), "2024-06-15T21:00:00Z");
}

#[test]
fn on_a_clock_that_nobody_keeps_right_none_rests() {
    let date: Timestamp = "2024-06-17T05:00:00Z".parse().unwrap();
    let known = resting(&policy(), WallClock::Untrusted(date));
    assert_eq!(known, (BTreeSet::new(), None));
}

#[test]
fn what_rests_does_not_hold_and_what_is_drained_rejects_all() {
    use Hold::{Draining, Rejecting};
    let all = |video: Hold| {
        [
            ("chat", Rejecting),
            ("evenings", Rejecting),
            ("gone", Rejecting),
            ("mornings", Rejecting),
            ("video", video),
        ]
        .map(|(name, hold)| (name.to_owned(), hold))
        .to_vec()
    };
    assert_eq!(held(&engine("lessons", &[], &[])), all(Draining));
    assert_eq!(
        held(&engine("lessons", &["mornings"], &[])),
        all(Draining)
            .into_iter()
            .filter(|(name, _)| name != "mornings")
            .collect::<Vec<_>>()
    );
    // Only what drains can be drained, and only what has a schedule rests.
    assert_eq!(
        held(&engine("lessons", &["chat"], &["video", "chat"])),
        all(Rejecting)
    );
    // What a phase does not bring does not hold, whatever is said of it.
    assert_eq!(held(&engine("open", &[], &["video"])), []);
}

#[test]
fn the_reason_is_told() {
    let reasons = engine("lessons", &["mornings"], &["video"]).reasons();
    let said = |name: &str| {
        let grounds = &reasons.blocks[&name.parse().unwrap()];
        let line = grounds.held.origin.as_ref().unwrap().line;
        (grounds.held.what.clone(), grounds.rules.what.clone(), line)
    };
    let told = |held: &str, rules: &str, line: usize| (held.to_owned(), rules.to_owned(), line);
    assert_eq!(
        said("mornings"),
        told("schedule mon-fri 08:00-12:00", "block", 14)
    );
    assert_eq!(said("evenings"), told("phase.lessons", "block", 11));
    assert_eq!(said("video"), told("phase.lessons", "drain over", 11));
    assert_eq!(said("elsewhere"), told("not in phase.lessons", "block", 11));
    let landed = BTreeSet::from(["landed".parse().unwrap()]);
    let engine = Engine::keeping(policy(), "lessons".parse().unwrap(), landed).unwrap();
    let lifted = &engine.reasons().blocks[&"gone".parse().unwrap()];
    assert_eq!(lifted.held.what, "lifted by landed");
}

#[test]
fn a_block_on_the_way_into_a_phase_is_as_that_says() {
    let engine = engine("lessons", &["evenings"], &["video"]);
    // The circuit has less than it will: there is a way to go.
    let circuit = NodeKey::new("a".parse().unwrap(), Place::Circuit);
    let mut holding = engine.goal().nodes[&circuit];
    let less = Rate::from_bits(8_000_000).unwrap();
    (holding.guarantee, holding.ceiling) = (Rates::both(less), Rates::both(less));
    let engine = engine
        .starting(BTreeMap::from([(circuit, holding)]), Moment(Duration::ZERO))
        .leaving(names(&["elsewhere", "video"]));
    assert_eq!(engine.ramp(), Duration::from_secs(10));
    let now = engine.desired(Moment(Duration::from_secs(5))).blocks;
    assert_eq!(now[&"video".parse().unwrap()], Hold::Rejecting);
    assert!(now.contains_key(&"elsewhere".parse().unwrap()));
    assert!(!now.contains_key(&"evenings".parse().unwrap()));
}

/// The table while the blocks of an engine hold.
fn lowered(engine: &Engine) -> Table {
    let policy = engine.policy();
    let mut ids = Ids::default();
    let goal = engine.goal();
    ids.assign(Wanted {
        keys: goal.nodes.keys().cloned().collect(),
        devices: ["wan0", "wanshift-down"]
            .map(|name| name.parse().unwrap())
            .into(),
        pools: BTreeSet::new(),
        mask: policy.host().mark_mask,
    })
    .unwrap();
    table(policy, &goal.blocks, &ids).unwrap()
}

#[test]
fn the_end_of_a_drain_is_another_chain_and_the_same_counter() {
    let (before, after) = (
        lowered(&engine("lessons", &[], &[])),
        lowered(&engine("lessons", &[], &["video"])),
    );
    assert_eq!(before.counters, after.counters);
    let changes = Table::block_changes(Some(&before), Some(&after));
    let video: BlockName = "video".parse().unwrap();
    assert_eq!(changes.keys().collect::<Vec<_>>(), [&video]);
    assert_eq!(changes[&video].fate, BlockFate::Changes);
    // Rules about ranges are never put where packets pass already.
    let chain = |table: &Table| -> Vec<String> {
        let names = table.chains.keys().map(ToString::to_string);
        names
            .filter(|name| name.starts_with("block.video/") && !name.ends_with("/reject"))
            .collect()
    };
    let (named, renamed) = (chain(&before), chain(&after));
    assert_eq!((named.len(), renamed.len()), (1, 1));
    assert!(named != renamed, "{named:?}");
    // It is one write, in which the block stays, and it is told why.
    let held = Table::holding(Some(before.clone()), Some(&after), Some(&before));
    assert_eq!(held.as_ref(), Some(&after));
    let plan = Plan {
        stages: vec![Stage {
            step: Step::Block,
            ops: vec![Op::SetTable {
                from: Some(before),
                to: held,
            }],
        }],
        pools: Vec::new(),
    };
    let reasons = engine("lessons", &[], &["video"]).reasons();
    let told = report(&plan, &Names::default(), &reasons).to_string();
    assert!(told.contains("~ block video"), "{told}");
    assert!(told.contains("drain over"), "{told}");
}

#[test]
fn blocks_that_the_policy_lost_have_no_rules() {
    let holds = BTreeMap::from([("nobody".parse().unwrap(), Hold::Rejecting)]);
    let rules = Classifier::of(&policy()).blocking(&policy(), &holds);
    assert_eq!(rules.blocks, []);
}
