//! What a change comes to, told before it is made.

use serde::Serialize;

use super::words::{self, Follow};
use crate::engine::STEP;
use crate::executor::survey::Prospect;
use crate::kernel::Kernel;
use crate::model::names::PhaseName;
use crate::model::readings::WallClock;
use crate::plan::{Bounds, Goal, PlanReport, diff, report};
use crate::store::{Store, StoreError};

/// How the policy files of a plan, those that lie there or those of then, stand to the policy in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FilesAre {
    /// They are what is in force, or nothing is.
    InForce,
    /// They are others, which the plan puts into force.
    New,
}

impl FilesAre {
    /// How files with this hash stand to the policy that `store` says is in force.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn by(store: &Store, hash: &str) -> Result<Self, StoreError> {
        let Some(id) = store.intent()?.and_then(|intent| intent.policy) else {
            return Ok(Self::InForce);
        };
        // One that cannot be read any more is another.
        let same = store.policy(id).is_ok_and(|policy| policy.hash == hash);
        Ok(if same { Self::InForce } else { Self::New })
    }
}

/// What `plan` prints as JSON, and `apply` and `phase` with what they wrote.
#[derive(Debug, Serialize)]
pub struct PlanResult {
    /// A change that was cut off, which the next `apply` finishes first.
    pub cut_off: Option<String>,
    /// Who is changing the kernel at this moment, so that what is shown is a step on his way.
    pub at_work: Option<String>,
    /// Whether it puts other policy files into force than those that are.
    pub files: FilesAre,
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
    #[must_use]
    pub fn is_something(&self) -> bool {
        let moves = self
            .phase_now
            .as_ref()
            .is_some_and(|now| *now != self.phase_then);
        let files = self.files == FilesAre::New;
        self.report.ops > 0 || self.cut_off.is_some() || moves || files
    }
}

/// What `prospect` comes to.
#[must_use]
pub fn describe(
    prospect: &Prospect,
    phase_now: Option<PhaseName>,
    files: FilesAre,
    kernel: &mut dyn Kernel,
    date: WallClock,
    follow: Follow,
) -> PlanResult {
    let (policy, phase) = (prospect.engine.policy(), prospect.engine.phase());
    let bounds = Bounds::of(policy, &prospect.engine.pools());
    let goal = Goal {
        state: &prospect.goal.state,
        names: &prospect.goal.names,
        bounds: &bounds,
    };
    let plan = diff(&prospect.survey.observed, &goal);
    let mut notes = words::not_held(&prospect.engine, date, follow);
    notes.extend(words::no_longer(&prospect.engine));
    notes.extend(words::not_reached(policy, kernel));
    PlanResult {
        cut_off: None,
        at_work: None,
        files,
        phase_now,
        phase_then: phase.clone(),
        ramp_seconds: prospect.engine.ramp().as_secs_f64(),
        notes,
        report: report(&plan, &prospect.goal.names, &prospect.engine.reasons()),
    }
}

/// The same for people.
#[must_use]
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
    let files = match result.files {
        FilesAre::InForce => "",
        FilesAre::New => "This puts other policy files into force than those that are.\n",
    };
    // What is counted above is one step over the whole way.
    let steps = if result.ramp_seconds > 0.0 && result.report.ops > 0 {
        let steps = (result.ramp_seconds / STEP.as_secs_f64()).ceil();
        format!("That is without the ramp: each of its {steps:.0} steps has writes of its own.\n")
    } else {
        String::new()
    };
    format!("{phase}{ramp}\n{files}\n{}{steps}", result.report)
}
