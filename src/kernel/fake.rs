//! A kernel in memory, with the manners of the real one that matter here: what it refuses, and what it
//! accepts in silence. A test asks both the same questions.

mod count;
mod down;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::tc::htb::INNER_QUANTUM;
use super::tc::stats::{Counters, QueueCounters};
use super::{Kernel, KernelError, OpError, Route, Scope};
use crate::model::class::Priority;
use crate::model::names::{BlockName, DeviceName};
use crate::model::state::{
    ClassId, Device, Ifb, Leaf, LeafKind, Major, Minor, Observed, Role, Root, Selector, TcClass,
    Tree,
};
use crate::model::surroundings::Surroundings;
use crate::plan::op::Op;

/// A kernel in memory.
#[derive(Debug, Clone)]
pub struct FakeKernel {
    observed: Observed,
    leaves: BTreeSet<LeafKind>,
    writes: usize,
    around: Surroundings,
    ways: BTreeMap<IpAddr, DeviceName>,
    /// Priority and quantum of inner classes: they show again when the last child is gone.
    hidden: BTreeMap<(DeviceName, Minor), (Priority, u32)>,
    /// Where somebody else's filters hang in a `clsact`.
    filtered: BTreeSet<DeviceName>,
    /// The highest index that a device ever had: none is given twice.
    last_index: u32,
    /// What classes counted, where it is not zero.
    counted: BTreeMap<(DeviceName, ClassId), Counters>,
    /// What blocks rejected, where it is not zero.
    rejected: BTreeMap<BlockName, u64>,
}

impl FakeKernel {
    /// A kernel with these devices, none of them ours, and these kinds of leaf.
    #[must_use]
    pub fn new(
        devices: impl IntoIterator<Item = (DeviceName, Device)>,
        leaves: BTreeSet<LeafKind>,
    ) -> Self {
        let devices: BTreeMap<DeviceName, Device> = devices.into_iter().collect();
        let indexes = devices.values().map(|device| device.index);
        let last_index = indexes.max().unwrap_or(0);
        let ifb = devices
            .iter()
            .find(|(name, device)| name.as_str() == Ifb::NAME && device.kind == Ifb::KIND)
            .map(|(_, device)| Ifb { up: device.up });
        let mut observed = Observed {
            devices,
            ..Observed::default()
        };
        observed.state.ifb = ifb;
        Self {
            observed,
            leaves,
            writes: 0,
            around: Surroundings::default(),
            ways: BTreeMap::new(),
            hidden: BTreeMap::new(),
            filtered: BTreeSet::new(),
            last_index,
            counted: BTreeMap::new(),
            rejected: BTreeMap::new(),
        }
    }

    /// All that it holds.
    #[must_use]
    pub const fn held(&self) -> &Observed {
        &self.observed
    }

    /// All that it holds, to be changed behind everybody's back.
    pub const fn held_mut(&mut self) -> &mut Observed {
        &mut self.observed
    }

    /// How many ops it carried out.
    #[must_use]
    pub const fn writes(&self) -> usize {
        self.writes
    }

    /// What stands around what is ours, to be filled in.
    pub const fn surroundings_mut(&mut self) -> &mut Surroundings {
        &mut self.around
    }

    /// The devices by which packets leave to hosts, to be filled in.
    pub const fn ways_mut(&mut self) -> &mut BTreeMap<IpAddr, DeviceName> {
        &mut self.ways
    }

