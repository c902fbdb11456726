//! Changes that are undone unless they are confirmed, and the way back from those that were not.

use std::time::Duration;

use serde::Serialize;

use super::alter::{Stance, engine};
use super::back::Before;
use super::look::ITSELF;
use super::{Asked, Came, InForce, Keeper, back, files, words};
use crate::api::{Answer, Failure, Insist, Order, Silent, Stage, Talk};
use crate::executor::error::ChangeError;
use crate::executor::survey::prospect_with;
use crate::model::filter::Table;
use crate::model::names::PhaseName;
use crate::store::{Confirm, Extent, Record, RecordState, hash};
use crate::units::Moment;

/// What to do about a change that waits to be confirmed.
const MAKE_WAY: &str =
    "`wanshift confirm` has it stay, `wanshift rollback` takes it back; both make way";

/// What `confirm` and `rollback` print as JSON where they end what waits.
#[derive(Debug, Serialize)]
struct Settled {
    /// The change.
    change: i64,
    /// What was ordered.
    what: String,
    /// How many ops were carried out.
    writes: usize,
    /// The phase that holds now.
    phase: Option<PhaseName>,
}

impl Keeper {
    pub(super) fn confirm(&mut self, asked: &Asked<'_>) -> Result<Answer, Failure> {
        let pending = self.store.unfinished()?;
        let Some(pending) = pending.filter(waits) else {
            return Err("no change waits to be confirmed".into());
        };
        if self.is_overdue(&pending) {
            return Err(self.too_late(&pending));
        }
        self.store.confirm(&pending, self.clock.date())?;
        // What waited for it, too.
        self.looks.soon();
        if let Some(going) = &mut self.going {
            going.underway.record.change.confirm = None;
        }
        tracing::info!(
            "`{}` of {} confirmed by {}",
            pending.change.what,
            pending.change.actor,
            asked.actor
        );
        let settled = Settled {
            change: pending.id.0,
            what: pending.change.what.clone(),
            writes: 0,
            phase: pending.change.phase_to.clone(),
        };
        let stays = match &self.going {
            Some(_) => "is on its way, and stays once it holds",
            None => "stays",
        };
        let text = format!("Confirmed: `{}` {stays}.\n", pending.change.what);
        Answer::of(&settled, text)
    }

    /// Back to what held before: ends what is on its way or waits to be confirmed, else undoes the last changes.
    pub(super) fn rollback(
        &mut self,
        asked: &Asked<'_>,
        changes: u32,
        force: Insist,
        talk: &mut dyn Talk,
    ) -> Result<Came, Failure> {
        let mut changes = changes;
        if let Some(record) = self.store.unfinished()? {
            let why = format!("rolled back by {}", asked.actor);
            // Who orders it can wait for a disk that takes it.
            self.store
                .turn_back(record.id, RecordState::Undoing, &why)?;
            let writes = self.take_back(&record, &why)?;
            changes = changes.saturating_sub(1);
            if changes == 0 {
                let settled = Settled {
                    change: record.id.0,
                    what: record.change.what.clone(),
                    writes,
                    phase: self.store.phase()?,
                };
                let text = format!(
                    "Taken back: `{}`; {}.\n",
                    record.change.what,
                    words::writes(writes)
                );
                return Answer::of(&settled, text).map(Came::Answer);
            }
        }
        let order = asked.order(&self.boot);
        let intent = match back::before(&self.store, changes)? {
            Before::Phase(intent) => intent,
            // Who says `rollback` once too often means no such thing.
            out if force == Insist::No => return Err(back::takes_out(&out)),
            Before::Blocks => return self.tear_down_shaping(asked, talk).map(Came::Answer),
            Before::Nothing => return self.tear_down(asked, talk).map(Came::Answer),
        };
        talk.say(&format!(
            "going back to phase {}, as of {}",
            intent.phase,
            words::date(intent.since, &self.zone())
        ));
        let policy = match intent.policy {
            Some(id) => self.stored_policy(id)?,
            None => self.in_force.clone(),
        };
        let Some(policy) = policy else {
            return Err(back::unreadable());
        };
        let known = self.latched(&policy.policy, talk)?;
        self.spare(asked, &policy.policy, &intent.phase, force, talk)?;
        let engine = engine(&policy.policy, intent.phase, &known.latches, Stance::Enters)?;
        let in_force = self.in_force.as_ref().and_then(|policy| policy.id);
        self.keep_out(in_force, policy.id)?;
        self.begin(&order, policy, engine, None, talk)
    }

