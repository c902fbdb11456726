//! From a decision to a plan, by the number of classes: the engine, lowering and the diff where one class
//! of them all has changed. `cargo bench --bench decide`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot be set up fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use divan::Bencher;
use wanshift::engine::Engine;
use wanshift::lower::{Facts, lower};
use wanshift::model::ids::Ids;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{Device, Edge, LeafKind, Minor, Observed, Root};
use wanshift::plan::{Bounds, Goal, diff};
use wanshift::policy::{Policy, Source, read};
use wanshift::units::Rate;

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [100, 1_000, 10_000];

/// A host whose circuit has so many sites.
fn policy(sites: usize) -> Arc<Policy> {
    let host = "name = \"edge\"\n[circuit.mpls]\ndevice = \"mpls0\"\ncapacity = \"100gbit\"\n";
    let mut text = "[policy]\nstart = \"nominal\"\n[phase.nominal]\n".to_owned();
    for site in 0..sites {
        text.push_str(&format!(
            "[site.s{site}]\ncircuit = \"mpls\"\nprefixes = [\"10.{}.{}.0/24\"]\ncapacity = \"4mbit\"\nguarantee = \"2mbit\"\n",
            site / 250,
            site % 250,
        ));
    }
    let source = |name: &str, text: String| Source {
        name: name.into(),
        text: text.into(),
    };
    match read(&[
        source("host.toml", host.to_owned()),
        source("sites.toml", text),
    ]) {
        Ok(policy) => Arc::new(policy),
        Err(faults) => panic!("{faults}"),
    }
}

struct Bench {
    engine: Engine,
    facts: Facts,
    ids: Ids,
    observed: Observed,
}

fn bench(sites: usize) -> Bench {
    let policy = policy(sites);
    let device: DeviceName = "mpls0".parse().unwrap();
    let root = Root::Default {
        kind: "mq".to_owned(),
    };
    let facts = Facts {
        devices: BTreeMap::from([(
            device.clone(),
            Device {
                index: 1,
                mtu: 1_500,
                header: 14,
                gso_max: 65_536,
                kind: "veth".to_owned(),
                lower: None,
                up: true,
                priority_map: false,
                root,
                edge: Edge::None,
            },
        )]),
        leaves: BTreeSet::from([LeafKind::Pfifo, LeafKind::FqCodel]),
        strangers: Vec::new(),
        clsacts: BTreeMap::new(),
    };
    let engine = Engine::holding(policy.clone(), policy.start().clone()).unwrap();
    let mut ids = Ids::default();
    let mut state = lower(&policy, &engine.goal(), &facts, &mut ids)
        .unwrap()
        .state;
    let tree = state.trees.get_mut(&device).unwrap();
    let (_, class) = tree
        .classes
        .iter_mut()
        .find(|(minor, _)| **minor > Minor::CONTROL)
        .unwrap();
    class.rate = Rate::from_bits(1_000_000).unwrap();
    Bench {
        engine,
        facts,
        ids,
        observed: Observed {
            state,
            ..Observed::default()
        },
    }
}

/// Everything, as `plan` does it.
#[divan::bench(args = SIZES)]
fn decision_to_plan(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = bench(sites);
    let bounds = Bounds::default();
    bencher.bench(|| {
        let mut ids = bench.ids.clone();
        let lowered = lower(
            bench.engine.policy(),
            &bench.engine.goal(),
            &bench.facts,
            &mut ids,
        )
        .unwrap();
        let goal = Goal {
            state: &lowered.state,
            names: &lowered.names,
            bounds: &bounds,
        };
        let plan = diff(&bench.observed, &goal);
        assert_eq!(plan.ops().count(), 1);
    });
}

#[divan::bench(args = SIZES)]
fn engine_alone(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = bench(sites);
    bencher.bench(|| bench.engine.goal());
}

#[divan::bench(args = SIZES)]
fn lower_alone(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = bench(sites);
    let goal = bench.engine.goal();
    bencher.bench(|| {
        lower(
            bench.engine.policy(),
            &goal,
            &bench.facts,
            &mut bench.ids.clone(),
        )
        .unwrap()
    });
}

/// A step of a ramp: the trees without the rules.
#[divan::bench(args = SIZES)]
fn trees_alone(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = bench(sites);
    let goal = bench.engine.goal();
    bencher.bench(|| {
        wanshift::lower::trees(bench.engine.policy(), &goal, &bench.facts, &bench.ids).unwrap()
    });
}

/// The rules alone.
#[divan::bench(args = SIZES)]
fn rules_alone(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = bench(sites);
    bencher.bench(|| {
        wanshift::lower::classify::table(bench.engine.policy(), &BTreeSet::new(), &bench.ids)
            .unwrap()
    });
}

/// The diff alone.
#[divan::bench(args = SIZES)]
fn diff_alone(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = bench(sites);
    let bounds = Bounds::default();
    let goal = bench.engine.goal();
    let lowered = lower(
        bench.engine.policy(),
        &goal,
        &bench.facts,
        &mut bench.ids.clone(),
    )
    .unwrap();
    let goal = Goal {
        state: &lowered.state,
        names: &lowered.names,
        bounds: &bounds,
    };
    bencher.bench(|| diff(&bench.observed, &goal));
}
