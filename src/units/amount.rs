//! Percents, and what may be a rate or a percent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::rate::decimal;
use super::{Rate, RateError};

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
