//! What should hold now: a phase, or the way into it.
//!
//! The engine knows no clock and no kernel. It is told what was asked for and what time it is, and
//! answers with [`Desired`] and the next time at which the answer will be another.

pub mod calendar;
pub mod condition;
pub mod dates;
pub mod effects;
pub mod meter;
mod ramp;
mod reasons;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::model::desired::{Desired, Hold, Holding, Reasons, Standing};
use crate::model::hold::Established;
use crate::model::names::{BlockName, ConditionName, PhaseName, PoolName};
use crate::model::node::{NodeKey, Place};
use crate::model::phase::Phase;
use crate::policy::{Policy, nearest};
use crate::units::{Direction, Fraction, Moment, Rate, Rates};

/// How far apart the steps of a ramp are.
pub const STEP: Duration = Duration::from_millis(100);

/// Decides what should hold under one policy.
#[derive(Debug, Clone)]
pub struct Engine {
    policy: Arc<Policy>,
    phase: PhaseName,
    latched: BTreeSet<ConditionName>,
    standing: Standing,
    ramp: Option<Ramp>,
}

/// The way from what held into the phase.
#[derive(Debug, Clone)]
struct Ramp {
    start: Desired,
    began: Moment,
    length: Duration,
}

/// Why a phase cannot be entered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// There is none of that name.
    #[error("there is no phase `{phase}`; {}", meant(phase, known))]
    NoSuchPhase {
        /// What was asked for.
        phase: PhaseName,
        /// What there is.
        known: Vec<PhaseName>,
    },
    /// Its condition is not true.
    #[error(
        "phase `{phase}` requires the condition `{condition}`, which is not true; `wanshift condition` shows what that waits for"
    )]
    Requires {
        /// The phase.
        phase: PhaseName,
        /// The condition.
        condition: ConditionName,
    },
    /// The condition at which it ends is true.
    #[error("phase `{phase}` is over: its condition `{until}` is true{}", next(then.as_ref()))]
    Over {
        /// The phase.
        phase: PhaseName,
        /// The condition.
        until: ConditionName,
        /// What follows.
        then: Option<PhaseName>,
    },
    /// It gives out more than a pool carries as things are.
    #[error(
        "phase `{phase}` gives out {given} of pool `{pool}`, which carries {carries} by what is true now{}",
        next(then.as_ref())
    )]
    Exceeds {
        /// The phase.
        phase: PhaseName,
        /// The pool.
        pool: PoolName,
        /// What its circuits are given, in the direction in which that is too much.
        given: Rate,
        /// What it carries in that direction.
        carries: Rate,
        /// What follows the phase.
        then: Option<PhaseName>,
    },
}

/// The name that was probably meant, or all that there are.
fn meant(phase: &PhaseName, known: &[PhaseName]) -> String {
    if let Some(near) = nearest(phase.as_str(), known.iter().map(PhaseName::as_str)) {
        return format!("did you mean `{near}`?");
    }
    let all: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("the policy has {}", all.join(", "))
}

fn next(then: Option<&PhaseName>) -> String {
    then.map_or_else(String::new, |then| {
        format!("; `{then}` follows it: wanshift phase {then}")
    })
}

impl Engine {
    /// An engine whose phase holds already, in which nothing is true but what the phase stands on.
    ///
    /// # Errors
    /// Where the policy has no such phase.
    pub fn holding(policy: Arc<Policy>, phase: PhaseName) -> Result<Self, EngineError> {
        if !policy.phases().contains_key(&phase) {
            let known = policy.phases().keys().cloned().collect();
            return Err(EngineError::NoSuchPhase { phase, known });
        }
        Ok(Self {
            policy,
            phase,
            latched: BTreeSet::new(),
            standing: Standing::default(),
            ramp: None,
        })
    }

