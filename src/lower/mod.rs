//! From a decision to the very type that observation returns, so that a diff compares like with like.

pub mod classify;
mod control;
mod criteria;
mod feeds;
pub mod figures;
mod layout;
mod missing;
mod names;
mod session;
mod trees;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::iter::successors;

use thiserror::Error;

use classify::ClassifyError;
pub use classify::blocks_alone;
pub use criteria::match_of;
pub use layout::{Layout, Top, departures, layouts};
pub use missing::{missing, slips};
pub use names::Names;
pub use session::places_of_replies;
pub use trees::trees;

use crate::model::desired::Desired;
use crate::model::filter::Table;
use crate::model::ids::{Ids, IdsError, Wanted};
use crate::model::names::{CircuitName, DeviceName, Origin};
use crate::model::node::{NodeKey, Place, Spot};
use crate::model::state::{
    Clsact, Device, ForeignRoot, Ifb, KernelState, LeafKind, Observed, Stranger,
};
use crate::policy::Policy;

/// What becomes of a decision where a device that the policy names is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Absent {
    /// It cannot hold: who ordered it learns that at once.
    #[default]
    Refused,
    /// All else holds, and what is on the device waits until it is there.
    Waited,
}

/// What the kernel can do and what stands around us: all that lowering takes from observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The devices of this network namespace.
    pub devices: BTreeMap<DeviceName, Device>,
    /// The kinds of leaf that the kernel can make.
    pub leaves: BTreeSet<LeafKind>,
    /// Classes in our trees that are not ours.
    pub strangers: Vec<Stranger>,
    /// Who made the `clsact` of each device that leads to our IFB.
    pub clsacts: BTreeMap<DeviceName, Clsact>,
    /// What becomes of a decision where a device is not there.
    pub absent: Absent,
}

impl Facts {
    /// What `observed` shows, and the kinds of leaf that the kernel can make.
    #[must_use]
    pub fn of(observed: &Observed, leaves: BTreeSet<LeafKind>) -> Self {
        Self {
            devices: observed.devices.clone(),
            leaves,
            strangers: observed.strangers.clone(),
            clsacts: observed
                .state
                .feeds
                .iter()
                .map(|(device, feed)| (device.clone(), feed.clsact))
                .collect(),
            absent: Absent::Refused,
        }
    }

    /// The same, where devices that are not there are waited for.
    #[must_use]
    pub fn waiting(mut self) -> Self {
        self.absent = Absent::Waited;
        self
    }

    /// The devices that one stands on, from the highest down.
    pub(super) fn below<'a>(
        &'a self,
        device: &'a Device,
    ) -> impl Iterator<Item = (&'a DeviceName, &'a Device)> {
        let lower = |device: &Device| {
            let index = device.lower.filter(|index| *index != device.index)?;
            self.devices
                .iter()
                .find(|(_, device)| device.index == index)
        };
        // No stack is as high as there are devices: a bound, should one stand on itself.
        successors(lower(device), move |(_, device)| lower(device)).take(self.devices.len())
    }
}

