//! What the daemon is told by signals. They coalesce: two of a kind may come as one.

use std::io;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT: to end.
    End,
    /// SIGHUP: to read the files again.
    Reload,
    /// SIGUSR1: to log how things are.
    Tell,
}

/// Listens to signals.
pub struct Signals(signal_hook_tokio::Signals);

impl Signals {
    /// Begins to listen, within a runtime.
    ///
    /// # Errors
    /// Where the system does not let us.
    pub fn listen() -> io::Result<Self> {
        signal_hook_tokio::Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1]).map(Self)
    }

    /// The next one. May be given up at any time.
    pub async fn next(&mut self) -> Signal {
        loop {
            match self.0.next().await {
                Some(SIGHUP) => return Signal::Reload,
                Some(SIGUSR1) => return Signal::Tell,
                Some(SIGTERM | SIGINT) => return Signal::End,
                Some(_) => {}
                // It never ends as long as it is open.
                None => std::future::pending().await,
            }
        }
    }
}
