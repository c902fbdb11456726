//! From a decision to a plan, by the number of classes: the engine, lowering and the diff where one class
//! of them all has changed. `cargo bench --bench decide`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot be set up fails"
)]

#[path = "../tests/bench/decision.rs"]
mod decision;

use divan::Bencher;
use wanshift::lower::lower;
use wanshift::plan::{Bounds, Goal, diff};

use decision::Decision;

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [100, 1_000, 10_000];

/// Everything, as `plan` does it.
#[divan::bench(args = SIZES)]
fn decision_to_plan(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = Decision::new(sites);
    bencher.bench(|| assert_eq!(bench.plan(), 1));
}

/// A step of a ramp, as it is carried out.
#[divan::bench(args = SIZES)]
fn step_to_plan(bencher: Bencher<'_, '_>, sites: usize) {
    let mut bench = Decision::new(sites);
    bencher.bench_local(|| assert_eq!(bench.step(), 1));
}

#[divan::bench(args = SIZES)]
fn engine_alone(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = Decision::new(sites);
    bencher.bench(|| bench.engine.goal());
}

#[divan::bench(args = SIZES)]
fn lower_alone(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = Decision::new(sites);
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
    let bench = Decision::new(sites);
    let goal = bench.engine.goal();
    bencher.bench(|| {
        wanshift::lower::trees(bench.engine.policy(), &goal, &bench.facts, &bench.ids).unwrap()
    });
}

/// The rules alone.
#[divan::bench(args = SIZES)]
fn rules_alone(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = Decision::new(sites);
    bencher.bench(|| wanshift::lower::classify::table(bench.engine.policy(), &bench.ids).unwrap());
}

/// The diff alone.
#[divan::bench(args = SIZES)]
fn diff_alone(bencher: Bencher<'_, '_>, sites: usize) {
    let bench = Decision::new(sites);
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
