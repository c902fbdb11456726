//! From a decision to the very type that observation returns, so that a diff compares like with like.

pub mod classify;
mod control;
mod criteria;
pub mod figures;
mod names;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use thiserror::Error;

use classify::ClassifyError;
pub use names::Names;

use crate::model::circuit::{Circuit, LeafChoice, TakeOver};
use crate::model::desired::{Desired, Holding};
use crate::model::ids::{Ids, IdsError};
use crate::model::names::{CircuitName, DeviceName};
use crate::model::node::{NodeKey, Place};
use crate::model::state::{
    Device, ForeignRoot, KernelState, LeafKind, Minor, Observed, Role, Root, Stranger, TcClass,
    Tree,
};
use crate::policy::Policy;

/// What the kernel can do and what stands around us: all that lowering takes from observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The devices of this network namespace.
    pub devices: BTreeMap<DeviceName, Device>,
    /// The kinds of leaf that the kernel can make.
    pub leaves: BTreeSet<LeafKind>,
    /// Classes in our trees that are not ours.
    pub strangers: Vec<Stranger>,
}

impl Facts {
    /// What `observed` shows, and the kinds of leaf that the kernel can make.
    #[must_use]
    pub fn of(observed: &Observed, leaves: BTreeSet<LeafKind>) -> Self {
        Self {
            devices: observed.devices.clone(),
            leaves,
            strangers: observed.strangers.clone(),
        }
    }
}

