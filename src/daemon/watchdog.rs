//! What systemd is told: that the daemon is ready, that its loop goes round, that it ends.
//!
//! The loop itself feeds the watchdog, and each thing that it asks of the kernel; no thread beside it: a loop that hangs is
//! found out.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};

use crate::units::Moment;

/// Feeds systemd's watchdog.
#[derive(Debug)]
pub struct Watchdog {
    /// So often, at the least.
    every: Option<Duration>,
    fed: Moment,
}

impl Watchdog {
    /// One that has said nothing yet. Where no systemd listens, nothing is said later either.
    pub fn new() -> Self {
        Self {
            every: watchdog_enabled().map(|patience| patience / 4),
            fed: Moment::default(),
        }
    }

    /// Says that the daemon listens.
    pub fn ready() {
        say(NotifyState::Ready);
    }

    /// Says that the loop goes round.
    pub fn feed(&mut self, now: Moment) {
        if self.every.is_some_and(|every| now.since(self.fed) >= every) {
            say(NotifyState::Watchdog);
            self.fed = now;
        }
    }

    /// Says that the daemon ends.
    pub fn end() {
        say(NotifyState::Stopping);
    }
}

fn say(state: NotifyState<'_>) {
    if let Err(error) = notify(&[state]) {
        tracing::debug!(%error, "systemd is not told");
    }
}
