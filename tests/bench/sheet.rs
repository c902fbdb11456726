//! What is printed: one table, and remarks below it.

use std::io::{Write, stdout};

/// How wide text is set, in columns.
const WIDTH: usize = 80;

/// What a figure is to reach.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Told for information.
    None,
}

/// A figure with its unit.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    value: f64,
    unit: Unit,
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Percent,
    Times,
    Microseconds,
    Milliseconds,
    Seconds,
    Nanoseconds,
    Thousands,
    Mebibytes,
    Count,
}

impl Figure {
    /// A ratio, in parts of a hundred.
    pub const fn percent(ratio: f64) -> Self {
        Self {
            value: ratio * 100.0,
            unit: Unit::Percent,
        }
    }

    /// A ratio, as so many times.
    pub const fn times(ratio: f64) -> Self {
        Self {
            value: ratio,
            unit: Unit::Times,
        }
    }

    /// A time, told in microseconds.
    pub const fn us(seconds: f64) -> Self {
        Self {
            value: seconds * 1e6,
            unit: Unit::Microseconds,
        }
    }

    /// A time, told in milliseconds.
    pub const fn ms(seconds: f64) -> Self {
        Self {
            value: seconds * 1e3,
            unit: Unit::Milliseconds,
        }
    }

    /// A time, told in nanoseconds.
    pub const fn ns(seconds: f64) -> Self {
        Self {
            value: seconds * 1e9,
            unit: Unit::Nanoseconds,
        }
    }

    /// A time.
    pub const fn seconds(seconds: f64) -> Self {
        Self {
            value: seconds,
            unit: Unit::Seconds,
        }
    }

    /// How many, told in thousands.
    pub const fn thousands(count: f64) -> Self {
        Self {
            value: count / 1e3,
            unit: Unit::Thousands,
        }
    }

    /// So many bytes, told in MiB.
    pub const fn mebibytes(bytes: f64) -> Self {
        Self {
            value: bytes / (1024.0 * 1024.0),
            unit: Unit::Mebibytes,
        }
    }

    /// How many.
    pub const fn count(count: f64) -> Self {
        Self {
            value: count,
            unit: Unit::Count,
        }
    }

    fn text(self, value: f64) -> String {
        let unit = match self.unit {
            Unit::Percent => " %",
            Unit::Times => " x",
            Unit::Microseconds => " µs",
            Unit::Milliseconds => " ms",
            Unit::Seconds => " s",
            Unit::Nanoseconds => " ns",
            Unit::Thousands => " k",
            Unit::Mebibytes => " MiB",
            Unit::Count => "",
        };
        let digits = match (self.unit, value.abs()) {
            (Unit::Count, _) => 0,
            (_, 100.0..) => 0,
            (_, 10.0..) => 1,
            _ => 2,
        };
        format!("{value:.digits$}{unit}")
    }
}

/// The table as it grows.
#[derive(Default)]
pub struct Sheet {
    figures: usize,
    missed: Vec<String>,
    unmeasured: Vec<String>,
}

impl Sheet {
    /// Prints a line. A reader who has gone away is no reason to stop.
    fn line(text: &str) {
        let mut out = stdout();
        let _ = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    }

    /// The head of the table.
    pub fn head(&self) {
        Self::line(&format!("{:<47}{:>12}{:>12}", "", "measured", "bar"));
    }

    /// A part begins.
    pub fn part(&self, name: &str, about: &str) {
        Self::line("");
        Self::line(&format!("{name}: {about}"));
    }

    /// A figure, beside its bar. A bar is of the figure's unit; of a ratio in percent, in percent.
    pub fn row(&mut self, what: &str, figure: Figure, bar: Bar) {
        let (bar, good) = match bar {
            Bar::AtLeast(bar) => (format!("≥ {}", figure.text(bar)), Some(figure.value >= bar)),
            Bar::AtMost(bar) => (format!("≤ {}", figure.text(bar)), Some(figure.value <= bar)),
            Bar::None => (String::new(), None),
        };
        let verdict = match good {
            Some(true) => "good",
            Some(false) => "MISSED",
            None => "",
        };
        self.figures += usize::from(good.is_some());
        if good == Some(false) {
            self.missed.push(what.to_owned());
        }
        let measured = figure.text(figure.value);
        Self::line(&format!("  {what:<45}{measured:>12}{bar:>12} {verdict}"));
    }

    /// The spread of what the last row told.
    pub fn spread(&self, low: Figure, high: Figure, runs: usize) {
        let spread = format!("{} to {}", low.text(low.value), high.text(high.value));
        Self::line(&format!("    half of {runs} runs within: {spread}"));
    }

    /// Words, folded to the table's width.
    pub fn remark(&self, text: &str) {
        let mut line = String::from("  ");
        for word in text.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                Self::line(&line);
                line = String::from("  ");
            }
            line.push(' ');
            line.push_str(word);
        }
        Self::line(&line);
    }

    /// A part could not be measured.
    pub fn unmeasured(&mut self, part: &str, why: &str) {
        self.remark(&format!("could not be measured: {why}"));
        self.unmeasured.push(part.to_owned());
    }

    /// The last words, and whether all could be measured.
    pub fn end(&self) -> bool {
        Self::line("");
        match self.missed.as_slice() {
            [] if self.figures == 0 => {}
            [] => Self::line(&format!("{} figures reach their bar.", self.figures)),
            missed => self.remark(&format!(
                "{} of {} figures miss their bar: {}.",
                missed.len(),
                self.figures,
                missed.join("; ")
            )),
        }
        if !self.unmeasured.is_empty() {
            Self::line(&format!("Not measured: {}.", self.unmeasured.join(", ")));
        }
        self.unmeasured.is_empty()
    }
}
