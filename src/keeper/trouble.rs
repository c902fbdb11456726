//! What is not as it should be, since when, and when it is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{RETRY, RETRY_AT_MOST};
use crate::api::{Problem, Stage};
use crate::units::Moment;

/// What is not as it should be.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    present: BTreeMap<Stage, Trouble>,
    failures: BTreeMap<Stage, u64>,
}

#[derive(Debug)]
struct Trouble {
    problem: Problem,
    /// How long until it is tried again.
    pause: Duration,
    again: Moment,
}

impl Troubles {
    /// Something failed. The same as before is logged once, and tried again after twice the time.
    pub fn failed(&mut self, stage: Stage, what: String, at: Timestamp, now: Moment) {
        *self.failures.entry(stage).or_default() += 1;
        let before = self.present.remove(&stage);
        let (since, pause) = match &before {
            Some(before) => (before.problem.since, (before.pause * 2).min(RETRY_AT_MOST)),
            None => (at, RETRY),
        };
        if before.is_none_or(|before| before.problem.what != what) {
            tracing::error!(stage = stage.name(), "{what}");
        }
        let trouble = Trouble {
            problem: Problem { stage, what, since },
            pause,
            again: now.plus(pause),
        };
        self.present.insert(stage, trouble);
    }

    /// It is as it should be again.
    pub fn over(&mut self, stage: Stage) {
        if self.present.remove(&stage).is_some() {
            tracing::info!(stage = stage.name(), "as it should be again");
        }
    }

    /// All that was due at `now` has been tried: what it did not help is due again later.
    pub fn tried(&mut self, now: Moment) {
        for trouble in self.present.values_mut() {
            if trouble.again <= now {
                trouble.again = now.plus(trouble.pause);
            }
        }
    }

    /// What is not as it should be.
    pub fn list(&self) -> Vec<Problem> {
        let present = self.present.values();
        present.map(|trouble| trouble.problem.clone()).collect()
    }

    /// How often something failed, by what.
    pub fn failures(&self) -> BTreeMap<Stage, u64> {
        let count = |stage| {
            (
                stage,
                self.failures.get(&stage).copied().unwrap_or_default(),
            )
        };
        Stage::ALL.into_iter().map(count).collect()
    }

    /// When the next is tried again.
    pub fn again(&self) -> Option<Moment> {
        // Files are read again where somebody says so, counters at the next sample.
        let tried = self.present.values();
        tried
            .filter(|trouble| !matches!(trouble.problem.stage, Stage::Policy | Stage::Sample))
            .map(|trouble| trouble.again)
            .min()
    }
}
