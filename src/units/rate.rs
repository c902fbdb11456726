//! Rates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Fraction;

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
        let (from, to, parts) = (
            u128::from(self.0),
            u128::from(to.0),
            u128::from(at.billionths()),
        );
        let whole = u128::from(Fraction::ONE.billionths());
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
        let not_a_number = || RateError::NotANumber {
            text: text.to_owned(),
        };
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(not_a_number());
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
        Self::from_bits(decimal(number, scale).ok_or_else(not_a_number)??)
    }
}

/// `number × scale` exactly: `None` where it is no decimal number.
pub(super) fn decimal(number: &str, scale: u64) -> Option<Result<u64, RateError>> {
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

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&bits_text(self.0))
    }
}

/// So many bit/s exactly, in powers of ten, with at most three decimals: `2.2mbit`, `12345.672kbit`.
///
/// For sums as well, which need not be rates.
#[must_use]
pub fn bits_text(bits: u64) -> String {
    let exact = |scale: u64| bits >= scale && bits.is_multiple_of((scale / 1_000).max(1));
    let (name, scale) = UNITS
        .iter()
        .take(5)
        .rev()
        .find(|(_, scale)| exact(*scale))
        .unwrap_or(&UNITS[0]);
    let (whole, part) = (bits / scale, bits % scale / (scale / 1_000).max(1));
    if part == 0 {
        return format!("{whole}{name}");
    }
    format!(
        "{whole}.{}{name}",
        format!("{part:03}").trim_end_matches('0')
    )
}

/// So many bit/s as people read them in a table: exactly where that is short, else to four digits and
/// marked as such, `≈187.6mbit`.
#[must_use]
pub fn short_text(bits: u64) -> String {
    let exact = bits_text(bits);
    let digits = exact.chars().filter(char::is_ascii_digit).count();
    let unit = UNITS.iter().take(5).rev().find(|(_, scale)| bits >= *scale);
    match unit {
        Some((name, scale)) if digits > 6 => {
            let whole = bits / scale;
            let decimals: u64 = match whole {
                0..10 => 1_000,
                10..100 => 100,
                100..1_000 => 10,
                1_000.. => 1,
            };
            let rounded = (u128::from(bits) * u128::from(decimals) + u128::from(scale / 2))
                / u128::from(*scale);
            let (whole, part) = (
                rounded / u128::from(decimals),
                rounded % u128::from(decimals),
            );
            let width = decimals.ilog10() as usize;
            if width == 0 {
                format!("≈{whole}{name}")
            } else {
                format!("≈{whole}.{part:0width$}{name}")
            }
        }
        _ => exact,
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
