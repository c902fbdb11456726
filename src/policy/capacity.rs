//! What a pool carries in a phase, given what must be true there.

use std::collections::{BTreeMap, BTreeSet};

use super::Policy;
use crate::model::circuit::Pool;
use crate::model::hold::{Combine, Condition, ConditionTerm};
use crate::model::names::ConditionName;
use crate::model::phase::Phase;
use crate::units::Rates;

/// The conditions that are certainly true where `known` is, with `known` itself.
#[must_use]
pub fn implied(
    conditions: &BTreeMap<ConditionName, Condition>,
    known: &ConditionName,
) -> BTreeSet<ConditionName> {
    let mut certain = BTreeSet::from([known.clone()]);
    loop {
        let before = certain.len();
        for condition in conditions.values() {
            let named = |term: &ConditionTerm| match term {
                ConditionTerm::Condition(name) => Some(name.clone()),
                ConditionTerm::Event(_)
                | ConditionTerm::After(_)
                | ConditionTerm::LinkSpeed { .. } => None,
            };
            let holds =
                |term: &ConditionTerm| named(term).is_some_and(|name| certain.contains(&name));
            if certain.contains(&condition.name) {
                let all = condition.combine == Combine::All || condition.terms.len() == 1;
                if all {
                    certain.extend(condition.terms.iter().filter_map(named));
                }
            } else if match condition.combine {
                Combine::Any => condition.terms.iter().any(holds),
                Combine::All => !condition.terms.is_empty() && condition.terms.iter().all(holds),
            } {
                certain.insert(condition.name.clone());
            }
        }
        if certain.len() == before {
            return certain;
        }
    }
}

impl Policy {
    /// What `pool` carries where exactly the conditions that `is_true` says are true: of several
    /// capacities after conditions, the one written last.
    #[must_use]
    pub fn capacity(&self, pool: &Pool, is_true: impl Fn(&ConditionName) -> bool) -> Rates {
        let after = pool.after.iter().rev().find(|(name, _)| is_true(name));
        after.map_or(pool.capacity, |(_, capacity)| *capacity)
    }

    /// What `pool` carries for certain in `phase`: after the condition that it requires, and after
    /// those that are then true as well.
    #[must_use]
    pub fn capacity_in(&self, pool: &Pool, phase: &Phase) -> Rates {
        self.capacity_with(pool, phase, &BTreeSet::new())
    }

    /// What `pool` carries in `phase` where the conditions in `latched` are true beside those that the
    /// phase stands on.
    #[must_use]
    pub fn capacity_with(
        &self,
        pool: &Pool,
        phase: &Phase,
        latched: &BTreeSet<ConditionName>,
    ) -> Rates {
        let required = phase.requires.as_ref();
        let certain = required.map_or_else(BTreeSet::new, |required| {
            implied(&self.conditions, required)
        });
        self.capacity(pool, |name| {
            certain.contains(name) || latched.contains(name)
        })
    }
}
