//! `wanshift plan`: what would change, and why. Writes nothing.

use clap::Args;
use serde::Serialize;

use super::output::{Failure, Output};
use super::{Global, OpenKernel, session};
use crate::clock::{Clock, SystemClock};
use crate::executor::change::{Prospect, prospect};
use crate::kernel::Scope;
use crate::model::names::PhaseName;
use crate::plan::{Bounds, Goal, PlanReport, diff, report};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Plan for entering this phase, instead of the one that holds
    #[arg(long, value_name = "NAME")]
    phase: Option<PhaseName>,
    /// Exit with 2 where there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
}

/// What `plan` prints as JSON, and `apply` and `phase` with what they wrote.
#[derive(Debug, Serialize)]
pub struct PlanResult {
    /// The phase that holds; none on a host that was never told one.
    pub phase_now: Option<PhaseName>,
    /// The phase that would hold.
    pub phase_then: PhaseName,
    /// How long the way there takes, in seconds.
    pub ramp_seconds: f64,
    /// What changes.
    #[serde(flatten)]
    pub report: PlanReport,
}

pub fn plan(
    global: &Global,
    args: &PlanArgs,
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let policy = session::policy(global, output)?;
    let state = session::state_directory(global, Some(&policy));
    let store = Store::read(&state)?;
    if let Some(record) = store.as_ref().map(Store::unfinished).transpose()?.flatten() {
        output.say(&format!(
            "note: `{}` of {} was cut off; the next apply finishes it first",
            record.change.what, record.change.opened
        ));
    }
    let mut kernel = kernel()?;
    let ids = store
        .as_ref()
        .map(Store::ids)
        .transpose()?
        .unwrap_or_default();
    let held = kernel.observe(Scope::All)?.state;
    let phase_now = store.as_ref().map(Store::phase).transpose()?.flatten();
    let phase = match &args.phase {
        Some(phase) => phase.clone(),
        None => session::present_phase(&policy, store.as_ref(), &held, &state)?,
    };
    let prospect = prospect(kernel.as_mut(), ids, &policy, &phase, SystemClock.now())?;
    session::say_what_is_not_held(&policy, &phase, output);
    let result = describe(&prospect, phase_now);
    output.result(&result, &text(&result))?;
    Ok(if args.detailed_exitcode && result.report.ops > 0 {
        2
    } else {
        0
    })
}

/// What `prospect` comes to.
pub fn describe(prospect: &Prospect, phase_now: Option<PhaseName>) -> PlanResult {
    let bounds = Bounds::of(prospect.engine.policy());
    let goal = Goal {
        state: &prospect.goal.state,
        names: &prospect.goal.names,
        bounds: &bounds,
    };
    let plan = diff(&prospect.survey.observed, &goal);
    PlanResult {
        phase_now,
        phase_then: prospect.engine.phase().clone(),
        ramp_seconds: prospect.engine.ramp().as_secs_f64(),
        report: report(&plan, &prospect.goal.names, &prospect.engine.reasons()),
    }
}

/// The same for people.
pub fn text(result: &PlanResult) -> String {
    let then = &result.phase_then;
    let phase = match &result.phase_now {
        Some(now) if now == then => format!("Phase {now}"),
        Some(now) => format!("Phase {now} → {then}"),
        None => format!("Phase {then}"),
    };
    let ramp = if result.ramp_seconds > 0.0 {
        format!(", over {} s", result.ramp_seconds)
    } else {
        String::new()
    };
    format!("{phase}{ramp}\n\n{}", result.report)
}
