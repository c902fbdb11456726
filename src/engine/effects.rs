//! What it means that conditions are true: what they lift, what they open, what they end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::{Engine, EngineError};
use crate::model::names::{BlockName, ConditionName, PhaseName, PoolName};
use crate::policy::{Policy, implied};
use crate::units::Rates;

/// What is otherwise once more conditions are true.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Effects {
    /// The blocks that no longer hold.
    pub lifts: Vec<BlockName>,
    /// The phases that may be entered from now on.
    pub opens: Vec<PhaseName>,
    /// The phases that may be entered no more.
    pub closes: Vec<PhaseName>,
    /// The pools that carry something else, and what.
    pub pools: BTreeMap<PoolName, Rates>,
}

impl Effects {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is otherwise under `policy` where the conditions in `after` are true, and not those in `before` alone.
#[must_use]
pub fn effects(
    policy: &Policy,
    before: &BTreeSet<ConditionName>,
    after: &BTreeSet<ConditionName>,
) -> Effects {
    let is_new = |until: &Option<ConditionName>| {
        let until = until.as_ref();
        until.is_some_and(|until| after.contains(until) && !before.contains(until))
    };
    let may_enter = |phase: &PhaseName, latched: &BTreeSet<ConditionName>| {
        let phase = policy.phases().get(phase);
        phase.is_some_and(|phase| {
            let begun = |requires: &ConditionName| latched.contains(requires);
            let over = |until: &ConditionName| latched.contains(until);
            phase.requires.as_ref().is_none_or(begun) && !phase.until.as_ref().is_some_and(over)
        })
    };
    let moved = |from: &BTreeSet<ConditionName>, to: &BTreeSet<ConditionName>| -> Vec<PhaseName> {
        let phases = policy.phases().keys();
        phases
            .filter(|phase| !may_enter(phase, from) && may_enter(phase, to))
            .cloned()
            .collect()
    };
    let pools = policy.pools().values().filter_map(|pool| {
        let carries = |latched: &BTreeSet<ConditionName>| {
            policy.capacity(pool, |condition| latched.contains(condition))
        };
        let now = carries(after);
        (now != carries(before)).then(|| (pool.name.clone(), now))
    });
    Effects {
        lifts: policy
            .blocks()
            .values()
            .filter(|block| is_new(&block.until))
            .map(|block| block.name.clone())
            .collect(),
        opens: moved(before, after),
        closes: moved(after, before),
        pools: pools.collect(),
    }
}

/// Why `phase`, which holds where the conditions in `latched` are true, cannot go on without `condition`;
/// `None` where it can.
#[must_use]
pub fn needs(
    policy: &Arc<Policy>,
    phase: &PhaseName,
    latched: &BTreeSet<ConditionName>,
    condition: &ConditionName,
) -> Option<String> {
    let requires = policy.phases().get(phase)?.requires.as_ref();
    if let Some(requires) = requires
        && implied(policy.conditions(), requires).contains(condition)
    {
        return Some(format!("phase `{phase}` requires `{requires}`"));
    }
    let mut without = latched.clone();
    without.remove(condition);
    match Engine::keeping(policy.clone(), phase.clone(), without) {
        Err(error @ EngineError::Exceeds { .. }) => Some(error.to_string()),
        Ok(_) | Err(_) => None,
    }
}
