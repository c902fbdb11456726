//! A change: on record with its way back, carried out step by step, then closed; or taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use thiserror::Error;

use super::{Shortfall, converge};
use crate::clock::Clock;
use crate::engine::{Engine, EngineError};
use crate::kernel::Scope;
use crate::kernel::{Kernel, KernelError};
use crate::lower::{Facts, LowerError, Lowered, Names, lower, trees};
use crate::model::desired::{Desired, Holding};
use crate::model::filter::Table;
use crate::model::ids::Ids;
use crate::model::names::PhaseName;
use crate::model::node::{NodeKey, Place};
use crate::model::state::{KernelState, LeafKind, Observed};
use crate::plan::{Bounds, Goal};
use crate::policy::Policy;
use crate::store::{NewRecord, Record, RecordState, Store, StoreError, Supersede};
use crate::units::{Fraction, Moment, PerDirection};

/// Why a change did not come about.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// The kernel could not be read.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The phase cannot be entered.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What should hold cannot hold on this host.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Lower(Vec<LowerError>),
    /// It failed, and the state before is back.
    #[error("the change was taken back, the kernel holds what it held before")]
    Undone(#[source] Shortfall),
    /// It was interrupted, and the state before is back.
    #[error("interrupted: the change was taken back, the kernel holds what it held before")]
    Interrupted,
    /// It failed, and so did taking it back.
    #[error(
        "the change failed ({cause}), and taking it back did too; the next apply tries again to take it back"
    )]
    Stuck {
        /// Why it failed.
        cause: String,
        /// Why it could not be taken back.
        #[source]
        undo: Shortfall,
    },
}

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

/// What the kernel shows, and what its numbers mean.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What the kernel shows.
    pub observed: Observed,
    /// What it can do.
    pub facts: Facts,
    /// The numbers of places: from the store, and learnt from the kernel where the store has none.
    pub ids: Ids,
}

/// Looks at the kernel.
///
/// # Errors
/// Where it cannot be read.
pub fn survey(
    kernel: &mut dyn Kernel,
    policy: &Policy,
    mut ids: Ids,
) -> Result<Survey, KernelError> {
    let observed = kernel.observe(Scope::All)?;
    learn(&mut ids, policy, &observed.state);
    let present = policy
        .circuits()
        .values()
        .find(|circuit| observed.devices.contains_key(&circuit.device));
    let leaves = match present {
        Some(circuit) => kernel.leaves(&circuit.device)?,
        None => BTreeSet::from([LeafKind::Pfifo]),
    };
    let facts = Facts::of(&observed, leaves);
    Ok(Survey {
        observed,
        facts,
        ids,
    })
}

/// Takes from the kernel the numbers that the store does not know: those of the packet filter's chains,
/// which are named after places, and those at the top of each tree.
fn learn(ids: &mut Ids, policy: &Policy, state: &KernelState) {
    let tops = state.trees.iter().filter_map(|(device, tree)| {
        let circuit = policy.circuit_behind(device)?;
        let (minor, _) = tree
            .classes
            .iter()
            .find(|(_, class)| class.parent.is_none())?;
        Some((NodeKey::new(circuit.name.clone(), Place::Circuit), *minor))
    });
    let chains = state
        .table
        .iter()
        .flat_map(Table::class_ids)
        .map(|(key, id)| (key, id.minor));
    ids.learn(
        tops.chain(chains),
        state
            .trees
            .iter()
            .map(|(device, tree)| (device.clone(), tree.major)),
    );
}

/// What each place has in the kernel now, upward; what it shall have downward stands for what is not shaped.
#[must_use]
pub fn held(observed: &KernelState, names: &Names, goal: &Desired) -> BTreeMap<NodeKey, Holding> {
    let mut held = BTreeMap::new();
    for (device, tree) in &observed.trees {
        for (minor, class) in &tree.classes {
            let Some((key, goal)) = names
                .place(device, *minor)
                .and_then(|key| Some((key, goal.nodes.get(key)?)))
            else {
                continue;
            };
            let guarantee = PerDirection {
                up: class.rate,
                down: goal.guarantee.down,
            };
            let ceiling = PerDirection {
                up: class.ceil,
                down: goal.ceiling.down,
            };
            held.insert(
                key.clone(),
                Holding {
                    guarantee,
                    ceiling,
                    ..*goal
                },
            );
        }
    }
    held
}

