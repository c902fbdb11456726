//! Looks after what was reached: what somebody else changed is put right, and what time, devices or conditions
//! change is carried out.

use std::sync::Arc;
use std::time::Duration;

use super::alter::{Stance, engine};
use super::confirm::Expired;
use super::footing::Footing;
use super::{Came, Keeper, RETRY, Reached, known, words};
use crate::api::{Answer, Failure, Repairs, Silent, Stage, Talk};
use crate::clock::Clock;
use crate::engine::dates::{Dates, SavedDates};
use crate::executor::change::Order;
use crate::executor::converge;
use crate::executor::survey::{Prospect, prospect_with};
use crate::kernel::Scope;
use crate::lower::{Absent, missing};
use crate::model::desired::Standing;
use crate::model::readings::WallClock;
use crate::model::state::KernelState;
use crate::plan::{Bounds, Goal, Repaired, diff, repaired};
use crate::policy::Policy;
use crate::store::{Extent, RecordState};
use crate::units::Moment;

/// Who orders what comes about by itself.
pub(super) const ITSELF: &str = "wanshift";
/// So long after something was seen the kernel is looked at: what belongs together comes together.
const SETTLE: Duration = Duration::from_millis(30);
/// Looks are so far apart at the least, however much goes on beside us.
const APART: Duration = Duration::from_millis(300);
/// So often it is kept what the clock showed.
const KEEP_DATES: Duration = Duration::from_secs(600);
/// So often it is looked at although nothing was seen: a listener may have missed something.
const ANYWAY: Duration = Duration::from_secs(60);
/// So many things of one repair are logged.
const LOGGED: usize = 5;

/// When the kernel was looked at and is to be looked at again, and what that brought.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// What was seen of the clock.
    pub dates: Option<Dates>,
    /// When that was last kept, and whether the date was in doubt then.
    kept: Option<Moment>,
    doubted: bool,
    /// Whether devices that are not there are waited for.
    pub absent: Absent,
    last: Option<Moment>,
    due: Option<Moment>,
    rules: Rules,
    pub unread: Unread,
    /// Before this, what was not confirmed is not taken back again after that failed.
    expire_again: Moment,
    /// When a calendar changes what holds, a drained block begins to cut, or a phase begins.
    pub calendar_due: Option<Moment>,
    pub repairs: Repairs,
}

/// Whether somebody may have changed our rules since they were last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Rules {
    #[default]
    AsLeft,
    MayDiffer,
}

/// Policy files that are still to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Unread {
    #[default]
    Nothing,
    /// Once the change on record has come to its end.
    Waiting,
    /// In its time, and as long as nothing else holds: the first change, begun by itself, did not come about.
    First,
}

impl Looks {
    /// The date, as far as it may be believed.
    pub fn date(&mut self, clock: &dyn Clock, now: Moment) -> WallClock {
        match &mut self.dates {
            Some(dates) => dates.judge(clock.wall(), now),
            None => clock.wall(),
        }
    }

    /// What to keep of the clock, where that is to be kept now.
    pub fn dates_to_keep(&mut self, now: Moment) -> Option<SavedDates> {
        let dates = self.dates.as_ref()?;
        let doubted = dates.next().is_some() || self.doubted;
        let stale = self.kept.is_none_or(|kept| now.since(kept) >= KEEP_DATES);
        if !stale && doubted == self.doubted {
            return None;
        }
        self.doubted = dates.next().is_some();
        self.kept = Some(now);
        Some(dates.saved())
    }

    /// Has the kernel be looked at as soon as somebody wakes us.
    pub const fn soon(&mut self) {
        self.due = Some(Moment(Duration::ZERO));
    }

    /// Leaves it to the next try of what failed.
    pub const fn later(&mut self) {
        self.due = None;
    }

    /// Whether the rules may differ from how they were left; asked once for each time.
    pub fn rules_may_differ(&mut self) -> bool {
        std::mem::take(&mut self.rules) == Rules::MayDiffer
    }

