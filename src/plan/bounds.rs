//! What a plan may do beyond a single device: which devices share a pool and what that carries, and which
//! may be taken from somebody else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::lower::{Top, layouts};
use crate::model::circuit::{Pool, TakeOver};
use crate::model::names::{DeviceName, PoolName};
use crate::policy::Policy;
use crate::units::{Direction, Rate, Rates};

/// Which devices belong together, and which may be taken from somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// The pools.
    pub pools: Vec<PoolBound>,
    /// Devices whose foreign root qdisc may be replaced.
    pub adopt: BTreeSet<DeviceName>,
}

/// Devices whose circuits share a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PoolBound {
    /// The devices.
    pub devices: BTreeSet<DeviceName>,
    /// What the pool carries in the direction that the trees on these devices shape.
    pub room: Rate,
}

impl Bounds {
    /// As `policy` draws them where its pools carry what `carried` says.
    #[must_use]
    pub fn of(policy: &Policy, carried: &BTreeMap<PoolName, Rates>) -> Self {
        let room = |pool: &Pool| carried.get(&pool.name).copied().unwrap_or(pool.capacity);
        let mut pools = Vec::new();
        for pool in policy.pools().values() {
            let devices = pool.circuits.iter();
            pools.push(PoolBound {
                devices: devices
                    .filter_map(|circuit| policy.tree_device(circuit).cloned())
                    .collect(),
                room: room(pool).up,
            });
        }
        let mut adopt = BTreeSet::new();
        for layout in layouts(policy) {
            if layout.direction == Direction::Down {
                let tops = layout.tops.iter().map(|top| match top {
                    Top::Pool(pool, _) => room(pool).down,
                    Top::Circuit(circuit) => circuit.capacity.map_or(Rate::MIN, |rates| rates.down),
                });
                let sum = tops.map(Rate::bits).fold(0, u64::saturating_add);
                pools.push(PoolBound {
                    devices: BTreeSet::from([layout.device]),
                    room: Rate::floor(sum),
                });
            } else if layout
                .circuits()
                .any(|circuit| circuit.takeover == TakeOver::Adopt)
            {
                adopt.insert(layout.device);
            }
        }
        Self { pools, adopt }
    }

    /// Both: devices belong together where either says so.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut pools: Vec<PoolBound> = self.pools.iter().chain(&other.pools).cloned().collect();
        pools.sort();
        pools.dedup();
        Self {
            pools,
            adopt: self.adopt.union(&other.adopt).cloned().collect(),
        }
    }
}
