//! A change: on record with its way back, carried out step by step, then closed; or taken back.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::error::{ChangeError, Stop};
use super::survey::{Prospect, prospect};
use super::{Shortfall, converge};
use crate::clock::Clock;
use crate::engine::Engine;
use crate::kernel::{Kernel, Scope};
use crate::lower::{Names, trees};
use crate::model::desired::Desired;
use crate::model::filter::Table;
use crate::model::ids::Ids;
use crate::model::names::{DeviceName, PhaseName};
use crate::model::state::{Ifb, KernelState, Observed};
use crate::plan::{Bounds, Goal, restorable};
use crate::policy::Policy;
use crate::store::{NewRecord, Record, RecordState, Store, StoreError, Supersede};
use crate::units::Fraction;

/// Who orders what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Who.
    pub actor: String,
    /// What, in the words of the command line.
    pub what: String,
    /// Under which boot of the machine.
    pub boot: String,
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What holds at this step.
    pub desired: &'a Desired,
    /// How much of the time is over.
    pub done: Fraction,
}

/// Told after each step; says whether to go on.
pub type Watcher<'a> = &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>;

/// What is needed to carry out changes.
pub struct Executor<'a> {
    /// The kernel.
    pub kernel: &'a mut dyn Kernel,
    /// The store.
    pub store: &'a mut Store,
    /// The clock.
    pub clock: &'a dyn Clock,
}

