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

    /// Takes numbers that are in use as known, except where the place or the number has another already.
    pub fn learn(
        &mut self,
        minors: impl IntoIterator<Item = (NodeKey, Minor)>,
        majors: impl IntoIterator<Item = (DeviceName, Major)>,
    ) {
        let mut taken: BTreeSet<Minor> = self.minors.values().copied().collect();
        for (key, minor) in minors {
            let fixed = key.place == Place::Control || minor == Minor::CONTROL;
            if !fixed && !self.minors.contains_key(&key) && taken.insert(minor) {
                self.minors.insert(key, minor);
            }
        }
        let mut taken: BTreeSet<Major> = self.majors.values().copied().collect();
        for (device, major) in majors {
            if !self.majors.contains_key(&device) && taken.insert(major) {
                self.majors.insert(device, major);
            }
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
        if self.minors.len() != keys.len() || !self.minors.keys().eq(&keys) {
            self.minors.retain(|key, _| keys.contains(key));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(name: &str) -> NodeKey {
        format!("internet.class.{name}").parse().unwrap()
    }

    fn device(name: &str) -> DeviceName {
        name.parse().unwrap()
    }

    proptest! {
        /// A place keeps its number whatever comes and goes around it, and in whatever order.
        #[test]
        fn numbers_are_stable(
            names in prop::collection::btree_set("[a-z]{1,6}", 1..40),
            more in prop::collection::btree_set("[a-z]{1,6}", 0..40),
        ) {
            let mut ids = Ids::default();
            ids.assign(names.iter().map(|name| class(name)), [device("wan0")]).unwrap();
            let before = ids.clone();
            let all: BTreeSet<&String> = names.union(&more).collect();
            ids.assign(all.iter().rev().map(|name| class(name)), [device("mpls0"), device("wan0")]).unwrap();
            for name in &names {
                prop_assert_eq!(ids.minor(&class(name)), before.minor(&class(name)));
            }
            prop_assert_eq!(ids.major(&device("wan0")), before.major(&device("wan0")));
            let distinct: BTreeSet<Minor> = ids.minors().map(|(_, minor)| minor).collect();
            prop_assert_eq!(distinct.len(), all.len());
        }
    }

    #[test]
    fn what_the_kernel_shows_is_taken_over_and_never_twice() {
        let number = |minor| Minor::new(minor).unwrap();
        let mut ids = Ids::default();
        ids.learn(
            [
                (class("video"), number(0x77)),
                (class("voice"), number(0x77)),
                (class("gateway"), number(0x78)),
            ],
            [(device("wan0"), Major::new(0x7a05).unwrap())],
        );
        ids.assign(["video", "voice", "gateway"].map(class), [device("wan0")])
            .unwrap();
        assert_eq!(ids.minor(&class("video")), Some(number(0x77)));
        assert_eq!(ids.minor(&class("gateway")), Some(number(0x78)));
        assert_ne!(ids.minor(&class("voice")), Some(number(0x77)));
        assert_eq!(ids.major(&device("wan0")), Major::new(0x7a05));
    }

    #[test]
    fn a_host_that_is_full_says_so() {
        let names = (0..=u32::from(Minor::MOST)).map(|number| class(&format!("c{number}")));
        let error = Ids::default().assign(names, []).unwrap_err();
        assert!(matches!(error, IdsError::Minors { .. }), "{error}");
    }
}
