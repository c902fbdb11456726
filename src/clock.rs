//! The one place that asks the machine for the time, and lets it pass.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::units::Moment;

/// Where the time comes from.
pub trait Clock {
    /// The time on a clock that never steps back and goes on through suspend, since the host booted.
    fn now(&self) -> Moment;

    /// The date and time, as far as the host knows them.
    fn date(&self) -> jiff::Timestamp;

    /// Waits until `moment`.
    fn wait_until(&self, moment: Moment);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        // The call fails only for a clock that the kernel does not have; this one came with 2.6.39.
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from);
        Moment(time.unwrap_or_default())
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    fn date(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn wait_until(&self, moment: Moment) {
        std::thread::sleep(moment.since(self.now()));
    }
}

/// What tells one boot of the machine from another.
///
/// # Errors
/// Where `/proc` is not there.
pub fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}
