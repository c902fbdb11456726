//! Devices that the policy names and that are not there.

use super::Facts;
use crate::model::names::DeviceName;
use crate::policy::Policy;

/// The devices that `policy` names for traffic and that are not there, each with who names it, in words: circuits, by
/// each of their names, then pools, then the inside.
///
/// Those that only a condition asks about are not among them: nothing is shaped on them.
#[must_use]
pub fn missing(policy: &Policy, facts: &Facts) -> Vec<(DeviceName, String)> {
    let circuits = policy.circuits().values().flat_map(|circuit| {
        super::layout::arrivals(circuit)
            .map(|device| (device.clone(), format!("circuit `{}`", circuit.name)))
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
