//! What holds, why, and since when: gathered.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::alter::Going;
use super::{Keeper, words};
use crate::api::{
    BlockState, BlockStatus, CircuitStatus, ClassStatus, ConditionStatus, DirectionStatus, Holds,
    LastChange, Line, Outcome, Pending, PhaseFacts, PolicyFacts, Problem, Sampling, Shifting,
    Stage, Status, Stuck,
};
use crate::engine::Engine;
use crate::model::desired::Desired;
use crate::model::hold::{Block, Condition, ConditionTerm};
use crate::model::node::Place;
use crate::model::phase::Phase;
use crate::model::readings::Latches;
use crate::policy::Policy;
use crate::store::{Extent, Intent, Past, RecordState};
use crate::units::{Direction, Moment};

impl Keeper {
    /// All that is known at this moment. What cannot be read is left out, and is a problem.
    pub fn status(&mut self) -> Status {
        let (at, now) = (self.clock.date(), self.clock.now());
        let mut problems = self.troubles.list();
        let gathered = self.gather(at, now);
        let mut gathered = gathered.unwrap_or_else(|failure| {
            problems.push(Problem {
                stage: Stage::Store,
                what: failure.to_string(),
                since: at,
            });
            Gathered::default()
        });
        problems.append(&mut gathered.problems);
        let policy = self.in_force.as_ref();
        Status {
            host: policy.map_or_else(String::new, |policy| policy.policy.host().name.to_string()),
            at,
            daemon: self.daemon.clone(),
            healthy: problems.is_empty(),
            problems,
            policy: policy.map(|policy| PolicyFacts {
                hash: policy.hash.clone(),
                files: policy.files.clone(),
                since: policy.since,
            }),
            phase: gathered.phase,
            phases: policy.map_or_else(Vec::new, |policy| {
                policy.policy.phases().keys().cloned().collect()
            }),
            circuits: gathered.circuits,
            classes: gathered.classes,
            blocks: gathered.blocks,
            conditions: gathered.conditions,
            pending: gathered.pending,
            files_taken_back: self.lie_taken_back(),
            stuck: gathered.stuck,
            last_change: gathered.last_change,
            repairs: self.looks.repairs.clone(),
            failures: self.troubles.failures(),
            sampling: self.sample.map(|sample| Sampling {
                interval_seconds: sample.as_secs_f64(),
                last: self.sampled,
            }),
        }
    }

    fn gather(
        &mut self,
        at: jiff::Timestamp,
        now: Moment,
    ) -> Result<Gathered, crate::api::Failure> {
        let aside = self.look_aside(at, now)?;
        let mut gathered = Gathered {
            problems: aside.problems,
            last_change: self.store.history()?.into_iter().find_map(last_change),
            ..Gathered::default()
        };
        if let Some(record) = self.store.unfinished()?.filter(super::confirm::waits) {
            let until = record.change.confirm.map(|confirm| confirm.until);
            gathered.pending = Some(Pending {
                change: record.id.0,
                what: record.change.what.clone(),
                by: record.change.actor.clone(),
                ordered: record.change.opened,
                seconds_left: until.unwrap_or_default().since(now).as_secs(),
            });
        }
        if let Some(record) = self.store.unfinished()?
            && record.state == RecordState::Stuck
        {
            gathered.stuck = Some(Stuck {
                change: record.id.0,
                what: record.change.what,
                since: record.change.opened,
            });
        }
        let (Some(intent), Some(in_force)) = (self.store.intent()?, self.in_force.clone()) else {
            return Ok(gathered);
        };
        let policy = in_force.policy;
        let latches = self.store.latches()?;
        let aside = aside.on_its_way.as_ref();
        let desired = self.held(&policy, &intent, &latches, aside, now)?;
        let going = self.going.as_ref();
        let on_its_way = going.map(|going| &going.underway.prospect.engine).or(aside);
        let phases = on_its_way.map(Engine::phase).into_iter();
        let phases: Vec<&Phase> = phases
            .chain([&intent.phase])
            .filter_map(|phase| policy.phases().get(phase))
            .collect();
        gathered.phase = Some(phase(&policy, &intent, going, now));
        gathered.conditions = conditions(&policy, &latches);
        let rejected = self.kernel.rejected().unwrap_or_default();
        let began = self.store.blocks_began()?;
        let holding = match intent.extent {
            Extent::Whole | Extent::Blocks => desired.as_ref().map(|desired| &desired.blocks),
            Extent::Nothing => None,
        };
        for block in policy.blocks().values() {
            let brings = |phase: &&&Phase| phase.blocks.contains(&block.name);
            let phase = phases.iter().find(brings).or(phases.first()).copied();
            let held = holding.and_then(|blocks| blocks.get(&block.name));
            let state = state(block, held.copied(), phase, intent.extent, &latches);
            gathered.blocks.push(BlockStatus {
                name: block.name.clone(),
                state,
                because: because(block, state, phase, &latches),
                since: began
                    .get(&block.name)
                    .filter(|_| held.is_some())
                    .map(|began| began.since),
                planned_until: planned(&policy, block),
                rejected_packets: rejected.get(&block.name).copied().unwrap_or_default(),
            });
        }
        if intent.extent == Extent::Whole
            && let Some(desired) = &desired
        {
            self.lines(&policy, desired, &mut gathered);
        }
        Ok(gathered)
    }

