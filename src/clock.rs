//! The one place that asks the machine for the time, and lets it pass.

use std::time::Duration;

use nix::libc;
use nix::time::{ClockId, clock_gettime};

use crate::model::readings::WallClock;
use crate::units::Moment;

/// Where the time comes from.
pub trait Clock {
    /// The time on a clock that never steps back and goes on through suspend, since the host booted.
    fn now(&self) -> Moment;

    /// The date and time, as far as the host knows them.
    fn date(&self) -> jiff::Timestamp;

    /// The date, with whether somebody keeps it right. A clock that nobody sets may be years off either way.
    fn wall(&self) -> WallClock {
        WallClock::Untrusted(self.date())
    }

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

    /// As the kernel believes.
    fn wall(&self) -> WallClock {
        if synchronised() {
            WallClock::Trusted(self.date())
        } else {
            WallClock::Untrusted(self.date())
        }
    }

    fn wait_until(&self, moment: Moment) {
        std::thread::sleep(moment.since(self.now()));
    }
}

/// Whether the kernel's clock is kept right by somebody (NTP, PTP), as `adjtimex` tells.
fn synchronised() -> bool {
    let mut timex = std::mem::MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all zeroes is a valid `timex`, of integers alone: it asks for nothing to be set. The kernel
    // writes no more than a `timex` to where it is told, which is one.
    let (state, timex) = unsafe {
        let state = libc::adjtimex(timex.as_mut_ptr());
        (state, timex.assume_init())
    };
    state >= 0 && state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
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
