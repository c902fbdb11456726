//! Keeps counters from stepping back.
//!
//! What counts below us may begin anew: a block's table is made again after somebody's flush. Prometheus takes
//! a counter that falls for a daemon that was restarted, and gets a wrong rate where it was not.

use std::collections::BTreeMap;

use super::catalogue::Family;
use super::classes::ClassRow;
use super::values::{Labels, Number, Value};
use crate::model::node::NodeKey;
use crate::units::Direction;

/// A counter: what it last showed, and what that is together with what it showed before it began anew.
#[derive(Debug, Clone, Copy)]
struct Total<T> {
    shown: T,
    sum: T,
}

/// What can be summed.
trait Sum: Copy + PartialOrd {
    fn plus(self, more: Self) -> Self;
    fn minus(self, less: Self) -> Self;
}

impl Sum for u64 {
    fn plus(self, more: Self) -> Self {
        self.saturating_add(more)
    }

    fn minus(self, less: Self) -> Self {
        self.saturating_sub(less)
    }
}

impl Sum for f64 {
    fn plus(self, more: Self) -> Self {
        self + more
    }

    fn minus(self, less: Self) -> Self {
        self - less
    }
}

impl<T: Sum> Total<T> {
    /// Counts on. One that fell began anew, and what it shows is new.
    fn next(before: Option<Self>, shown: T) -> Self {
        let sum = match before {
            None => shown,
            Some(before) if shown >= before.shown => before.sum.plus(shown.minus(before.shown)),
            Some(before) => before.sum.plus(shown),
        };
        Self { shown, sum }
    }
}

/// The counters of all series that were ever shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    counts: BTreeMap<(&'static str, Labels), Total<u64>>,
    seconds: BTreeMap<(&'static str, Labels), Total<f64>>,
    classes: BTreeMap<(NodeKey, Direction), [Total<u64>; 3]>,
}

impl Totals {
    /// Replaces what counters show by their totals.
    pub(super) fn carry(&mut self, values: &mut [Value]) {
        for value in values {
            let key = |family: &Family, labels: &Labels| (family.name, labels.clone());
            match &mut value.number {
                Number::Gauge(_) => {}
                Number::Count(number) => {
                    let key = key(&value.family, &value.labels);
                    let total = Total::next(self.counts.get(&key).copied(), *number);
                    *number = total.sum;
                    self.counts.insert(key, total);
                }
                Number::Seconds(number) => {
                    let key = key(&value.family, &value.labels);
                    let total = Total::next(self.seconds.get(&key).copied(), number.max(0.0));
                    *number = total.sum;
                    self.seconds.insert(key, total);
                }
            }
        }
    }

    /// The same for classes.
    pub(super) fn carry_classes(&mut self, rows: &mut [ClassRow]) {
        for row in rows {
            let key = (row.place.clone(), row.direction);
            let before = self.classes.get(&key).copied();
            let totals = std::array::from_fn(|column| {
                Total::next(before.map(|before| before[column]), row.counts[column])
            });
            row.counts = totals.map(|total: Total<u64>| total.sum);
            self.classes.insert(key, totals);
        }
    }
}
