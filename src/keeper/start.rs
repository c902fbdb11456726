//! Takes up what a run before this one left: a change that was cut off, files that are new since.

use super::alter::{Going, Stance, engine};
use super::confirm::{is_own_first, waits};
use super::look::Unread;
use super::plan::FilesAre;
use super::{Asked, InForce, Keeper, files, words};
use crate::api::{Failure, Order, Request, Stage, Talk};
use crate::executor::recovery::Resumed;
use crate::kernel::Scope;
use crate::model::state::KernelState;
use crate::policy::Style;
use crate::store::{Extent, PolicyId, Record, RecordState};

/// Under this name the store remembers the hash of the files that were taken back last.
const TAKEN_BACK: &str = "taken_back";

impl Keeper {
    /// Begins where a run before this one ended: finishes what was cut off, and has the kernel hold what the files
    /// say now.
    pub fn start(&mut self, talk: &mut dyn Talk) {
        if self.is_blind() {
            self.say_footing();
            self.guard_blocks();
            return;
        }
        if matches!(self.store.intent(), Ok(None)) {
            // A store that was lost says nothing of what was blocked; the copy beside it may.
            self.guard_blocks();
        }
        let (at, now) = (self.clock.date(), self.clock.now());
        let files = match files::from(&self.config, Style::Plain) {
            Ok(files) => Some(files),
            Err(failure) => {
                if let Some(wrong) = &failure.files {
                    talk.say(&wrong.drawn);
                }
                self.judged(Err(failure)).ok()
            }
        };
        match self.recover(files.as_ref()) {
            Ok(Some((record, _))) => talk.say(&format!(
                "{}: it is taken up again",
                words::cut_off(&record, &self.boot, &self.zone())
            )),
            Ok(None) => {}
            Err(failure) => self
                .troubles
                .failed(Stage::Apply, failure.to_string(), at, now),
        }
        if let Some(files) = files {
            if matches!(self.store.unfinished(), Ok(Some(_))) {
                self.looks.unread = Unread::Waiting;
            } else {
                let taken = self.take_in(files, talk);
                self.judged(taken).ok();
            }
        }
        if let Ok(Some(intent)) = self.store.intent()
            && intent.extent != Extent::Whole
        {
            talk.say(&format!(
                "`{}` of {} took out what was held: `wanshift apply` puts it back",
                intent.what, intent.actor
            ));
        }
        self.looks.soon();
        self.say_footing();
    }

    /// Remembers that the files of `policy` are being taken back, where they are others than those of `before`: they
    /// still lie where they are read, and must not come into force by themselves when a daemon starts.
    pub(super) fn keep_out(
        &mut self,
        policy: Option<PolicyId>,
        before: Option<PolicyId>,
    ) -> Result<(), Failure> {
        if let Some(id) = policy.filter(|_| policy != before)
            && let Ok(stored) = self.store.policy(id)
        {
            self.store.remember(TAKEN_BACK, &stored.hash)?;
        }
        Ok(())
    }

    /// The same for the files of a change that goes back. That does not wait for room on a disk.
    pub(super) fn keep_out_what_goes_back(&mut self, record: &Record) {
        let change = &record.change;
        let before = change.before.as_ref().and_then(|before| before.policy);
        if let Err(error) = self.keep_out(change.policy_to, before) {
            tracing::warn!(%error, "what is taken back may be taken in again at the next start");
        }
    }

    /// Whether the files that lie there are those that were taken back.
    pub(super) fn lie_taken_back(&self) -> bool {
        let out: Option<String> = self.store.remembered(TAKEN_BACK).unwrap_or_default();
        out.filter(|hash| !hash.is_empty())
            .is_some_and(|out| files::hash_of(&self.config).is_some_and(|hash| hash == out))
    }

    /// Forgets that files were taken back, where they are those of `policy`: somebody orders them again.
    pub(super) fn let_in(&mut self, policy: &InForce) -> Result<(), Failure> {
        if self.store.remembered(TAKEN_BACK)?.as_ref() == Some(&policy.hash) {
            self.store.remember(TAKEN_BACK, &"")?;
        }
        Ok(())
    }

    /// Puts files into force that are others than those that were, unless a change waits to be confirmed.
    pub(super) fn take_in(
        &mut self,
        files: files::Files,
        talk: &mut dyn Talk,
    ) -> Result<(), Failure> {
        let hash = crate::store::hash(&files.facts());
        let same = self
            .in_force
            .as_ref()
            .is_some_and(|policy| policy.hash == hash);
        if same || self.store.unfinished()?.is_some() {
            return Ok(());
        }
        if self.store.remembered(TAKEN_BACK)? == Some(hash) {
            talk.say(
                "the policy files are those that were taken back: the policy of before stays in force; \
                 `wanshift apply` puts them into force again",
            );
            return Ok(());
        }
        let (phase, stance) = match self.store.intent()? {
            Some(intent) if intent.extent != Extent::Whole => return Ok(()),
            Some(intent) if !files.policy.phases().contains_key(&intent.phase) => {
                return Err(format!(
                    "phase `{}` holds, and the policy files no longer have it: the policy of before stays in force; \
                     enter another first, or put it back",
                    intent.phase
                )
                .into());
            }
            Some(intent) => (intent.phase, Stance::Keeps),
            None if self.kernel.observe(Scope::All)?.state == KernelState::default() => {
                (files.policy.start().clone(), Stance::Enters)
            }
            None => {
                let what = format!(
                    "the kernel holds what wanshift made, but the store in {} does not know which phase that is; \
                     it stays as it is. Say which: wanshift phase NAME",
                    self.state.display()
                );
                let (at, now) = (self.clock.date(), self.clock.now());
                self.troubles.failed(Stage::Store, what, at, now);
                return Ok(());
            }
        };
        let known = self.latched(&files.policy, talk)?;
        let engine = engine(&files.policy, phase, &known.latches, stance)?;
        let admitted = self.admit(&files)?;
        let order = self.by_itself("the policy files are new".to_owned());
        self.because.clear();
        self.begin(&order, admitted, engine, None, talk).map(|_| ())
    }

