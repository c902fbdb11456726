//! Quantities as policy files, plans and metrics write them: rates, percents, durations.
//!
//! A rate travels in three stops: text → [`Rate`] (integer bit/s) here, the same `Rate` in the op
//! that a plan prints, bytes per second in the one codec that writes the netlink attribute.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A rate in bit/s: a positive multiple of 8, because the kernel counts whole bytes per second.
///
/// Read and written in `tc`'s units made safe: `bit`, `kbit`, `mbit`, `gbit`, `tbit` are powers of
/// ten, `kibit`, `mibit`, `gibit`, `tibit` powers of two; the suffix is required.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(u64);

impl Rate {
    /// The smallest rate that the kernel can hold: one byte per second.
    pub const MIN: Self = Self(8);
    /// 8 kbit/s: what a class has for certain where its policy does not say.
    pub const KBIT_8: Self = Self(8_000);
    /// 64 kbit/s: the least that control has for certain.
    pub const KBIT_64: Self = Self(64_000);
    /// The largest rate that is accepted: 10 Tbit/s, far from where HTB's 64-bit sums could wrap.
    pub const MAX: Self = Self(10_000_000_000_000);

    /// A rate of `bits` bit/s.
    ///
    /// # Errors
    /// Where `bits` is not a multiple of 8 between [`Rate::MIN`] and [`Rate::MAX`].
    pub fn from_bits(bits: u64) -> Result<Self, RateError> {
        if bits == 0 {
            Err(RateError::Zero)
        } else if !bits.is_multiple_of(8) {
            Err(RateError::NotBytes { bits })
        } else if bits > Self::MAX.0 {
            Err(RateError::TooLarge)
        } else {
            Ok(Self(bits))
        }
    }

    /// The largest rate that is at most `bits` bit/s, and at least [`Rate::MIN`].
    #[must_use]
    pub fn floor(bits: u64) -> Self {
        Self((bits & !7).clamp(Self::MIN.0, Self::MAX.0))
    }

    /// A rate as the kernel gives it, in bytes per second; clamped to what a `Rate` can hold.
    #[must_use]
    pub fn from_bytes_per_second(bytes: u64) -> Self {
        Self::floor(bytes.saturating_mul(8))
    }

    /// In bit/s.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// In bytes per second, exactly.
    #[must_use]
    pub const fn bytes_per_second(self) -> u64 {
        self.0 / 8
    }

    /// The time that `bytes` take at this rate, in nanoseconds, rounded up.
    #[must_use]
    pub fn nanoseconds_for(self, bytes: u64) -> u64 {
        let ns = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.bytes_per_second()));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// The point `at` of the way from `self` to `to`, rounded down.
    ///
    /// Linear, so that where sums hold at both ends they hold all along the way.
    #[must_use]
    pub fn toward(self, to: Self, at: Fraction) -> Self {
        let (from, to, parts) = (u128::from(self.0), u128::from(to.0), u128::from(at.0));
        let whole = u128::from(Fraction::ONE.0);
        let bits = (from * (whole - parts) + to * parts) / whole;
        Self::floor(u64::try_from(bits).unwrap_or(u64::MAX))
    }
}

/// Why a text or a number is no [`Rate`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RateError {
    /// No digits where a number was expected.
    #[error("`{text}` is not a rate; write a number and a unit, such as \"40mbit\"")]
    NotANumber {
        /// What was read.
        text: String,
    },
    /// A number without a unit.
    #[error("a rate needs a unit; write \"{text}bit\", \"{text}kbit\" or \"{text}mbit\"")]
    NoUnit {
        /// The number that was read.
        text: String,
    },
    /// A unit that `tc` takes for bytes.
    #[error(
        "`{unit}` is ambiguous: tc reads it as bytes per second; write \"{number}{instead}\" for bits per second"
    )]
    ReadAsBytes {
        /// The number before the unit.
        number: String,
        /// The unit that was read.
        unit: String,
        /// The unit that was most likely meant.
        instead: &'static str,
    },
    /// A unit that is not known.
    #[error(
        "`{unit}` is not a unit of rate; the units are bit, kbit, mbit, gbit, tbit (powers of ten) and kibit, mibit, gibit, tibit (powers of two)"
    )]
    UnknownUnit {
        /// The unit that was read.
        unit: String,
    },
    /// A rate of nothing.
    #[error("a rate is never 0; the smallest is 8bit")]
    Zero,
    /// Not a whole number of bytes per second.
    #[error(
        "{bits}bit is not a whole number of bytes per second, which is what the kernel counts in; use a multiple of 8 bits"
    )]
    NotBytes {
        /// The rate in bit/s.
        bits: u64,
    },
    /// A fraction of a bit.
    #[error("`{text}` is not a whole number of bits per second")]
    Fraction {
        /// What was read.
        text: String,
    },
    /// Beyond [`Rate::MAX`].
    #[error("a rate is at most 10tbit")]
    TooLarge,
}

