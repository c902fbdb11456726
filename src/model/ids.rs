//! Numbers for places: stable while names are, whatever the order in which they are written.
//!
//! One minor serves a place wherever the kernel wants a number for it: class, leaf, mark. A new
//! place takes the minor that its name hashes to, or the next free one, so that even a host that
//! lost its store and its packet filter mostly gets the same numbers again. Numbers that are known
//! (from the store, or from what the kernel shows) win over the hash.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Range};
use std::iter::Peekable;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::circuit::MarkMask;
use super::names::{DeviceName, PoolName};
use super::node::{NodeKey, Place};
use super::state::{Major, Minor};

/// The numbers that are given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ids {
    minors: BTreeMap<NodeKey, Minor>,
    #[serde(default)]
    pools: BTreeMap<PoolName, Minor>,
    majors: BTreeMap<DeviceName, Major>,
}

/// No number is left.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdsError {
    /// More places than a tree has class ids.
    #[error(
        "no class id is left for {key}: with these bits of the packet mark a host has at most {most} classes, sites and circuits"
    )]
    Minors {
        /// The place.
        key: NodeKey,
        /// How many there can be.
        most: u16,
    },
    /// More pools than a tree has room for.
    #[error("no class id is left for pool {pool}: a host has at most {most} pools", most = Minor::MOST_POOLS)]
    Pools {
        /// The pool.
        pool: PoolName,
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

    /// The same minors, for who asks for those of thousands of places.
    #[must_use]
    pub fn in_order(&self) -> InOrder<'_> {
        InOrder {
            ids: self,
            next: self.minors.range(..).peekable(),
        }
    }

    /// The minor of a pool, in the trees that its circuits share.
    #[must_use]
    pub fn pool(&self, pool: &PoolName) -> Option<Minor> {
        self.pools.get(pool).copied()
    }

    /// The pools that have a minor, with it.
    pub fn pools(&self) -> impl Iterator<Item = (&PoolName, Minor)> {
        self.pools.iter().map(|(pool, minor)| (pool, *minor))
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

    /// Gives a number to everything `wanted` that has none, and forgets all others.
    ///
    /// # Errors
    /// Where no number is left.
    pub fn assign(&mut self, wanted: Wanted) -> Result<(), IdsError> {
        let Wanted {
            mut keys,
            devices,
            pools,
            mask,
        } = wanted;
        let last = Minor::last_in(mask);
        keys.retain(|key| key.place != Place::Control);
        // Mostly what is wanted is what there is.
        let fits = self.minors.values().all(|minor| *minor <= last);
        if fits && self.minors.keys().eq(&keys) {
            keys.clear();
        } else {
            self.minors
                .retain(|key, minor| keys.contains(key) && *minor <= last);
        }
        self.majors.retain(|device, _| devices.contains(device));
        self.pools.retain(|pool, _| pools.contains(pool));

        let taken = if keys.is_empty() {
            &BTreeMap::new()
        } else {
            &self.minors
        };
        let mut taken: BTreeSet<u16> = taken.values().map(|minor| minor.get()).collect();
        for key in keys {
            if self.minors.contains_key(&key) {
                continue;
            }
            let minor = first_free(&key.to_string(), Minor::FIRST..=last.get(), &taken)
                .and_then(Minor::new)
                .ok_or_else(|| IdsError::Minors {
                    key: key.clone(),
                    most: Minor::most_in(mask),
                })?;
            taken.insert(minor.get());
            self.minors.insert(key, minor);
        }

        let mut taken: BTreeSet<u16> = self.pools.values().map(|minor| minor.get()).collect();
        for pool in pools {
            if self.pools.contains_key(&pool) {
                continue;
            }
            let minor = first_free(pool.as_str(), Minor::FIRST_POOL..=Minor::FIRST - 1, &taken)
                .and_then(Minor::new)
                .ok_or_else(|| IdsError::Pools { pool: pool.clone() })?;
            taken.insert(minor.get());
            self.pools.insert(pool, minor);
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

/// Minors, asked for one after the other: quickly where places are asked for in their order, rightly in any.
#[derive(Debug, Clone)]
pub struct InOrder<'a> {
    ids: &'a Ids,
    /// What follows the place that was asked for last.
    next: Peekable<Range<'a, NodeKey, Minor>>,
}

impl InOrder<'_> {
    /// The minor of `key`, where it has one.
    pub fn minor(&mut self, key: &NodeKey) -> Option<Minor> {
        if key.place == Place::Control {
            return Some(Minor::CONTROL);
        }
        if self.next.peek().is_none_or(|(next, _)| *next != key) {
            self.next = self.ids.minors.range(key..).peekable();
        }
        let (_, minor) = self.next.next_if(|(next, _)| *next == key)?;
        Some(*minor)
    }
}

/// What is to have a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Places on circuits; control has the same in every tree.
    pub keys: BTreeSet<NodeKey>,
    /// Devices with a tree.
    pub devices: BTreeSet<DeviceName>,
    /// Pools.
    pub pools: BTreeSet<PoolName>,
    /// The bits of the packet mark, in which each place's number has to find room.
    pub mask: MarkMask,
}

