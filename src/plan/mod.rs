//! From what the kernel holds to what it should hold, in stages that conserve.
//!
//! A stage is fully acknowledged before the next is sent. The order of the stages is what keeps, after
//! every single op, the children's rates within their parent's and the shares within their pool:
//!
//! 1. blocks that come: what they are to free is free before it is given out; those that go stay to the end;
//! 2. rules that no longer name the classes that go;
//! 3. classes that go, the lower before the upper;
//! 4. classes that shrink, children before parents, a level a stage;
//! 5. nothing led to the IFB any more that should not be;
//! 6. devices given back, the IFB deleted;
//! 7. devices taken over: the IFB made, root, then, level by level, pool, circuit, control, rest; then rules that name these;
//! 8. packets led to the IFB: once there is a tree that knows every mark that the rules give;
//! 9. classes that grow or come, parents before children, a level a stage;
//! 10. queues;
//! 11. the rules as they should be, without blocks that go.

mod bounds;
mod conserve;
mod diff;
pub mod op;
mod restore;
mod text;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use bounds::{Bounds, PoolBound};
pub use conserve::{Breach, breaches};
pub use diff::{Goal, diff};
pub use restore::restorable;
pub use text::{PlanReport, Promised, Repaired, repaired, report};

use crate::model::names::DeviceName;
use op::Op;

/// What is to be written, in the order in which it is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The stages.
    pub stages: Vec<Stage>,
    /// Sets of devices whose circuits share a pool: where one op of a set fails, nothing that comes
    /// after it may be given out in that set.
    pub pools: Vec<BTreeSet<DeviceName>>,
}

/// Ops that are sent together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// What it is for.
    pub step: Step,
    /// The ops, in order.
    pub ops: Vec<Op>,
}

/// What a stage is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Blocks that come, beside those that hold.
    Block,
    /// Rules that no longer name the classes that go.
    LeaveClasses,
    /// Classes that go.
    RemoveClasses,
    /// Classes that shrink, so many levels below the root.
    Shrink {
        /// The level.
        depth: usize,
    },
    /// What no longer leads to the IFB.
    Unfeed,
    /// Devices given back.
    Release,
    /// Devices taken over.
    TakeOver,
    /// Rules that name what a device was taken over with.
    FirstRules,
    /// What leads to the IFB.
    Feed,
    /// Classes that grow or come, so many levels below the root.
    Grow {
        /// The level.
        depth: usize,
    },
    /// Queues.
    Leaves,
    /// The rules as they should be.
    Rules,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// All ops, in order.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.stages.iter().flat_map(|stage| &stage.ops)
    }

    /// Whether a failure on `failed` forbids giving out anything more on `device`.
    #[must_use]
    pub fn conserve_together(&self, failed: &DeviceName, device: &DeviceName) -> bool {
        failed == device
            || self
                .pools
                .iter()
                .any(|pool| pool.contains(failed) && pool.contains(device))
    }
}