    fn write(&mut self, op: &Op) -> Result<(), OpError> {
        if let Some(device) = op.device()
            && !matches!(op, Op::AddIfb { .. })
            && !self.observed.devices.contains_key(device)
        {
            return Err(OpError::NoDevice {
                device: device.clone(),
            });
        }
        match op {
            Op::AddRoot {
                device,
                major,
                default,
                over,
            } => {
                match self.observed.devices.get(device).map(|found| &found.root) {
                    Some(Root::Default { .. }) => {}
                    Some(Root::Foreign(_)) if over.is_some() => {}
                    _ => return Err(refused(17, "File exists")),
                }
                let tree = Tree {
                    major: *major,
                    default: *default,
                    selector: Selector::Priority,
                    classes: BTreeMap::new(),
                };
                self.observed.state.trees.insert(device.clone(), tree);
                self.set_root(device, Root::Ours);
                Ok(())
            }
            Op::DeleteRoot { device, major, .. } => {
                // The handle is not that of the kernel's default root, nor of another tree.
                self.tree(device, *major)
                    .map_err(|_| refused(22, "Invalid handle"))?;
                self.observed.state.trees.remove(device);
                self.counted.retain(|(at, _), _| at != device);
                self.observed
                    .strangers
                    .retain(|stranger| stranger.device != *device);
                let held = self.observed.devices.get(device);
                let kind = down::default_root(held.map_or("", |device| &device.kind));
                self.set_root(device, Root::Default { kind });
                Ok(())
            }
            Op::AddClass { device, id, class } => self.add_class(device, *id, class),
            Op::ChangeClass { device, id, to, .. } => {
                let held = self.class(device, *id)?;
                // The parent of a class cannot be changed; the kernel says yes and leaves it.
                let role = match &held.role {
                    Role::Leaf { leaf, .. } => leaf_role(figures(&to.role), *leaf),
                    Role::Inner => Role::Inner,
                };
                *held = TcClass {
                    parent: held.parent,
                    role,
                    ..to.clone()
                };
                Ok(())
            }
            Op::DeleteClass { device, id, .. } => self.delete_class(device, *id),
            Op::SetLeaf {
                device,
                id,
                from,
                to,
            } => {
                let has = to.kind().is_some_and(|kind| self.leaves.contains(&kind));
                match &mut self.class(device, *id)?.role {
                    Role::Leaf { leaf, .. } if has => *leaf = Some(*to),
                    Role::Inner if has => return Err(refused(22, "Invalid argument")),
                    role @ (Role::Inner | Role::Leaf { .. }) => {
                        // The handle had to be freed before the kernel was asked for another kind.
                        if let Role::Leaf { leaf, .. } = role
                            && from.is_some_and(|from| from.kind() != to.kind())
                        {
                            *leaf = None;
                        }
                        return Err(refused(2, "Specified qdisc kind is unknown"));
                    }
                }
                Ok(())
            }
            Op::AddIfb { device } => self.add_ifb(device),
            Op::RaiseIfb { device } => self.raise_ifb(device),
            Op::DeleteIfb { device } => self.delete_ifb(device),
            Op::SetSelector {
                device,
                major,
                from,
                to,
            } => self.set_selector(device, *major, *from, *to),
            Op::SetFeed { device, from, to } => self.set_feed(device, *from, *to),
            Op::SetTable { to, .. } => {
                self.observed.state.table.clone_from(to);
                self.forget_rejected();
                Ok(())
            }
        }
    }

    fn set_root(&mut self, device: &DeviceName, root: Root) {
        if let Some(device) = self.observed.devices.get_mut(device) {
            device.root = root;
        }
    }

    fn tree(&mut self, device: &DeviceName, major: Major) -> Result<&mut Tree, OpError> {
        let trees = &mut self.observed.state.trees;
        match trees.get_mut(device) {
            Some(tree) if tree.major == major => Ok(tree),
            _ => Err(refused(2, "No such file or directory")),
        }
    }

    fn class(&mut self, device: &DeviceName, id: ClassId) -> Result<&mut TcClass, OpError> {
        let tree = self.tree(device, id.major)?;
        tree.classes
            .get_mut(&id.minor)
            .ok_or_else(|| refused(2, "No such file or directory"))
    }

