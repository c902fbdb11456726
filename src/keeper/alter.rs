//! Changes: ordered, on their way, confirmed or taken back.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::confirm::waits;
use super::footing::Way;
use super::look::{ITSELF, Unread};
use super::plan::{FilesAre, PlanResult, describe, text};
use super::{Asked, Came, InForce, Keeper, Reached, files, words};
use crate::api::{Answer, Failure, Insist, Milestone, Stage, Talk};
use crate::engine::{Engine, EngineError};
use crate::executor::change::{self, Progress, Terms, Underway};
use crate::executor::error::{ChangeError, Stop};
use crate::executor::survey::{Prospect, prospect_with};
use crate::kernel::Scope;
use crate::lower::Names;
use crate::model::names::PhaseName;
use crate::model::node::Place;
use crate::model::readings::Latches;
use crate::model::state::KernelState;
use crate::policy::Policy;
use crate::store::{Confirm, Intent, RecordState};
use crate::units::{Direction, Fraction, Moment};

/// A change on its way.
#[derive(Debug)]
pub(super) struct Going {
    pub underway: Underway,
    /// The policy that it puts into force.
    pub policy: InForce,
    pub plan: PlanResult,
    /// How many ops finished what was cut off before it.
    pub writes_to_finish: usize,
    /// When the next step is due.
    pub next: Moment,
    /// How far those who watch were told that it is, in percent.
    pub told: u32,
}

/// What `apply` and `phase` print as JSON.
#[derive(Debug, Serialize)]
struct Applied {
    /// How many ops were carried out.
    writes: usize,
    /// How many ops finished what was cut off.
    writes_to_finish: usize,
    /// How long there is to confirm it, in seconds.
    confirm_within_seconds: Option<u64>,
    /// What was planned.
    #[serde(flatten)]
    plan: PlanResult,
}

/// The phase that holds: what the store says, else the policy's first.
///
/// Where the store knows nothing and yet something of ours is in the kernel, the store was lost, and
/// which phase holds is the operator's to say.
///
/// # Errors
/// Where that cannot be told, or the policy does not have the phase.
pub fn present_phase(
    policy: &Policy,
    intent: Option<&Intent>,
    kernel: &KernelState,
    state: &std::path::Path,
) -> Result<PhaseName, Failure> {
    let known = intent.map(|intent| &intent.phase);
    match known {
        Some(phase) if policy.phases().contains_key(phase) => Ok(phase.clone()),
        Some(phase) => Err(format!(
            "phase `{phase}` holds, and the policy no longer has it; enter another first, or put it back"
        )
        .into()),
        None if *kernel == KernelState::default() => Ok(policy.start().clone()),
        None => Err(format!(
            "the kernel holds what wanshift made, but the store in {} does not know which phase that is; \
             nothing was written. Say which: wanshift phase NAME ({})",
            state.display(),
            policy.phases().keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        )
        .into()),
    }
}

/// Decides about `phase` by what is true: for entering it, or for going on with it where it `keeps`.
///
/// # Errors
/// Where the phase cannot hold by what is true.
pub fn engine(
    policy: &Arc<Policy>,
    phase: PhaseName,
    latches: &Latches,
    stance: Stance,
) -> Result<Engine, EngineError> {
    let decide = match stance {
        Stance::Keeps => Engine::keeping,
        Stance::Enters => Engine::entering,
    };
    decide(Arc::clone(policy), phase, latches.names())
}

/// How a phase comes to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// It holds already, or did.
    Keeps,
    /// It is new.
    Enters,
}

impl Keeper {
    /// Decides what holds where `phase` goes on, with what stands beside it now.
    ///
    /// # Errors
    /// Where the phase cannot hold by what is true; where the store cannot be read.
    pub(super) fn keeping(
        &mut self,
        policy: &Arc<Policy>,
        phase: PhaseName,
        latches: &Latches,
    ) -> Result<Engine, Failure> {
        let engine = engine(policy, phase, latches, Stance::Keeps)?;
        Ok(engine.standing(self.standing(policy)?))
    }

