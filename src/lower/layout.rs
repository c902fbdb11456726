//! Which trees a policy wants: where each hangs, in which direction it shapes, and what is at its top.
//!
//! Upward each circuit has a tree at the root of its device; the circuits of a pool that names an access device share one
//! there. Downward all circuits share the one on the IFB. Where circuits share a tree, their pool is a class above
//! them, so that the kernel itself holds their sum to it, and lends within it where the split lets it.

use std::iter::once;

use crate::model::circuit::{Circuit, Pool};
use crate::model::names::{CircuitName, DeviceName, Origin};
use crate::model::node::{NodeKey, Place, Spot};
use crate::model::state::Ifb;
use crate::policy::Policy;
use crate::units::Direction;

/// A tree.
#[derive(Debug, Clone)]
pub struct Layout<'a> {
    /// The device at whose root it hangs.
    pub device: DeviceName,
    /// Which traffic of the circuits it shapes.
    pub direction: Direction,
    /// What hangs at its root; control is in the first.
    pub tops: Vec<Top<'a>>,
}

/// What hangs at the root of a tree.
#[derive(Debug, Clone)]
pub enum Top<'a> {
    /// A pool, above its circuits.
    Pool(&'a Pool, Vec<&'a Circuit>),
    /// A circuit by itself.
    Circuit(&'a Circuit),
}

impl Top<'_> {
    /// Its circuits.
    pub fn circuits(&self) -> impl Iterator<Item = &Circuit> {
        let (one, many) = match self {
            Self::Pool(_, circuits) => (None, circuits.as_slice()),
            Self::Circuit(circuit) => (Some(*circuit), &[][..]),
        };
        one.into_iter().chain(many.iter().copied())
    }
}

impl<'a> Layout<'a> {
    /// Its circuits.
    pub fn circuits(&self) -> impl Iterator<Item = &Circuit> {
        self.tops.iter().flat_map(Top::circuits)
    }

    /// What its control class is for: HTB's `default` is one class of a tree.
    ///
    /// Upward it is that of all circuits of the tree. Nothing that keeps a line alive ever comes to the IFB, since it ends
    /// or begins on this host; there it takes what somebody else marked for a class that is not there, within the first circuit.
    #[must_use]
    pub fn control(&self) -> Option<Spot> {
        Some(match (self.direction, self.tops.first()?) {
            (Direction::Up, Top::Pool(pool, _)) => Spot::PoolControl(pool.name.clone()),
            (Direction::Up, Top::Circuit(_)) | (Direction::Down, _) => {
                let circuit = self.circuits().next()?;
                Spot::Node(NodeKey::new(circuit.name.clone(), Place::Control))
            }
        })
    }

    /// Where what it is for was written; nowhere where it is for all that arrives.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        match self.tops.first()? {
            Top::Pool(pool, _) => Some(&pool.origin),
            Top::Circuit(circuit) => Some(&circuit.origin),
        }
    }

    /// Whose tree it is, in words.
    #[must_use]
    pub fn owner(&self) -> String {
        match (self.direction, self.tops.first()) {
            (Direction::Down, _) | (Direction::Up, None) => "what arrives".to_owned(),
            (Direction::Up, Some(Top::Pool(pool, _))) => format!("pool `{}`", pool.name),
            (Direction::Up, Some(Top::Circuit(circuit))) => format!("circuit `{}`", circuit.name),
        }
    }
}

/// The trees that `policy` wants.
#[must_use]
pub fn layouts(policy: &Policy) -> Vec<Layout<'_>> {
    let circuit = |name: &CircuitName| policy.circuits().get(name);
    let pooled = |pool: &'_ Pool| pool.circuits.iter().filter_map(circuit).collect();
    let mut layouts = Vec::new();
    for pool in policy.pools().values() {
        if let Some(device) = &pool.device {
            layouts.push(Layout {
                device: device.clone(),
                direction: Direction::Up,
                tops: vec![Top::Pool(pool, pooled(pool))],
            });
        }
    }
    for circuit in policy.circuits().values() {
        let shares = policy
            .pool_of(&circuit.name)
            .is_some_and(|pool| pool.device.is_some());
        if !shares {
            layouts.push(Layout {
                device: circuit.device.clone(),
                direction: Direction::Up,
                tops: vec![Top::Circuit(circuit)],
            });
        }
    }
    if departures(policy).next().is_some() {
        let pools = policy.pools().values();
        let alone = policy
            .circuits()
            .values()
            .filter(|circuit| policy.pool_of(&circuit.name).is_none());
        layouts.push(Layout {
            device: Ifb::device(),
            direction: Direction::Down,
            tops: pools
                .map(|pool| Top::Pool(pool, pooled(pool)))
                .chain(alone.map(Top::Circuit))
                .collect(),
        });
    }
    layouts
}

/// The devices by which a packet that arrived over a circuit may leave: the inside ones, and those of other circuits.
pub fn departures(policy: &Policy) -> impl Iterator<Item = &DeviceName> {
    let crossing = policy.circuits().len() > 1;
    let others = policy.circuits().values().flat_map(arrivals);
    let inside = policy.host().inside.iter();
    let inside = inside.filter(|_| !policy.circuits().is_empty());
    inside.chain(others.filter(move |_| crossing))
}

/// The names by which packets of a circuit come and go.
pub(super) fn arrivals(circuit: &Circuit) -> impl Iterator<Item = &DeviceName> {
    once(&circuit.device).chain(&circuit.also)
}
