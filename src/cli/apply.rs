//! `wanshift apply` and `wanshift phase NAME`: without a daemon, in the foreground, under the lock.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::output::{Failure, Milestone, Output};
use super::plan::{PlanResult, describe, text};
use super::{Global, OpenKernel, facts, session, ssh};
use crate::clock::{Clock, SystemClock};
use crate::executor::change::{Executor, Progress};
use crate::executor::survey::prospect;
use crate::kernel::{Kernel, Scope};
use crate::model::names::PhaseName;
use crate::model::node::Place;
use crate::policy::Policy;
use crate::store::{Lock, Store};
use crate::units::{Direction, Fraction};

#[derive(Debug, Args)]
pub struct ChangeArgs {
    /// Go on even where that would cut the ssh session that it is ordered from
    #[arg(long)]
    force: bool,
}

/// What `apply` and `phase` print as JSON.
#[derive(Debug, Serialize)]
struct Applied {
    /// How many ops were carried out, beside those that finished what was cut off.
    writes: usize,
    /// How many ops finished what was cut off.
    writes_to_finish: usize,
    /// What was planned.
    #[serde(flatten)]
    plan: PlanResult,
}

/// Which phase is to hold afterwards.
enum Target<'a> {
    Present,
    Enter(&'a PhaseName),
}

pub fn apply(
    global: &Global,
    args: &ChangeArgs,
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    change(global, &Target::Present, args, kernel, output)
}

pub fn phase(
    global: &Global,
    name: &PhaseName,
    args: &ChangeArgs,
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    change(global, &Target::Enter(name), args, kernel, output)
}

fn change(
    global: &Global,
    target: &Target<'_>,
    args: &ChangeArgs,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let policy = match session::policy(global, output) {
        Ok(policy) => policy,
        Err(failure) => {
            say_what_stays_open(global, output);
            return Err(failure);
        }
    };
    let state = session::state_directory(global, Some(&policy));
    let what = match target {
        Target::Present => "apply".to_owned(),
        Target::Enter(phase) => format!("phase {phase}"),
    };
    let order = session::order(what)?;
    let _lock = Lock::take(&state, &session::holder(&order))?;
    let mut store = Store::open(&state)?;
    let mut kernel = open()?;
    let interrupted = interrupts()?;

    let wanted = match target {
        Target::Present => None,
        Target::Enter(phase) => Some(*phase),
    };
    // Before anything acts on it, what is true is on disk.
    let known = facts::latched(&policy, &mut store, kernel.as_mut(), output)?;
    // What was cut off is finished first, so that its end counts as well.
    let unfinished = store.unfinished()?;
    let first = unfinished.as_ref().and_then(session::phase_after);
    for phase in first.iter().chain(wanted) {
        spare(kernel.as_mut(), &policy, phase, args, output)?;
    }
    let finished = finish(
        kernel.as_mut(),
        &mut store,
        &policy,
        wanted,
        &interrupted,
        output,
    )?;
    let phase_now = store.phase()?;
    let phase = match target {
        Target::Present => {
            let held = kernel.observe(Scope::All)?.state;
            let phase = session::present_phase(&policy, Some(&store), &held, &state)?;
            if first.as_ref() != Some(&phase) {
                spare(kernel.as_mut(), &policy, &phase, args, output)?;
            }
            phase
        }
        Target::Enter(phase) => (*phase).clone(),
    };
    let keeps = wanted.is_none() && phase_now.as_ref() == Some(&phase);
    let engine = session::engine(&policy, phase.clone(), &known.latches, keeps)?;
    let prospect = prospect(kernel.as_mut(), store.ids()?, engine, SystemClock.now())?;
    let mut plan = describe(&prospect, phase_now, kernel.as_mut());
    plan.cut_off = finished.as_ref().map(|(what, _)| what.clone());
    for note in &plan.notes {
        output.say(&format!("note: {note}"));
    }
    output.text(&text(&plan))?;

    let mut watcher = watcher(&interrupted, output);
    let mut executor = Executor {
        kernel: kernel.as_mut(),
        store: &mut store,
        clock: &SystemClock,
    };
    let outcome = executor.carry_out(&order, &prospect, &mut watcher);
    drop(watcher);
    let writes = outcome?;
    let done = if writes == 0 {
        String::new()
    } else {
        format!(
            "\nDone: {}, phase {phase} holds.\n",
            session::writes(writes)
        )
    };
    let writes_to_finish = finished.map_or(0, |(_, writes)| writes);
    output.result(
        &Applied {
            writes,
            writes_to_finish,
            plan,
        },
        &done,
    )?;
    Ok(0)
}