    /// An engine that enters `phase` where the conditions in `latched` are true.
    ///
    /// # Errors
    /// Where the policy has no such phase, its condition is not true or the phase is over, or a pool carries less
    /// than it gives out.
    pub fn entering(
        policy: Arc<Policy>,
        phase: PhaseName,
        latched: BTreeSet<ConditionName>,
    ) -> Result<Self, EngineError> {
        let engine = Self::keeping(policy, phase, latched)?;
        match engine.over() {
            Some((until, then)) => Err(EngineError::Over {
                phase: engine.phase.clone(),
                until: until.clone(),
                then: then.cloned(),
            }),
            None => Ok(engine),
        }
    }

    /// An engine that goes on with `phase`, which holds, where the conditions in `latched` are true. A phase that
    /// is over may stay: the host is better off with it than with nothing, until the next is entered.
    ///
    /// # Errors
    /// Where the policy has no such phase, its condition is not true, or a pool carries less than it gives out.
    pub fn keeping(
        policy: Arc<Policy>,
        phase: PhaseName,
        latched: BTreeSet<ConditionName>,
    ) -> Result<Self, EngineError> {
        let engine = Self {
            latched,
            ..Self::holding(policy, phase)?
        };
        let Some(phase) = engine.policy.phases().get(&engine.phase) else {
            return Ok(engine);
        };
        if let Some(condition) = &phase.requires
            && !engine.latched.contains(condition)
        {
            return Err(EngineError::Requires {
                phase: phase.name.clone(),
                condition: condition.clone(),
            });
        }
        engine.fits(phase)?;
        Ok(engine)
    }