const UNITS: [(&str, u64); 9] = [
    ("bit", 1),
    ("kbit", 1_000),
    ("mbit", 1_000_000),
    ("gbit", 1_000_000_000),
    ("tbit", 1_000_000_000_000),
    ("kibit", 1 << 10),
    ("mibit", 1 << 20),
    ("gibit", 1 << 30),
    ("tibit", 1 << 40),
];

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let text = text.trim();
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let unit = unit.trim_start();
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(RateError::NotANumber {
                text: text.to_owned(),
            });
        }
        if unit.is_empty() {
            return Err(RateError::NoUnit {
                text: number.to_owned(),
            });
        }
        let lower = unit.to_ascii_lowercase();
        let instead = match lower.as_str() {
            "bps" => Some("bit"),
            "kbps" => Some("kbit"),
            "mbps" => Some("mbit"),
            "gbps" => Some("gbit"),
            "tbps" => Some("tbit"),
            _ => None,
        };
        if let Some(instead) = instead {
            return Err(RateError::ReadAsBytes {
                number: number.to_owned(),
                unit: unit.to_owned(),
                instead,
            });
        }
        let scale = UNITS
            .iter()
            .find_map(|(name, scale)| (*name == lower).then_some(*scale))
            .ok_or_else(|| RateError::UnknownUnit {
                unit: unit.to_owned(),
            })?;
        Self::from_bits(decimal(number, scale).ok_or_else(|| decimal_error(number, text))??)
    }
}

/// `number × scale` exactly: `None` where it is no decimal number.
fn decimal(number: &str, scale: u64) -> Option<Result<u64, RateError>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.ends_with('.') || fraction.contains('.') {
        return None;
    }
    if whole.len() > 20 || fraction.len() > 15 {
        return Some(Err(RateError::TooLarge));
    }
    let whole: u128 = whole.parse().ok()?;
    let tenth = u32::try_from(fraction.len())
        .ok()
        .map(|digits| 10_u128.pow(digits))?;
    let parts: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let scaled = (whole * tenth + parts) * u128::from(scale);
    if !scaled.is_multiple_of(tenth) {
        return Some(Err(RateError::Fraction {
            text: number.to_owned(),
        }));
    }
    Some(u64::try_from(scaled / tenth).map_err(|_| RateError::TooLarge))
}

fn decimal_error(_number: &str, text: &str) -> RateError {
    RateError::NotANumber {
        text: text.to_owned(),
    }
}

impl fmt::Display for Rate {
    /// The shortest exact form in powers of ten: `2500kbit`, `1gbit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, scale) = UNITS
            .iter()
            .take(5)
            .rev()
            .find(|(_, scale)| self.0.is_multiple_of(*scale))
            .unwrap_or(&UNITS[0]);
        f.pad(&format!("{}{name}", self.0 / scale))
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
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

/// A part of a whole in percent, exact to a ten-thousandth of a percent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u32);

impl Percent {
    /// All of it.
    pub const ALL: Self = Self(1_000_000);

    /// `percent` whole percent, at most 100.
    #[must_use]
    pub const fn whole(percent: u32) -> Self {
        if percent > 100 {
            Self::ALL
        } else {
            Self(percent * 10_000)
        }
    }

    /// This part of `rate` in bit/s, rounded down to whole bytes per second; may be 0.
    #[must_use]
    pub fn bits_of(self, rate: Rate) -> u64 {
        let bits = u128::from(rate.bits()) * u128::from(self.0) / u128::from(Self::ALL.0);
        u64::try_from(bits).unwrap_or(u64::MAX) & !7
    }
}

/// Why a text is no [`Percent`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a percentage; write a number above 0 and up to 100 with a percent sign, such as \"10%\" or \"2.5%\""
)]
pub struct PercentError {
    text: String,
}

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, PercentError> {
        let error = || PercentError {
            text: text.to_owned(),
        };
        let number = text.trim().strip_suffix('%').ok_or_else(error)?.trim_end();
        let parts = decimal(number, 10_000)
            .and_then(Result::ok)
            .ok_or_else(error)?;
        match u32::try_from(parts) {
            Ok(parts) if parts > 0 && parts <= Self::ALL.0 => Ok(Self(parts)),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        let text = if part == 0 {
            format!("{whole}%")
        } else {
            format!("{whole}.{}%", format!("{part:04}").trim_end_matches('0'))
        };
        f.pad(&text)
    }
}