/// Refuses a phase that would cut the session that it is ordered from, unless that is insisted on.
fn spare(
    kernel: &mut dyn Kernel,
    policy: &Arc<Policy>,
    phase: &PhaseName,
    args: &ChangeArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match ssh::would_cut(kernel, policy, phase) {
        Err(error) if args.force => {
            output.say(&format!(
                "note: {error}; whether this cuts the ssh session that it is ordered from is not known"
            ));
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(Some(cut)) if args.force => {
            output.say(&format!("note: {cut}"));
            Ok(())
        }
        Ok(Some(cut)) => Err(format!(
            "{cut}\n  help: raise that, order it from the console, or insist on it with --force; nothing was written"
        )
        .into()),
        Ok(None) => Ok(()),
    }
}

/// Finishes what was cut off; says what that was, and how much it took.
fn finish(
    kernel: &mut dyn Kernel,
    store: &mut Store,
    policy: &Arc<Policy>,
    wanted: Option<&PhaseName>,
    interrupted: &AtomicBool,
    output: &mut Output<'_>,
) -> Result<Option<(String, usize)>, Failure> {
    let Some(record) = store.unfinished()? else {
        return Ok(None);
    };
    output.say(&format!(
        "{}: finishing it first",
        session::cut_off(&record)
    ));
    let mut watcher = watcher(interrupted, output);
    let mut executor = Executor {
        kernel,
        store,
        clock: &SystemClock,
    };
    let finished = executor.recover(policy, wanted, &mut watcher)?;
    drop(watcher);
    Ok(finished.map(|(record, writes)| {
        output.say(&format!(
            "finished `{}`: {}",
            record.change.what,
            session::writes(writes)
        ));
        (record.change.what, writes)
    }))
}

/// A policy that does not load changes nothing: not even what was cut off is finished then, because whether
/// its way there is still wanted cannot be known. But it is said.
fn say_what_stays_open(global: &Global, output: &mut Output<'_>) {
    let record = session::state_directory_without_policy(global)
        .ok()
        .and_then(|state| Store::read(&state).ok().flatten())
        .and_then(|store| store.unfinished().ok().flatten());
    if let Some(record) = record {
        output.say(&format!(
            "note: {}, and stays so until the policy loads; the kernel conserves as it is",
            session::cut_off(&record)
        ));
    }
}

/// A flag that is raised by Ctrl-C and by a polite kill: the change is then taken back. A terminal that goes
/// away is no order: the change goes on to its end.
fn interrupts() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
    signal_hook::flag::register(SIGHUP, Arc::default())?;
    Ok(flag)
}

fn watcher<'a>(
    interrupted: &'a AtomicBool,
    output: &'a mut Output<'_>,
) -> impl FnMut(Progress<'_>) -> ControlFlow<()> + 'a {
    let mut told = 0;
    move |progress| {
        let percent = progress.done.percent();
        let milestone = if progress.done == Fraction::ONE || percent / 10 > told / 10 {
            Milestone::Line
        } else {
            Milestone::Step
        };
        if told > 0 || progress.done != Fraction::ONE {
            output.progress(&shares(&progress), milestone);
        }
        told = percent;
        if interrupted.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// The circuits' shares at this moment, for a line of progress.
fn shares(progress: &Progress<'_>) -> String {
    let circuits = progress
        .desired
        .nodes
        .iter()
        .filter(|(key, _)| key.place == Place::Circuit);
    let shares: Vec<String> = circuits
        .map(|(key, holding)| {
            let mbit = holding.guarantee.get(Direction::Up).bits() / 100_000;
            format!("{key} {}.{} mbit", mbit / 10, mbit % 10)
        })
        .collect();
    format!("{:3} %  {}", progress.done.percent(), shares.join("  "))
}
