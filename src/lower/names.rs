//! What the kernel's numbers mean.

use std::collections::BTreeMap;

use crate::model::ids::Ids;
use crate::model::names::DeviceName;
use crate::model::node::{NodeKey, Place};
use crate::model::state::Minor;
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

    /// The place that has `minor` in the tree of `device`.
    #[must_use]
    pub fn place(&self, device: &DeviceName, minor: Minor) -> Option<&NodeKey> {
        self.places.get(device)?.get(&minor)
    }
}
