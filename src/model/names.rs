//! Names. Each kind is a type of its own, so that a site is never looked up among classes.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name that a policy may give to a thing of its own.
pub const MAX_NAME: usize = 32;
/// The longest name of a network device (`IFNAMSIZ` less its NUL).
pub const MAX_DEVICE: usize = 15;

/// What a name is made of, in words.
pub const NAME_RULE: &str = "names are made of lower-case letters, digits and `-`, begin with a letter, and have at most 32 characters";

/// Whether a policy may give a thing of its own this name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    check(text, "").is_ok()
}

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name may not be empty")]
    Empty,
    /// Longer than the kind allows.
    #[error("`{name}` has {length} characters; a {what} name has at most {most}")]
    TooLong {
        /// The name, as far as it may go.
        name: String,
        /// How long it is.
        length: usize,
        /// How long it may be.
        most: usize,
        /// What it would name.
        what: &'static str,
    },
    /// Other characters than names are made of.
    #[error("`{name}` is no {what} name; {NAME_RULE}")]
    Characters {
        /// What was read.
        name: String,
        /// What it would name.
        what: &'static str,
    },
    /// Other characters than device names are made of.
    #[error(
        "`{name}` is not a device name; letters, digits and `.`, `_`, `-`, `@`, `:` are allowed, at the start a letter or a digit"
    )]
    DeviceCharacters {
        /// What was read.
        name: String,
    },
}

fn check(name: &str, what: &'static str) -> Result<(), NameError> {
    let first = name.chars().next().ok_or(NameError::Empty)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !first.is_ascii_lowercase() || !name.chars().all(plain) {
        return Err(NameError::Characters {
            name: name.chars().take(64).collect(),
            what,
        });
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong {
            name: name.chars().take(64).collect(),
            length: name.len(),
            most: MAX_NAME,
            what,
        });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                check(name, $what)?;
                Ok(Self(name.into()))
            }
        }

        name!(@text $type);
    };
    (@text $type:ident) => {
        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        /// By the text, which mostly is the very same.
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
            }
        }

        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        /// By the text, which mostly is the very same: thousands of places are on one circuit.
        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) {
                    return Ordering::Equal;
                }
                self.0.cmp(&other.0)
            }
        }
    };
}

name!(
    /// Names a circuit.
    CircuitName, "circuit"
);
name!(
    /// Names a pool.
    PoolName, "pool"
);
name!(
    /// Names a class.
    ClassName, "class"
);
name!(
    /// Names a site.
    SiteName, "site"
);
name!(
    /// Names a phase.
    PhaseName, "phase"
);
name!(
    /// Names a block.
    BlockName, "block"
);
name!(
    /// Names a condition.
    ConditionName, "condition"
);
name!(
    /// Names an event that the operator or another program reports.
    EventName, "event"
);
name!(
    /// Names a group of prefixes.
    GroupName, "group"
);
name!(
    /// Names a service.
    ServiceName, "service"
);
name!(
    /// Names this host.
    HostName, "host"
);

/// The name of a network device: safe to put between quotes into another program's language.
#[derive(Clone, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName(Arc<str>);

impl DeviceName {
    /// One of ours, that needs no checking.
    pub(super) fn known(name: &'static str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let first = name.chars().next().ok_or(NameError::Empty)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-@:".contains(c);
        if !first.is_ascii_alphanumeric() || !name.chars().all(allowed) {
            return Err(NameError::DeviceCharacters {
                name: name.chars().take(64).collect(),
            });
        }
        if name.len() > MAX_DEVICE {
            return Err(NameError::TooLong {
                name: name.to_owned(),
                length: name.len(),
                most: MAX_DEVICE,
                what: "device",
            });
        }
        Ok(Self(name.into()))
    }
}

name!(@text DeviceName);

/// Where in the policy something was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The file, as it was named to the reader.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1. Neither it nor the bytes are told to programs: a line says enough there.
    #[serde(skip)]
    pub column: usize,
    /// The first byte of the file's text that is meant.
    #[serde(skip)]
    pub start: usize,
    /// The byte after the last.
    #[serde(skip)]
    pub end: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.file, self.line))
    }
}
