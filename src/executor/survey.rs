//! What the kernel shows, and what entering a phase would come to from there. Writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::ChangeError;
use crate::engine::Engine;
use crate::kernel::{Kernel, KernelError, Scope};
use crate::lower::{Facts, Lowered, Names, lower};
use crate::model::desired::{Desired, Holding};
use crate::model::filter::Table;
use crate::model::ids::Ids;
use crate::model::names::PhaseName;
use crate::model::node::{NodeKey, Place};
use crate::model::state::{KernelState, Observed};
use crate::policy::Policy;
use crate::units::{Moment, PerDirection};

/// What the kernel shows, and what its numbers mean.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What the kernel shows.
    pub observed: Observed,
    /// What it can do.
    pub facts: Facts,
    /// The numbers of places: from the store, and learnt from the kernel where the store has none.
    pub ids: Ids,
}

/// Looks at the kernel.
///
/// # Errors
/// Where it cannot be read.
pub fn survey(
    kernel: &mut dyn Kernel,
    policy: &Policy,
    mut ids: Ids,
) -> Result<Survey, KernelError> {
    let observed = kernel.observe(Scope::All)?;
    learn(&mut ids, policy, &observed.state);
    let leaves = kernel.leaves()?;
    let facts = Facts::of(&observed, leaves);
    Ok(Survey {
        observed,
        facts,
        ids,
    })
}

/// Takes from the kernel the numbers that the store does not know: those of the packet filter's chains,
/// which are named after places, and those at the top of each tree.
fn learn(ids: &mut Ids, policy: &Policy, state: &KernelState) {
    let tops = state.trees.iter().filter_map(|(device, tree)| {
        let circuit = policy.circuit_behind(device)?;
        let (minor, _) = tree
            .classes
            .iter()
            .find(|(_, class)| class.parent.is_none())?;
        Some((NodeKey::new(circuit.name.clone(), Place::Circuit), *minor))
    });
    let chains = state
        .table
        .iter()
        .flat_map(Table::class_ids)
        .map(|(key, id)| (key, id.minor));
    ids.learn(
        tops.chain(chains),
        state
            .trees
            .iter()
            .map(|(device, tree)| (device.clone(), tree.major)),
    );
}

/// What each place has in the kernel now, upward; what it shall have downward stands for what is not shaped.
#[must_use]
pub fn held(observed: &KernelState, names: &Names, goal: &Desired) -> BTreeMap<NodeKey, Holding> {
    let mut held = BTreeMap::new();
    for (device, tree) in &observed.trees {
        for (minor, class) in &tree.classes {
            let Some((key, goal)) = names
                .place(device, *minor)
                .and_then(|key| Some((key, goal.nodes.get(key)?)))
            else {
                continue;
            };
            let guarantee = PerDirection {
                up: class.rate,
                down: goal.guarantee.down,
            };
            let ceiling = PerDirection {
                up: class.ceil,
                down: goal.ceiling.down,
            };
            held.insert(
                key.clone(),
                Holding {
                    guarantee,
                    ceiling,
                    ..*goal
                },
            );
        }
    }
    held
}

/// What entering `phase` would come to, and from where.
#[derive(Debug, Clone)]
pub struct Prospect {
    /// Decides what holds on the way.
    pub engine: Engine,
    /// What the kernel shows.
    pub survey: Survey,
    /// What the kernel will hold at the end.
    pub goal: Lowered,
}

/// Works out what entering `phase` comes to. Writes nothing.
///
/// # Errors
/// Where the phase cannot be entered or cannot hold here.
pub fn prospect(
    kernel: &mut dyn Kernel,
    ids: Ids,
    policy: &Arc<Policy>,
    phase: &PhaseName,
    now: Moment,
) -> Result<Prospect, ChangeError> {
    let engine = Engine::entering(policy.clone(), phase.clone())?;
    let mut survey = survey(kernel, policy, ids)?;
    let goal = engine.goal();
    let known = survey.ids.clone();
    let mut lowered =
        lower(policy, &goal, &survey.facts, &mut survey.ids).map_err(ChangeError::Lower)?;
    lowered.names.remember(&survey.observed.state, &known);
    let from = held(&survey.observed.state, &lowered.names, &goal);
    Ok(Prospect {
        engine: engine.starting(from, now),
        survey,
        goal: lowered,
    })
}