    /// Reads the files again and has the kernel hold what they say: for `phase`, else for the one that holds.
    pub(super) fn apply(
        &mut self,
        asked: &Asked<'_>,
        phase: Option<&PhaseName>,
        confirm_within: Option<Duration>,
        force: Insist,
        talk: &mut dyn Talk,
    ) -> Result<Came, Failure> {
        let unfinished = self.store.unfinished()?;
        if let Some(pending) = unfinished.as_ref().filter(|record| waits(record)) {
            return self.extend_or_refuse(asked, pending, confirm_within);
        }
        let files = match files::from(&self.config, asked.request.style) {
            Ok(files) => files,
            Err(failure) => {
                self.say_what_stays_open(unfinished.as_ref(), talk);
                return self.judged(Err(failure));
            }
        };
        let policy = Arc::clone(&files.policy);
        let known = self.latched(&policy, talk)?;
        let intent = self.store.intent()?;
        let going_to = unfinished.as_ref().and_then(words::phase_after);
        let (phase, stance) = match phase {
            Some(phase) => (phase.clone(), Stance::Enters),
            None => {
                let held = self.kernel.observe(Scope::All)?.state;
                let present = present_phase(&policy, intent.as_ref(), &held, &self.state);
                let present = self.judged(present)?;
                let phase = going_to.filter(|to| policy.phases().contains_key(to));
                (phase.unwrap_or(present), Stance::Keeps)
            }
        };
        let holds = intent.as_ref().is_some_and(|intent| intent.phase == phase);
        let stance = if stance == Stance::Keeps && !holds && unfinished.is_none() {
            Stance::Enters
        } else {
            stance
        };
        self.spare(asked, &policy, &phase, force, talk)?;
        self.are_there(&policy, force)?;
        let engine = engine(&policy, phase, &known.latches, stance)?;
        let admitted = self.admit(&files)?;
        self.let_in(&admitted)?;
        let order = asked.order(&self.boot);
        let confirm = confirm_within.map(|within| Confirm {
            within,
            until: self.clock.now().plus(within),
        });
        let came = self.begin(&order, admitted, engine, confirm, talk)?;
        self.troubles.over(Stage::Policy);
        Ok(came)
    }

    /// Begins the change to what `engine` decides, in place of the one on its way. A way back that it has is the one
    /// of that change.
    pub(super) fn begin(
        &mut self,
        order: &change::Order,
        policy: InForce,
        engine: Engine,
        confirm: Option<Confirm>,
        talk: &mut dyn Talk,
    ) -> Result<Came, Failure> {
        let unfinished = self.store.unfinished()?;
        let instead_of = match unfinished {
            Some(record) if record.state == RecordState::Applying => Some(record),
            Some(record) => {
                // Never forward again: it is back first.
                let names = self.names()?;
                self.executor()
                    .take_back(&record, &names, "it was being taken back")?;
                None
            }
            None => None,
        };
        let phase_now = self.store.phase()?;
        let now = self.clock.now();
        let engine = engine.standing(self.standing(&policy.policy)?);
        let (ids, absent) = (self.store.ids()?, self.looks.absent);
        let prospect = prospect_with(self.kernel.as_mut(), ids, engine, now, absent)?;
        let finished = self.finished.take();
        let files = FilesAre::by(&self.store, &policy.hash)?;
        let mut plan = self.described(&prospect, phase_now, files);
        plan.cut_off = finished.as_ref().map(|(what, _)| what.clone());
        for note in &plan.notes {
            talk.say(&format!("note: {note}"));
        }
        talk.text(&text(&plan));
        // The time to confirm begins once it holds; until then this is when that should be.
        let confirm = confirm.map(|confirm| Confirm {
            until: now.plus(prospect.engine.ramp()).plus(confirm.within),
            ..confirm
        });
        let terms = Terms {
            policy: policy.id,
            confirm,
            instead_of,
        };
        self.going = None;
        let begun = self.executor().begin_change(order, prospect, terms)?;
        self.going_back = None;
        self.try_to_keep_copy();
        match begun {
            Some(underway) => {
                self.going = Some(Going {
                    underway,
                    policy,
                    plan,
                    writes_to_finish: finished.map_or(0, |(_, writes)| writes),
                    next: now,
                    told: 0,
                });
                Ok(Came::Underway)
            }
            None => {
                self.in_force = Some(policy);
                let applied = Applied {
                    writes: 0,
                    writes_to_finish: finished.map_or(0, |(_, writes)| writes),
                    confirm_within_seconds: None,
                    plan,
                };
                Answer::of(&applied, "").map(Came::Answer)
            }
        }
    }

    pub(super) fn described(
        &mut self,
        prospect: &Prospect,
        phase_now: Option<PhaseName>,
        files: FilesAre,
    ) -> PlanResult {
        let date = self.looks.date(self.clock.as_ref(), self.clock.now());
        let follow = self.follow();
        describe(
            prospect,
            phase_now,
            files,
            self.kernel.as_mut(),
            date,
            follow,
        )
    }

    /// Does what is due of the change on its way; says what it came to where it is over.
    pub fn step(&mut self, talk: &mut dyn Talk) -> Option<Result<Answer, Failure>> {
        let mut going = self.going.take()?;
        if self.looks.rules_may_differ() {
            going.underway.look_at_all();
        }
        let rules = going.underway.looks_at_all();
        match self.executor().step(&mut going.underway) {
            Ok(stepped) => {
                tell(&stepped.progress, &mut going.told, talk);
                match stepped.next {
                    Some(next) => {
                        if rules {
                            self.note_blocks_on_the_way(&going);
                        }
                        going.next = next;
                        self.going = Some(going);
                        None
                    }
                    None => Some(self.settle(going, Ok(()))),
                }
            }
            Err(stop) => Some(self.settle(going, Err(stop))),
        }
    }

    /// Says what was finished before the next is asked, and how much that took.
    pub fn finished_first(&mut self, what: String, writes: usize) {
        self.finished = Some((what, writes));
    }

