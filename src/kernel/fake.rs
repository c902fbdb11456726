//! A kernel in memory, with the manners of the real one that matter here: what it refuses, and what it
//! accepts in silence. A test asks both the same questions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kernel, KernelError, OpError};
use crate::model::names::DeviceName;
use crate::model::state::{ClassId, Device, LeafKind, Major, Observed, Role, Root, TcClass, Tree};
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
            } => {
                if self.observed.state.trees.contains_key(device) {
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
            Op::DeleteRoot { device, major, .. } => {
                self.tree(device, *major)?;
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
            Op::ChangeClass { device, id, to, .. } => {
                let held = self.class(device, *id)?;
                // The parent of a class cannot be changed; the kernel says yes and leaves it.
                let role = match (&held.role, &to.role) {
                    (
                        Role::Leaf { leaf, .. },
                        Role::Leaf {
                            priority, quantum, ..
                        },
                    ) => Role::Leaf {
                        priority: *priority,
                        quantum: *quantum,
                        leaf: *leaf,
                    },
                    (held, _) => held.clone(),
                };
                *held = TcClass {
                    parent: held.parent,
                    role,
                    ..to.clone()
                };
                Ok(())
            }
            Op::DeleteClass { device, id, .. } => self.delete_class(device, *id),
            Op::SetLeaf { device, id, to, .. } => {
                if to.kind().is_none_or(|kind| !self.leaves.contains(&kind)) {
                    return Err(refused(2, "Specified qdisc kind is unknown"));
                }
                match &mut self.class(device, *id)?.role {
                    Role::Leaf { leaf, .. } => *leaf = Some(*to),
                    Role::Inner => return Err(refused(22, "Parent is not a leaf")),
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
        let role = match class.role {
            Role::Leaf {
                priority, quantum, ..
            } => Role::Leaf {
                priority,
                quantum,
                leaf: None,
            },
            // Without children yet, it is a leaf like any other; what it has of those figures is not told.
            Role::Inner => Role::Inner,
        };
        // A parent that does not exist is no error: the class lands at the root.
        let parent = class
            .parent
            .filter(|parent| tree.classes.contains_key(parent));
        if let Some(parent) = parent.and_then(|parent| tree.classes.get_mut(&parent)) {
            parent.role = Role::Inner;
        }
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
        tree.classes.remove(&id.minor);
        Ok(())
    }
}

impl Kernel for FakeKernel {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        Ok(self.observed.clone())
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
