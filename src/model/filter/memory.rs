//! What connections remember, in labels of theirs.
//!
//! Labels are the one thing about a connection that rules of others neither save nor restore: its mark they do
//! write over, and a mark that they restore into packets should be theirs alone. There are 128 to a connection, and
//! ours are the upper half, one for each code point, and the one below. nft 1.0.6 can set and ask for one
//! by its number; a set of them it prints as nothing.

use serde::{Deserialize, Serialize};

use crate::model::class::Dscp;

/// What a connection remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// One of its ends is this host itself.
    Own,
    /// A packet of who opened it carried this code point.
    Dscp(Dscp),
}

/// The first label of a code point.
const POINTS: u8 = 64;
/// The label of connections of the host itself.
const OWN: u8 = 63;

impl Memory {
    /// The label that says so.
    #[must_use]
    pub const fn label(self) -> u8 {
        match self {
            Self::Own => OWN,
            Self::Dscp(point) => POINTS + point.get(),
        }
    }

    /// What a label says; `None` where it is none of ours.
    #[must_use]
    pub fn of(label: u128) -> Option<Self> {
        let label = u8::try_from(label).ok()?;
        if label == OWN {
            return Some(Self::Own);
        }
        Dscp::new(label.checked_sub(POINTS)?).map(Self::Dscp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_of_ours_says_one_thing() {
        for label in 0..=255 {
            let memory = Memory::of(label);
            assert_eq!(memory.is_some(), (63..128).contains(&label), "{label}");
            assert!(memory.is_none_or(|memory| u128::from(memory.label()) == label));
        }
    }
}