    /// Brings back what held before a change that is on its way or waits to be confirmed.
    pub(super) fn take_back(&mut self, record: &Record, why: &str) -> Result<usize, Failure> {
        self.keep_out_what_goes_back(record);
        self.bring_back(record, why)
    }

    /// Goes on with a way back that was not finished.
    pub(super) fn go_on_back(&mut self, record: &Record) -> Result<(), Failure> {
        if !is_own_first(record) {
            self.keep_out_what_goes_back(record);
        }
        self.bring_back(record, "it was being taken back").map(drop)
    }

    fn bring_back(&mut self, record: &Record, why: &str) -> Result<usize, Failure> {
        self.going = None;
        let mut record = record.clone();
        if let Ok(Some(table)) = self.table_of_before(&record) {
            record.change.way_back.table = Some(table);
        }
        let names = self.names()?;
        self.going_back = Some(record.id);
        let taken = self.executor().take_back(&record, &names, why);
        self.reached = None;
        if let Err(ChangeError::Store(_)) = &taken {
            self.looks.later();
        } else {
            self.looks.soon();
            self.going_back = None;
        }
        let writes = taken?;
        tracing::warn!("`{}` was taken back: {why}", record.change.what);
        self.take_policy_from_store()?;
        let table = record.change.way_back.table.as_ref();
        let holding = table.map(Table::blocks).unwrap_or_default();
        if let Err(failure) = self.note_holding(holding) {
            self.fail(Stage::Store, &failure);
        }
        Ok(writes)
    }

    /// The packet filter of before a change, where blocks of then have been lifted since: what came true stays true.
    /// None where it is as it is on record.
    fn table_of_before(&mut self, record: &Record) -> Result<Option<Table>, Failure> {
        let change = &record.change;
        let held = change.way_back.table.as_ref().map(Table::blocks);
        let held = held.unwrap_or_default();
        let before = change.before.as_ref();
        let (Some(before), false) = (
            before.filter(|before| before.extent == Extent::Whole),
            held.is_empty(),
        ) else {
            return Ok(None);
        };
        let policy = match before.policy {
            Some(id) => self.stored_policy(id)?,
            None => self.in_force.clone(),
        };
        let Some(InForce { policy, .. }) = policy else {
            return Ok(None);
        };
        let known = self.latched(&policy, &mut Silent)?;
        let phase = before.phase.clone();
        let engine = engine(&policy, phase, &known.latches, Stance::Keeps)?;
        let engine = engine.standing(self.standing(&policy)?);
        let (ids, now, absent) = (self.store.ids()?, self.clock.now(), self.looks.absent);
        let prospect = prospect_with(self.kernel.as_mut(), ids, engine, now, absent)?;
        let fewer = |table: &Table| {
            let blocks = table.blocks();
            blocks != held && blocks.is_subset(&held)
        };
        Ok(prospect.goal.state.table.filter(fewer))
    }

    /// Undoes the change that waits to be confirmed where its time is over, and the one that went back where that is
    /// not on record.
    pub(super) fn expire(&mut self) -> Result<Expired, Failure> {
        if self.going_back.is_none() && self.store.confirm_due()?.is_none() {
            return Ok(Expired::No);
        }
        let record = self.store.unfinished()?;
        let tried = self.went_back(record.as_ref());
        if !tried {
            // It is closed, or another took its place.
            self.going_back = None;
        }
        let Some(record) = record.filter(|record| tried || waits(record)) else {
            return Ok(Expired::No);
        };
        let now = self.clock.now();
        if !tried && !self.is_overdue(&record) {
            return Ok(Expired::No);
        }
        if tried && !self.troubles.is_due(Stage::Apply, now) {
            return Ok(Expired::Owed);
        }
        let why = if tried {
            "the way back was not finished"
        } else {
            "it was not confirmed in time"
        };
        self.take_back(&record, why)?;
        Ok(Expired::No)
    }

    /// Whether `record` is of a change that went back, or tried to, though the store does not say so.
    fn went_back(&self, record: Option<&Record>) -> bool {
        self.going_back.is_some() && record.map(|record| record.id) == self.going_back
    }

    /// When the change that waits to be confirmed is undone: at once where the machine was started anew since.
    pub(super) fn confirm_due(&self) -> Option<Moment> {
        if self.going_back.is_some() {
            return self.troubles.when(Stage::Apply);
        }
        let (boot, until) = self.store.confirm_due().ok().flatten()?;
        Some(if boot == self.boot {
            until
        } else {
            Moment::default()
        })
    }