impl Executor<'_> {
    /// Carries out `prospect`: on record first, then step by step, verified, closed. Taken back where a
    /// step fails or `watcher` breaks off. Says how much was written.
    ///
    /// # Errors
    /// Where it did not come about; the error says in what state the kernel was left.
    pub fn carry_out(
        &mut self,
        order: &Order,
        prospect: &Prospect,
        watcher: Watcher<'_>,
    ) -> Result<usize, ChangeError> {
        let held = &prospect.survey.observed.state;
        let goal = &prospect.goal.state;
        let phase_from = self.store.phase()?;
        let phase_to = prospect.engine.phase().clone();
        if goal == held && phase_from.as_ref() == Some(&phase_to) {
            return Ok(0);
        }
        let bounds = Bounds::of(prospect.engine.policy(), &prospect.engine.pools());
        let bounds_before = self.store.bounds()?.unwrap_or_else(|| bounds.clone());
        let change = NewRecord {
            opened: self.clock.date(),
            boot: order.boot.clone(),
            actor: order.actor.clone(),
            what: order.what.clone(),
            phase_from,
            phase_to: Some(phase_to),
            goal: goal.clone(),
            way_back: restorable(held, goal, &bounds_before),
            bounds,
            bounds_before,
        };
        let record = self.begin(change, &prospect.survey.ids, Supersede::Nothing)?;
        let outcome = self.step_by_step(prospect, watcher);
        self.settle(&record, outcome, &prospect.goal.names)
    }

    /// Takes everything of ours out of the kernel. A change that was cut off ends with it.
    ///
    /// # Errors
    /// [`ChangeError::Store`] where it cannot be put on record: then nothing was done. Else where something
    /// stays.
    pub fn tear_down(&mut self, order: &Order) -> Result<usize, ChangeError> {
        let held = self.kernel.observe(Scope::All)?.state;
        if held == KernelState::default() && self.store.unfinished()?.is_none() {
            return Ok(0);
        }
        let bounds_before = self.store.bounds()?.unwrap_or_default();
        let change = NewRecord {
            opened: self.clock.date(),
            boot: order.boot.clone(),
            actor: order.actor.clone(),
            what: order.what.clone(),
            phase_from: self.store.phase()?,
            phase_to: None,
            goal: KernelState::default(),
            way_back: restorable(&held, &KernelState::default(), &bounds_before),
            bounds: Bounds::default(),
            bounds_before,
        };
        let ids = self.store.ids()?;
        let record = self.begin(change, &ids, Supersede::Unfinished)?;
        let outcome = take_out(self.kernel).map_err(Stop::Shortfall);
        self.settle(&record, outcome, &Names::default())
    }

    /// Finishes the change that was cut off, where there is one: forward where it was on its way, back
    /// where it was being taken back, or where `wanted` is the phase that it came from. Says what it was, and
    /// how much was written.
    ///
    /// # Errors
    /// Where it can be finished neither way.
    pub fn recover(
        &mut self,
        policy: &Arc<Policy>,
        wanted: Option<&PhaseName>,
        watcher: Watcher<'_>,
    ) -> Result<Option<(Record, usize)>, ChangeError> {
        let Some(record) = self.store.unfinished()? else {
            return Ok(None);
        };
        let ids = self.store.ids()?;
        let names = Names::new(policy, &ids);
        let unwanted = wanted.is_some()
            && wanted == record.change.phase_from.as_ref()
            && wanted != record.change.phase_to.as_ref();
        if record.state != RecordState::Applying || unwanted {
            let why = if unwanted {
                "the phase before is wanted again"
            } else {
                "it was being taken back"
            };
            let writes = self.take_back(&record, &names, why)?;
            return Ok(Some((record, writes)));
        }
        let now = self.clock.now();
        let phase = record.change.phase_to.clone();
        // What is true is what the store says: nothing acts on what is not on disk.
        let latched = self.store.latches()?.names();
        let prospect = phase
            .and_then(|phase| Engine::keeping(policy.clone(), phase, latched).ok())
            .and_then(|engine| prospect(self.kernel, ids, engine, now).ok())
            .filter(|prospect| prospect.goal.state == record.change.goal);
        let outcome = match prospect {
            // The files still say the same: a ramp goes on from the shares that are there.
            Some(prospect) => self.step_by_step(&prospect, watcher),
            None => self
                .reach_stored(&record, &record.change.goal, &names)
                .map_err(Stop::Shortfall),
        };
        let writes = self.settle(&record, outcome, &names)?;
        Ok(Some((record, writes)))
    }

    fn begin(
        &mut self,
        change: NewRecord,
        ids: &Ids,
        supersede: Supersede,
    ) -> Result<Record, StoreError> {
        let id = self.store.begin(&change, ids, supersede)?;
        Ok(Record {
            id,
            state: RecordState::Applying,
            change,
        })
    }

    fn step_by_step(&mut self, prospect: &Prospect, watcher: Watcher<'_>) -> Result<usize, Stop> {
        let Prospect {
            engine,
            survey,
            goal: last,
        } = prospect;
        let bounds = Bounds::of(engine.policy(), &engine.pools());
        let mut writes = 0;
        // On its way a ramp changes rates alone; the rules are looked at where it begins and ends.
        let mut scope = Scope::All;
        loop {
            let now = self.clock.now();
            let next = engine.next_deadline(now);
            let desired = engine.desired(now);
            let mut state = last.state.clone();
            if next.is_some() {
                let trees = trees(engine.policy(), &desired, &survey.facts, &survey.ids);
                state.trees = trees.map_err(Stop::Lower)?;
                // Blocks that the phase does not have go where it is entered: as they stand until then, for the
                // policy may no longer say what they are about.
                let held = survey.observed.state.table.as_ref();
                state.table = Table::holding(state.table, last.state.table.as_ref(), held);
            } else {
                scope = Scope::All;
            }
            if scope == Scope::Shaping {
                state.table = None;
            }
            let goal = Goal {
                state: &state,
                names: &last.names,
                bounds: &bounds,
            };
            writes += converge(self.kernel, &goal, scope)
                .map_err(Stop::Shortfall)?
                .writes;
            scope = Scope::Shaping;
            let done = engine.progress(now);
            let broken_off = watcher(Progress {
                desired: &desired,
                done,
            })
            .is_break();
            match next {
                None => return Ok(writes),
                Some(_) if broken_off => return Err(Stop::Interrupted),
                Some(next) => self.clock.wait_until(next),
            }
        }
    }

    /// Closes a change that came about, takes back one that did not.
    fn settle(
        &mut self,
        record: &Record,
        outcome: Result<usize, Stop>,
        names: &Names,
    ) -> Result<usize, ChangeError> {
        match outcome {
            Ok(writes) => {
                self.store
                    .close(record, RecordState::Done, self.clock.date())?;
                Ok(writes)
            }
            Err(stop) => {
                self.take_back(record, names, &stop.to_string())?;
                Err(ChangeError::Undone(stop))
            }
        }
    }

    fn take_back(
        &mut self,
        record: &Record,
        names: &Names,
        why: &str,
    ) -> Result<usize, ChangeError> {
        self.store.turn_back(record.id, RecordState::Undoing, why)?;
        match self.reach_stored(record, &record.change.way_back, names) {
            Ok(writes) => {
                self.store
                    .close(record, RecordState::Undone, self.clock.date())?;
                Ok(writes)
            }
            Err(undo) => {
                self.store
                    .turn_back(record.id, RecordState::Stuck, &format!("{why}; {undo}"))?;
                Err(ChangeError::Stuck {
                    cause: why.to_owned(),
                    undo,
                })
            }
        }
    }

    /// Brings the kernel to a state that is on record, as far as its devices are still there: on one that is
    /// gone there is nothing to hold.
    fn reach_stored(
        &mut self,
        record: &Record,
        stored: &KernelState,
        names: &Names,
    ) -> Result<usize, Shortfall> {
        let bounds = record.change.bounds.and(&record.change.bounds_before);
        let observed = self.kernel.observe(Scope::Shaping)?;
        let state = on_present_devices(stored, &observed);
        let goal = Goal {
            state: &state,
            names,
            bounds: &bounds,
        };
        converge(self.kernel, &goal, Scope::All).map(|reached| reached.writes)
    }
}

fn on_present_devices(stored: &KernelState, observed: &Observed) -> KernelState {
    let mut state = stored.clone();
    let there = |device: &DeviceName| observed.devices.contains_key(device);
    // The IFB is made where it is missing.
    let made = state.ifb.map(|_| Ifb::device());
    state
        .trees
        .retain(|device, _| there(device) || made.as_ref() == Some(device));
    state.feeds.retain(|device, _| there(device));
    state
}

/// Takes everything of ours out of the kernel, with no store and no policy at hand.
///
/// # Errors
/// Where something stays.
pub fn take_out(kernel: &mut dyn Kernel) -> Result<usize, Shortfall> {
    let goal = Goal {
        state: &KernelState::default(),
        names: &Names::default(),
        bounds: &Bounds::default(),
    };
    converge(kernel, &goal, Scope::All).map(|reached| reached.writes)
}