fn meant(near: Option<&DeviceName>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// Why a decision cannot hold on this host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LowerError {
    /// A device that the policy names is not there.
    #[error("{origin}: {who}: there is no device `{device}` here{}", meant(near.as_ref()))]
    NoDevice {
        /// Where that stands.
        origin: Origin,
        /// Who names it.
        who: String,
        /// The device.
        device: DeviceName,
        /// One that is here, is nobody's, and may have been meant.
        near: Option<DeviceName>,
    },
    /// Somebody else's root qdisc is on a device that is to be shaped.
    #[error(
        "{who}: device `{device}` has a root qdisc that is not ours, {root}; \
         remove it (tc qdisc del dev {device} root), or write adopt = true to have it replaced, for good"
    )]
    ForeignRoot {
        /// Whose device it is.
        who: String,
        /// The device.
        device: DeviceName,
        /// The qdisc.
        root: ForeignRoot,
    },
    /// Somebody else's root qdisc is on our IFB.
    #[error(
        "device `{device}`, on which what arrives is shaped, has a root qdisc that is not ours, {root}; \
         remove it (tc qdisc del dev {device} root)"
    )]
    ForeignOnIfb {
        /// The IFB.
        device: DeviceName,
        /// The qdisc.
        root: ForeignRoot,
    },
    /// A VLAN that maps priorities to its own: ours would hide those from it.
    #[error(
        "circuit `{circuit}`: VLAN device `{device}` maps priorities to PCP (egress-qos-map), and would read our class ids \
         for priorities, so that every packet left with PCP 0; \
         remove the map (ip link set {device} type vlan egress-qos-map 0:0 …, each priority to 0), and mark further down the line"
    )]
    PriorityMap {
        /// The circuit.
        circuit: CircuitName,
        /// The device.
        device: DeviceName,
    },
    /// A device stands on one whose tree shapes what leaves over other circuits.
    #[error(
        "device `{device}` stands on `{tree}`, at whose root {owner} is shaped: what leaves by `{device}` would be of no \
         class there, and served before all others; give each a device of its own, a VLAN for example"
    )]
    OnTree {
        /// The device.
        device: DeviceName,
        /// What it stands on.
        tree: DeviceName,
        /// Whose tree is there.
        owner: String,
    },
    /// There is no place for a `clsact`.
    #[error(
        "device `{device}` has an `ingress` qdisc, which leaves no place for the `clsact` that shapes what arrives; \
         replace it by a clsact, which serves the same filters (tc qdisc del dev {device} ingress; tc qdisc add dev {device} clsact)"
    )]
    Ingress {
        /// The device.
        device: DeviceName,
    },
    /// A device that has the name of our IFB and is none.
    #[error("there is a device `{name}` of kind {kind:?} that is no IFB; rename it: wanshift shapes on an IFB of that name what arrives", name = Ifb::NAME)]
    NotIfb {
        /// What it is.
        kind: String,
    },
    /// Somebody else's class is in a circuit's tree: what it takes, the classes of the policy lack.
    #[error("{stranger} is not ours; remove it (tc class del dev {} classid {})", stranger.device, stranger.class)]
    Stranger {
        /// It.
        stranger: Stranger,
    },
    /// A leaf that this kernel does not have.
    #[error("{place}: this kernel has no {}; it has {}", kind.name(), have.join(", "))]
    NoLeaf {
        /// The place that wants it.
        place: NodeKey,
        /// The kind.
        kind: LeafKind,
        /// What there is.
        have: Vec<String>,
    },
    /// No number is left.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// Traffic that cannot be told apart.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
}

/// What the kernel should hold, and what its numbers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lowered {
    /// What the kernel should hold.
    pub state: KernelState,
    /// What its numbers mean.
    pub names: Names,
}

/// Works out what the kernel should hold for `desired`; new places get their numbers in `ids`.
///
/// Where devices that are not there are waited for ([`Absent::Waited`]), the trees on them are left out, and their places
/// have their numbers all the same: rules go by the names of devices, and are as always.
///
/// # Errors
/// All that stands in the way, not the first only.
pub fn lower(
    policy: &Policy,
    desired: &Desired,
    facts: &Facts,
    ids: &mut Ids,
) -> Result<Lowered, Vec<LowerError>> {
    let (table, names) = rules(policy, desired, ids).map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    let trees = trees(policy, desired, facts, ids).unwrap_or_else(|mut more| {
        errors.append(&mut more);
        BTreeMap::new()
    });
    let feeds = feeds::feeds(policy, facts).unwrap_or_else(|mut more| {
        errors.append(&mut more);
        BTreeMap::new()
    });
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Lowered {
        state: KernelState {
            ifb: trees
                .contains_key(&Ifb::device())
                .then_some(Ifb { up: true }),
            trees,
            feeds,
            table: Some(table),
        },
        names,
    })
}

/// The packet filter's table for `desired`, and what its numbers mean: the part of [`lower`] that needs to know nothing of
/// the host. New places get their numbers in `ids`.
///
/// # Errors
/// Where no number is left, or our bits of marks are too few.
pub fn rules(
    policy: &Policy,
    desired: &Desired,
    ids: &mut Ids,
) -> Result<(Table, Names), LowerError> {
    let devices = layouts(policy).into_iter().map(|layout| layout.device);
    ids.assign(Wanted {
        keys: desired.nodes.keys().cloned().collect(),
        devices: devices.collect(),
        pools: policy.pools().keys().cloned().collect(),
        mask: policy.host().mark_mask,
    })?;
    let table = classify::table(policy, &desired.blocks, ids)?;
    Ok((table, Names::new(policy, ids)))
}

/// Whether a class is one of those without which a tree cannot carry anything: pool, circuit, control, rest.
#[must_use]
pub const fn is_essential(spot: &Spot) -> bool {
    match spot {
        Spot::Pool(_) | Spot::PoolControl(_) => true,
        Spot::Node(key) => matches!(key.place, Place::Circuit | Place::Control | Place::Rest),
    }
}