    /// The time in which this host's people live; UTC where no policy says which.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        let policy = self.in_force.as_ref();
        policy.map_or(TimeZone::UTC, |in_force| {
            in_force.policy.host().timezone.clone()
        })
    }

    /// What should hold now: on the way, once it was reached, or by what is on record.
    fn held(
        &mut self,
        policy: &Arc<Policy>,
        intent: &Intent,
        latches: &Latches,
        aside: Option<&Engine>,
        now: Moment,
    ) -> Result<Option<Arc<Desired>>, crate::api::Failure> {
        if let Some(going) = &self.going {
            return Ok(Some(Arc::new(going.underway.prospect.engine.desired(now))));
        }
        if let Some(engine) = aside {
            return Ok(Some(Arc::new(engine.desired(now))));
        }
        let reached = self.reached.as_ref();
        if let Some(desired) = reached.and_then(|reached| reached.desired.as_ref()) {
            return Ok(Some(desired.clone()));
        }
        let engine = Engine::keeping(policy.clone(), intent.phase.clone(), latches.names()).ok();
        let Some(engine) = engine else {
            return Ok(None);
        };
        Ok(Some(Arc::new(
            engine.standing(self.standing(policy)?).goal(),
        )))
    }

    /// The circuits and places, with what they are given and what they carry.
    fn lines(&mut self, policy: &Policy, desired: &Desired, gathered: &mut Gathered) {
        let missing = self.missing_devices(policy);
        for circuit in policy.circuits().values() {
            let key = crate::model::node::NodeKey::new(circuit.name.clone(), Place::Circuit);
            let Some(holding) = desired.nodes.get(&key) else {
                continue;
            };
            let pool = policy.pool_of(&circuit.name).map(|pool| pool.name.clone());
            let most = pool.as_ref().and_then(|pool| desired.pools.get(pool));
            let most = most.or(circuit.capacity.as_ref()).copied();
            let direction = |direction: Direction| {
                let passed = self.meter.passed(&key, direction).unwrap_or_default();
                let heat = self.meter.heat(&circuit.name, direction);
                let share = holding.guarantee.get(direction);
                DirectionStatus {
                    share,
                    capacity: most.map_or(share, |most| most.get(direction)),
                    rate: passed.rate,
                    bytes: passed.bytes,
                    hot_seconds: heat.hot.as_secs_f64(),
                    saturated_seconds: heat.saturated.as_secs_f64(),
                }
            };
            gathered.circuits.push(CircuitStatus {
                name: circuit.name.clone(),
                device: circuit.device.clone(),
                present: !missing.contains(&circuit.device),
                pool,
                up: direction(Direction::Up),
                down: (!policy.host().inside.is_empty()).then(|| direction(Direction::Down)),
            });
        }
        let down = !policy.host().inside.is_empty();
        for (key, holding) in &desired.nodes {
            let line = |direction: Direction| {
                let passed = self.meter.passed(key, direction).unwrap_or_default();
                Line {
                    guarantee: holding.guarantee.get(direction),
                    ceiling: holding.ceiling.get(direction),
                    rate: passed.rate,
                    bytes: passed.bytes,
                    packets: passed.packets,
                    drops: passed.drops,
                    backlog_bytes: passed.backlog_bytes,
                }
            };
            if key.place == Place::Circuit {
                continue;
            }
            gathered.classes.push(ClassStatus {
                place: key.clone(),
                up: Some(line(Direction::Up)),
                down: down.then(|| line(Direction::Down)),
            });
        }
    }
}

