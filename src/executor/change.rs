//! A change: on record with its way back, carried out step by step, then closed; or taken back.

use std::ops::ControlFlow;

use super::error::{ChangeError, Stop};
use super::survey::Prospect;
use super::{Shortfall, converge};
use crate::clock::Clock;
use crate::kernel::{Kernel, Scope};
use crate::lower::{Names, trees};
use crate::model::desired::Desired;
use crate::model::filter::Table;
use crate::model::ids::Ids;
use crate::model::state::KernelState;
use crate::plan::{Bounds, Goal, restorable};
use crate::store::{
    Confirm, Extent, NewRecord, PolicyId, Record, RecordState, Store, StoreError, Supersede,
};
use crate::units::{Fraction, Moment};

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

/// What goes on record of a change beside what it does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// The policy that it puts into force.
    pub policy: Option<PolicyId>,
    /// Until when it is to be confirmed, where it is.
    pub confirm: Option<Confirm>,
    /// The change whose place it takes, on whose way the kernel stands: the way back is that one's.
    pub instead_of: Option<Record>,
}

/// How far a change has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What holds at this step.
    pub desired: Desired,
    /// How much of the time is over.
    pub done: Fraction,
}

/// Told after each step; says whether to go on.
pub type Watcher<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// A change that is on record and on its way.
#[derive(Debug)]
pub struct Underway {
    /// Its record.
    pub record: Record,
    /// What it comes to.
    pub prospect: Prospect,
    bounds: Bounds,
    /// On its way a ramp changes rates alone; the rules are looked at where it begins and ends.
    scope: Scope,
    /// How much was written so far.
    pub writes: usize,
}

impl Underway {
    pub(super) fn new(record: Record, prospect: Prospect) -> Self {
        let bounds = Bounds::of(prospect.engine.policy(), &prospect.engine.pools());
        Self {
            record,
            prospect,
            bounds,
            scope: Scope::All,
            writes: 0,
        }
    }

    /// Whether the next step looks at the packet filter, too.
    #[must_use]
    pub fn looks_at_all(&self) -> bool {
        self.scope == Scope::All
    }