    /// Takes up what was cut off before `request` is carried out, where that is to be finished first: what goes back
    /// goes back, and what was on the way goes on, unless another phase is wanted now.
    ///
    /// # Errors
    /// Where the policy does not load, which changes nothing; where it can be finished neither way.
    pub fn finish_first(
        &mut self,
        request: &Request,
        talk: &mut dyn Talk,
    ) -> Result<Option<(Record, usize)>, Failure> {
        let (wanted, force) = match &request.order {
            Order::Apply { force, .. } => (None, *force),
            Order::Phase { name, force, .. } => (Some(name), *force),
            Order::Status
            | Order::History
            | Order::Conditions
            | Order::Confirm
            | Order::Rollback { .. }
            | Order::Event { .. }
            | Order::ResetCondition { .. }
            | Order::Teardown
            | Order::TeardownShaping => return Ok(None),
        };
        let Some(record) = self.store.unfinished()? else {
            return Ok(None);
        };
        if waits(&record) && !self.is_overdue(&record) {
            return Ok(None);
        }
        let onward = record.state == RecordState::Applying;
        if onward && wanted.is_some() && wanted != record.change.phase_to.as_ref() {
            talk.say(&format!(
                "{}: going on from where it left off",
                words::cut_off(&record, &self.boot, &self.zone())
            ));
            return Ok(None);
        }
        let files = files::from(&self.config, request.style).inspect_err(|_| {
            self.say_what_stays_open(Some(&record), talk);
        })?;
        talk.say(&format!(
            "{}: finishing it first",
            words::cut_off(&record, &self.boot, &self.zone())
        ));
        let phase = words::phase_after(&record);
        if let Some(phase) = phase {
            let asked = Asked { request, actor: "" };
            self.spare(&asked, &files.policy, &phase, force, talk)?;
        }
        self.recover(Some(&files))
    }

    /// Takes up again the change that was cut off, forward or back. Says what it was, and how much was
    /// written where it is over at once.
    ///
    /// # Errors
    /// Where it can be finished neither way.
    pub fn recover(
        &mut self,
        files: Option<&files::Files>,
    ) -> Result<Option<(Record, usize)>, Failure> {
        let Some(mut record) = self.store.unfinished()? else {
            return Ok(None);
        };
        let policy = self.policy_of(&record, files)?;
        let other_boot = record.change.boot != self.boot;
        let over = match &policy {
            None => Err("its policy cannot be read any more"),
            Some(_) if record.change.confirm.is_some() && other_boot => {
                Err("the machine was started anew before it was confirmed")
            }
            Some(_) if waits(&record) && self.is_overdue(&record) => {
                Err("it was not confirmed in time")
            }
            Some(policy) => Ok(policy.clone()),
        };
        let policy = match over {
            Ok(policy) => policy,
            Err(why) => {
                let writes = self.take_back(&record, why)?;
                record.state = RecordState::Undone;
                return Ok(Some((record, writes)));
            }
        };
        if record.state != RecordState::Applying && !is_own_first(&record) {
            self.keep_out_what_goes_back(&record);
        }
        let (standing, absent) = (self.standing(&policy.policy)?, self.looks.absent);
        match self.executor().resume(&policy.policy, standing, absent)? {
            Resumed::Nothing => Ok(None),
            Resumed::Over(record, writes) => {
                self.take_policy_from_store()?;
                self.try_to_keep_copy();
                Ok(Some((*record, writes)))
            }
            Resumed::Underway(underway) => {
                let phase_now = self.store.phase()?;
                let files = FilesAre::by(&self.store, &policy.hash)?;
                let plan = self.described(&underway.prospect, phase_now, files);
                let next = self.clock.now();
                self.going = Some(Going {
                    underway: *underway,
                    policy,
                    plan,
                    writes_to_finish: 0,
                    next,
                    told: 0,
                });
                Ok(Some((record, 0)))
            }
        }
    }

    /// The policy that a change on record puts into force; of one that does not say, the one that `files` say.
    pub(super) fn policy_of(
        &mut self,
        record: &Record,
        files: Option<&files::Files>,
    ) -> Result<Option<InForce>, Failure> {
        match (record.change.policy_to, files) {
            (Some(id), _) => Ok(self.stored_policy(id)?),
            (None, Some(files)) => Ok(Some(self.admit(files)?)),
            (None, None) => Ok(self.in_force.clone()),
        }
    }

    /// A policy that does not load changes nothing: not even what was cut off is finished then, because whether
    /// its way there is still wanted cannot be known. But it is said.
    pub(super) fn say_what_stays_open(&self, unfinished: Option<&Record>, talk: &mut dyn Talk) {
        if let Some(record) = unfinished
            && self.going.is_none()
        {
            talk.say(&format!(
                "note: {}, and stays so until the policy loads; the kernel conserves as it is",
                words::cut_off(record, &self.boot, &self.zone())
            ));
        }
    }
}
