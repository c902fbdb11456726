//! Values for each direction of traffic.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Amount, Rate};

/// A direction of traffic over a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Leaves this host toward the provider.
    Up,
    /// Arrives from the provider.
    Down,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// One value for each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct PerDirection<T> {
    /// Toward the provider.
    pub up: T,
    /// From the provider.
    pub down: T,
}

/// A rate for each direction.
pub type Rates = PerDirection<Rate>;
/// A rate, or a part of the parent's, for each direction.
pub type Amounts = PerDirection<Amount>;

impl<T: Copy> PerDirection<T> {
    /// The same in both directions.
    pub const fn both(value: T) -> Self {
        Self {
            up: value,
            down: value,
        }
    }

    /// What `f` makes of each.
    pub fn map<U>(self, f: impl Fn(T) -> U) -> PerDirection<U> {
        PerDirection {
            up: f(self.up),
            down: f(self.down),
        }
    }

    /// What `f` makes of each together with the other's.
    pub fn zip<U: Copy, V>(self, other: PerDirection<U>, f: impl Fn(T, U) -> V) -> PerDirection<V> {
        PerDirection {
            up: f(self.up, other.up),
            down: f(self.down, other.down),
        }
    }

    /// The place of the value for `direction`.
    pub const fn get_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// The value for `direction`.
    pub const fn get(&self, direction: Direction) -> T {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for PerDirection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.up == self.down {
            fmt::Display::fmt(&self.up, f)
        } else {
            write!(f, "up {}, down {}", self.up, self.down)
        }
    }
}
