//! What is counted: at zero when it is made, gone when that is.

use std::collections::BTreeMap;

use super::FakeKernel;
use crate::kernel::tc::stats::{Counters, QueueCounters};
use crate::model::names::{BlockName, DeviceName};
use crate::model::state::{ClassId, Major, Role};

/// Traffic, as it were.
impl FakeKernel {
    /// The counters of a class, to be changed; `None` where there is no such class.
    pub fn counters_mut(&mut self, device: &DeviceName, id: ClassId) -> Option<&mut Counters> {
        let tree = self.observed.state.trees.get(device)?;
        let there = tree.major == id.major && tree.classes.contains_key(&id.minor);
        there.then(|| self.counted.entry((device.clone(), id)).or_default())
    }

    /// How many packets a block rejected, to be changed; `None` where the table has no such block.
    pub fn rejected_mut(&mut self, block: &BlockName) -> Option<&mut u64> {
        let there = self.read_rejected().contains_key(block);
        there.then(|| self.rejected.entry(block.clone()).or_default())
    }

    /// Reads what a tree's classes counted.
    pub(super) fn read_counters(
        &self,
        device: &DeviceName,
        major: Major,
        into: &mut Vec<(ClassId, Counters)>,
    ) {
        into.clear();
        let tree = self.observed.state.trees.get(device);
        let classes = tree.filter(|tree| tree.major == major).into_iter();
        into.extend(classes.flat_map(|tree| tree.classes.keys()).map(|minor| {
            let id = ClassId {
                major,
                minor: *minor,
            };
            let counted = self.counted.get(&(device.clone(), id));
            (id, counted.copied().unwrap_or_default())
        }));
    }

    /// Reads what the queues of trees counted: what their classes know of it.
    pub(super) fn read_queues(
        &self,
        trees: &[(DeviceName, Major)],
        into: &mut Vec<(ClassId, QueueCounters)>,
    ) {
        into.clear();
        let mut classes = Vec::new();
        for (device, major) in trees {
            self.read_counters(device, *major, &mut classes);
            let tree = self.observed.state.trees.get(device);
            let queues = classes.iter().filter(|(id, _)| {
                let class = tree.and_then(|tree| tree.classes.get(&id.minor));
                class.is_some_and(|class| match class.role {
                    Role::Leaf { leaf, .. } => leaf.is_some(),
                    Role::Inner => false,
                })
            });
            into.extend(queues.map(|(id, counters)| (*id, (*counters).into())));
        }
    }

    /// Reads what the blocks of the table rejected.
    pub(super) fn read_rejected(&self) -> BTreeMap<BlockName, u64> {
        let table = self.observed.state.table.iter();
        let blocks = table.flat_map(|table| table.counters.iter().filter_map(|name| name.block()));
        blocks
            .map(|block| {
                let count = self.rejected.get(&block).copied().unwrap_or_default();
                (block, count)
            })
            .collect()
    }

    /// Forgets what was counted by counters that are gone.
    pub(super) fn forget_rejected(&mut self) {
        let there = self.read_rejected();
        self.rejected.retain(|block, _| there.contains_key(block));
    }
}