    /// Reading checked each split against every capacity under which its phase may be entered; what is left is a
    /// phase that stays after its end.
    fn fits(&self, phase: &Phase) -> Result<(), EngineError> {
        for (name, carries) in self.policy.pools_with(phase, &self.latched) {
            let Some(split) = phase.splits.get(&name) else {
                continue;
            };
            for direction in [Direction::Up, Direction::Down] {
                let bits = |share: &Rates| share.get(direction).bits();
                let given: u64 = split.shares.values().map(bits).sum();
                let carries = carries.get(direction);
                if given > carries.bits() {
                    return Err(EngineError::Exceeds {
                        phase: phase.name.clone(),
                        pool: name,
                        given: Rate::floor(given),
                        carries,
                        then: phase.then.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether a condition is true, so that what waits for it may go.
    #[must_use]
    pub fn lifted(&self, condition: &ConditionName) -> bool {
        self.latched.contains(condition)
    }

    /// Where the phase is over: the condition that ended it, and the phase that follows.
    #[must_use]
    pub fn over(&self) -> Option<(&ConditionName, Option<&PhaseName>)> {
        let phase = self.policy.phases().get(&self.phase)?;
        let until = phase.until.as_ref()?;
        self.lifted(until).then_some((until, phase.then.as_ref()))
    }

    /// The same, where blocks stand like that. Of an engine that was not told no block rests, and those that drain go on
    /// draining.
    #[must_use]
    pub fn standing(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    /// The same, on its way since `now` from what is held by each place so far: over the phase's ramp,
    /// or at once where no share that is held changes.
    #[must_use]
    pub fn starting(mut self, held: BTreeMap<NodeKey, Holding>, now: Moment) -> Self {
        let Some(phase) = self.policy.phases().get(&self.phase) else {
            return self;
        };
        let length = phase.ramp;
        let goal = self.goal();
        let moved = |(key, holding): (&NodeKey, &Holding)| {
            let new = goal.nodes.get(key).map(|goal| goal.guarantee);
            key.place == Place::Circuit && new.is_some_and(|new| new != holding.guarantee)
        };
        if !length.is_zero() && held.iter().any(moved) {
            let start = ramp::start(&self.policy, &held, &goal);
            self.ramp = Some(Ramp {
                start,
                began: now,
                length,
            });
        }
        self
    }

    /// The same, where `blocks` hold so far: they hold on until the phase is entered, at the end of the way there;
    /// those that it brings hold from the beginning. So no traffic passes that is rejected at both ends, and the
    /// capacity that a block is to free is free before it is given out.
    #[must_use]
    pub fn leaving(mut self, blocks: BTreeSet<BlockName>) -> Self {
        let blocks: Vec<(BlockName, Hold)> = blocks
            .into_iter()
            .map(|name| {
                let hold = self.hold(&name).unwrap_or(Hold::Rejecting);
                (name, hold)
            })
            .collect();
        if let Some(ramp) = &mut self.ramp {
            for (name, hold) in blocks {
                ramp.start.blocks.entry(name).or_insert(hold);
            }
        }
        self
    }

    /// How long the way into the phase takes.
    #[must_use]
    pub fn ramp(&self) -> Duration {
        self.ramp
            .as_ref()
            .map_or(Duration::ZERO, |ramp| ramp.length)
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The phase that holds or is being entered.
    #[must_use]
    pub const fn phase(&self) -> &PhaseName {
        &self.phase
    }

    /// What should hold at `now`.
    #[must_use]
    pub fn desired(&self, now: Moment) -> Desired {
        let goal = self.goal();
        let Some(ramp) = &self.ramp else {
            return goal;
        };
        let at = self.progress(now);
        if at == Fraction::ONE {
            return goal;
        }
        ramp::between(&ramp.start, &goal, at)
    }

    /// How much of the way into the phase is done.
    #[must_use]
    pub fn progress(&self, now: Moment) -> Fraction {
        self.ramp.as_ref().map_or(Fraction::ONE, |ramp| {
            Fraction::of(now.since(ramp.began), ramp.length)
        })
    }

    /// What each pool carries as things are.
    #[must_use]
    pub fn pools(&self) -> BTreeMap<PoolName, Rates> {
        let phase = self.policy.phases().get(&self.phase);
        phase.map_or_else(BTreeMap::new, |phase| {
            self.policy.pools_with(phase, &self.latched)
        })
    }

    /// What should hold once the phase is entered.
    #[must_use]
    pub fn goal(&self) -> Desired {
        let phase = self.policy.phases().get(&self.phase);
        Desired {
            phase: self.phase.clone(),
            pools: self.pools(),
            nodes: phase
                .map(|phase| self.policy.promises_with(phase, &self.latched))
                .unwrap_or_default(),
            blocks: phase.map(|phase| self.blocks(phase)).unwrap_or_default(),
        }
    }

    /// The blocks that hold in `phase`: those that it brings, without those that are lifted and those that rest.
    fn blocks(&self, phase: &Phase) -> BTreeMap<BlockName, Hold> {
        let held = |name: &BlockName| {
            let block = self.policy.blocks().get(name)?;
            let lifted = block.until.as_ref().is_some_and(|until| self.lifted(until));
            let rests = block.schedule.is_some() && self.standing.resting.contains(name);
            (!lifted && !rests).then_some((name.clone(), self.hold(name)?))
        };
        phase.blocks.iter().filter_map(held).collect()
    }

    /// How a block holds where it does; `None` where the policy does not have it.
    fn hold(&self, name: &BlockName) -> Option<Hold> {
        let drained = self.standing.drained.contains(name);
        Some(match self.policy.blocks().get(name)?.established {
            Established::Drain(_) if !drained => Hold::Draining,
            Established::Drain(_) | Established::Cut => Hold::Rejecting,
        })
    }

    /// Why everything is as it is.
    #[must_use]
    pub fn reasons(&self) -> Reasons {
        let held = self.goal().blocks;
        reasons::reasons(&self.policy, &self.phase, &held, &self.standing)
    }

    /// When [`Self::desired`] will next give another answer; `None` where it will not by itself.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Option<Moment> {
        let ramp = self.ramp.as_ref()?;
        let end = ramp.began.plus(ramp.length);
        (now < end).then(|| now.plus(STEP).min(end))
    }
}
