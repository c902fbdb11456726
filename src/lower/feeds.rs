//! Where packets that arrived over a circuit are led through the IFB: as they leave the host by another device.
//!
//! A packet leaves by each device of a stack in turn (a macvlan, then what it stands on), with its mark; so of a stack only
//! the lowest device that is named leads there, else it would be shaped twice. A tunnel has no device below it: the packet
//! that carries it is another, without the mark.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::departures;
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
    for device in &policy.host().inside {
        if !facts.devices.contains_key(device) {
            errors.push(LowerError::NoDevice {
                who: "inside".to_owned(),
                device: device.clone(),
            });
        }
    }
    // A tunnel that is down, or not made yet, leads nothing anywhere.
    let there: BTreeMap<&DeviceName, &Device> = departures(policy)
        .filter_map(|name| Some((name, facts.devices.get(name)?)))
        .filter(|(_, device)| device.kind != VRF)
        .collect();
    let named: BTreeSet<u32> = there.values().map(|device| device.index).collect();
    let mut feeds = BTreeMap::new();
    for (name, device) in there {
        if stands_on(device, &named, facts) {
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

/// Whether a device stands, at whatever height, on one of `named`.
fn stands_on(device: &Device, named: &BTreeSet<u32>, facts: &Facts) -> bool {
    let mut below = facts.below(device);
    below.any(|(_, lower)| lower.index != device.index && named.contains(&lower.index))
}
