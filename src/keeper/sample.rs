//! Reads counters, and keeps what a daemon knows of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Keeper;
use crate::api::{DaemonFacts, Failure, Stage};
use crate::engine::dates::{Dates, SavedDates};
use crate::engine::meter::Seen;
use crate::kernel::Scope;
use crate::lower::Absent;
use crate::model::counters::{Counters, QueueCounters};
use crate::model::names::DeviceName;
use crate::model::node::Spot;
use crate::model::state::{ClassId, Ifb, Major};
use crate::policy::Policy;
use crate::store::RecordId;

/// Under which name the store keeps what is known of the clock.
const DATES: &str = "dates";

impl Keeper {
    /// It is a daemon's: devices that are not there are waited for, and what comes true is carried out.
    pub fn runs_as(&mut self, facts: DaemonFacts, sample: Duration) {
        self.looks.absent = Absent::Waited;
        let boot = self.boot.clone();
        let saved = self.store.remembered::<SavedDates>(DATES);
        let saved = saved.unwrap_or_else(|error| {
            tracing::error!(%error, "what was known of the clock is not");
            None
        });
        self.looks.dates = Some(match saved {
            Some(saved) => Dates::restored(saved, boot),
            None => Dates::new(boot),
        });
        self.daemon = Some(facts);
        self.sample = Some(sample);
    }

    /// Keeps what is known of the clock, so that a jump is not believed after a restart.
    pub(super) fn keep_dates(&mut self) {
        if self.is_firm()
            && let Some(dates) = self.looks.dates_to_keep(self.clock.now())
            && let Err(error) = self.store.remember(DATES, &dates)
        {
            self.fail(Stage::Store, &error.into());
        }
    }

    /// Is told how the last try to serve metrics went.
    pub fn serves(&mut self, tried: Result<(), Failure>) {
        match tried {
            Ok(()) => self.troubles.over(Stage::Serve),
            Err(failure) => self.fail(Stage::Serve, &failure),
        }
    }

    /// The change on its way.
    #[must_use]
    pub fn on_its_way(&self) -> Option<RecordId> {
        self.going.as_ref().map(|going| going.underway.record.id)
    }

    /// Reads the counters of what is ours.
    pub fn sample(&mut self) {
        match self.read_counters() {
            Ok(()) => {
                self.troubles.over(Stage::Sample);
                self.sampled = Some(self.clock.date());
            }
            Err(failure) => self.fail(Stage::Sample, &failure),
        }
    }

    fn read_counters(&mut self) -> Result<(), Failure> {
        let now = self.clock.now();
        let on_its_way;
        let (state, names, given) = match (&self.going, &self.reached) {
            (Some(going), _) => {
                let prospect = &going.underway.prospect;
                on_its_way = prospect.engine.desired(now);
                (&prospect.goal.state, &prospect.goal.names, &on_its_way)
            }
            (None, Some(reached)) => match &reached.desired {
                Some(desired) => (&reached.state, &reached.names, &**desired),
                None => return Ok(()),
            },
            (None, None) => return Ok(()),
        };
        let trees = state.trees.iter();
        let trees: Vec<(DeviceName, Major)> = trees
            .map(|(device, tree)| (device.clone(), tree.major))
            .collect();
        let mut counters: Vec<(ClassId, Counters)> = Vec::new();
        let mut seen = Vec::new();
        // A leaf may drop later what its class took: only its own counters know.
        let mut queues = Vec::new();
        self.kernel.queues(&trees, &mut queues)?;
        let queues: BTreeMap<ClassId, QueueCounters> = queues.into_iter().collect();
        for (device, major) in trees {
            self.kernel.counters(&device, major, &mut counters)?;
            let direction = Ifb::direction(&device);
            for (id, counters) in &counters {
                let spot = names.spot(&device, id.minor);
                let Some(key) = spot.and_then(Spot::node) else {
                    continue;
                };
                let Some(holding) = given.nodes.get(key) else {
                    continue;
                };
                seen.push(Seen {
                    place: key.clone(),
                    direction,
                    given: holding.guarantee.get(direction),
                    class: Some(*counters),
                    queue: queues.get(id).copied(),
                });
            }
        }
        self.meter.sample(now, &seen);
        Ok(())
    }

    /// The devices of circuits that are not there. A daemon has looked; a verb looks now.
    pub(super) fn missing_devices(&mut self, policy: &Policy) -> BTreeSet<DeviceName> {
        if let Some(missing) = &self.missing {
            return missing.clone();
        }
        let observed = self.kernel.observe(Scope::Shaping);
        let there = observed.map_or_else(|_| BTreeMap::new(), |observed| observed.devices);
        let circuits = policy.circuits().values();
        circuits
            .map(|circuit| circuit.device.clone())
            .filter(|device| !there.contains_key(device))
            .collect()
    }
}
