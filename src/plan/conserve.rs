//! Conservation: in every tree the children's rates sum to at most their parent's, and the shares of
//! circuits that share a pool to at most the pool.

use std::collections::BTreeMap;

use thiserror::Error;

use super::bounds::PoolBound;
use crate::model::names::DeviceName;
use crate::model::state::{KernelState, Minor};
use crate::units::Rate;

/// A sum that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Breach {
    /// The children of a class have more for certain than it has itself.
    #[error("{device}: the classes below {parent:?} have {sum} bit/s for certain, it has {room}")]
    Class {
        /// The device.
        device: DeviceName,
        /// The class.
        parent: Minor,
        /// What its children sum to, in bit/s.
        sum: u64,
        /// What it has.
        room: Rate,
    },
    /// The circuits of a pool have more than the pool.
    #[error("the circuits behind {devices:?} have {sum} bit/s, their pool has {room}")]
    Pool {
        /// The circuits' devices.
        devices: Vec<DeviceName>,
        /// What they sum to, in bit/s.
        sum: u64,
        /// What the pool has.
        room: Rate,
    },
}

/// Every sum of `state` that does not fit.
#[must_use]
pub fn breaches(state: &KernelState, pools: &[PoolBound]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut roots: BTreeMap<&DeviceName, u64> = BTreeMap::new();
    for (device, tree) in &state.trees {
        let mut sums: BTreeMap<Option<Minor>, u64> = BTreeMap::new();
        for class in tree.classes.values() {
            *sums.entry(class.parent).or_default() += class.rate.bits();
        }
        roots.insert(device, sums.remove(&None).unwrap_or(0));
        for (parent, sum) in sums {
            let Some((minor, class)) =
                parent.and_then(|minor| Some((minor, tree.classes.get(&minor)?)))
            else {
                continue;
            };
            if sum > class.rate.bits() {
                breaches.push(Breach::Class {
                    device: device.clone(),
                    parent: minor,
                    sum,
                    room: class.rate,
                });
            }
        }
    }
    for PoolBound { devices, room } in pools {
        let sum: u64 = devices.iter().filter_map(|device| roots.get(device)).sum();
        if sum > room.bits() {
            breaches.push(Breach::Pool {
                devices: devices.iter().cloned().collect(),
                sum,
                room: *room,
            });
        }
    }
    breaches
}