    fn seen(&mut self, now: Moment) {
        let apart = self.last.map(|last| last.plus(APART));
        let at = now.plus(SETTLE).max(apart.unwrap_or_default());
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

impl Keeper {
    /// Something of ours may have been changed by somebody else.
    pub fn seen(&mut self) {
        let now = self.clock.now();
        self.looks.rules = Rules::MayDiffer;
        self.looks.seen(now);
    }

    /// When to wake it at the latest; none where only something that happens can change what holds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        if let Some(next) = self.next_step() {
            return Some(next);
        }
        if self.is_blind() {
            let again = self.troubles.when(Stage::Store);
            return again.into_iter().chain(self.looks.due).min();
        }
        let anyway = self.looks.last.map(|last| last.plus(ANYWAY));
        [
            self.looks.due,
            self.conditions_due,
            self.looks.calendar_due,
            self.troubles.again(),
            self.confirm_due()
                .map(|due| due.max(self.looks.expire_again)),
            anyway,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn by_itself(&self, what: String) -> Order {
        Order {
            actor: ITSELF.to_owned(),
            what,
            boot: self.boot.clone(),
        }
    }

    /// Does what is due by now. Says what became of a change that came to its end.
    pub fn wake(&mut self, talk: &mut dyn Talk) -> Option<Result<Answer, Failure>> {
        let now = self.clock.now();
        self.looks.date(self.clock.as_ref(), now);
        self.keep_dates();
        if let Some(next) = self.next_step() {
            return if next <= now { self.step(talk) } else { None };
        }
        self.regain_in_time(now);
        if self.is_blind() {
            self.looks.due = None;
            self.guard_blocks();
            self.looks.last = Some(self.clock.now());
            return None;
        }
        match self.expire() {
            Ok(Expired::No) => {}
            Ok(Expired::Owed) => {
                self.looks.later();
                return None;
            }
            Err(failure) => {
                self.looks.later();
                self.looks.expire_again = now.plus(RETRY);
                self.fail(Stage::Apply, &failure);
                return None;
            }
        }
        let due = self.next_deadline().is_some_and(|due| due <= now);
        if due {
            self.looks.last = Some(now);
            self.looks.due = None;
            self.conditions_due = None;
            self.looks.calendar_due = None;
            self.looks.rules = Rules::AsLeft;
            let looked = self.look_after();
            let looked = match (looked, self.unwritten.take()) {
                (Ok(()), Some(failure)) => Err((Stage::Store, failure)),
                (looked, _) => looked,
            };
            match looked {
                // What was begun, or is tried again later, is not done.
                Ok(()) if self.going.is_some() || self.looks.unread == Unread::First => {}
                Ok(()) => {
                    for stage in [Stage::Observe, Stage::Plan, Stage::Apply] {
                        self.troubles.over(stage);
                    }
                    if self.is_firm() {
                        self.troubles.over(Stage::Store);
                    }
                }
                Err((stage, failure)) => self.fail(stage, &failure),
            }
            let now = self.clock.now();
            self.looks.last = Some(now);
            self.troubles.tried(now);
        }
        None
    }

    pub(super) fn fail(&mut self, stage: Stage, failure: &Failure) {
        let (at, now) = (self.clock.date(), self.clock.now());
        let what = match (&self.footing, stage) {
            // What cannot be put on record then has that cause.
            (Footing::Weak(weak), Stage::Store) => weak.why().to_owned(),
            _ => failure.to_string(),
        };
        self.troubles.failed(stage, what, at, now);
    }

    /// Compares what should hold with what the kernel holds.
    fn look_after(&mut self) -> Result<(), (Stage, Failure)> {
        let store = |error: crate::store::StoreError| (Stage::Store, Failure::from(error));
        if let Some(record) = self.store.unfinished().map_err(store)? {
            let taken_up = match record.state {
                RecordState::Undoing | RecordState::Stuck => self.go_on_back(&record),
                // It was not finished, or that is not on record.
                RecordState::Applying => self.recover(None).map(drop),
                RecordState::Unconfirmed | RecordState::Done | RecordState::Undone => Ok(()),
            };
            taken_up.map_err(|failure| (Stage::Apply, failure))?;
            if record.state != RecordState::Unconfirmed {
                return Ok(());
            }
        }
        let Some(intent) = self.store.intent().map_err(store)? else {
            if self.daemon.is_some() {
                self.try_to_guard_blocks()
                    .map_err(|failure| (Stage::Apply, failure))?;
            }
            self.nothing_known()?;
            self.read_what_is_unread();
            return Ok(());
        };
        if intent.extent != Extent::Whole {
            self.troubles.over(Stage::Wait);
        }
        match intent.extent {
            Extent::Nothing => return Ok(()),
            Extent::Blocks => return self.hold_blocks(),
            Extent::Whole => {}
        }
        let Some(in_force) = self.in_force.clone() else {
            let why = "the policy that is to hold cannot be read: the kernel stays as it is; see `wanshift check`, then `wanshift apply`";
            return Err((Stage::Policy, why.into()));
        };
        let policy = in_force.policy.clone();
        let latches = self.true_on_disk(&policy).map_err(store)?;
        let pending = self.store.unfinished().map_err(store)?.is_some();
        if !pending && std::mem::take(&mut self.looks.unread) == Unread::Waiting {
            self.read_files_at_last();
            return Ok(());
        }
        let next = match pending {
            true => Ok(None),
            false => self.next_phase(&policy, &intent, &latches),
        };
        let next = match next {
            Ok(next) => next,
            // Nothing begins by a date that cannot be put on record.
            Err((_, failure)) => {
                self.unwritten = Some(failure);
                None
            }
        };
        if let Some((phase, what)) = next {
            let entered = engine(&policy, phase, &latches, Stance::Enters)
                .map_err(Failure::from)
                .and_then(|engine| {
                    self.because.clear();
                    let order = self.by_itself(what);
                    self.begin(&order, in_force.clone(), engine, None, &mut Silent)
                });
            return entered
                .map(|_| ())
                .map_err(|failure| (Stage::Plan, failure));
        }
        let plan = |failure: Failure| (Stage::Plan, failure);
        let engine = self
            .keeping(&policy, intent.phase, &latches)
            .map_err(plan)?;
        let ids = self.store.ids().map_err(store)?;
        let now = self.clock.now();
        let prospect = prospect_with(
            self.kernel.as_mut(),
            ids,
            engine.clone(),
            now,
            self.looks.absent,
        )
        .map_err(|error| plan(error.into()))?;
        self.say_what_is_missing(&policy, &prospect);
        if prospect.goal.state == prospect.survey.observed.state {
            self.reached = Some(Reached::of(&prospect));
            self.because.clear();
            let noted = self.note_blocks();
            return noted.map_err(|failure| (Stage::Store, failure));
        }
        let goal = prospect.engine.goal();
        let reached = self
            .reached
            .as_ref()
            .and_then(|reached| reached.desired.as_deref());
        let meant = reached.is_some_and(|reached| *reached != goal);
        if meant && !pending {
            let what = match std::mem::take(&mut self.because) {
                because if because.is_empty() => "what it stands on has changed".to_owned(),
                because => because.join("; "),
            };
            let order = self.by_itself(what);
            let begun = self.begin(&order, in_force, engine, None, &mut Silent);
            return match begun {
                Ok(Came::Answer(_) | Came::Underway) => Ok(()),
                Err(failure) => Err((Stage::Apply, failure)),
            };
        }
        self.put_right(&prospect)
    }

    /// Brings the kernel back to what was reached before. It is no change: nothing new is to hold.
    fn put_right(&mut self, prospect: &Prospect) -> Result<(), (Stage, Failure)> {
        let bounds = Bounds::of(prospect.engine.policy(), &prospect.engine.pools());
        let goal = Goal {
            state: &prospect.goal.state,
            names: &prospect.goal.names,
            bounds: &bounds,
        };
        let plan = diff(&prospect.survey.observed, &goal);
        let reached = converge(self.kernel.as_mut(), &goal, Scope::All)
            .map_err(|error| (Stage::Apply, error.into()))?;
        let writes = words::writes(reached.writes);
        let before = self.reached.replace(Reached::of(prospect));
        let because = std::mem::take(&mut self.because);
        let changes = || {
            let reasons = prospect.engine.reasons();
            repaired(&plan, &prospect.goal.names, &reasons)
        };
        match before {
            // Devices come and go, and what is to hold on them with them.
            Some(before) if before.is_but_for_edges(&prospect.goal.state) => {
                self.put_back(&writes, changes());
            }
            Some(_) if because.is_empty() => {
                tracing::info!("what it stands on has changed: {writes}");
            }
            Some(_) => tracing::info!("{}: {writes}", because.join("; ")),
            // Nobody looked for a while: whether others did this is not known.
            None => {
                tracing::info!("the kernel is brought to what should hold: {writes}");
                for line in few(&changes()) {
                    tracing::info!("brought: {line}");
                }
            }
        }
        self.note_blocks()
            .map_err(|failure| (Stage::Store, failure))
    }

    /// Says, and keeps in mind, what somebody else had changed and was put back.
    pub(super) fn put_back(&mut self, writes: &str, changes: Vec<Repaired>) {
        let what = format!("somebody else changed what is ours: {writes} to put it right");
        tracing::warn!("{what}");
        for line in few(&changes) {
            tracing::warn!("drift: {line}");
        }
        self.looks.repairs.add(self.clock.date(), what, changes);
    }

    /// Reads policy files where that had to wait, and nothing holds.
    fn read_what_is_unread(&mut self) {
        let now = self.clock.now();
        match self.looks.unread {
            Unread::Nothing => return,
            Unread::First if !self.troubles.is_due(Stage::Apply, now) => return,
            Unread::First | Unread::Waiting => {}
        }
        self.looks.unread = Unread::Nothing;
        self.read_files_at_last();
    }

    /// The store knows of nothing that is to hold.
    pub(super) fn nothing_known(&mut self) -> Result<(), (Stage, Failure)> {
        let held = self.kernel.observe(Scope::All);
        let held = held.map_err(|error| (Stage::Observe, error.into()))?.state;
        self.troubles.over(Stage::Wait);
        if held == KernelState::default() {
            return Ok(());
        }
        let why = format!(
            "the kernel holds what wanshift made, but the store in {} does not know which phase that is; \
             it stays as it is. Say which: wanshift phase NAME",
            self.state.display()
        );
        Err((Stage::Store, why.into()))
    }

    /// What stands beside the phase.
    pub(super) fn standing(&mut self, policy: &Policy) -> Result<Standing, Failure> {
        let now = self.clock.now();
        let date = self.looks.date(self.clock.as_ref(), now);
        let stood = known::standing(policy, Some(&self.store), date, &self.boot, now)?;
        if let Some(due) = stood.due {
            self.looks.due_at(due);
        }
        Ok(stood.standing)
    }

    fn say_what_is_missing(&mut self, policy: &Policy, prospect: &Prospect) {
        let missing = missing(policy, &prospect.survey.facts);
        let devices = missing.iter().map(|(device, _)| device.clone());
        self.missing = Some(devices.collect());
        if missing.is_empty() {
            self.troubles.over(Stage::Wait);
            return;
        }
        let told: Vec<String> = missing
            .iter()
            .map(|(device, owner)| format!("device {device} of {owner}"))
            .collect();
        let what = format!(
            "not there, and waited for: {}; all else holds",
            told.join(", ")
        );
        self.fail(Stage::Wait, &what.into());
    }
}

/// What was put back, each in a line for the log; of many the first ones, and how many more there were.
fn few(changes: &[Repaired]) -> impl Iterator<Item = String> {
    let first = changes.iter().take(LOGGED);
    let more = changes.len().saturating_sub(LOGGED);
    let more = (more > 0).then(|| format!("and {more} more"));
    first.map(|change| change.what.clone()).chain(more)
}

impl Reached {
    /// Whether `state` is what was reached; whose the edge is that a feed hangs in shows in the feed alone, and not
    /// while that is gone.
    fn is_but_for_edges(&self, state: &KernelState) -> bool {
        let feeds = self.state.feeds.keys().eq(state.feeds.keys());
        let of_others = KernelState {
            feeds: self.state.feeds.clone(),
            ..state.clone()
        };
        feeds && self.state == of_others
    }

    pub fn of(prospect: &Prospect) -> Self {
        Self {
            desired: Some(Arc::new(prospect.engine.goal())),
            state: prospect.goal.state.clone(),
            names: prospect.goal.names.clone(),
        }
    }
}

impl Looks {
    /// Has a calendar be asked again at `moment` at the latest.
    pub fn due_at(&mut self, moment: Moment) {
        self.calendar_due = Some(self.calendar_due.map_or(moment, |due| due.min(moment)));
    }
}