/// What the store and the kernel say.
#[derive(Debug, Default)]
struct Gathered {
    problems: Vec<Problem>,
    phase: Option<PhaseFacts>,
    circuits: Vec<CircuitStatus>,
    classes: Vec<ClassStatus>,
    blocks: Vec<BlockStatus>,
    conditions: Vec<ConditionStatus>,
    pending: Option<Pending>,
    stuck: Option<Stuck>,
    last_change: Option<LastChange>,
}

fn last_change(past: Past) -> Option<LastChange> {
    let outcome = match past.state {
        RecordState::Done | RecordState::Unconfirmed => Outcome::Done,
        RecordState::Undone => Outcome::Undone,
        RecordState::Applying | RecordState::Undoing | RecordState::Stuck => return None,
    };
    Some(LastChange {
        change: past.id.0,
        what: past.what,
        by: past.actor,
        at: past.closed.unwrap_or(past.opened),
        outcome,
    })
}

fn phase(policy: &Policy, intent: &Intent, going: Option<&Going>, now: Moment) -> PhaseFacts {
    let present = policy.phases().get(&intent.phase);
    let until = present.and_then(|phase| {
        let until = phase.until.as_ref()?;
        let then = phase.then.as_ref()?;
        Some(format!("{until}, then {then}"))
    });
    let shifting = going.map(|going| {
        let engine = &going.underway.prospect.engine;
        let done = f64::from(engine.progress(now).billionths()) / 1e9;
        Shifting {
            to: engine.phase().clone(),
            done,
            seconds_left: engine.ramp().as_secs_f64() * (1.0 - done),
        }
    });
    PhaseFacts {
        name: intent.phase.clone(),
        holds: match intent.extent {
            Extent::Whole => Holds::Whole,
            Extent::Blocks => Holds::Blocks,
            Extent::Nothing => Holds::Nothing,
        },
        since: intent.since,
        by: intent.actor.clone(),
        because: intent.what.clone(),
        until,
        shifting,
    }
}

fn conditions(policy: &Policy, latches: &Latches) -> Vec<ConditionStatus> {
    let one = |condition: &Condition| {
        let latch = latches.held().get(&condition.name);
        ConditionStatus {
            name: condition.name.clone(),
            holds: latch.is_some(),
            since: latch.map(|latch| latch.since),
            because: latch.map_or_else(|| condition.waits_for(), words::why),
        }
    };
    policy.conditions().values().map(one).collect()
}

fn state(
    block: &Block,
    held: Option<crate::model::desired::Hold>,
    phase: Option<&Phase>,
    extent: Extent,
    latches: &Latches,
) -> BlockState {
    use crate::model::desired::Hold;
    let brought = phase.is_some_and(|phase| phase.blocks.contains(&block.name));
    let lifted = block
        .until
        .as_ref()
        .is_some_and(|until| latches.holds(until));
    match held {
        Some(Hold::Rejecting) => BlockState::Holding,
        Some(Hold::Draining) => BlockState::Draining,
        None if !brought => BlockState::Absent,
        None if lifted => BlockState::Lifted,
        None if extent == Extent::Nothing => BlockState::TakenOut,
        None => BlockState::Resting,
    }
}

fn because(block: &Block, state: BlockState, phase: Option<&Phase>, latches: &Latches) -> String {
    let until = block.until.as_ref();
    let name = phase.map_or("no phase", |phase| phase.name.as_str());
    match state {
        BlockState::Holding | BlockState::Draining => match until {
            Some(until) => format!("phase {name}, until {until}"),
            None => format!("phase {name}"),
        },
        BlockState::Lifted => {
            let latch = until.and_then(|until| latches.held().get(until));
            latch.map_or_else(String::new, words::why)
        }
        BlockState::Resting => "by its schedule".to_owned(),
        BlockState::Absent => format!("phase {name} does not bring it"),
        BlockState::TakenOut => "the next apply brings it back".to_owned(),
    }
}

/// The latest date that the condition that lifts a block waits for.
fn planned(policy: &Policy, block: &Block) -> Option<jiff::Timestamp> {
    let condition = policy.conditions().get(block.until.as_ref()?)?;
    let dates = condition.terms.iter().filter_map(|term| match term {
        ConditionTerm::After(date) => Some(*date),
        ConditionTerm::Event(_) | ConditionTerm::LinkSpeed { .. } | ConditionTerm::Condition(_) => {
            None
        }
    });
    dates.max()
}
