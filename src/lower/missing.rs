//! Devices that the policy names and that are not there.

use std::collections::BTreeSet;

use super::layout::arrivals;
use super::{Facts, LowerError};
use crate::model::names::{DeviceName, Origin};
use crate::policy::{Policy, nearest};

/// The devices that `policy` names for traffic and that are not there, each with who names it, in words: circuits, by
/// each of their names, then pools, then the inside.
///
/// Those that only a condition asks about are not among them: nothing is shaped on them.
#[must_use]
pub fn missing(policy: &Policy, facts: &Facts) -> Vec<(DeviceName, String)> {
    let circuits = policy.circuits().values().flat_map(|circuit| {
        arrivals(circuit).map(|device| (device.clone(), format!("circuit `{}`", circuit.name)))
    });
    let pools = policy.pools().values().filter_map(|pool| {
        let device = pool.device.as_ref()?;
        Some((device.clone(), format!("pool `{}`", pool.name)))
    });
    let inside = policy.host().inside.iter();
    let inside = inside.map(|device| (device.clone(), "the host's `inside`".to_owned()));
    circuits
        .chain(pools)
        .chain(inside)
        .filter(|(device, _)| !facts.devices.contains_key(device))
        .collect()
}

/// The devices that carry circuits and pools of `policy`, that are not `here`, and that `before` carried nothing on: an
/// error for each. That is a slip, more often than a device that is still to come.
#[must_use]
pub fn slips<'d>(
    policy: &Policy,
    before: &[&Policy],
    here: impl IntoIterator<Item = &'d DeviceName> + Clone,
) -> Vec<LowerError> {
    let there: BTreeSet<&DeviceName> = here.clone().into_iter().collect();
    let before: BTreeSet<&DeviceName> = before
        .iter()
        .copied()
        .flat_map(carriers)
        .map(|(device, ..)| device)
        .collect();
    carriers(policy)
        .filter(|(device, ..)| !there.contains(device) && !before.contains(device))
        .map(|(device, who, origin)| LowerError::NoDevice {
            origin: origin.clone(),
            who,
            device: device.clone(),
            near: meant(policy, here.clone(), device),
        })
        .collect()
}

/// The devices that trees hang on, each with who names it, in words, and where.
fn carriers(policy: &Policy) -> impl Iterator<Item = (&DeviceName, String, &Origin)> {
    let circuits = policy.circuits().values();
    let circuits = circuits.map(|circuit| {
        let who = format!("circuit `{}`", circuit.name);
        (&circuit.device, who, &circuit.origin)
    });
    let pools = policy.pools().values().filter_map(|pool| {
        let who = format!("pool `{}`", pool.name);
        Some((pool.device.as_ref()?, who, &pool.origin))
    });
    circuits.chain(pools)
}

/// The device that was probably meant by one that is not there: one that is `here`, and that the policy names nowhere.
pub(super) fn meant<'d>(
    policy: &Policy,
    here: impl IntoIterator<Item = &'d DeviceName>,
    device: &DeviceName,
) -> Option<DeviceName> {
    let circuits = policy.circuits().values();
    let pools = policy.pools().values();
    let named: BTreeSet<&DeviceName> = circuits
        .flat_map(arrivals)
        .chain(pools.filter_map(|pool| pool.device.as_ref()))
        .chain(&policy.host().inside)
        .collect();
    let free = here.into_iter().filter(|here| !named.contains(here));
    nearest(device.as_str(), free.map(DeviceName::as_str))?
        .parse()
        .ok()
}
