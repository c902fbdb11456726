//! What the kernel's numbers mean.

use std::collections::BTreeMap;

use crate::model::ids::Ids;
use crate::model::names::DeviceName;
use crate::model::node::{NodeKey, Place};
use crate::model::state::{KernelState, Minor};
use crate::policy::Policy;

/// The places behind class numbers, for each device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    places: BTreeMap<DeviceName, BTreeMap<Minor, NodeKey>>,
}

impl Names {
    /// What the numbers of `ids` mean under `policy`.
    #[must_use]
    pub fn new(policy: &Policy, ids: &Ids) -> Self {
        let mut names = Self::default();
        for circuit in policy.circuits().values() {
            let control = NodeKey::new(circuit.name.clone(), Place::Control);
            names
                .places
                .entry(circuit.device.clone())
                .or_default()
                .insert(Minor::CONTROL, control);
        }
        for (key, minor) in ids.minors() {
            if let Some(circuit) = policy.circuits().get(&key.circuit) {
                names
                    .places
                    .entry(circuit.device.clone())
                    .or_default()
                    .insert(minor, key.clone());
            }
        }
        names
    }

    /// Takes over from `known` the names of classes that `held` still has and the policy no longer names,
    /// so that what goes can be told by its name.
    pub fn remember(&mut self, held: &KernelState, known: &Ids) {
        let keys: BTreeMap<Minor, &NodeKey> =
            known.minors().map(|(key, minor)| (minor, key)).collect();
        for (device, tree) in &held.trees {
            let places = self.places.entry(device.clone()).or_default();
            for minor in tree.classes.keys() {
                if let Some(key) = keys.get(minor) {
                    places.entry(*minor).or_insert_with(|| (*key).clone());
                }
            }
        }
    }

    /// The place that has `minor` in the tree of `device`.
    #[must_use]
    pub fn place(&self, device: &DeviceName, minor: Minor) -> Option<&NodeKey> {
        self.places.get(device)?.get(&minor)
    }
}