    /// Takes back the change on its way.
    pub fn interrupt(&mut self) -> Option<Result<Answer, Failure>> {
        let going = self.going.take()?;
        Some(self.settle(going, Err(Stop::Interrupted)))
    }

    /// When the next step is due of a change on its way; none where none is.
    #[must_use]
    pub fn next_step(&self) -> Option<Moment> {
        self.going.as_ref().map(|going| going.next)
    }

    fn settle(&mut self, going: Going, outcome: Result<(), Stop>) -> Result<Answer, Failure> {
        let way = if outcome.is_ok() {
            Way::There
        } else {
            Way::Back
        };
        let settled = self.executor().settle(&going.underway, outcome);
        self.looks.soon();
        let writes = match settled {
            Ok(writes) => writes,
            Err(error) => {
                self.reached = None;
                self.try_to_keep_copy();
                if let ChangeError::Store(_) = &error {
                    let failure = Failure::from(error);
                    return Err(self.owe(&going, way, &failure));
                }
                let failure = Failure::from(error);
                // What came about by itself is tried again; who orders something does that himself.
                if going.underway.record.change.actor == ITSELF {
                    if self.in_force.is_none() {
                        self.looks.unread = Unread::First;
                    }
                    self.looks.later();
                    self.fail(Stage::Apply, &failure);
                }
                return Err(failure);
            }
        };
        self.troubles.over(Stage::Apply);
        self.reached = Some(Reached::of(&going.underway.prospect));
        self.in_force = Some(going.policy);
        self.try_to_note_blocks();
        let phase = going.underway.prospect.engine.phase();
        let mut text = match (writes, going.plan.files) {
            (0, FilesAre::InForce) => String::new(),
            (0, FilesAre::New) => "\nDone: the policy files are in force.\n".to_owned(),
            (writes, _) => format!("\nDone: {}, phase {phase} holds.\n", words::writes(writes)),
        };
        let confirm = going.underway.record.change.confirm;
        if let Some(confirm) = confirm {
            let now = self.clock.now();
            let left = confirm.held_since(now).until.since(now);
            text.push_str(&format!(
                "It is undone in {} unless it is confirmed: wanshift confirm\n",
                words::time(left)
            ));
        }
        let applied = Applied {
            writes,
            writes_to_finish: going.writes_to_finish,
            confirm_within_seconds: confirm.map(|confirm| confirm.within.as_secs()),
            plan: going.plan,
        };
        Answer::of(&applied, text)
    }

    /// Refuses a phase that would cut the session that it is ordered from, unless that is insisted on.
    pub(super) fn spare(
        &mut self,
        asked: &Asked<'_>,
        policy: &Arc<Policy>,
        phase: &PhaseName,
        force: Insist,
        talk: &mut dyn Talk,
    ) -> Result<(), Failure> {
        let Some(session) = &asked.request.session else {
            return Ok(());
        };
        match (
            words::would_cut(self.kernel.as_mut(), policy, phase, session),
            force,
        ) {
            (Err(error), Insist::Yes) => {
                talk.say(&format!(
                    "note: {error}; whether this cuts the ssh session that it is ordered from is not known"
                ));
                Ok(())
            }
            (Err(error), Insist::No) => Err(error.into()),
            (Ok(Some(cut)), Insist::Yes) => {
                talk.say(&format!("note: {cut}"));
                Ok(())
            }
            (Ok(Some(cut)), Insist::No) => Err(Failure::from(format!(
                "{cut}; nothing was written"
            ))
            .with_help("raise that, order it from the console, or insist on it with --force")),
            (Ok(None), _) => Ok(()),
        }
    }

    /// What the numbers in the kernel mean by the policy in force.
    pub(super) fn names(&self) -> Result<Names, ChangeError> {
        let ids = self.store.ids()?;
        let policy = self.in_force.as_ref();
        Ok(policy.map_or_else(Names::default, |policy| Names::new(&policy.policy, &ids)))
    }
}

fn tell(progress: &Progress, told: &mut u32, talk: &mut dyn Talk) {
    let percent = progress.done.percent();
    let milestone = if progress.done == Fraction::ONE || percent / 10 > *told / 10 {
        Milestone::Line
    } else {
        Milestone::Step
    };
    if *told > 0 || progress.done != Fraction::ONE {
        talk.progress(&shares(progress), milestone);
    }
    *told = percent;
}

/// The circuits' shares at this moment, for a line of progress.
fn shares(progress: &Progress) -> String {
    let circuits = progress
        .desired
        .nodes
        .iter()
        .filter(|(key, _)| key.place == Place::Circuit);
    let shares: Vec<String> = circuits
        .map(|(key, holding)| {
            let mbit = holding.guarantee.get(Direction::Up).bits() / 100_000;
            format!("{key} {}.{}mbit", mbit / 10, mbit % 10)
        })
        .collect();
    format!("{:3} %  {}", progress.done.percent(), shares.join("  "))
}