    /// Has the next step look at the packet filter, too: somebody may have changed it.
    pub const fn look_at_all(&mut self) {
        self.scope = Scope::All;
    }
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stepped {
    /// How far it has come.
    pub progress: Progress,
    /// When the next is due; none where the goal is reached.
    pub next: Option<Moment>,
}

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
        match self.begin_change(order, prospect.clone(), Terms::default())? {
            Some(underway) => self.to_the_end(underway, watcher),
            None => Ok(0),
        }
    }

    /// Puts on record what `prospect` comes to; nothing is written to the kernel yet. None where there is nothing
    /// to do, not even on paper.
    ///
    /// # Errors
    /// Where it cannot be put on record: then nothing may be done.
    pub fn begin_change(
        &mut self,
        order: &Order,
        prospect: Prospect,
        terms: Terms,
    ) -> Result<Option<Underway>, ChangeError> {
        let held = &prospect.survey.observed.state;
        let goal = &prospect.goal.state;
        let before = self.store.intent()?;
        let phase_to = prospect.engine.phase().clone();
        let stays = before.as_ref().is_some_and(|before| {
            before.phase == phase_to
                && before.extent == Extent::Whole
                && (before.policy == terms.policy || terms.policy.is_none())
        });
        if goal == held && stays && terms.instead_of.is_none() {
            return Ok(None);
        }
        let bounds = Bounds::of(prospect.engine.policy(), &prospect.engine.pools());
        let bounds_before = self.store.bounds()?.unwrap_or_else(|| bounds.clone());
        let supersede = match terms.instead_of {
            Some(_) => Supersede::Unfinished,
            None => Supersede::Nothing,
        };
        let (before, way_back, bounds_before) = match terms.instead_of {
            Some(Record { change, .. }) => (
                change.before,
                change.way_back,
                change.bounds.and(&change.bounds_before),
            ),
            None => {
                let way_back = restorable(held, goal, &bounds_before);
                (before, way_back, bounds_before)
            }
        };
        let change = NewRecord {
            opened: self.clock.date(),
            boot: order.boot.clone(),
            actor: order.actor.clone(),
            what: order.what.clone(),
            before,
            phase_to: Some(phase_to),
            policy_to: terms.policy,
            extent: Extent::Whole,
            confirm: terms.confirm,
            goal: goal.clone(),
            way_back,
            bounds,
            bounds_before,
        };
        let record = self.begin(change, &prospect.survey.ids, supersede)?;
        Ok(Some(Underway::new(record, prospect)))
    }

    /// Does what is due by now of a change. To be called again at [`Stepped::next`].
    ///
    /// # Errors
    /// Where the kernel does not hold what it should at this step: the change is to be settled then.
    pub fn step(&mut self, underway: &mut Underway) -> Result<Stepped, Stop> {
        let Prospect {
            engine,
            survey,
            goal: last,
        } = &underway.prospect;
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
            underway.scope = Scope::All;
        }
        if underway.scope == Scope::Shaping {
            state.table = None;
        }
        let goal = Goal {
            state: &state,
            names: &last.names,
            bounds: &underway.bounds,
        };
        let reached = converge(self.kernel, &goal, underway.scope).map_err(Stop::Shortfall)?;
        underway.writes += reached.writes;
        underway.scope = Scope::Shaping;
        let done = engine.progress(now);
        Ok(Stepped {
            progress: Progress { desired, done },
            next,
        })
    }

    /// Takes all the steps of a change, each in its time, and settles it.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub fn to_the_end(
        &mut self,
        mut underway: Underway,
        watcher: Watcher<'_>,
    ) -> Result<usize, ChangeError> {
        let outcome = loop {
            let stepped = match self.step(&mut underway) {
                Ok(stepped) => stepped,
                Err(stop) => break Err(stop),
            };
            let broken_off = watcher(&stepped.progress).is_break();
            match stepped.next {
                None => break Ok(()),
                Some(_) if broken_off => break Err(Stop::Interrupted),
                Some(next) => self.clock.wait_until(next),
            }
        };
        self.settle(&underway, outcome)
    }

    /// Closes a change that came about, or has it wait for being confirmed; takes back one that did not come
    /// about. Says how much was written.
    ///
    /// # Errors
    /// Where it did not come about.
    pub fn settle(
        &mut self,
        underway: &Underway,
        outcome: Result<(), Stop>,
    ) -> Result<usize, ChangeError> {
        let outcome = outcome.map(|()| underway.writes);
        self.settled(&underway.record, outcome, &underway.prospect.goal.names)
    }

    /// Takes everything of ours out of the kernel, or the shaping alone where `extent` leaves blocks. A change
    /// that was cut off, or waits to be confirmed, ends with it.
    ///
    /// # Errors
    /// [`ChangeError::Store`] where it cannot be put on record: then nothing was done. Else where something
    /// stays.
    pub fn tear_down(
        &mut self,
        order: &Order,
        goal: KernelState,
        extent: Extent,
    ) -> Result<usize, ChangeError> {
        let held = self.kernel.observe(Scope::All)?.state;
        let before = self.store.told()?;
        let stays = before.as_ref().is_none_or(|before| before.extent == extent);
        if held == goal && stays && self.store.unfinished()?.is_none() {
            return Ok(0);
        }
        let bounds_before = self.store.bounds()?.unwrap_or_default();
        let change = NewRecord {
            opened: self.clock.date(),
            boot: order.boot.clone(),
            actor: order.actor.clone(),
            what: order.what.clone(),
            before,
            phase_to: None,
            policy_to: None,
            extent,
            confirm: None,
            way_back: restorable(&held, &goal, &bounds_before),
            goal,
            bounds: Bounds::default(),
            bounds_before,
        };
        let ids = self.store.ids()?;
        let record = self.begin(change, &ids, Supersede::Unfinished)?;
        let outcome = self.reach_stored(&record, &record.change.goal, &Names::default());
        self.settled(&record, outcome.map_err(Stop::Shortfall), &Names::default())
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

    /// Closes a change that came about, takes back one that did not.
    pub(super) fn settled(
        &mut self,
        record: &Record,
        outcome: Result<usize, Stop>,
        names: &Names,
    ) -> Result<usize, ChangeError> {
        match outcome {
            Ok(writes) => {
                let at = self.clock.date();
                match record.change.confirm {
                    Some(confirm) => {
                        let confirm = confirm.held_since(self.clock.now());
                        self.store.reach(record, confirm.until, at)?;
                    }
                    None => self.store.close(record, RecordState::Done, at)?,
                }
                Ok(writes)
            }
            Err(stop) => {
                self.take_back(record, names, &stop.to_string())?;
                Err(ChangeError::Undone(stop))
            }
        }
    }
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
