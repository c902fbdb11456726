//! Runs the stages of a plan, re-reads, verifies.
//!
//! A stage is acknowledged before the next is sent. Where an op fails, nothing more is given out to
//! the devices that share its pool, while the others go on; then the kernel is read again and what
//! is left is planned anew, from what is there, never from what was meant. An unknown outcome (no
//! answer came) is settled the same way: by looking.

pub mod change;
pub mod error;
pub mod recovery;
pub mod survey;

use std::collections::BTreeSet;

use thiserror::Error;

use crate::kernel::{Kernel, KernelError, OpError, Scope};
use crate::model::names::DeviceName;
use crate::model::state::Ifb;
use crate::plan::op::Op;
use crate::plan::{Goal, Plan, Step, diff};

/// How often a goal is tried for before it is called out of reach.
const ROUNDS: usize = 3;

/// An op that did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {cause}", describe(op))]
pub struct FailedOp {
    /// The op.
    pub op: Op,
    /// Why.
    #[source]
    pub cause: OpError,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Execution {
    /// How many ops were carried out.
    pub done: usize,
    /// Those that were not, or of which it is not known.
    pub failed: Vec<FailedOp>,
    /// How many were held back because of those.
    pub withheld: usize,
}

/// Why a goal was not reached.
#[derive(Debug, Error)]
pub enum Shortfall {
    /// The kernel could not be read.
    #[error("cannot tell what the kernel holds")]
    Observe(#[from] KernelError),
    /// It was read, and is not what it should be.
    #[error(
        "the kernel does not hold what it should: {left} writes are left{}",
        told(failed)
    )]
    Left {
        /// How many writes would still be needed.
        left: usize,
        /// What failed at the last try.
        failed: Vec<FailedOp>,
    },
}

/// The first failure on each device, and of the rules: what failed after it mostly failed because of it.
fn told(failed: &[FailedOp]) -> String {
    let mut seen = BTreeSet::new();
    let first = failed
        .iter()
        .filter(|failed| seen.insert(failed.op.device()));
    first.map(|failed| format!("\n  {failed}")).collect()
}

/// How a goal was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached {
    /// How many ops were carried out.
    pub writes: usize,
}

/// Sends the stages of `plan`, each once the one before is acknowledged.
pub fn execute(kernel: &mut dyn Kernel, plan: &Plan) -> Execution {
    let mut execution = Execution::default();
    let mut stopped = Stopped::default();
    for stage in &plan.stages {
        let (send, held): (Vec<Op>, Vec<Op>) = stage
            .ops
            .iter()
            .cloned()
            .partition(|op| stopped.lets(plan, stage.step, op));
        execution.withheld += held.len();
        for op in &held {
            stopped.stop(op);
        }
        for (op, outcome) in send.iter().zip(kernel.apply(&send)) {
            match outcome {
                Ok(()) => execution.done += 1,
                Err(cause) => {
                    tracing::debug!(op = %describe(op), %cause, "a write failed");
                    stopped.stop(op);
                    execution.failed.push(FailedOp {
                        op: op.clone(),
                        cause,
                    });
                }
            }
        }
    }
    execution
}

/// Where something failed, or was withheld because something else had.
#[derive(Default)]
struct Stopped {
    devices: BTreeSet<DeviceName>,
    feeds: bool,
    rules: bool,
}

impl Stopped {
    fn stop(&mut self, op: &Op) {
        self.feeds |= matches!(op, Op::SetFeed { .. });
        match op.device() {
            Some(device) => {
                self.devices.insert(device.clone());
            }
            None => self.rules = true,
        }
    }

    /// Whether `op` may be sent after what was stopped in earlier stages.
    fn lets(&self, plan: &Plan, step: Step, op: &Op) -> bool {
        let Some(device) = op.device() else {
            // Rules may name only classes that are there.
            return self.devices.is_empty() && !self.rules;
        };
        match step {
            // A class may go only once no rule names it.
            Step::RemoveClasses => !self.rules && !self.devices.contains(device),
            // A parent may shrink only after its children; other devices give back all the same.
            Step::Shrink { .. } | Step::Unfeed => !self.devices.contains(device),
            // The IFB may go only once nothing is led there.
            Step::Release => {
                !self.devices.contains(device) && (!self.feeds || *device != Ifb::device())
            }
            // Packets may be led only to an IFB that is as it should be.
            Step::Feed => {
                !self.rules
                    && !self.devices.contains(device)
                    && !self.devices.contains(&Ifb::device())
            }
            // What another has not given back cannot be given out.
            Step::Block
            | Step::LeaveClasses
            | Step::TakeOver
            | Step::FirstRules
            | Step::Grow { .. }
            | Step::Leaves
            | Step::Rules => {
                !self.rules
                    && !self
                        .devices
                        .iter()
                        .any(|stopped| plan.conserve_together(stopped, device))
            }
        }
    }
}

/// Brings the kernel to `goal`: plans from what it holds, writes, reads again, until nothing is left.
///
/// # Errors
/// Where something is still left after a few rounds; what is there then still conserves.
pub fn converge(
    kernel: &mut dyn Kernel,
    goal: &Goal<'_>,
    scope: Scope,
) -> Result<Reached, Shortfall> {
    let mut reached = Reached::default();
    let mut failed = Vec::new();
    for _ in 0..ROUNDS {
        let plan = remaining(kernel, goal, scope)?;
        if plan.is_empty() {
            return Ok(settled(reached, &failed));
        }
        let execution = execute(kernel, &plan);
        reached.writes += execution.done;
        failed = execution.failed;
    }
    let left = remaining(kernel, goal, scope)?.ops().count();
    if left == 0 {
        Ok(settled(reached, &failed))
    } else {
        Err(Shortfall::Left { left, failed })
    }
}

/// What was reached all the same: worth a word where it took more than one try.
fn settled(reached: Reached, failed: &[FailedOp]) -> Reached {
    if !failed.is_empty() {
        tracing::warn!(
            "writes failed, and succeeded when they were tried again:{}",
            told(failed)
        );
    }
    reached
}

fn remaining(kernel: &mut dyn Kernel, goal: &Goal<'_>, scope: Scope) -> Result<Plan, KernelError> {
    Ok(diff(&kernel.observe(scope)?, goal))
}

fn describe(op: &Op) -> String {
    let on = |what: &str, device: &DeviceName| format!("{what} on {device}");
    match op {
        Op::AddRoot { device, major, .. } => {
            on(&format!("add root qdisc htb {:x}:", major.get()), device)
        }
        Op::DeleteRoot { device, major, .. } => {
            on(&format!("delete root qdisc htb {:x}:", major.get()), device)
        }
        Op::AddClass { device, id, class } => {
            on(&format!("add class {id} at {}", class.rate), device)
        }
        Op::ChangeClass {
            device,
            id,
            from,
            to,
        } => on(
            &format!("change class {id} from {} to {}", from.rate, to.rate),
            device,
        ),
        Op::DeleteClass { device, id, .. } => on(&format!("delete class {id}"), device),
        Op::SetLeaf { device, id, .. } => on(&format!("set the queue of class {id}"), device),
        Op::AddIfb { device } => format!("add device {device}"),
        Op::RaiseIfb { device } => format!("set device {device} up"),
        Op::DeleteIfb { device } => format!("delete device {device}"),
        Op::SetSelector { device, .. } => on("set the filter from marks to classes", device),
        Op::SetFeed { device, to, .. } => match to {
            Some(_) => on("set the filter that leads to the IFB", device),
            None => on("delete the filter that leads to the IFB", device),
        },
        Op::SetTable { .. } => "change the packet filter's rules".to_owned(),
    }
}
