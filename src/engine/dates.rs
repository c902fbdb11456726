//! Whether the date may be believed.
//!
//! A block must not lift because somebody set the clock to the year 2100, whatever says that the clock is kept right: a wrong
//! server, a typing error. So what the date moved by is held against the boot clock, which nobody sets and which goes on
//! while the host sleeps. A clock that is kept right is slewed by 500 parts in a million at the most. What it moved by beyond
//! that is added up, so that many small steps are one large one; past [`JUMP`], either way, the date has jumped, and is not
//! believed before the clock was kept right and did not jump for [`CALM`].

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::readings::WallClock;
use crate::units::Moment;

/// What a date may move by beyond what slewing explains.
pub const JUMP: SignedDuration = SignedDuration::from_secs(30);
/// How long a clock must have been kept right, without a jump, after one.
pub const CALM: Duration = Duration::from_secs(600);
/// Kernels slew by 500 parts in a million: one in so many.
const SLEW: u32 = 2_000;

/// Whether somebody keeps the clock right (NTP, PTP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Somebody does.
    Synchronised,
    /// Nobody does.
    Alone,
}

/// What is known of the date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dates {
    boot: String,
    last: Option<Look>,
    /// What the date moved by, beyond what slewing explains.
    moved: SignedDuration,
    trust: Trust,
    /// The latest date that was believed, under whatever boot.
    latest: Option<Timestamp>,
}

/// A look at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    wall: Timestamp,
    now: Moment,
}

/// Whether a clock that is kept right is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Trust {
    /// It is.
    Whole,
    /// It jumped, or showed a date before one that was believed: not until it was kept right for a while. Since when it has
    /// been, where it is.
    Lost { calm_since: Option<Moment> },
}

/// What is kept of [`Dates`] where the program starts again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDates {
    boot: String,
    last: Option<Look>,
    moved: SignedDuration,
    trust: Trust,
    latest: Option<Timestamp>,
}

impl Dates {
    /// Of a program that was never here before, under that boot of the machine.
    #[must_use]
    pub const fn new(boot: String) -> Self {
        Self {
            boot,
            last: None,
            moved: SignedDuration::ZERO,
            trust: Trust::Whole,
            latest: None,
        }
    }

    /// Goes on from what was saved: under the same boot with the same doubts; under another anew, but for what the latest
    /// date was, since time does not go back.
    #[must_use]
    pub fn restored(saved: SavedDates, boot: String) -> Self {
        let SavedDates {
            boot: before,
            last,
            moved,
            trust,
            latest,
        } = saved;
        if before == boot {
            return Self {
                boot,
                last,
                moved,
                trust,
                latest,
            };
        }
        Self {
            latest,
            ..Self::new(boot)
        }
    }

    /// What to keep. A jump that is not on disk is believed after a restart: so it is to be kept whenever
    /// [`Self::look`] takes back its trust, and else as often as one likes.
    #[must_use]
    pub fn saved(&self) -> SavedDates {
        SavedDates {
            boot: self.boot.clone(),
            last: self.last,
            moved: self.moved,
            trust: self.trust,
            latest: self.latest,
        }
    }

    /// Takes in what the clock shows, and says whether that is to be believed. `now` is by the boot clock.
    pub fn look(&mut self, wall: Timestamp, sync: Sync, now: Moment) -> WallClock {
        // Under this boot what moved is known; what was before is not.
        let back = self.last.is_none() && self.latest.is_some_and(|latest| wall < latest);
        if let Some(last) = self.last {
            self.moved = last.moved(self.moved, wall, now);
        }
        self.last = Some(Look { wall, now });
        if back || self.moved.abs() > JUMP {
            self.moved = SignedDuration::ZERO;
            self.trust = Trust::Lost { calm_since: None };
        }
        if let Trust::Lost { calm_since } = &mut self.trust {
            match sync {
                Sync::Alone => *calm_since = None,
                Sync::Synchronised => {
                    let since = *calm_since.get_or_insert(now);
                    if now.since(since) >= CALM {
                        self.trust = Trust::Whole;
                    }
                }
            }
        }
        match (self.trust, sync) {
            (Trust::Whole, Sync::Synchronised) => {
                // After a jump back that was believed in the end, that is what counts.
                self.latest = Some(wall);
                WallClock::Trusted(wall)
            }
            (Trust::Whole, Sync::Alone) | (Trust::Lost { .. }, _) => WallClock::Untrusted(wall),
        }
    }

    /// The same, of what the host's clock says of itself.
    pub fn judge(&mut self, shown: WallClock, now: Moment) -> WallClock {
        let sync = match shown {
            WallClock::Trusted(_) => Sync::Synchronised,
            WallClock::Untrusted(_) => Sync::Alone,
        };
        self.look(shown.shows(), sync, now)
    }

    /// When the date may next be believed without anything but time passing; `None` where it is, or where somebody must
    /// keep the clock right first.
    #[must_use]
    pub const fn next(&self) -> Option<Moment> {
        match self.trust {
            Trust::Lost {
                calm_since: Some(since),
            } => Some(since.plus(CALM)),
            Trust::Lost { calm_since: None } | Trust::Whole => None,
        }
    }
}

impl Look {
    /// What the date moved by since, and `before`, without what slewing explains.
    fn moved(self, before: SignedDuration, wall: Timestamp, now: Moment) -> SignedDuration {
        let passed = now.since(self.now);
        let signed = |time| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        let off = wall
            .duration_since(self.wall)
            .saturating_sub(signed(passed))
            .saturating_add(before);
        let slewed = signed(passed / SLEW);
        if off.abs() <= slewed {
            SignedDuration::ZERO
        } else if off.is_negative() {
            off.saturating_add(slewed)
        } else {
            off.saturating_sub(slewed)
        }
    }
}
