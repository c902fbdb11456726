//! What the metrics show of a [`Status`], without its classes.

use jiff::Timestamp;

use super::catalogue as list;
use super::catalogue::Family;
use crate::api::{
    BlockState, BlockStatus, CircuitStatus, DirectionStatus, Outcome, PhaseFacts, Stage, Status,
};
use crate::units::{Direction, Rate};

/// A number, by how it moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// A count of whole things.
    Count(u64),
    /// A sum of seconds.
    Seconds(f64),
    /// A gauge.
    Gauge(f64),
}

/// The labels of a series. Their values are names of the policy and words of ours, never what a packet or a
/// file brought.
pub(super) type Labels = Vec<(&'static str, String)>;

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) family: Family,
    pub(super) labels: Labels,
    pub(super) number: Number,
}

/// All series but those of classes, in order. `version` is the program's own.
pub(super) fn values(version: &str, status: Option<&Status>) -> Vec<Value> {
    let mut out = Values(Vec::new());
    out.gauge(list::BUILD_INFO, &[("version", version)], 1.0);
    for stage in Stage::ALL {
        let label = [("stage", stage.name())];
        let failures = status.and_then(|status| status.failures.get(&stage));
        out.count(list::FAILURES, &label, failures.copied().unwrap_or(0));
        let problems = status.map_or(0, |status| problems(status, stage));
        out.gauge(list::PROBLEMS, &label, whole(problems));
    }
    out.host(status);
    if let Some(status) = status {
        status
            .circuits
            .iter()
            .for_each(|circuit| out.circuit(circuit));
        let entered = status.phase.as_ref().map(heading);
        for phase in &status.phases {
            let holds = entered == Some(phase);
            out.gauge(list::PHASE, &[("phase", phase.as_str())], one_if(holds));
        }
        status.blocks.iter().for_each(|block| out.block(block));
        for condition in &status.conditions {
            let label = [("condition", condition.name.as_str())];
            out.gauge(list::CONDITION, &label, one_if(condition.holds));
        }
    }
    out.0
}

/// The phase that is being entered, else the one that holds.
fn heading(phase: &PhaseFacts) -> &crate::model::names::PhaseName {
    phase
        .shifting
        .as_ref()
        .map_or(&phase.name, |shifting| &shifting.to)
}

fn problems(status: &Status, stage: Stage) -> usize {
    let there = status.problems.iter();
    there.filter(|problem| problem.stage == stage).count()
}

/// The series so far.
struct Values(Vec<Value>);

