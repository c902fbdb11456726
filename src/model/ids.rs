//! Numbers for places: stable while names are, whatever the order in which they are written.
//!
//! One minor serves a place wherever the kernel wants a number for it: class, leaf, mark. A new
//! place takes the minor that its name hashes to, or the next free one, so that even a host that
//! lost its store and its packet filter mostly gets the same numbers again. Numbers that are known
//! (from the store, or from what the kernel shows) win over the hash.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::names::DeviceName;
use super::node::{NodeKey, Place};
use super::state::{Major, Minor};

/// The numbers that are given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ids {
    minors: BTreeMap<NodeKey, Minor>,
    majors: BTreeMap<DeviceName, Major>,
}

/// No number is left.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdsError {
    /// More places than a tree has class ids.
    #[error("no class id is left for {key}: a host has at most {most} classes, sites and circuits", most = Minor::MOST)]
    Minors {
        /// The place.
        key: NodeKey,
    },
    /// More devices than handles.
    #[error("no qdisc handle is left for {device}: a host has at most {most} shaped devices", most = Major::MOST)]
    Majors {
        /// The device.
        device: DeviceName,
    },
}

impl Ids {
    /// The minor of `key`, where it has one.
    #[must_use]
    pub fn minor(&self, key: &NodeKey) -> Option<Minor> {
        if key.place == Place::Control {
            return Some(Minor::CONTROL);
        }
        self.minors.get(key).copied()
    }

    /// The handle major of `device`, where it has one.
    #[must_use]
    pub fn major(&self, device: &DeviceName) -> Option<Major> {
        self.majors.get(device).copied()
    }

    /// The places that have a minor, with it.
    pub fn minors(&self) -> impl Iterator<Item = (&NodeKey, Minor)> {
        self.minors.iter().map(|(key, minor)| (key, *minor))
    }

    /// The devices that have a major, with it.
    pub fn majors(&self) -> impl Iterator<Item = (&DeviceName, Major)> {
        self.majors.iter().map(|(device, major)| (device, *major))
    }

    /// Takes `minor` for `key` as known, unless either is taken.
    pub fn learn_minor(&mut self, key: NodeKey, minor: Minor) {
        if key.place != Place::Control && !self.minors.values().any(|known| *known == minor) {
            self.minors.entry(key).or_insert(minor);
        }
    }

    /// Takes `major` for `device` as known, unless either is taken.
    pub fn learn_major(&mut self, device: DeviceName, major: Major) {
        if !self.majors.values().any(|known| *known == major) {
            self.majors.entry(device).or_insert(major);
        }
    }

    /// Gives a number to each of `keys` and `devices` that has none, and forgets all others.
    ///
    /// # Errors
    /// Where no number is left.
    pub fn assign(
        &mut self,
        keys: impl IntoIterator<Item = NodeKey>,
        devices: impl IntoIterator<Item = DeviceName>,
    ) -> Result<(), IdsError> {
        let keys: BTreeSet<NodeKey> = keys
            .into_iter()
            .filter(|key| key.place != Place::Control)
            .collect();
        let devices: BTreeSet<DeviceName> = devices.into_iter().collect();
        self.minors.retain(|key, _| keys.contains(key));
        self.majors.retain(|device, _| devices.contains(device));

        let mut taken: BTreeSet<u16> = self.minors.values().map(|minor| minor.get()).collect();
        taken.insert(Minor::CONTROL.get());
        for key in keys {
            if self.minors.contains_key(&key) {
                continue;
            }
            let minor = first_free(&key.to_string(), Minor::FIRST..=Minor::LAST, &taken)
                .and_then(Minor::new)
                .ok_or_else(|| IdsError::Minors { key: key.clone() })?;
            taken.insert(minor.get());
            self.minors.insert(key, minor);
        }

        let mut taken: BTreeSet<u16> = self.majors.values().map(|major| major.get()).collect();
        for device in devices {
            if self.majors.contains_key(&device) {
                continue;
            }
            let major = first_free(device.as_str(), Major::FIRST..=Major::LAST, &taken)
                .and_then(Major::new)
                .ok_or_else(|| IdsError::Majors {
                    device: device.clone(),
                })?;
            taken.insert(major.get());
            self.majors.insert(device, major);
        }
        Ok(())
    }
}

/// The number that `name` hashes to within `range`, or the next that is not taken.
fn first_free(
    name: &str,
    range: std::ops::RangeInclusive<u16>,
    taken: &BTreeSet<u16>,
) -> Option<u16> {
    let (first, last) = range.into_inner();
    let count = u64::from(last - first) + 1;
    let start = u16::try_from(fnv1a(name) % count).ok()? + first;
    (start..=last)
        .chain(first..start)
        .find(|number| !taken.contains(number))
}

/// FNV-1a, 64 bits: fixed for ever, unlike the standard library's hashers.
/// Source: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
