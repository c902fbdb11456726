//! What holds, for Prometheus.
//!
//! A [`Status`] is published at each sample, and its counters are carried on; text is made of it only
//! where somebody asks. All metrics are listed in [`catalogue`].

pub mod catalogue;
mod classes;
mod text;
mod totals;
mod values;

use std::sync::Arc;

use crate::api::Status;
use classes::ClassRow;
use totals::Totals;
use values::{Number, Value};

pub use text::CONTENT_TYPE;

/// How many series are shown at the most. Only those of classes are ever left out.
pub const MAX_SERIES: usize = 2_000;

/// Publishes what holds.
#[derive(Debug, Clone)]
pub struct Exporter {
    version: String,
    totals: Totals,
    last: Arc<Snapshot>,
}

/// What held at one moment, with counters that never step back from one snapshot to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    status: Option<Arc<Status>>,
    values: Vec<Value>,
    classes: Vec<ClassRow>,
}

impl Exporter {
    /// One for a program of this version. Before the first [`Self::publish`] everything is 0.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let mut totals = Totals::default();
        let last = Arc::new(Snapshot::take(version, None, &mut totals));
        Self {
            version: version.to_owned(),
            totals,
            last,
        }
    }

    /// Takes in what holds, and gives it with its counters carried on.
    pub fn publish(&mut self, status: Arc<Status>) -> Arc<Snapshot> {
        self.last = Arc::new(Snapshot::take(
            &self.version,
            Some(status),
            &mut self.totals,
        ));
        self.snapshot()
    }

    /// What was published last.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.last)
    }

    /// What was published last, as text: see [`Snapshot::metrics`].
    #[must_use]
    pub fn render(&self) -> String {
        self.last.metrics()
    }
}

impl Snapshot {
    fn take(version: &str, status: Option<Arc<Status>>, totals: &mut Totals) -> Self {
        let mut values = values::values(version, status.as_deref());
        let classes = status.as_ref().map_or(&[][..], |status| &status.classes);
        // The two that tell of the limit count as well.
        let limit = MAX_SERIES.saturating_sub(values.len() + 2);
        let mut shown = classes::shown(classes, limit);
        for (family, number) in [
            (catalogue::CLASS_LIMIT, limit),
            (catalogue::CLASS_OMITTED, shown.omitted),
        ] {
            values.push(Value {
                family,
                labels: Vec::new(),
                number: Number::Gauge(values::whole(number)),
            });
        }
        totals.carry(&mut values);
        totals.carry_classes(&mut shown.rows);
        Self {
            status,
            values,
            classes: shown.rows,
        }
    }

    /// What held; none before anything was published.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.status.as_deref()
    }

    /// The text that Prometheus reads, of the type [`CONTENT_TYPE`]. Takes milliseconds where there are
    /// thousands of classes.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut text = text::write(&self.values);
        classes::write(&mut text, &self.classes);
        text
    }
}
