//! Points in time, stretches of it, and how much of one is over.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest time that may be named.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// The units of time, the longest first: what they are written as, in milliseconds, and what else people write.
const UNITS: [(&str, u64, &[&str]); 5] = [
    ("d", 86_400_000, &["day", "days"]),
    ("h", 3_600_000, &["hr", "hrs", "hour", "hours"]),
    ("m", 60_000, &["min", "mins", "minute", "minutes"]),
    ("s", 1_000, &["sec", "secs", "second", "seconds"]),
    ("ms", 1, &["msec", "msecs", "millisecond", "milliseconds"]),
];

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// A number alone.
    #[error(
        "`{written}` is not a duration; a duration needs a unit: \"{number}s\" or \"{number}m\""
    )]
    NoUnit {
        /// What was read.
        written: String,
        /// The number in it.
        number: String,
    },
    /// A unit by another name.
    #[error("`{written}` is not a duration; write \"{instead}\": the units are d, h, m, s and ms")]
    OtherUnit {
        /// What was read.
        written: String,
        /// The same in our units.
        instead: String,
    },
    /// Something else.
    #[error(
        "`{written}` is not a duration; the units are d, h, m, s and ms, the longer first: \"90s\", \"1h30m\""
    )]
    Wrong {
        /// What was read.
        written: String,
    },
    /// Too long.
    #[error(
        "a duration is at most 366 days; for something that lasts, leave the end to a condition"
    )]
    TooLong,
}

/// A stretch of time, as policy files and the command line write it: `1h30m`, numbers with units, the longer unit first.
///
/// # Errors
/// Where it is written otherwise, or longer than 366 days.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    let written = || text.chars().take(48).collect::<String>();
    let wrong = || DurationError::Wrong { written: written() };
    let mut left = text.trim();
    let mut sum: u64 = 0;
    let mut units = UNITS.iter();
    if left.is_empty() {
        return Err(wrong());
    }
    while !left.is_empty() {
        let digits = left
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(left.len());
        let (number, rest) = left.split_at(digits);
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(letters);
        if unit.is_empty() && !number.is_empty() && rest.is_empty() {
            return Err(DurationError::NoUnit {
                written: written(),
                number: number.to_owned(),
            });
        }
        let scale = units.find(|(name, ..)| *name == unit).map(|(_, ms, _)| *ms);
        let (Ok(number), Some(scale)) = (number.parse::<u64>(), scale) else {
            return Err(in_our_units(text).map_or_else(wrong, |instead| {
                DurationError::OtherUnit {
                    written: written(),
                    instead,
                }
            }));
        };
        sum = number.saturating_mul(scale).saturating_add(sum);
        left = rest.trim_start();
    }
    let duration = Duration::from_millis(sum);
    if duration > LONGEST {
        return Err(DurationError::TooLong);
    }
    Ok(duration)
}

/// What `text` says where its units are written as people say them, and nothing else is wrong.
fn in_our_units(text: &str) -> Option<String> {
    let mut ours = String::new();
    let mut letters = String::new();
    let end = |letters: &mut String, ours: &mut String| {
        if !letters.is_empty() {
            let word = letters.to_ascii_lowercase();
            let known = |(name, _, others): &&(&str, u64, &[&str])| {
                *name == word || others.contains(&word.as_str())
            };
            ours.push_str(UNITS.iter().find(known).map_or("?", |(name, ..)| name));
            letters.clear();
        }
    };
    let words = text.split_whitespace().collect::<Vec<_>>();
    let ends = |word: &str| word.ends_with(|c: char| c.is_ascii_digit());
    let begins = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    if words
        .windows(2)
        .any(|pair| ends(pair[0]) && begins(pair[1]))
    {
        // Two numbers with no unit between them: whatever that is, it is not one number.
        return None;
    }
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        if c.is_ascii_alphabetic() {
            letters.push(c);
        } else {
            end(&mut letters, &mut ours);
            ours.push(c);
        }
    }
    end(&mut letters, &mut ours);
    (ours != text && duration(&ours).is_ok()).then_some(ours)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_refused() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5_400),
            ("8h", 28_800),
            ("1d", 86_400),
            ("0s", 0),
            ("1h 30m", 5_400),
        ] {
            assert_eq!(
                duration(text).unwrap(),
                Duration::from_secs(seconds),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "10",
            "30m1h",
            "1h1h",
            "-5s",
            "1.5h",
            "5 m",
            "10min",
            "400d",
            "1w",
            "99999999999999999999s",
            "５m",
        ] {
            assert!(duration(text).is_err(), "{text} was read");
        }
    }

    #[test]
    fn other_units_are_told_in_ours() {
        for (text, instead) in [
            ("10min", Some("10m")),
            ("1 hour 30 minutes", Some("1h30m")),
            ("5 m", Some("5m")),
            ("90S", Some("90s")),
            ("1w", None),
            ("10 minutos", None),
            ("30min1h", None),
            ("1.5h", None),
        ] {
            let told = match duration(text) {
                Err(DurationError::OtherUnit { instead, .. }) => Some(instead),
                Err(_) => None,
                Ok(read) => panic!("{text} was read as {read:?}"),
            };
            assert_eq!(told.as_deref(), instead, "{text}");
        }
    }
}