/// Why a decision cannot hold on this host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LowerError {
    /// A circuit's device is not there.
    #[error("circuit `{circuit}`: there is no device `{device}` here")]
    NoDevice {
        /// The circuit.
        circuit: CircuitName,
        /// Its device.
        device: DeviceName,
    },
    /// Somebody else's root qdisc is on a circuit's device.
    #[error(
        "circuit `{circuit}`: device `{device}` has a root qdisc that is not ours, {root}; \
         remove it (tc qdisc del dev {device} root), or write adopt = true to have it replaced, for good"
    )]
    ForeignRoot {
        /// The circuit.
        circuit: CircuitName,
        /// Its device.
        device: DeviceName,
        /// The qdisc.
        root: ForeignRoot,
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
/// # Errors
/// All that stands in the way, not the first only.
pub fn lower(
    policy: &Policy,
    desired: &Desired,
    facts: &Facts,
    ids: &mut Ids,
) -> Result<Lowered, Vec<LowerError>> {
    let devices = policy
        .circuits()
        .values()
        .map(|circuit| circuit.device.clone());
    ids.assign(desired.nodes.keys().cloned(), devices)
        .map_err(|error| vec![error.into()])?;

    let table = classify::table(policy, ids).map_err(|error| vec![error.into()])?;
    Ok(Lowered {
        state: KernelState {
            trees: trees(policy, desired, facts, ids)?,
            ifb: None,
            feeds: BTreeMap::new(),
            table: Some(table),
        },
        names: Names::new(policy, ids),
    })
}

/// The trees alone, of places that have their numbers: all that the steps of a ramp change.
///
/// # Errors
/// All that stands in the way, not the first only.
pub fn trees(
    policy: &Policy,
    desired: &Desired,
    facts: &Facts,
    ids: &Ids,
) -> Result<BTreeMap<DeviceName, Tree>, Vec<LowerError>> {
    let mut trees = BTreeMap::new();
    let mut errors = Vec::new();
    for circuit in policy.circuits().values() {
        match tree(circuit, desired, facts, ids) {
            Ok(tree) => {
                trees.insert(circuit.device.clone(), tree);
            }
            Err(mut more) => errors.append(&mut more),
        }
    }
    if errors.is_empty() {
        Ok(trees)
    } else {
        Err(errors)
    }
}

/// The upward tree of a circuit.
fn tree(
    circuit: &Circuit,
    desired: &Desired,
    facts: &Facts,
    ids: &Ids,
) -> Result<Tree, Vec<LowerError>> {
    let Some(device) = facts.devices.get(&circuit.device) else {
        return Err(vec![LowerError::NoDevice {
            circuit: circuit.name.clone(),
            device: circuit.device.clone(),
        }]);
    };
    let mut errors = Vec::new();
    if let (Root::Foreign(root), TakeOver::Refuse) = (&device.root, circuit.takeover) {
        errors.push(LowerError::ForeignRoot {
            circuit: circuit.name.clone(),
            device: circuit.device.clone(),
            root: root.clone(),
        });
    }
    let strangers = facts.strangers.iter();
    errors.extend(
        strangers
            .filter(|stranger| stranger.device == circuit.device)
            .cloned()
            .map(|stranger| LowerError::Stranger { stranger }),
    );
    let Some(major) = ids.major(&circuit.device) else {
        return Err(errors);
    };
    // Places are in order, the circuits' first.
    let first = NodeKey::new(circuit.name.clone(), Place::Circuit);
    let places: Vec<(&NodeKey, &Holding)> = desired
        .nodes
        .range(first..)
        .take_while(|(key, _)| key.circuit == circuit.name)
        .collect();
    let parents: BTreeSet<NodeKey> = places.iter().filter_map(|(key, _)| key.parent()).collect();

    let mut classes = BTreeMap::new();
    for (key, holding) in places {
        let Some(minor) = ids.minor(key) else {
            continue;
        };
        let role = if parents.contains(key) {
            Role::Inner
        } else {
            match leaf_kind(key, holding.leaf, &facts.leaves) {
                Ok(kind) => Role::Leaf {
                    priority: holding.priority,
                    quantum: figures::quantum(holding.weight, device),
                    leaf: Some(figures::leaf(kind, holding.ceiling.up, device)),
                },
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            }
        };
        let parent = key.parent().and_then(|parent| ids.minor(&parent));
        classes.insert(minor, class(circuit, holding, device, parent, role));
    }
    if errors.is_empty() {
        Ok(Tree {
            major,
            default: Minor::CONTROL,
            selector: crate::model::state::Selector::Priority,
            classes,
        })
    } else {
        Err(errors)
    }
}

fn class(
    circuit: &Circuit,
    holding: &Holding,
    device: &Device,
    parent: Option<Minor>,
    role: Role,
) -> TcClass {
    let (rate, ceil) = (holding.guarantee.up, holding.ceiling.up);
    TcClass {
        parent,
        rate,
        ceil,
        burst: figures::burst(rate, device),
        cburst: figures::burst(ceil, device),
        overhead: circuit.overhead,
        link_layer: circuit.link_layer,
        role,
    }
}

/// The kind of leaf for a place: what was asked for, or the best there is.
fn leaf_kind(
    place: &NodeKey,
    choice: LeafChoice,
    have: &BTreeSet<LeafKind>,
) -> Result<LeafKind, LowerError> {
    let kind = match choice {
        LeafChoice::Best => {
            let best = [LeafKind::FqCodel, LeafKind::Sfq];
            return Ok(best
                .into_iter()
                .find(|kind| have.contains(kind))
                .unwrap_or(LeafKind::Pfifo));
        }
        LeafChoice::Pfifo => LeafKind::Pfifo,
        LeafChoice::Sfq => LeafKind::Sfq,
        LeafChoice::FqCodel => LeafKind::FqCodel,
        LeafChoice::Cake => LeafKind::Cake,
    };
    if have.contains(&kind) {
        return Ok(kind);
    }
    Err(LowerError::NoLeaf {
        place: place.clone(),
        kind,
        have: have.iter().map(|kind| kind.name().to_owned()).collect(),
    })
}

/// Whether `key` is one of those without which a device cannot carry anything: its circuit, control, rest.
#[must_use]
pub const fn is_essential(key: &NodeKey) -> bool {
    matches!(key.place, Place::Circuit | Place::Control | Place::Rest)
}
