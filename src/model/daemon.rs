//! The daemon's own settings, as the host's file gives them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What `[daemon]` says; each setting has a default and a flag elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Daemon {
    /// Where it keeps what outlives a restart.
    pub state: Option<PathBuf>,
    /// Where it listens for commands.
    pub socket: Option<PathBuf>,
    /// Where it serves metrics.
    pub http: Option<SocketAddr>,
    /// How often it reads counters.
    pub sample: Option<Duration>,
    /// What it does with the kernel when it ends.
    pub on_exit: OnExit,
}

/// What the daemon does with the kernel when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExit {
    /// Leaves it as it is.
    #[default]
    Leave,
    /// Takes everything of ours out of it.
    Teardown,
}
