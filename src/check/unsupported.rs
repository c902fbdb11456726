//! What a policy may say and this version cannot hold the line to.

use super::Note;
use crate::model::names::Origin;
use crate::model::phase::Follow;
use crate::policy::Policy;

/// All that `policy` asks for and this version cannot enforce. Blocks and conditions are not among it: the
/// one are told where a phase brings them, the other read as false.
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
    for circuit in policy
        .circuits()
        .values()
        .filter(|circuit| !circuit.also.is_empty())
    {
        add(
            &circuit.origin,
            format!(
                "circuit `{}` has further arrival names (also)",
                circuit.name
            ),
        );
    }
    for pool in policy.pools().values() {
        if let Some(device) = &pool.device {
            add(
                &pool.origin,
                format!(
                    "pool `{}` has its circuits in one tree on {device} (device)",
                    pool.name
                ),
            );
        }
    }
    for site in policy
        .sites()
        .values()
        .filter(|site| !site.classes.is_empty())
    {
        add(
            &site.origin,
            format!("site `{}` has classes inside its tail", site.name),
        );
    }
    for phase in policy.phases().values() {
        for (pool, split) in &phase.splits {
            if split.follow != Follow::Fixed {
                add(
                    &phase.origin,
                    format!(
                        "phase `{}` lets pool `{pool}` follow demand (follow)",
                        phase.name
                    ),
                );
            }
        }
        if phase.from.is_some() {
            add(
                &phase.origin,
                format!("phase `{}` begins by itself (from)", phase.name),
            );
        }
    }
    found
}
