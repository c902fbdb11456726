//! Why a change did not come about, and in what state that left the kernel.

use thiserror::Error;

use super::Shortfall;
use crate::engine::EngineError;
use crate::kernel::KernelError;
use crate::lower::LowerError;
use crate::store::StoreError;

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
    #[error("{}", joined(.0, "\n"))]
    Lower(Vec<LowerError>),
    /// It was broken off, and the state before is back.
    #[error("the change was taken back, the kernel holds what it held before")]
    Undone(#[source] Stop),
    /// It was broken off, and taking it back failed.
    #[error(
        "the change was broken off ({cause}), and taking it back failed; the next apply tries again to take it back"
    )]
    Stuck {
        /// Why it was broken off.
        cause: String,
        /// Why it could not be taken back.
        #[source]
        undo: Shortfall,
    },
}

/// Why a change was broken off.
#[derive(Debug, Error)]
pub enum Stop {
    /// The kernel does not hold what it should.
    #[error(transparent)]
    Shortfall(Shortfall),
    /// What should hold cannot hold on this host.
    #[error("{}", joined(.0, "; "))]
    Lower(Vec<LowerError>),
    /// Somebody asked for it.
    #[error("interrupted")]
    Interrupted,
}

fn joined(errors: &[LowerError], between: &str) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(between)
}
