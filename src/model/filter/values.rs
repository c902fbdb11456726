//! Sets of values that a rule asks for.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::fields::FieldKind;

/// Values from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    first: u128,
    last: u128,
}

impl Range {
    /// From `first` to `last`; `None` where they are the wrong way round.
    #[must_use]
    pub const fn new(first: u128, last: u128) -> Option<Self> {
        if first <= last {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// One value.
    #[must_use]
    pub const fn one(value: u128) -> Self {
        Self {
            first: value,
            last: value,
        }
    }

    /// The first.
    #[must_use]
    pub const fn first(self) -> u128 {
        self.first
    }

    /// The last.
    #[must_use]
    pub const fn last(self) -> u128 {
        self.last
    }

    /// The addresses of a prefix.
    #[must_use]
    pub fn of_prefix(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(prefix) => Self {
                first: u128::from(u32::from(prefix.network())),
                last: u128::from(u32::from(prefix.broadcast())),
            },
            IpNet::V6(prefix) => Self {
                first: u128::from(prefix.network()),
                last: u128::from(prefix.broadcast()),
            },
        }
    }
}

/// A set of values: ranges in order, which neither overlap nor touch, so that there is one way to
/// say each set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Values(Vec<Range>);

impl Values {
    /// The set of all values in `ranges`.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = Range>) -> Self {
        let mut ranges: Vec<Range> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(before) if range.first <= before.last.saturating_add(1) => {
                    before.last = before.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The set of `values`.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = u128>) -> Self {
        Self::new(values.into_iter().map(Range::one))
    }

    /// Its ranges, in order.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has every value of that kind, so that asking for it asks for nothing.
    #[must_use]
    pub fn covers(&self, kind: FieldKind) -> bool {
        matches!(self.0.as_slice(), [all] if all.first == 0 && all.last >= kind.most())
    }

    /// All values of that kind but one.
    #[must_use]
    pub fn all_but(kind: FieldKind, value: u128) -> Self {
        let below = value.checked_sub(1).and_then(|last| Range::new(0, last));
        let above = value
            .checked_add(1)
            .and_then(|first| Range::new(first, kind.most()));
        Self::new(below.into_iter().chain(above))
    }

    /// The one value of that kind that is not in it, where it is one.
    #[must_use]
    pub fn missing(&self, kind: FieldKind) -> Option<u128> {
        let most = kind.most();
        match self.0.as_slice() {
            [all] if all.first == 1 && all.last == most => Some(0),
            [all] if all.first == 0 && all.last.checked_add(1) == Some(most) => Some(most),
            [below, above] if below.first == 0 && above.last == most => below
                .last
                .checked_add(1)
                .filter(|value| value.checked_add(1) == Some(above.first)),
            _ => None,
        }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|range| (range.first, range.last)))
            .finish()
    }
}

impl TryFrom<Vec<String>> for Values {
    type Error = String;

    fn try_from(ranges: Vec<String>) -> Result<Self, String> {
        let read = |text: &String| {
            let (first, last) = text.split_once('-')?;
            Range::new(first.parse().ok()?, last.parse().ok()?)
        };
        ranges
            .iter()
            .map(|text| read(text).ok_or_else(|| format!("`{text}` is no range")))
            .collect::<Result<Vec<_>, _>>()
            .map(Self::new)
    }
}

impl From<Values> for Vec<String> {
    fn from(values: Values) -> Self {
        values
            .0
            .iter()
            .map(|range| format!("{}-{}", range.first, range.last))
            .collect()
    }
}
