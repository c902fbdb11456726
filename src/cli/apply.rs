//! `wanshift apply` and `wanshift phase NAME`: without a daemon, in the foreground, under the lock.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::output::{Failure, Milestone, Output};
use super::plan::{PlanResult, describe, text};
use super::{Global, OpenKernel, session};
use crate::clock::{Clock, SystemClock};
use crate::executor::change::{Executor, Progress, prospect};
use crate::kernel::{Kernel, Scope};
use crate::model::names::PhaseName;
use crate::model::node::Place;
use crate::policy::Policy;
use crate::store::{Lock, Store};
use crate::units::{Direction, Fraction};

/// What `apply` and `phase` print as JSON.
#[derive(Debug, Serialize)]
struct Applied {
    /// How many ops were carried out.
    writes: usize,
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
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    change(global, &Target::Present, kernel, output)
}

pub fn phase(
    global: &Global,
    name: &PhaseName,
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    change(global, &Target::Enter(name), kernel, output)
}

fn change(
    global: &Global,
    target: &Target<'_>,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let policy = session::policy(global, output)?;
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

    finish_what_was_cut_off(kernel.as_mut(), &mut store, &policy, &interrupted, output)?;
    let held = kernel.observe(Scope::All)?.state;
    let phase_now = store.phase()?;
    let phase = match target {
        Target::Present => session::present_phase(&policy, Some(&store), &held, &state)?,
        Target::Enter(phase) => (*phase).clone(),
    };
    let prospect = prospect(
        kernel.as_mut(),
        store.ids()?,
        &policy,
        &phase,
        SystemClock.now(),
    )?;
    session::say_what_is_not_held(&policy, &phase, output);
    let plan = describe(&prospect, phase_now);
    let told = text(&plan);

    let mut watcher = watcher(&interrupted, output);
    let mut executor = Executor {
        kernel: kernel.as_mut(),
        store: &mut store,
        clock: &SystemClock,
    };
    let outcome = executor.carry_out(&order, prospect, &mut watcher);
    drop(watcher);
    let writes = outcome?;
    let text = if writes == 0 {
        told
    } else {
        format!("{told}\nDone: {writes} writes, phase {phase} holds.\n")
    };
    output.result(&Applied { writes, plan }, &text)?;
    Ok(0)
}

fn finish_what_was_cut_off(
    kernel: &mut dyn Kernel,
    store: &mut Store,
    policy: &Arc<Policy>,
    interrupted: &AtomicBool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if let Some(record) = store.unfinished()? {
        output.say(&format!(
            "finishing `{}` of {}, which was cut off",
            record.change.what, record.change.opened
        ));
        let mut watcher = watcher(interrupted, output);
        let mut executor = Executor {
            kernel,
            store,
            clock: &SystemClock,
        };
        executor.recover(policy, &mut watcher)?;
    }
    Ok(())
}

/// A flag that is raised by Ctrl-C and by a polite kill: the change is then taken back.
fn interrupts() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
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
