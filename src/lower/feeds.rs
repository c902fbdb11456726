//! Where packets that arrived over a circuit are led through the IFB: as they leave the host by another device.
//!
//! A packet leaves by each device of a stack in turn (a macvlan, then what it stands on), with its mark; so of a stack only
//! the lowest device that is named leads there, else it would be shaped twice; and of a bridge and its ports, where both
//! are named, the bridge. A tunnel has no device below it: the packet that carries it is another, without the mark.
//!
//! A device that is not there leads nothing anywhere: it may come (a tunnel, a bridge of containers), and what must be
//! done in an emergency does not wait for it. It is said beside the plan.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{arrivals, departures, layouts};
use super::{Facts, LowerError};
use crate::model::names::DeviceName;
use crate::model::state::{Clsact, Device, Edge, Feed, Ifb, Takes};
use crate::policy::Policy;

/// Packets of forwarded connections do not leave by a VRF, but by the device in it.
const VRF: &str = "vrf";

/// What should lead to the IFB.
pub(super) fn feeds(
    policy: &Policy,
    facts: &Facts,
) -> Result<BTreeMap<DeviceName, Feed>, Vec<LowerError>> {
    let mut errors = Vec::new();
    let there: BTreeMap<&DeviceName, &Device> = departures(policy)
        .filter_map(|name| Some((name, facts.devices.get(name)?)))
        .filter(|(_, device)| device.kind != VRF)
        .collect();
    let named: BTreeSet<u32> = there.values().map(|device| device.index).collect();
    let mut feeds = BTreeMap::new();
    for (name, device) in there {
        if let Some((tree, owner)) = on_a_strange_tree(policy, name, device, facts) {
            errors.push(LowerError::OnTree {
                device: name.clone(),
                tree,
                owner,
            });
            continue;
        }
        if stands_on(device, &named, facts) || is_port_of(device, &named) {
            continue;
        }
        let clsact = match (device.edge, facts.clsacts.get(name)) {
            (Edge::Ingress, _) => {
                errors.push(LowerError::Ingress {
                    device: name.clone(),
                });
                continue;
            }
            (Edge::None, _) => Clsact::Ours,
            (Edge::Clsact, known) => known.copied().unwrap_or(Clsact::Theirs),
        };
        let takes = Takes::Marked(policy.host().mark_mask);
        feeds.insert(name.clone(), Feed { clsact, takes });
    }
    if let Some(device) = facts.devices.get(&Ifb::device())
        && device.kind != Ifb::KIND
        && !feeds.is_empty()
    {
        errors.push(LowerError::NotIfb {
            kind: device.kind.clone(),
        });
    }
    if errors.is_empty() {
        Ok(feeds)
    } else {
        Err(errors)
    }
}

/// The device that `device` stands on with an upward tree of circuits that it is no name of, and whose that is: what
/// leaves by the one leaves by the other too, and is no circuit's there.
fn on_a_strange_tree(
    policy: &Policy,
    name: &DeviceName,
    device: &Device,
    facts: &Facts,
) -> Option<(DeviceName, String)> {
    let below: Vec<&DeviceName> = facts.below(device).map(|(name, _)| name).collect();
    layouts(policy)
        .into_iter()
        .filter(|layout| below.contains(&&layout.device))
        .find(|layout| layout.circuits().flat_map(arrivals).all(|own| own != name))
        .map(|layout| (layout.device.clone(), layout.owner()))
}

/// Whether a device is a port of one of `named`.
fn is_port_of(device: &Device, named: &BTreeSet<u32>) -> bool {
    device.master.is_some_and(|master| named.contains(&master))
}

/// Whether a device stands, at whatever height, on one of `named`.
fn stands_on(device: &Device, named: &BTreeSet<u32>, facts: &Facts) -> bool {
    let mut below = facts.below(device);
    below.any(|(_, lower)| lower.index != device.index && named.contains(&lower.index))
}
