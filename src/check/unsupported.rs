//! What a policy may say and this version cannot hold the line to.

use super::Note;
use crate::model::class::Weight;
use crate::model::names::Origin;
use crate::model::phase::Follow;
use crate::policy::Policy;

/// All that `policy` asks for and this version cannot enforce. Blocks are not among it: they
/// are told where a phase brings them.
#[must_use]
pub fn unsupported(policy: &Policy) -> Vec<Note> {
    let mut found = Vec::new();
    let mut add = |origin: &Origin, what: String| {
        found.push(Note::at(
            origin,
            what,
            "take it out; it is read and checked, and not enforced yet",
        ));
    };
    for phase in policy.phases().values() {
        for (pool, split) in &phase.splits {
            let weights = match &split.follow {
                Follow::Fixed => None,
                Follow::Demand { weight, .. } => Some(weight),
            };
            if weights.is_some_and(|weights| weights.values().any(|weight| *weight != Weight::ONE))
            {
                add(
                    &phase.origin,
                    format!(
                        "phase `{}` weighs the circuits of pool `{pool}` (weight); what is lent goes by the priority and weight of classes",
                        phase.name
                    ),
                );
            }
        }
    }
    found
}
