//! What each place has in a phase, once percentages, overrides and defaults are worked out.
//!
//! Percentages of a guarantee are of the parent's guarantee, those of a ceiling of the parent's
//! ceiling; for what hangs below a circuit both are its share, but where its split follows demand: there
//! its ceiling is what the phase lets it have.

use std::collections::{BTreeMap, BTreeSet};

use super::Policy;
use crate::model::circuit::{Circuit, LeafChoice, Pool};
use crate::model::class::{Priority, Terms, Weight};
use crate::model::desired::Holding;
use crate::model::names::{ConditionName, PoolName};
use crate::model::node::{NodeKey, Place};
use crate::model::phase::{Follow, Phase};
use crate::units::{Amounts, PerDirection, Percent, Rate, Rates};

/// The part of its circuit's share that control has for certain.
const CONTROL: Percent = Percent::whole(1);

impl Policy {
    /// What each place has in `phase`, where nothing is true but what the phase stands on.
    #[must_use]
    pub fn promises(&self, phase: &Phase) -> BTreeMap<NodeKey, Holding> {
        self.promises_with(phase, &BTreeSet::new())
    }

    /// What each place has in `phase` where the conditions in `latched` are true as well.
    #[must_use]
    pub fn promises_with(
        &self,
        phase: &Phase,
        latched: &BTreeSet<ConditionName>,
    ) -> BTreeMap<NodeKey, Holding> {
        // Put in order at once: there are thousands.
        let mut nodes = Vec::new();
        for circuit in self.circuits.values() {
            if let Some(share) = self.share(phase, circuit) {
                let most = self.most(phase, latched, circuit, share);
                self.promise_circuit(phase, circuit, share, most, &mut nodes);
            }
        }
        nodes.into_iter().collect()
    }

    /// What each pool carries in `phase` where the conditions in `latched` are true.
    #[must_use]
    pub fn pools_with(
        &self,
        phase: &Phase,
        latched: &BTreeSet<ConditionName>,
    ) -> BTreeMap<PoolName, Rates> {
        let carries = |pool: &Pool| self.capacity_with(pool, phase, latched);
        let pools = self.pools.values();
        pools
            .map(|pool| (pool.name.clone(), carries(pool)))
            .collect()
    }

    /// What `circuit` never goes beyond: its share; where the split follows demand and a tree has its pool above it,
    /// so that the kernel lends there, what the phase lets it have. Downward the circuits always share a tree.
    fn most(
        &self,
        phase: &Phase,
        latched: &BTreeSet<ConditionName>,
        circuit: &Circuit,
        share: Rates,
    ) -> Rates {
        let Some(pool) = self.pool_of(&circuit.name) else {
            return share;
        };
        let follow = phase.splits.get(&pool.name).map(|split| &split.follow);
        let Some(Follow::Demand { ceiling, .. }) = follow else {
            return share;
        };
        let room = self.capacity_with(pool, phase, latched);
        let most = ceiling
            .get(&circuit.name)
            .map_or(room, |most| most.zip(room, Rate::min))
            .zip(share, Rate::max);
        PerDirection {
            up: if pool.device.is_some() {
                most.up
            } else {
                share.up
            },
            down: most.down,
        }
    }

    /// The share of `circuit` in `phase`: of its pool's split, or its own capacity.
    #[must_use]
    pub fn share(&self, phase: &Phase, circuit: &Circuit) -> Option<Rates> {
        match self.pool_of(&circuit.name) {
            Some(pool) => phase
                .splits
                .get(&pool.name)?
                .shares
                .get(&circuit.name)
                .copied(),
            None => circuit.capacity,
        }
    }

    fn promise_circuit(
        &self,
        phase: &Phase,
        circuit: &Circuit,
        share: Rates,
        most: Rates,
        nodes: &mut Vec<(NodeKey, Holding)>,
    ) {
        let key = |place| NodeKey::new(circuit.name.clone(), place);
        let plain = |guarantee, ceiling| Holding {
            guarantee,
            ceiling,
            priority: Priority::DEFAULT,
            weight: Weight::ONE,
            leaf: circuit.leaf,
        };
        let whole = plain(share, most);
        nodes.push((key(Place::Circuit), whole));

        let control = share.map(control);
        nodes.push((
            key(Place::Control),
            Holding {
                priority: Priority::FIRST,
                ..plain(control, most)
            },
        ));

        let rest = self
            .rests
            .get(&circuit.name)
            .map_or(Terms::REST, |rest| rest.terms);
        nodes.push((key(Place::Rest), held(rest, &whole, circuit.leaf)));

        for class in self
            .classes
            .iter()
            .filter(|class| class.circuit == circuit.name)
        {
            let terms = phase
                .classes
                .get(&class.name)
                .map_or(class.terms, |over| over.over(class.terms));
            nodes.push((
                key(Place::Class(class.name.clone())),
                held(terms, &whole, circuit.leaf),
            ));
        }

        for site in self
            .sites
            .values()
            .filter(|site| site.circuit == circuit.name)
        {
            let terms = phase
                .sites
                .get(&site.name)
                .map_or(site.terms, |over| over.over(site.terms));
            let guarantee = amounts(terms.guarantee, share);
            let tail = Holding {
                priority: terms.priority,
                ..plain(guarantee, clamp(terms.capacity, guarantee, most))
            };
            nodes.push((key(Place::Site(site.name.clone())), tail));
            if site.classes.is_empty() {
                continue;
            }
            for class in &site.classes {
                let place = Place::SiteClass(site.name.clone(), class.name.clone());
                nodes.push((key(place), held(class.terms, &tail, circuit.leaf)));
            }
            nodes.push((
                key(Place::SiteRest(site.name.clone())),
                held(Terms::REST, &tail, circuit.leaf),
            ));
        }
    }
}

/// What control has for certain on a circuit with that share.
#[must_use]
pub fn control(share: Rate) -> Rate {
    Rate::floor(CONTROL.bits_of(share)).max(Rate::KBIT_64)
}

/// What `terms` come to below `parent`.
fn held(terms: Terms, parent: &Holding, leaf: LeafChoice) -> Holding {
    let guarantee = amounts(terms.guarantee, parent.guarantee);
    Holding {
        guarantee,
        ceiling: clamp(
            amounts(terms.ceiling, parent.ceiling),
            guarantee,
            parent.ceiling,
        ),
        priority: terms.priority,
        weight: terms.weight,
        leaf: terms.leaf.unwrap_or(leaf),
    }
}

fn amounts(amounts: Amounts, parent: Rates) -> Rates {
    amounts.zip(parent, |amount, parent| amount.within(parent))
}

/// A ceiling: never above the parent's, never below what is held for certain.
fn clamp(ceiling: Rates, guarantee: Rates, parent: Rates) -> Rates {
    ceiling.zip(parent, Rate::min).zip(guarantee, Rate::max)
}
