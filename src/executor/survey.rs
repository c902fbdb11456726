//! What the kernel shows, and what entering a phase would come to from there. Writes nothing.

use std::collections::BTreeMap;

use super::error::ChangeError;
use crate::engine::Engine;
use crate::kernel::{Kernel, KernelError, Scope};
use crate::lower::{Absent, Facts, Lowered, lower};
use crate::model::desired::{Desired, Holding};
use crate::model::filter::Table;
use crate::model::ids::Ids;
use crate::model::node::{NodeKey, Place, Spot};
use crate::model::state::{Ifb, KernelState, Observed};
use crate::policy::Policy;
use crate::units::{Direction, Moment, Rate};

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

/// Looks at the kernel, to decide by it where devices that are not there are refused or waited for.
///
/// # Errors
/// Where it cannot be read.
pub fn survey(
    kernel: &mut dyn Kernel,
    policy: &Policy,
    mut ids: Ids,
    absent: Absent,
) -> Result<Survey, KernelError> {
    let observed = kernel.observe(Scope::All)?;
    learn(&mut ids, policy, &observed.state);
    let leaves = kernel.leaves()?;
    let facts = Facts {
        absent,
        ..Facts::of(&observed, leaves)
    };
    Ok(Survey {
        observed,
        facts,
        ids,
    })
}

/// Takes from the kernel the numbers that the store does not know: those of the packet filter's chains,
/// which are named after places, and those at the top of each tree.
pub fn learn(ids: &mut Ids, policy: &Policy, state: &KernelState) {
    let tops = state.trees.iter().filter_map(|(device, tree)| {
        let circuit = policy
            .circuit_behind(device)
            .filter(|circuit| policy.tree_device(&circuit.name) == Some(device))?;
        let (minor, _) = tree
            .classes
            .iter()
            .find(|(_, class)| class.parent.is_none())?;
        Some((NodeKey::new(circuit.name.clone(), Place::Circuit), *minor))
    });
    let chains = state.table.iter().flat_map(Table::minors);
    ids.learn(
        tops.chain(chains),
        state
            .trees
            .iter()
            .map(|(device, tree)| (device.clone(), tree.major)),
    );
}

/// What each place has in the kernel now; what it shall have stands for what is not shaped in a direction.
///
/// In an upward tree that circuits share, a circuit's class has less than its share for certain; where it has what the goal gives
/// it, its share is the goal's, else what comes near: a way that begins there is made to fit anyway.
#[must_use]
pub fn held(
    observed: &KernelState,
    lowered: &Lowered,
    goal: &Desired,
) -> BTreeMap<NodeKey, Holding> {
    let mut held: BTreeMap<NodeKey, Holding> = BTreeMap::new();
    for (device, tree) in &observed.trees {
        let direction = Ifb::direction(device);
        let wanted = lowered.state.trees.get(device);
        for (minor, class) in &tree.classes {
            let Some((key, goal)) = lowered
                .names
                .spot(device, *minor)
                .and_then(Spot::node)
                .and_then(|key| Some((key, goal.nodes.get(key)?)))
            else {
                continue;
            };
            let wanted = wanted.and_then(|tree| tree.classes.get(minor));
            let guarantee = match (&key.place, class.parent) {
                _ if wanted.is_some_and(|wanted| wanted.rate == class.rate) => {
                    goal.guarantee.get(direction)
                }
                (Place::Circuit, Some(_)) if direction == Direction::Up => share_of(class.rate),
                _ => class.rate,
            };
            let holding = held.entry(key.clone()).or_insert(*goal);
            match direction {
                Direction::Up => {
                    (holding.guarantee.up, holding.ceiling.up) = (guarantee, class.ceil);
                }
                Direction::Down => {
                    (holding.guarantee.down, holding.ceiling.down) = (guarantee, class.ceil);
                }
            }
        }
    }
    held
}

/// About the share of which `rate` is left once control has its part.
fn share_of(rate: Rate) -> Rate {
    let part = Rate::floor(rate.bits() / 99).max(Rate::KBIT_64);
    Rate::floor(rate.bits().saturating_add(part.bits()))
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

/// Works out what `engine`, which enters a phase or goes on with one, comes to here, where every device is there.
/// Writes nothing.
///
/// # Errors
/// Where the phase cannot hold here.
pub fn prospect(
    kernel: &mut dyn Kernel,
    ids: Ids,
    engine: Engine,
    now: Moment,
) -> Result<Prospect, ChangeError> {
    prospect_with(kernel, ids, engine, now, Absent::Refused)
}

/// The same, where a device that is not there is refused or waited for. Once it is there, the next prospect has what is
/// on it too.
///
/// # Errors
/// Where the phase cannot hold here.
pub fn prospect_with(
    kernel: &mut dyn Kernel,
    ids: Ids,
    engine: Engine,
    now: Moment,
    absent: Absent,
) -> Result<Prospect, ChangeError> {
    let policy = engine.policy();
    let mut survey = survey(kernel, policy, ids, absent)?;
    let goal = engine.goal();
    let known = survey.ids.clone();
    let mut lowered =
        lower(policy, &goal, &survey.facts, &mut survey.ids).map_err(ChangeError::Lower)?;
    lowered.names.remember(&survey.observed.state, &known);
    let blocks = survey.observed.state.table.as_ref();
    let blocks = blocks.map(Table::blocks).unwrap_or_default();
    let from = held(&survey.observed.state, &lowered, &goal);
    Ok(Prospect {
        engine: engine.starting(from, now).leaving(blocks),
        survey,
        goal: lowered,
    })
}
