//! Code points that connections remember.
//!
//! A class that goes by code points holds for replies too, and those often come back without. So what the
//! packets of who opened a connection carry is kept in our bits of the connection's mark. It is the point
//! and not a class: a connection may have classes on two circuits, and the classes may change while it lasts.

use std::collections::BTreeSet;

use super::Classifier;
use crate::model::class::{Dscp, Match};
use crate::model::filter::{
    Action, BITS_TO_REMEMBER, Chain, ChainRole, Field, Rule, Table, Values,
};
use crate::policy::Policy;

/// `ct direction` of the packets of who opened the connection.
const OPENER: u128 = 0;

/// How many bits of marks must be ours so that connections can remember what `policy` asks for.
#[must_use]
pub fn mark_bits(policy: &Policy) -> u32 {
    Classifier::of(policy).mark_bits()
}

impl Classifier {
    /// How many bits of marks must be ours so that connections can remember what is asked for.
    pub(super) fn mark_bits(&self) -> u32 {
        if self.points().is_empty() {
            0
        } else {
            BITS_TO_REMEMBER
        }
    }

    /// All code points that classes go by.
    fn points(&self) -> BTreeSet<Dscp> {
        let matches = |classes: &'_ [super::ClassRules]| -> Vec<Dscp> {
            let matches = classes.iter().flat_map(|class| &class.matches);
            matches.flat_map(|one: &Match| one.dscp.clone()).collect()
        };
        self.circuits
            .iter()
            .flat_map(|circuit| {
                let inner = circuit.sites.iter().flat_map(|site| matches(&site.classes));
                inner.chain(matches(&circuit.classes)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Makes the chain that remembers, where there is anything to, and gives back the rules that lead there:
    /// one for each family, so that packets without such a code point cost no more than two.
    pub(super) fn remember(&self, table: &mut Table) -> Vec<Rule> {
        let points = self.points();
        if points.is_empty() {
            return Vec::new();
        }
        let name = ChainRole::Remember.name();
        let mask = self.mask;
        let is = |field: Field, points: &mut dyn Iterator<Item = Dscp>| {
            (field, Values::of(points.map(|point| point.get().into())))
        };
        let families = [Field::Dscp4, Field::Dscp6];
        let rules = points.iter().flat_map(|point| {
            families.map(|field| {
                let criteria = [is(field, &mut std::iter::once(*point))];
                Rule::new(criteria, None, Action::Remember { mask, dscp: *point })
            })
        });
        table.chains.insert(name.clone(), Chain::of(rules));
        families
            .map(|field| {
                let opener = (Field::Direction, Values::of([OPENER]));
                let criteria = [opener, is(field, &mut points.iter().copied())];
                Rule::new(criteria, None, Action::Jump(name.clone()))
            })
            .into()
    }
}