    fn add_class(
        &mut self,
        device: &DeviceName,
        id: ClassId,
        class: &TcClass,
    ) -> Result<(), OpError> {
        let tree = self.tree(device, id.major)?;
        if tree.classes.contains_key(&id.minor) {
            return Err(refused(17, "File exists"));
        }
        // A parent that does not exist is no error: the class lands at the root.
        let parent = class
            .parent
            .filter(|parent| tree.classes.contains_key(parent));
        if let Some(minor) = parent
            && let Some(parent) = tree.classes.get_mut(&minor)
            && parent.role != Role::Inner
        {
            // Its leaf goes, what waits there too.
            let kept = figures(&parent.role);
            parent.role = Role::Inner;
            self.hidden.insert((device.clone(), minor), kept);
        }
        let tree = self.tree(device, id.major)?;
        tree.classes.insert(
            id.minor,
            TcClass {
                parent,
                // Without children yet, it is a leaf like any other.
                role: leaf_role(figures(&class.role), None),
                ..class.clone()
            },
        );
        Ok(())
    }

    fn delete_class(&mut self, device: &DeviceName, id: ClassId) -> Result<(), OpError> {
        self.class(device, id)?;
        let tree = self.tree(device, id.major)?;
        if tree
            .classes
            .values()
            .any(|class| class.parent == Some(id.minor))
        {
            return Err(refused(16, "Device or resource busy"));
        }
        let parent = tree.classes.remove(&id.minor).and_then(|gone| gone.parent);
        self.counted.remove(&(device.clone(), id));
        let tree = self.tree(device, id.major)?;
        let childless =
            parent.filter(|parent| !tree.classes.values().any(|c| c.parent == Some(*parent)));
        if let Some(minor) = childless
            && let Some(kept) = self.hidden.remove(&(device.clone(), minor))
        {
            let id = ClassId { minor, ..id };
            self.class(device, id)?.role = leaf_role(kept, None);
        }
        Ok(())
    }
}

impl Kernel for FakeKernel {
    fn observe(&mut self, scope: Scope) -> Result<Observed, KernelError> {
        let mut observed = self.observed.clone();
        if scope == Scope::Shaping {
            observed.state.table = None;
        }
        Ok(observed)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        ops.iter()
            .map(|op| {
                let outcome = self.write(op);
                self.writes += usize::from(outcome.is_ok());
                outcome
            })
            .collect()
    }

    fn leaves(&mut self) -> Result<BTreeSet<LeafKind>, KernelError> {
        Ok(self.leaves.clone())
    }

    fn surroundings(&mut self) -> Result<Surroundings, KernelError> {
        Ok(self.around.clone())
    }

    fn way(&mut self, _: IpAddr, to: IpAddr) -> Result<Option<DeviceName>, KernelError> {
        Ok(self.ways.get(&to).cloned())
    }

    fn route(
        &mut self,
        _: Option<(&DeviceName, IpAddr)>,
        to: IpAddr,
    ) -> Result<Route, KernelError> {
        let out = self.ways.get(&to).cloned();
        Ok(out.map_or(Route::Nowhere, Route::Out))
    }

    fn counters(
        &mut self,
        device: &DeviceName,
        major: Major,
        into: &mut Vec<(ClassId, Counters)>,
    ) -> Result<(), KernelError> {
        self.read_counters(device, major, into);
        Ok(())
    }

    fn queues(
        &mut self,
        trees: &[(DeviceName, Major)],
        into: &mut Vec<(ClassId, QueueCounters)>,
    ) -> Result<(), KernelError> {
        self.read_queues(trees, into);
        Ok(())
    }

    fn rejected(&mut self) -> Result<BTreeMap<BlockName, u64>, KernelError> {
        Ok(self.read_rejected())
    }
}

/// The priority and the quantum that a class is told to have.
fn figures(role: &Role) -> (Priority, u32) {
    match role {
        Role::Leaf {
            priority, quantum, ..
        } => (*priority, *quantum),
        Role::Inner => (Priority::FIRST, INNER_QUANTUM),
    }
}

fn leaf_role((priority, quantum): (Priority, u32), leaf: Option<Leaf>) -> Role {
    Role::Leaf {
        priority,
        quantum,
        leaf,
    }
}

fn refused(errno: i32, why: &str) -> OpError {
    OpError::Refused {
        errno,
        why: why.to_owned(),
        message: None,
    }
}
