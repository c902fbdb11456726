//! What the kernel's numbers mean.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Layout, Top, layouts};
use crate::model::ids::Ids;
use crate::model::names::{CircuitName, DeviceName};
use crate::model::node::{NodeKey, Spot};
use crate::model::state::{KernelState, Minor};
use crate::policy::Policy;

/// What class numbers are for, in each tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    trees: BTreeMap<DeviceName, BTreeMap<Minor, Spot>>,
}

impl Names {
    /// What the numbers of `ids` mean under `policy`.
    #[must_use]
    pub fn new(policy: &Policy, ids: &Ids) -> Self {
        let tree = |layout: Layout<'_>| {
            let control = layout.control().map(|control| (Minor::CONTROL, control));
            let pools = layout.tops.iter().filter_map(|top| match top {
                Top::Pool(pool, _) => {
                    let minor = ids.pool(&pool.name)?;
                    Some((minor, Spot::Pool(pool.name.clone())))
                }
                Top::Circuit(_) => None,
            });
            let circuits: BTreeSet<&CircuitName> =
                layout.circuits().map(|circuit| &circuit.name).collect();
            let mut places: Vec<(&NodeKey, Minor)> = ids
                .minors()
                .filter(|(key, _)| circuits.contains(&key.circuit))
                .collect();
            // Put in order at once: there are thousands.
            places.sort_unstable_by_key(|(_, minor)| *minor);
            let places = places.into_iter();
            let places = places.map(|(key, minor)| (minor, Spot::Node(key.clone())));
            let spots = control.into_iter().chain(pools).chain(places).collect();
            (layout.device.clone(), spots)
        };
        Self {
            trees: layouts(policy).into_iter().map(tree).collect(),
        }
    }

    /// Takes over from `known` the names of classes that `held` still has and the policy no longer names,
    /// so that what goes can be told by its name.
    pub fn remember(&mut self, held: &KernelState, known: &Ids) {
        let keys: BTreeMap<Minor, &NodeKey> =
            known.minors().map(|(key, minor)| (minor, key)).collect();
        for (device, tree) in &held.trees {
            let spots = self.trees.entry(device.clone()).or_default();
            for minor in tree.classes.keys() {
                if let Some(key) = keys.get(minor) {
                    let spot = || Spot::Node((*key).clone());
                    spots.entry(*minor).or_insert_with(spot);
                }
            }
        }
    }

    /// What the class `minor` in the tree of `device` is for.
    #[must_use]
    pub fn spot(&self, device: &DeviceName, minor: Minor) -> Option<&Spot> {
        self.trees.get(device)?.get(&minor)
    }
}
