//! One clock for all that the lab measures: nanoseconds of CLOCK_MONOTONIC.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A moment of CLOCK_MONOTONIC.
pub type Nanos = u64;

/// One second.
pub const SECOND: Nanos = 1_000_000_000;

fn read(clock: ClockId) -> Nanos {
    let time = clock_gettime(clock).expect("the clock reads");
    time.tv_sec() as u64 * SECOND + time.tv_nsec() as u64
}

/// The present moment.
pub fn now() -> Nanos {
    read(ClockId::CLOCK_MONOTONIC)
}

/// What to subtract from the kernel's time stamps of packets, which are of CLOCK_REALTIME.
pub fn real_ahead() -> Nanos {
    // The best of a few, since the thread may be taken off the core between the two readings.
    (0..8)
        .map(|_| {
            let before = now();
            let real = read(ClockId::CLOCK_REALTIME);
            let after = now();
            (after - before, real - (before + after) / 2)
        })
        .min()
        .map(|(_, ahead)| ahead)
        .unwrap_or_default()
}

/// Sleeps until a moment.
pub fn sleep_until(moment: Nanos) {
    std::thread::sleep(Duration::from_nanos(moment.saturating_sub(now())));
}

/// Sleeps for a while.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// Waits out a warm-up, then a measurement; returns when that began and ended.
pub fn measure(warm_up: Duration, duration: Duration) -> (Nanos, Nanos) {
    sleep(warm_up);
    let from = now();
    sleep(duration);
    (from, now())
}

/// A duration in nanoseconds.
pub fn nanos(duration: Duration) -> Nanos {
    duration.as_nanos() as Nanos
}
