//! What may be asked of a running wanshift and what it answers: shared by the command line, the control socket,
//! and the metrics, so that each fact has one form.

mod request;
mod status;
mod talk;

pub use request::{Insist, Order, Request, SchemaVersion};
pub use status::{
    BlockState, BlockStatus, CircuitStatus, ClassStatus, ConditionStatus, DaemonFacts,
    DirectionStatus, FileFacts, Holds, LastChange, Line, Outcome, Pending, PhaseFacts, PolicyFacts,
    Problem, Repairs, Sampling, Shifting, Stage, Status, Stuck,
};
pub use talk::{Answer, Asker, Failure, Milestone, Reply, Silent, Talk, WrongFiles};