impl Values {
    fn push(&mut self, family: Family, labels: &[(&'static str, &str)], number: Number) {
        let labels = labels
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        self.0.push(Value {
            family,
            labels,
            number,
        });
    }

    fn gauge(&mut self, family: Family, labels: &[(&'static str, &str)], number: f64) {
        self.push(family, labels, Number::Gauge(number));
    }

    fn count(&mut self, family: Family, labels: &[(&'static str, &str)], number: u64) {
        self.push(family, labels, Number::Count(number));
    }

    /// What there is once.
    fn host(&mut self, status: Option<&Status>) {
        let daemon = status.and_then(|status| status.daemon.as_ref());
        let policy = status.and_then(|status| status.policy.as_ref());
        let phase = status.and_then(|status| status.phase.as_ref());
        let pending = status.and_then(|status| status.pending.as_ref());
        let change = status.and_then(|status| status.last_change.as_ref());
        let repairs = status.map(|status| &status.repairs);
        let sampling = status.and_then(|status| status.sampling.as_ref());
        let stuck = status.is_some_and(|status| status.stuck.is_some());
        let over = pending.is_some_and(|pending| pending.seconds_left == 0);
        let loaded = status
            .is_some_and(|status| status.policy.is_some() && problems(status, Stage::Policy) == 0);
        let kept = change.is_some_and(|change| match change.outcome {
            Outcome::Done => true,
            Outcome::Undone => false,
        });
        self.count(
            list::REPAIRS,
            &[],
            repairs.map_or(0, |repairs| repairs.count),
        );
        let gauges = [
            (list::START, seconds(daemon.map(|daemon| daemon.since))),
            (
                list::HEALTHY,
                one_if(status.is_some_and(|status| status.healthy)),
            ),
            (
                list::LAST_REPAIR,
                seconds(repairs.and_then(|repairs| repairs.last)),
            ),
            (list::POLICY_SUCCESS, one_if(loaded)),
            (
                list::POLICY_LOADED,
                seconds(policy.map(|policy| policy.since)),
            ),
            (
                list::SAMPLE_INTERVAL,
                sampling.map_or(0.0, |sampling| sampling.interval_seconds),
            ),
            (
                list::LAST_SAMPLE,
                seconds(sampling.and_then(|sampling| sampling.last)),
            ),
            (list::PHASE_CHANGED, seconds(phase.map(|phase| phase.since))),
            (
                list::PHASE_SHIFTING,
                one_if(phase.is_some_and(|phase| phase.shifting.is_some())),
            ),
            (list::CONFIRM_PENDING, one_if(pending.is_some())),
            (
                list::CONFIRM_LEFT,
                pending.map_or(0.0, |pending| whole(pending.seconds_left)),
            ),
            (list::WAY_BACK_OVERDUE, one_if(stuck || over)),
            (list::LAST_CHANGE, seconds(change.map(|change| change.at))),
            (list::LAST_CHANGE_SUCCESS, one_if(kept)),
        ];
        for (family, number) in gauges {
            self.gauge(family, &[], number);
        }
    }

    fn circuit(&mut self, circuit: &CircuitStatus) {
        let name = circuit.name.as_str();
        self.gauge(
            list::CIRCUIT_PRESENT,
            &[("circuit", name)],
            one_if(circuit.present),
        );
        self.direction(name, Direction::Up, &circuit.up);
        if let Some(down) = &circuit.down {
            self.direction(name, Direction::Down, down);
        }
    }

    fn direction(&mut self, circuit: &str, direction: Direction, status: &DirectionStatus) {
        let labels = [("circuit", circuit), ("direction", word(direction))];
        let (hot, saturated) = (status.hot_seconds, status.saturated_seconds);
        for (family, number) in [
            (list::CIRCUIT_SHARE, Number::Gauge(bytes(status.share))),
            (
                list::CIRCUIT_CAPACITY,
                Number::Gauge(bytes(status.capacity)),
            ),
            (list::CIRCUIT_BYTES, Number::Count(status.bytes)),
            (list::CIRCUIT_HOT, Number::Seconds(hot)),
            (list::CIRCUIT_SATURATED, Number::Seconds(saturated)),
        ] {
            self.push(family, &labels, number);
        }
    }

    fn block(&mut self, block: &BlockStatus) {
        let label = [("block", block.name.as_str())];
        let holding = match block.state {
            BlockState::Holding | BlockState::Draining => true,
            BlockState::Lifted
            | BlockState::Resting
            | BlockState::Absent
            | BlockState::TakenOut => false,
        };
        self.gauge(list::BLOCK_HOLDING, &label, one_if(holding));
        self.gauge(list::BLOCK_SINCE, &label, seconds(block.since));
        self.gauge(list::BLOCK_PLANNED, &label, seconds(block.planned_until));
        self.count(list::BLOCK_REJECTED, &label, block.rejected_packets);
    }
}

/// A direction as a label.
pub(super) const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    }
}

/// In bytes per second.
pub(super) fn bytes(rate: Rate) -> f64 {
    whole(rate.bytes_per_second())
}

/// Seconds since 1970; 0 for what was never.
fn seconds(at: Option<Timestamp>) -> f64 {
    at.map_or(0.0, |at| at.as_duration().as_secs_f64())
}

const fn one_if(so: bool) -> f64 {
    if so { 1.0 } else { 0.0 }
}

/// As the text format has all its numbers: exact up to 2⁵³.
pub(super) fn whole(number: impl TryInto<u64>) -> f64 {
    number
        .try_into()
        .map_or(f64::INFINITY, |number: u64| number as f64)
}
