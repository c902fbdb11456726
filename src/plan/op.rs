//! One write to the kernel, as data, and its inverse.

use serde::{Deserialize, Serialize};

use crate::model::filter::Table;
use crate::model::names::DeviceName;
use crate::model::state::{ClassId, Feed, ForeignRoot, Leaf, Major, Minor, Selector, TcClass};

/// One write to the kernel.
///
/// An op carries what was before as well as what will be, so that it can be told to an administrator,
/// attributed and inverted. There are no choices left in it for whoever carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Makes an HTB of ours the root qdisc of a device.
    AddRoot {
        /// The device.
        device: DeviceName,
        /// The handle.
        major: Major,
        /// The class that takes what is in none.
        default: Minor,
        /// Somebody else's root qdisc that it replaces; none where only the kernel's own is there.
        over: Option<ForeignRoot>,
    },
    /// Takes our HTB off a device, which gets the kernel's default again.
    DeleteRoot {
        /// The device.
        device: DeviceName,
        /// The handle.
        major: Major,
        /// The class that took what was in none.
        default: Minor,
    },
    /// Adds a class, without its leaf.
    AddClass {
        /// The device.
        device: DeviceName,
        /// The class id.
        id: ClassId,
        /// What it will be.
        class: TcClass,
    },
    /// Changes a class in place: its queue and its counters stay.
    ChangeClass {
        /// The device.
        device: DeviceName,
        /// The class id.
        id: ClassId,
        /// What it is.
        from: TcClass,
        /// What it will be.
        to: TcClass,
    },
    /// Deletes a class, and its leaf with it.
    DeleteClass {
        /// The device.
        device: DeviceName,
        /// The class id.
        id: ClassId,
        /// What it was.
        class: TcClass,
    },
    /// Gives a class its leaf, or another kind of leaf, or changes it in place where the kind stays.
    SetLeaf {
        /// The device.
        device: DeviceName,
        /// The class id.
        id: ClassId,
        /// What it has; `None` where there is only what the kernel put there.
        from: Option<Leaf>,
        /// What it will have.
        to: Leaf,
    },
    /// Makes the IFB, and sets it up.
    AddIfb {
        /// Its name.
        device: DeviceName,
    },
    /// Sets the IFB up, which is there and down.
    RaiseIfb {
        /// Its name.
        device: DeviceName,
    },
    /// Deletes the IFB, and its tree with it.
    DeleteIfb {
        /// Its name.
        device: DeviceName,
    },
    /// Says how the packets of a tree find their class.
    SetSelector {
        /// The device.
        device: DeviceName,
        /// The tree's handle.
        major: Major,
        /// How they do.
        from: Selector,
        /// How they will.
        to: Selector,
    },
    /// Leads packets that leave a device through the IFB, or no longer does.
    SetFeed {
        /// The device.
        device: DeviceName,
        /// What leads there; `None` where nothing of ours does.
        from: Option<Feed>,
        /// What will.
        to: Option<Feed>,
    },
    /// Changes the packet filter's table in one transaction.
    SetTable {
        /// What it is; `None` where there is none.
        from: Option<Table>,
        /// What it will be; `None` where there will be none.
        to: Option<Table>,
    },
}

impl Op {
    /// The device that it is about; `None` for the packet filter.
    #[must_use]
    pub const fn device(&self) -> Option<&DeviceName> {
        match self {
            Self::AddRoot { device, .. }
            | Self::DeleteRoot { device, .. }
            | Self::AddClass { device, .. }
            | Self::ChangeClass { device, .. }
            | Self::DeleteClass { device, .. }
            | Self::SetLeaf { device, .. }
            | Self::AddIfb { device }
            | Self::RaiseIfb { device }
            | Self::DeleteIfb { device }
            | Self::SetSelector { device, .. }
            | Self::SetFeed { device, .. } => Some(device),
            Self::SetTable { .. } => None,
        }
    }
}
