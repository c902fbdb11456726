//! Points in time, and how much of a time is over.

use serde::{Deserialize, Serialize};

/// A point in time on a clock that never steps back: so long after that clock's own beginning.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Moment(pub std::time::Duration);

impl Moment {
    /// How long `earlier` lies back; nothing where it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> std::time::Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The point so much later.
    #[must_use]
    pub const fn plus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// A part of one, between 0 and 1, in billionths: how far a ramp has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fraction(u32);

impl Fraction {
    /// Nothing of it.
    pub const ZERO: Self = Self(0);
    /// All of it.
    pub const ONE: Self = Self(1_000_000_000);

    /// In billionths.
    #[must_use]
    pub const fn billionths(self) -> u32 {
        self.0
    }

    /// In whole percent, rounded down.
    #[must_use]
    pub const fn percent(self) -> u32 {
        self.0 / (Self::ONE.0 / 100)
    }

    /// `part` of `whole`, at most one; one where `whole` is zero.
    #[must_use]
    pub fn of(part: std::time::Duration, whole: std::time::Duration) -> Self {
        if part >= whole {
            return Self::ONE;
        }
        let billionths = part.as_nanos() * u128::from(Self::ONE.0) / whole.as_nanos();
        Self(
            u32::try_from(billionths)
                .unwrap_or(Self::ONE.0)
                .min(Self::ONE.0),
        )
    }
}
