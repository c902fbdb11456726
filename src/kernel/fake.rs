//! A kernel in memory, with the manners of the real one that matter here: what it refuses, and what it
//! accepts in silence. A test asks both the same questions.

use std::collections::{BTreeMap, BTreeSet};

use super::tc::htb::INNER_QUANTUM;
use super::{Kernel, KernelError, OpError};
use crate::model::class::Priority;
use crate::model::names::DeviceName;
use crate::model::state::{
    ClassId, Device, Leaf, LeafKind, Major, Minor, Observed, Role, Root, TcClass, Tree,
};
use crate::plan::op::Op;

/// A kernel in memory.
#[derive(Debug, Clone)]
pub struct FakeKernel {
    observed: Observed,
    leaves: BTreeSet<LeafKind>,
    writes: usize,
}

impl FakeKernel {
    /// A kernel with these devices, none of them ours, and these kinds of leaf.
    #[must_use]
    pub fn new(
        devices: impl IntoIterator<Item = (DeviceName, Device)>,
        leaves: BTreeSet<LeafKind>,
    ) -> Self {
        let devices = devices.into_iter().collect();
        Self {
            observed: Observed {
                devices,
                ..Observed::default()
            },
            leaves,
            writes: 0,
        }
    }

    /// What it holds, to be changed behind everybody's back.
    pub const fn held_mut(&mut self) -> &mut Observed {
        &mut self.observed
    }

    /// How many ops it carried out.
    #[must_use]
    pub const fn writes(&self) -> usize {
        self.writes
    }

    fn write(&mut self, op: &Op) -> Result<(), OpError> {
        if let Some(device) = op.device()
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
                let foreign = self.observed.devices.get(device).map(|device| &device.root);
                let foreign = matches!(foreign, Some(Root::Foreign(_)));
                let held = self.observed.state.trees.contains_key(device) || foreign;
                if held && over.is_none() {
                    return Err(refused(17, "File exists"));
                }
                let tree = Tree {
                    major: *major,
                    default: *default,
                    classes: BTreeMap::new(),
                };
                self.observed.state.trees.insert(device.clone(), tree);
                self.set_root(device, Root::Ours);
                Ok(())
            }
            Op::DeleteRoot { device, .. } => {
                if !self.observed.state.trees.contains_key(device) {
                    return Err(refused(22, "Invalid argument"));
                }
                self.observed.state.trees.remove(device);
                self.set_root(
                    device,
                    Root::Default {
                        kind: "noqueue".to_owned(),
                    },
                );
                Ok(())
            }
            Op::AddClass { device, id, class } => self.add_class(device, *id, class),
            Op::ChangeClass { device, id, to, .. } => self.change_class(device, *id, to),
            Op::DeleteClass { device, id, .. } => self.delete_class(device, *id),
            Op::SetLeaf {
                device,
                id,
                from,
                to,
            } => {
                if to.kind().is_none_or(|kind| !self.leaves.contains(&kind)) {
                    return Err(refused(2, "Specified qdisc kind is unknown"));
                }
                if has_children(self.tree(device, id.major)?, id.minor) {
                    return Err(refused(22, "Invalid argument"));
                }
                match &mut self.class(device, *id)?.role {
                    Role::Leaf { leaf: Some(_), .. } if from.is_none() => {
                        return Err(refused(17, "File exists"));
                    }
                    Role::Leaf { leaf: None, .. } if from.is_some() => {
                        return Err(refused(2, "No such file or directory"));
                    }
                    Role::Leaf { leaf, .. } => *leaf = Some(*to),
                    Role::Inner => {}
                }
                Ok(())
            }
            Op::SetTable { to, .. } => {
                self.observed.state.table.clone_from(to);
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
        if let Some(parent) = parent.and_then(|parent| tree.classes.get_mut(&parent)) {
            set_leaf(&mut parent.role, None);
        }
        let role = as_leaf(&class.role, None);
        tree.classes.insert(
            id.minor,
            TcClass {
                parent,
                role,
                ..class.clone()
            },
        );
        Ok(())
    }

    fn change_class(
        &mut self,
        device: &DeviceName,
        id: ClassId,
        to: &TcClass,
    ) -> Result<(), OpError> {
        let tree = self.tree(device, id.major)?;
        let has_children = has_children(tree, id.minor);
        let held = self.class(device, id)?;
        // What a class with children keeps of priority and quantum is what it had before them.
        let role = match held.role {
            Role::Leaf { leaf, .. } if !has_children => as_leaf(&to.role, leaf),
            Role::Leaf { .. } | Role::Inner => held.role.clone(),
        };
        // The parent of a class cannot be changed; the kernel says yes and leaves it.
        *held = TcClass {
            parent: held.parent,
            role,
            ..to.clone()
        };
        Ok(())
    }

    fn delete_class(&mut self, device: &DeviceName, id: ClassId) -> Result<(), OpError> {
        self.class(device, id)?;
        let tree = self.tree(device, id.major)?;
        if has_children(tree, id.minor) {
            return Err(refused(16, "Device or resource busy"));
        }
        tree.classes.remove(&id.minor);
        Ok(())
    }
}

fn has_children(tree: &Tree, minor: Minor) -> bool {
    tree.classes
        .values()
        .any(|class| class.parent == Some(minor))
}

fn set_leaf(role: &mut Role, to: Option<Leaf>) {
    if let Role::Leaf { leaf, .. } = role {
        *leaf = to;
    }
}

/// Every class begins as one in which packets wait; what it is told as depends on its children.
const fn as_leaf(role: &Role, leaf: Option<Leaf>) -> Role {
    match role {
        Role::Inner => Role::Leaf {
            priority: Priority::FIRST,
            quantum: INNER_QUANTUM,
            leaf,
        },
        Role::Leaf {
            priority, quantum, ..
        } => Role::Leaf {
            priority: *priority,
            quantum: *quantum,
            leaf,
        },
    }
}

impl Kernel for FakeKernel {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        let mut observed = self.observed.clone();
        for tree in observed.state.trees.values_mut() {
            let parents: BTreeSet<Minor> = tree
                .classes
                .values()
                .filter_map(|class| class.parent)
                .collect();
            for (_, class) in tree
                .classes
                .iter_mut()
                .filter(|(minor, _)| parents.contains(minor))
            {
                class.role = Role::Inner;
            }
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

    fn leaves(&mut self, _device: &DeviceName) -> Result<BTreeSet<LeafKind>, KernelError> {
        Ok(self.leaves.clone())
    }
}

fn refused(errno: i32, why: &str) -> OpError {
    OpError::Refused {
        errno,
        why: why.to_owned(),
        message: None,
    }
}
