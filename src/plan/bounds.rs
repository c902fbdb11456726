//! What a plan may do beyond a single device: which devices share a pool and what that carries, and which
//! may be taken from somebody else.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::circuit::{Circuit, TakeOver};
use crate::model::names::{DeviceName, PhaseName};
use crate::policy::Policy;
use crate::units::Rate;

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
    /// What the pool carries, upward.
    pub room: Rate,
}

impl Bounds {
    /// As `policy` draws them in `phase`.
    #[must_use]
    pub fn of(policy: &Policy, phase: &PhaseName) -> Self {
        let device = |circuit| {
            policy
                .circuits()
                .get(circuit)
                .map(|circuit| circuit.device.clone())
        };
        let phase = policy.phases().get(phase);
        let adopted = |circuit: &&Circuit| circuit.takeover == TakeOver::Adopt;
        Self {
            pools: policy
                .pools()
                .values()
                .map(|pool| PoolBound {
                    devices: pool.circuits.iter().filter_map(device).collect(),
                    room: phase
                        .map_or(pool.capacity, |phase| policy.capacity_in(pool, phase))
                        .up,
                })
                .collect(),
            adopt: policy
                .circuits()
                .values()
                .filter(adopted)
                .map(|circuit| circuit.device.clone())
                .collect(),
        }
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
