//! `wanshift plan`: what would change, and why. Writes nothing.

use clap::Args;
use serde::Serialize;

use super::output::{Failure, Output};
use super::{Global, OpenKernel, facts, session, ssh};
use crate::clock::{Clock, SystemClock};
use crate::executor::survey::{Prospect, prospect};
use crate::kernel::{Kernel, Scope};
use crate::model::names::PhaseName;
use crate::plan::{Bounds, Goal, PlanReport, diff, report};
use crate::store::{Lock, Store};

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
    /// A change that was cut off, which the next `apply` finishes first.
    pub cut_off: Option<String>,
    /// Who is changing the kernel at this moment, so that what is shown is a step on his way.
    pub at_work: Option<String>,
    /// The phase that holds; none on a host that was never told one.
    pub phase_now: Option<PhaseName>,
    /// The phase that would hold.
    pub phase_then: PhaseName,
    /// How long the way there takes, in seconds.
    pub ramp_seconds: f64,
    /// What the policy says and this version does not hold, and what of this host it does not reach.
    pub notes: Vec<String>,
    /// What changes.
    #[serde(flatten)]
    pub report: PlanReport,
}

impl PlanResult {
    /// Whether an `apply` would do anything.
    fn is_something(&self) -> bool {
        let moves = self
            .phase_now
            .as_ref()
            .is_some_and(|now| *now != self.phase_then);
        self.report.ops > 0 || self.cut_off.is_some() || moves
    }
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
    let unfinished = store.as_ref().map(Store::unfinished).transpose()?.flatten();
    let at_work = Lock::holder(&state);
    let cut_off = unfinished.filter(|_| at_work.is_none());
    let mut kernel = kernel()?;
    let ids = store
        .as_ref()
        .map(Store::ids)
        .transpose()?
        .unwrap_or_default();
    let phase_now = store.as_ref().map(Store::phase).transpose()?.flatten();
    // The next apply finishes first what was cut off, and goes on from there.
    let left_in = cut_off.as_ref().map(session::phase_after);
    let phase = match (&args.phase, left_in) {
        (Some(phase), _) => phase.clone(),
        (None, Some(Some(phase))) if policy.phases().contains_key(&phase) => phase,
        (None, Some(None)) => policy.start().clone(),
        (None, _) => {
            let held = kernel.observe(Scope::All)?.state;
            session::present_phase(&policy, store.as_ref(), &held, &state)?
        }
    };
    let known = facts::evaluated(&policy, store.as_ref(), kernel.as_mut())?;
    let keeps = args.phase.is_none() && (phase_now.as_ref() == Some(&phase) || cut_off.is_some());
    let engine = session::engine(&policy, phase.clone(), &known.latches, keeps)?;
    let prospect = prospect(kernel.as_mut(), ids, engine, SystemClock.now())?;
    let mut result = describe(&prospect, phase_now, kernel.as_mut());
    result.notes.extend(known.new.iter().map(|(name, latch)| {
        format!(
            "condition `{name}` becomes true with the next apply: {}",
            facts::why(latch)
        )
    }));
    let cut = ssh::would_cut(kernel.as_mut(), &policy, &phase)?;
    result
        .notes
        .extend(cut.map(|cut| format!("{cut}; it will be refused without --force")));
    if let Some(record) = &cut_off {
        output.say(&format!(
            "note: {}; the next apply finishes it first",
            session::cut_off(record)
        ));
        result.cut_off = Some(record.change.what.clone());
    }
    if let Some(holder) = &at_work {
        output.say(&format!(
            "note: {holder} is at work: these figures are a step on its way"
        ));
    }
    result.at_work = at_work;
    for note in &result.notes {
        output.say(&format!("note: {note}"));
    }
    output.result(&result, &text(&result))?;
    Ok(if args.detailed_exitcode && result.is_something() {
        2
    } else {
        0
    })
}

/// What `prospect` comes to.
pub fn describe(
    prospect: &Prospect,
    phase_now: Option<PhaseName>,
    kernel: &mut dyn Kernel,
) -> PlanResult {
    let (policy, phase) = (prospect.engine.policy(), prospect.engine.phase());
    let bounds = Bounds::of(policy, &prospect.engine.pools());
    let goal = Goal {
        state: &prospect.goal.state,
        names: &prospect.goal.names,
        bounds: &bounds,
    };
    let plan = diff(&prospect.survey.observed, &goal);
    let mut notes = session::not_held(&prospect.engine);
    notes.extend(session::no_longer(&prospect.engine));
    notes.extend(session::not_reached(policy, kernel));
    PlanResult {
        cut_off: None,
        at_work: None,
        phase_now,
        phase_then: phase.clone(),
        ramp_seconds: prospect.engine.ramp().as_secs_f64(),
        notes,
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
