//! What a verb sees of a host that no daemon looks after: what the store says is not always what holds.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{InForce, Keeper, words};
use crate::api::{Failure, Problem, Stage};
use crate::engine::Engine;
use crate::executor::survey::prospect_with;
use crate::kernel::Scope;
use crate::model::filter::Table;
use crate::model::names::{BlockName, PhaseName};
use crate::store::{Extent, Intent, Lock, Record, RecordState};
use crate::units::Moment;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Decides what holds at this moment, where a change did not come to its end.
    pub on_its_way: Option<Engine>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
}

/// What is wrong, and where that lies.
type Wrong = (Stage, String);

impl Keeper {
    /// Looks at the kernel, where no daemon does. Writes nothing.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub(super) fn look_aside(&mut self, at: Timestamp, now: Moment) -> Result<Aside, Failure> {
        if self.daemon.is_some() {
            return Ok(Aside::default());
        }
        // Who is at work says himself how that goes.
        let at_work = Lock::holder(&self.state).is_some();
        let unfinished = self.store.unfinished()?;
        let mut wrong: Vec<Wrong> = Vec::new();
        if let Some(record) = unfinished.as_ref().filter(|_| !at_work) {
            wrong.push((Stage::Apply, self.left(record)));
        }
        let on_its_way = unfinished.filter(|record| record.state != RecordState::Unconfirmed);
        let engine = match &on_its_way {
            Some(record) => self.engine_of(record, now),
            None if at_work => Ok(None),
            None => self.differs(now).map(|differs| {
                wrong.extend(differs);
                None
            }),
        };
        let engine = engine.unwrap_or_else(|failure| {
            wrong.push((Stage::Observe, failure.to_string()));
            None
        });
        let problem = |(stage, what)| Problem {
            stage,
            what,
            since: at,
        };
        Ok(Aside {
            on_its_way: engine,
            problems: wrong.into_iter().map(problem).collect(),
        })
    }

    /// That a change did not come to its end, and what to do.
    fn left(&self, record: &Record) -> String {
        let cut_off = words::cut_off(record, &self.boot, &self.zone());
        match record.state {
            RecordState::Unconfirmed if self.is_overdue(record) => format!(
                "{cut_off}, its time is over, and no daemon runs that would undo it: start it (systemctl start \
                 wanshift), or say `wanshift rollback`"
            ),
            RecordState::Unconfirmed => format!(
                "{cut_off}, and no daemon runs that would undo it: start it (systemctl start wanshift), or say \
                 `wanshift confirm` or `wanshift rollback`"
            ),
            RecordState::Applying
            | RecordState::Undoing
            | RecordState::Stuck
            | RecordState::Done
            | RecordState::Undone => {
                format!(
                    "{cut_off}: the kernel stays on the way until `wanshift apply`, or a daemon, finishes it"
                )
            }
        }
    }

    /// Decides what holds on the way on which the kernel stands.
    fn engine_of(&mut self, record: &Record, now: Moment) -> Result<Option<Engine>, Failure> {
        let (Some(phase), Some(policy)) =
            (words::phase_after(record), self.policy_of(record, None)?)
        else {
            return Ok(None);
        };
        let prospect = self.prospect_of(&policy, phase, now)?;
        Ok(Some(prospect.engine))
    }

    fn prospect_of(
        &mut self,
        policy: &InForce,
        phase: PhaseName,
        now: Moment,
    ) -> Result<crate::executor::survey::Prospect, Failure> {
        let latches = self.store.latches()?;
        let engine = self.keeping(&policy.policy, phase, &latches)?;
        let ids = self.store.ids()?;
        let kernel = self.kernel.as_mut();
        Ok(prospect_with(kernel, ids, engine, now, self.looks.absent)?)
    }

    /// How the kernel differs from what should hold.
    fn differs(&mut self, now: Moment) -> Result<Option<Wrong>, Failure> {
        let Some(intent) = self.store.intent()? else {
            let known = self.nothing_known();
            return Ok(known
                .err()
                .map(|(stage, failure)| (stage, failure.to_string())));
        };
        let Some(policy) = self.in_force.clone() else {
            return Ok(None);
        };
        let (missing, help) = match intent.extent {
            Extent::Nothing => return Ok(None),
            Extent::Blocks => {
                let missing = self.not_blocked(&policy, &intent)?;
                if missing.is_empty() {
                    return Ok(None);
                }
                let help =
                    "`wanshift teardown --shaping-only` puts it back, `wanshift apply` all of it";
                (missing, help)
            }
            Extent::Whole => {
                let prospect = self.prospect_of(&policy, intent.phase, now)?;
                let (goal, held) = (&prospect.goal.state, &prospect.survey.observed.state);
                if goal == held {
                    return Ok(None);
                }
                let blocks =
                    |table: &Option<Table>| table.as_ref().map(Table::blocks).unwrap_or_default();
                let missing = blocks(&goal.table)
                    .difference(&blocks(&held.table))
                    .cloned()
                    .collect();
                let help = "`wanshift plan` shows what differs, `wanshift apply` puts it right";
                (missing, help)
            }
        };
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let passes = if missing.is_empty() {
            String::new()
        } else {
            format!("; nothing blocks what {} should", missing.join(", "))
        };
        Ok(Some((
            Stage::Apply,
            format!("the kernel does not hold what it should{passes}: {help}"),
        )))
    }

    /// The blocks that should hold alone, and do not.
    fn not_blocked(
        &mut self,
        policy: &InForce,
        intent: &Intent,
    ) -> Result<BTreeSet<BlockName>, Failure> {
        let latches = self.store.latches()?;
        let engine = self.keeping(&policy.policy, intent.phase.clone(), &latches)?;
        let held = self.kernel.observe(Scope::All)?.state.table;
        let held = held.as_ref().map(Table::blocks).unwrap_or_default();
        let blocks = engine.goal().blocks.into_keys();
        Ok(blocks.filter(|block| !held.contains(block)).collect())
    }
}
