//! Which way a connection goes through this host.

use std::net::IpAddr;

use crate::model::names::{CircuitName, DeviceName};
use crate::policy::Policy;

/// Where an end of a connection is, seen from this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// It is this host itself.
    Here,
    /// Beyond this device; `None` where the policy names none there.
    Beyond(Option<DeviceName>),
}

/// The way of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it is opened.
    pub from: Side,
    /// Where it is asked for.
    pub to: Side,
    /// The device by which replies leave, where that is not the one by which requests came.
    pub back: Option<DeviceName>,
}

impl Path {
    /// From one side to another, and the same way back.
    #[must_use]
    pub const fn between(from: Side, to: Side) -> Self {
        Self {
            from,
            to,
            back: None,
        }
    }

    /// The device by which requests come.
    pub(super) const fn arrival(&self) -> Option<&DeviceName> {
        self.from.device()
    }

    /// The device by which replies leave.
    pub(super) const fn returning(&self) -> Option<&DeviceName> {
        match &self.back {
            Some(device) => Some(device),
            None => self.from.device(),
        }
    }
}

impl Side {
    /// The device beyond which it is, as far as there is one.
    #[must_use]
    pub const fn device(&self) -> Option<&DeviceName> {
        match self {
            Self::Here | Self::Beyond(None) => None,
            Self::Beyond(Some(device)) => Some(device),
        }
    }
}

/// The circuit that a device is one of.
pub(super) fn circuit_of<'a>(
    policy: &'a Policy,
    device: &DeviceName,
) -> Option<&'a crate::model::circuit::Circuit> {
    let mut circuits = policy.circuits().values();
    circuits.find(|circuit| circuit.device == *device || circuit.also.contains(device))
}

/// Whether an address is of those that a site keeps to itself.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// The ways that a connection between two addresses may go by what the policy says alone: a site is behind its
/// circuit; of other ends, one is inside and the other behind each circuit in turn, or behind the one that is `over`.
/// Where one of them alone is private, that is the one inside.
#[must_use]
pub fn possible(
    policy: &Policy,
    from: IpAddr,
    to: IpAddr,
    over: Option<&CircuitName>,
) -> Vec<Path> {
    let beyond = |circuit: &CircuitName| {
        let circuit = policy.circuits().get(circuit)?;
        Some(Side::Beyond(Some(circuit.device.clone())))
    };
    let site = |address: IpAddr| {
        let mut sites = policy.sites().values();
        let site = sites.find(|site| site.prefixes.iter().any(|net| net.contains(&address)))?;
        Some((&site.circuit, beyond(&site.circuit)?))
    };
    let inside = || Side::Beyond(policy.host().inside.first().cloned());
    let circuits = || {
        let names = policy.circuits().keys();
        names.filter(|name| over.is_none_or(|over| *name == over))
    };
    let others = |not: &CircuitName| -> Vec<Side> {
        let others = circuits().filter(|name| *name != not);
        let none = over.is_none_or(|over| over == not);
        let inside = none.then(inside);
        inside
            .into_iter()
            .chain(others.filter_map(beyond))
            .collect()
    };
    match (site(from), site(to)) {
        (Some((one, from)), Some((other, to))) => {
            let crosses = over.is_none_or(|over| over == one || over == other);
            let path = crosses.then(|| Path::between(from, to));
            path.into_iter().collect()
        }
        (Some((circuit, from)), None) => {
            let ends = others(circuit).into_iter();
            ends.map(|to| Path::between(from.clone(), to)).collect()
        }
        (None, Some((circuit, to))) => {
            let ends = others(circuit).into_iter();
            ends.map(|from| Path::between(from, to.clone())).collect()
        }
        (None, None) => circuits()
            .filter_map(beyond)
            .flat_map(|far| {
                let out = Path::between(inside(), far.clone());
                let back = Path::between(far, inside());
                match (is_private(from), is_private(to)) {
                    (true, false) => vec![out],
                    (false, true) => vec![back],
                    (true, true) | (false, false) => vec![out, back],
                }
            })
            .collect(),
    }
}