    /// Whether the time to confirm a change is over: by the clock of its boot, and always under another. It does not
    /// run while the change is on its way.
    pub(super) fn is_overdue(&self, record: &Record) -> bool {
        let going = self.going.as_ref();
        let on_its_way = going.is_some_and(|going| going.underway.record.id == record.id);
        let late = !on_its_way && record.is_late(&self.boot, self.clock.now());
        late || self.went_back(Some(record))
    }

    /// A second change beside one that waits to be confirmed is refused; the same again gives more time.
    pub(super) fn extend_or_refuse(
        &mut self,
        asked: &Asked<'_>,
        pending: &Record,
        confirm_within: Option<Duration>,
    ) -> Result<Came, Failure> {
        let same = match &asked.request.order {
            Order::Phase { name, .. } => pending.change.phase_to.as_ref() == Some(name),
            Order::Apply { .. } => pending.change.what.starts_with("apply"),
            Order::Status
            | Order::History
            | Order::Conditions
            | Order::Confirm
            | Order::Rollback { .. }
            | Order::Event { .. }
            | Order::ResetCondition { .. }
            | Order::Teardown
            | Order::TeardownShaping => false,
        };
        let (Some(within), true) = (confirm_within, same) else {
            return Err(Failure::from(format!(
                "`{}` (change {}, by {}, {}) waits to be confirmed; nothing was written",
                pending.change.what,
                pending.id.0,
                pending.change.actor,
                words::date(pending.change.opened, &self.zone())
            ))
            .with_help(MAKE_WAY));
        };
        if self.is_overdue(pending) {
            return Err(self.too_late(pending));
        }
        self.same_files(asked, pending)?;
        let now = self.clock.now();
        let on_its_way = self.going.as_ref().map_or(Duration::ZERO, |going| {
            let engine = &going.underway.prospect.engine;
            engine
                .ramp()
                .mul_f64(1.0 - f64::from(engine.progress(now).billionths()) / 1e9)
        });
        let confirm = Confirm {
            within,
            until: now.plus(on_its_way).plus(within),
        };
        self.store.extend(pending.id, confirm)?;
        if let Some(going) = &mut self.going {
            going.underway.record.change.confirm = Some(confirm);
        }
        let settled = Settled {
            change: pending.id.0,
            what: pending.change.what.clone(),
            writes: 0,
            phase: pending.change.phase_to.clone(),
        };
        let text = format!(
            "`{}` is undone in {} unless it is confirmed: wanshift confirm\n",
            pending.change.what,
            words::time(within)
        );
        Answer::of(&settled, text).map(Came::Answer)
    }

    fn too_late(&self, record: &Record) -> Failure {
        let over = format!("the time to confirm `{}` is over", record.change.what);
        match self.daemon {
            Some(_) => format!("{over}: it is being undone").into(),
            None => Failure::from(format!("{over}, and no daemon runs that undoes it"))
                .with_help("start it (systemctl start wanshift), or say `wanshift rollback`"),
        }
    }

    /// Refuses to take an order for the same again as `pending` where the files say something else by now: what they say
    /// would not be carried out.
    fn same_files(&self, asked: &Asked<'_>, pending: &Record) -> Result<(), Failure> {
        let files = files::from(&self.config, asked.request.style)?;
        let Some(id) = pending.change.policy_to else {
            return Ok(());
        };
        if self.store.policy(id)?.hash == hash(&files.facts()) {
            return Ok(());
        }
        Err(Failure::from(format!(
            "the policy files are others than those of `{}` (change {}), which waits to be confirmed; nothing was \
             written, and it has no more time than before",
            pending.change.what, pending.id.0
        ))
        .with_help(MAKE_WAY))
    }
}

/// What became of a change whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    /// There is none any more.
    No,
    /// It went back, and that is not on record: nothing else may be done before it is.
    Owed,
}

/// Whether it is the first change of a host, begun by itself: where it fails, the same files are tried again.
pub(super) fn is_own_first(record: &Record) -> bool {
    record.change.actor == ITSELF && record.change.before.is_none()
}

/// Whether a change is undone unless it is confirmed.
pub(super) fn waits(record: &Record) -> bool {
    match record.state {
        RecordState::Unconfirmed => true,
        RecordState::Applying => record.change.confirm.is_some(),
        RecordState::Undoing | RecordState::Stuck | RecordState::Done | RecordState::Undone => {
            false
        }
    }
}