/// The number that `name` hashes to within `range`, or the next that is not taken.
fn first_free(
    name: &str,
    range: std::ops::RangeInclusive<u16>,
    taken: &BTreeSet<u16>,
) -> Option<u16> {
    let (first, last) = range.into_inner();
    let count = u64::from(last.checked_sub(first)?) + 1;
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

    fn wanted<'a>(
        names: impl IntoIterator<Item = &'a str>,
        devices: impl IntoIterator<Item = &'a str>,
    ) -> Wanted {
        Wanted {
            keys: names.into_iter().map(class).collect(),
            devices: devices.into_iter().map(device).collect(),
            pools: BTreeSet::new(),
            mask: MarkMask::UPPER_16,
        }
    }

    proptest! {
        /// A place keeps its number whatever comes and goes around it, and in whatever order.
        #[test]
        fn numbers_are_stable(
            names in prop::collection::btree_set("[a-z]{1,6}", 1..40),
            more in prop::collection::btree_set("[a-z]{1,6}", 0..40),
        ) {
            let mut ids = Ids::default();
            ids.assign(wanted(names.iter().map(String::as_str), ["wan0"])).unwrap();
            let before = ids.clone();
            let all: BTreeSet<&String> = names.union(&more).collect();
            ids.assign(wanted(all.iter().rev().map(|name| name.as_str()), ["mpls0", "wan0"])).unwrap();
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
        ids.assign(wanted(["video", "voice", "gateway"], ["wan0"]))
            .unwrap();
        assert_eq!(ids.minor(&class("video")), Some(number(0x77)));
        assert_eq!(ids.minor(&class("gateway")), Some(number(0x78)));
        assert_ne!(ids.minor(&class("voice")), Some(number(0x77)));
        assert_eq!(ids.major(&device("wan0")), Major::new(0x7a05));
    }

    #[test]
    fn a_host_that_is_full_says_so() {
        for (mask, most) in [
            (MarkMask::UPPER_16, 0x79f0),
            (MarkMask::new(0x00ff_0000).unwrap(), 240),
            (MarkMask::new(0b11).unwrap(), 0),
        ] {
            let full = |count: u16| Wanted {
                keys: (0..count)
                    .map(|number| class(&format!("c{number}")))
                    .collect(),
                mask,
                ..wanted([], [])
            };
            assert_eq!(Minor::most_in(mask), most);
            Ids::default().assign(full(most)).unwrap();
            let error = Ids::default().assign(full(most + 1)).unwrap_err();
            assert!(matches!(error, IdsError::Minors { .. }), "{error}");
        }
    }

    /// A number that the mark can no longer say is given anew, the others stay.
    #[test]
    fn a_narrower_mark_moves_what_it_cannot_say() {
        let mut ids = Ids::default();
        let minor = |number| Minor::new(number).unwrap();
        ids.learn(
            [
                (class("video"), minor(0x44)),
                (class("voice"), minor(0x1234)),
            ],
            [],
        );
        let mask = MarkMask::new(0xff).unwrap();
        ids.assign(Wanted {
            mask,
            ..wanted(["video", "voice"], [])
        })
        .unwrap();
        assert_eq!(ids.minor(&class("video")), Some(minor(0x44)));
        assert!(ids.minor(&class("voice")).unwrap() <= Minor::last_in(mask));
    }
}