impl fmt::Debug for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Percent {
    type Error = PercentError;

    fn try_from(text: String) -> Result<Self, PercentError> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

/// A rate, or a part of the parent's present rate: what `guarantee` and `ceiling` take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Amount {
    /// So much, whatever the parent has.
    Fixed(Rate),
    /// This part of what the parent has.
    Part(Percent),
}

impl Amount {
    /// In bit/s, where the parent has `parent`: rounded down, may be 0 for a small part.
    #[must_use]
    pub fn bits_within(self, parent: Rate) -> u64 {
        match self {
            Self::Fixed(rate) => rate.bits(),
            Self::Part(percent) => percent.bits_of(parent),
        }
    }

    /// As a rate, where the parent has `parent`: at least [`Rate::MIN`].
    #[must_use]
    pub fn within(self, parent: Rate) -> Rate {
        Rate::floor(self.bits_within(parent))
    }
}

/// Why a text is no [`Amount`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AmountError {
    /// It looked like a rate.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// It looked like a percentage.
    #[error(transparent)]
    Percent(#[from] PercentError),
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text.contains('%') {
            Ok(Self::Part(text.parse()?))
        } else {
            Ok(Self::Fixed(text.parse()?))
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(rate) => fmt::Display::fmt(rate, f),
            Self::Part(percent) => fmt::Display::fmt(percent, f),
        }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Amount {
    type Error = AmountError;

    fn try_from(text: String) -> Result<Self, AmountError> {
        text.parse()
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_tc_reads_and_says_what_it_misreads() {
        for (text, bits) in [
            ("40mbit", 40_000_000),
            ("2.5mbit", 2_500_000),
            ("1 gbit", 1_000_000_000),
            ("8bit", 8),
            ("1KBIT", 1_000),
            ("1kibit", 1_024),
            ("10tbit", 10_000_000_000_000),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap().bits(), bits, "{text}");
        }
        let error = "100mbps".parse::<Rate>().unwrap_err();
        assert!(matches!(
            error,
            RateError::ReadAsBytes {
                instead: "mbit",
                ..
            }
        ));
        assert!(error.to_string().contains("\"100mbit\""), "{error}");
        for text in [
            "",
            "mbit",
            "-1mbit",
            "1..5mbit",
            "1.mbit",
            "0mbit",
            "1bit",
            "40",
            "11tbit",
            "0.0001bit",
            "１mbit",
            "1mbit2",
            "99999999999999999999999999mbit",
            "1e3mbit",
            "nan",
            "inf",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text} was read");
        }
    }

    proptest! {
        #[test]
        fn a_rate_survives_its_text(bytes in 1_u64..1_250_000_000_000) {
            let rate = Rate::from_bits(bytes * 8).unwrap();
            prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
            prop_assert_eq!(Rate::from_bytes_per_second(rate.bytes_per_second()), rate);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Rate>();
            let _ = text.parse::<Percent>();
            let _ = text.parse::<Amount>();
        }

        #[test]
        fn a_percent_survives_its_text(parts in 1_u32..=1_000_000) {
            let percent = Percent(parts);
            prop_assert_eq!(percent.to_string().parse::<Percent>().unwrap(), percent);
        }

        #[test]
        fn sums_hold_all_along_a_ramp(
            from in prop::collection::vec(1_u64..1_000_000, 1..6),
            seed in any::<u64>(),
            at in 0_u64..=1_000,
        ) {
            let at = Fraction::of(std::time::Duration::from_millis(at), std::time::Duration::from_secs(1));
            let to: Vec<u64> = from.iter().map(|bytes| (bytes ^ seed) % 1_000_000 + 1).collect();
            let rate = |bytes: &u64| Rate::from_bits(bytes * 8).unwrap();
            let sum = |bytes: &[u64]| rate(&bytes.iter().sum());
            let children: u64 = from.iter().zip(&to).map(|(a, b)| rate(a).toward(rate(b), at).bits()).sum();
            prop_assert!(children <= sum(&from).toward(sum(&to), at).bits());
        }
    }
}
