//! Phases that begin by themselves: where the one before is over, and where their date has come.

use jiff::Timestamp;

use super::Keeper;
use crate::api::{Failure, Stage};
use crate::model::names::PhaseName;
use crate::model::readings::{Latches, WallClock};
use crate::policy::Policy;
use crate::store::{Beginning, Intent};

impl Keeper {
    /// The phase that begins by itself now, and why.
    pub(super) fn next_phase(
        &mut self,
        policy: &Policy,
        intent: &Intent,
        latches: &Latches,
    ) -> Result<Option<(PhaseName, String)>, (Stage, Failure)> {
        let present = policy.phases().get(&intent.phase);
        if let Some(present) = present
            && let (Some(until), Some(then)) = (&present.until, &present.then)
            && latches.holds(until)
        {
            let what = format!("phase {then}: {until} ended phase {}", present.name);
            return Ok(Some((then.clone(), what)));
        }
        self.begun_by_date(policy, intent, latches)
            .map_err(|error| (Stage::Store, error.into()))
    }

    /// The phase whose date has come since it was first read. One whose date was over by then does not begin by
    /// itself: the host may have been told another since.
    fn begun_by_date(
        &mut self,
        policy: &Policy,
        intent: &Intent,
        latches: &Latches,
    ) -> Result<Option<(PhaseName, String)>, crate::store::StoreError> {
        let now = self.clock.now();
        let WallClock::Trusted(today) = self.looks.date(self.clock.as_ref(), now) else {
            return Ok(None);
        };
        let known = self.store.beginnings()?;
        let mut begins: Option<(PhaseName, Timestamp)> = None;
        for phase in policy.phases().values() {
            let Some(from) = phase.from else { continue };
            let key = (phase.name.clone(), from);
            match known.get(&key) {
                None => {
                    let state = if from > today {
                        Beginning::Awaited
                    } else {
                        Beginning::Over
                    };
                    self.store.keep_beginning(&phase.name, from, state)?;
                }
                Some(Beginning::Over) => continue,
                Some(Beginning::Awaited) => {}
            }
            if from > today {
                let wait = from.duration_since(today).unsigned_abs();
                self.looks.due_at(now.plus(wait));
                continue;
            }
            let open = phase
                .requires
                .as_ref()
                .is_none_or(|requires| latches.holds(requires));
            if known.contains_key(&key)
                && open
                && begins.as_ref().is_none_or(|(_, other)| *other < from)
            {
                begins = Some((phase.name.clone(), from));
            }
        }
        let Some((phase, from)) = begins else {
            return Ok(None);
        };
        self.store.keep_beginning(&phase, from, Beginning::Over)?;
        if phase == intent.phase {
            return Ok(None);
        }
        let what = format!("phase {phase}: its date, {from}, has come");
        Ok(Some((phase, what)))
    }
}
