//! A change that was cut off: taken up again where it stands, or taken back.

use std::sync::Arc;

use super::change::{Executor, Underway, Watcher};
use super::error::{ChangeError, Stop};
use super::survey::prospect_with;
use super::{Shortfall, converge};
use crate::engine::Engine;
use crate::kernel::Scope;
use crate::lower::{Absent, Names};
use crate::model::desired::Standing;
use crate::model::names::DeviceName;
use crate::model::state::{Ifb, KernelState, Observed};
use crate::plan::Goal;
use crate::policy::Policy;
use crate::store::{Record, RecordState};

/// What a change that was cut off came to when it was taken up again.
#[derive(Debug)]
pub enum Resumed {
    /// There was none.
    Nothing,
    /// It is on its way again.
    Underway(Box<Underway>),
    /// It is finished, or taken back; with how much was written.
    Over(Box<Record>, usize),
}

impl Executor<'_> {
    /// Finishes the change that was cut off, where there is one: forward where it was on its way, back
    /// where it was being taken back. Says what it was, and how much was written.
    ///
    /// # Errors
    /// Where it can be finished neither way.
    pub fn recover(
        &mut self,
        policy: &Arc<Policy>,
        watcher: Watcher<'_>,
    ) -> Result<Option<(Record, usize)>, ChangeError> {
        match self.resume(policy, Standing::default(), Absent::Refused)? {
            Resumed::Nothing => Ok(None),
            Resumed::Over(record, writes) => Ok(Some((*record, writes))),
            Resumed::Underway(underway) => {
                let record = underway.record.clone();
                let writes = self.to_the_end(*underway, watcher)?;
                Ok(Some((record, writes)))
            }
        }
    }

    /// Takes up the change that was cut off, where there is one: forward where it was on its way, back where it was
    /// being taken back, by what stands beside its phase now. One that waits to be confirmed was not cut off.
    ///
    /// # Errors
    /// Where it can be finished neither way.
    pub fn resume(
        &mut self,
        policy: &Arc<Policy>,
        standing: Standing,
        absent: Absent,
    ) -> Result<Resumed, ChangeError> {
        let Some(record) = self.store.unfinished()? else {
            return Ok(Resumed::Nothing);
        };
        let ids = self.store.ids()?;
        let names = Names::new(policy, &ids);
        match record.state {
            RecordState::Applying => {}
            RecordState::Undoing | RecordState::Stuck => {
                let writes = self.take_back(&record, &names, "it was being taken back")?;
                return Ok(Resumed::Over(Box::new(record), writes));
            }
            RecordState::Unconfirmed | RecordState::Done | RecordState::Undone => {
                return Ok(Resumed::Nothing);
            }
        }
        let now = self.clock.now();
        let phase = record.change.phase_to.clone();
        // What is true is what the store says: nothing acts on what is not on disk.
        let latched = self.store.latches()?.names();
        let prospect = phase
            .and_then(|phase| Engine::keeping(policy.clone(), phase, latched).ok())
            .map(|engine| engine.standing(standing))
            .and_then(|engine| prospect_with(self.kernel, ids, engine, now, absent).ok())
            .filter(|prospect| prospect.goal.state == record.change.goal);
        match prospect {
            // The files still say the same: a ramp goes on from the shares that are there.
            Some(prospect) => Ok(Resumed::Underway(Box::new(Underway::new(record, prospect)))),
            None => {
                let outcome = self.reach_stored(&record, &record.change.goal, &names);
                let writes = self.settled(&record, outcome.map_err(Stop::Shortfall), &names)?;
                Ok(Resumed::Over(Box::new(record), writes))
            }
        }
    }

    /// Brings back what the kernel held before a change, even where that cannot be put on record: what is not to
    /// stay does not wait for room on a disk. Says how much was written.
    ///
    /// # Errors
    /// Where it does not come back: it is on record then as stuck, to be tried again. [`ChangeError::Store`] where it
    /// came back, and that is not on record.
    pub fn take_back(
        &mut self,
        record: &Record,
        names: &Names,
        why: &str,
    ) -> Result<usize, ChangeError> {
        if let Err(error) = self.store.turn_back(record.id, RecordState::Undoing, why) {
            tracing::warn!(%error, "a change is taken back that is not on record as such");
        }
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
    pub(super) fn reach_stored(
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