/// What entering `phase` would come to, and from where.
#[derive(Debug, Clone)]
pub struct Prospect {
    /// Decides what holds on the way.
    pub engine: Engine,
    /// What the kernel shows.
    pub survey: Survey,
    /// What the kernel will hold at the end.
    pub goal: Lowered,
}

/// Works out what entering `phase` comes to. Writes nothing.
///
/// # Errors
/// Where the phase cannot be entered or cannot hold here.
pub fn prospect(
    kernel: &mut dyn Kernel,
    ids: Ids,
    policy: &std::sync::Arc<Policy>,
    phase: &PhaseName,
    now: Moment,
) -> Result<Prospect, ChangeError> {
    let engine = Engine::entering(policy.clone(), phase.clone())?;
    let mut survey = survey(kernel, policy, ids)?;
    let goal = engine.goal();
    let known = survey.ids.clone();
    let mut lowered =
        lower(policy, &goal, &survey.facts, &mut survey.ids).map_err(ChangeError::Lower)?;
    lowered.names.remember(&survey.observed.state, &known);
    let from = held(&survey.observed.state, &lowered.names, &goal);
    Ok(Prospect {
        engine: engine.starting(from, now),
        survey,
        goal: lowered,
    })
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
        mut prospect: Prospect,
        watcher: Watcher<'_>,
    ) -> Result<usize, ChangeError> {
        let phase_from = self.store.phase()?;
        let phase_to = prospect.engine.phase().clone();
        let change = NewRecord {
            opened: self.clock.date(),
            boot: order.boot.clone(),
            actor: order.actor.clone(),
            what: order.what.clone(),
            phase_from: phase_from.clone(),
            phase_to: Some(phase_to.clone()),
            goal: prospect.goal.state.clone(),
            way_back: prospect.survey.observed.state.clone(),
        };
        if change.goal == change.way_back && phase_from.as_ref() == Some(&phase_to) {
            return Ok(0);
        }
        let id = self
            .store
            .begin(&change, &prospect.survey.ids, Supersede::Nothing)?;
        let record = Record {
            id,
            state: RecordState::Applying,
            change,
        };
        let outcome = self.step_by_step(&mut prospect, watcher);
        self.settle(
            &record,
            outcome,
            &prospect.goal.names,
            &Bounds::of(prospect.engine.policy()),
        )
    }

    /// Takes everything of ours out of the kernel.
    ///
    /// # Errors
    /// Where something stays.
    pub fn tear_down(&mut self, order: &Order) -> Result<usize, ChangeError> {
        let way_back = self.kernel.observe(Scope::All)?.state;
        if way_back == KernelState::default() {
            return Ok(0);
        }
        let change = NewRecord {
            opened: self.clock.date(),
            boot: order.boot.clone(),
            actor: order.actor.clone(),
            what: order.what.clone(),
            phase_from: self.store.phase()?,
            phase_to: None,
            goal: KernelState::default(),
            way_back,
        };
        let id = self
            .store
            .begin(&change, &self.store.ids()?, Supersede::Unfinished)?;
        let record = Record {
            id,
            state: RecordState::Applying,
            change,
        };
        let outcome = take_out(self.kernel).map_err(Stop::Shortfall);
        self.settle(&record, outcome, &Names::default(), &Bounds::default())
    }

    /// Finishes the change that was cut off, where there is one: forward where it was on its way, back
    /// where it was being taken back. Says what it was.
    ///
    /// # Errors
    /// Where it can be finished neither way.
    pub fn recover(
        &mut self,
        policy: &std::sync::Arc<Policy>,
        watcher: Watcher<'_>,
    ) -> Result<Option<Record>, ChangeError> {
        let Some(record) = self.store.unfinished()? else {
            return Ok(None);
        };
        tracing::warn!(
            change = record.id.0,
            what = record.change.what,
            "finishing a change that was cut off"
        );
        let bounds = Bounds::of(policy);
        let ids = self.store.ids()?;
        let names = Names::new(policy, &ids);
        if record.state != RecordState::Applying {
            self.take_back(&record, &names, &bounds, "it was being taken back")?;
            return Ok(Some(record));
        }
        let now = self.clock.now();
        let prospect = record
            .change
            .phase_to
            .as_ref()
            .and_then(|phase| prospect(self.kernel, ids, policy, phase, now).ok())
            .filter(|prospect| prospect.goal.state == record.change.goal);
        let outcome = match prospect {
            // The files still say the same: the ramp goes on from the shares that are there.
            Some(mut prospect) => self.step_by_step(&mut prospect, watcher),
            None => {
                let goal = Goal {
                    state: &record.change.goal,
                    names: &names,
                    bounds: &bounds,
                };
                converge(self.kernel, &goal, Scope::All)
                    .map(|reached| reached.writes)
                    .map_err(Stop::Shortfall)
            }
        };
        self.settle(&record, outcome, &names, &bounds)?;
        Ok(Some(record))
    }

    fn step_by_step(
        &mut self,
        prospect: &mut Prospect,
        watcher: Watcher<'_>,
    ) -> Result<usize, Stop> {
        let Prospect {
            engine,
            survey,
            goal: last,
        } = prospect;
        let bounds = Bounds::of(engine.policy());
        let began = self.clock.now();
        let length = engine
            .policy()
            .phases()
            .get(engine.phase())
            .map(|phase| phase.ramp);
        let (mut writes, mut steps) = (0, 0);
        loop {
            let now = self.clock.now();
            let next = engine.next_deadline(now);
            let desired = engine.desired(now);
            let reached = match next {
                // On its way a ramp changes rates alone; the rules are looked at when it begins and ends.
                Some(_) => {
                    let trees = trees(engine.policy(), &desired, &survey.facts, &survey.ids);
                    let mut state = KernelState {
                        trees: trees.map_err(Stop::Lower)?,
                        table: None,
                    };
                    let scope = if steps == 0 {
                        Scope::All
                    } else {
                        Scope::Shaping
                    };
                    if scope == Scope::All {
                        state.table.clone_from(&last.state.table);
                    }
                    let goal = Goal {
                        state: &state,
                        names: &last.names,
                        bounds: &bounds,
                    };
                    converge(self.kernel, &goal, scope)
                }
                None => {
                    let goal = Goal {
                        state: &last.state,
                        names: &last.names,
                        bounds: &bounds,
                    };
                    converge(self.kernel, &goal, Scope::All)
                }
            };
            writes += reached.map_err(Stop::Shortfall)?.writes;
            steps += 1;
            let done = match next {
                None => Fraction::ONE,
                Some(_) => Fraction::of(now.since(began), length.unwrap_or_default()),
            };
            if watcher(Progress {
                desired: &desired,
                done,
            })
            .is_break()
                && next.is_some()
            {
                return Err(Stop::Interrupted);
            }
            match next {
                None => return Ok(writes),
                Some(next) => self.clock.wait_until(next),
            }
        }
    }

    fn settle(
        &mut self,
        record: &Record,
        outcome: Result<usize, Stop>,
        names: &Names,
        bounds: &Bounds,
    ) -> Result<usize, ChangeError> {
        let stop = match outcome {
            Ok(writes) => {
                self.store
                    .close(record, RecordState::Done, self.clock.date())?;
                return Ok(writes);
            }
            Err(stop) => stop,
        };
        self.take_back(record, names, bounds, &stop.to_string())?;
        Err(match stop {
            Stop::Shortfall(shortfall) => ChangeError::Undone(shortfall),
            Stop::Lower(errors) => ChangeError::Lower(errors),
            Stop::Interrupted => ChangeError::Interrupted,
        })
    }

    fn take_back(
        &mut self,
        record: &Record,
        names: &Names,
        bounds: &Bounds,
        why: &str,
    ) -> Result<(), ChangeError> {
        self.store.turn_back(record.id, RecordState::Undoing, why)?;
        let goal = Goal {
            state: &record.change.way_back,
            names,
            bounds,
        };
        match converge(self.kernel, &goal, Scope::All) {
            Ok(_) => Ok(self
                .store
                .close(record, RecordState::Undone, self.clock.date())?),
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

/// Why a change was broken off.
#[derive(Debug, Error)]
enum Stop {
    #[error(transparent)]
    Shortfall(Shortfall),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Lower(Vec<LowerError>),
    #[error("interrupted")]
    Interrupted,
}
