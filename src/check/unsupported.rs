//! What a policy may say and this version cannot hold the line to.

use super::Note;
use crate::model::names::Origin;
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
        if phase.from.is_some() {
            add(
                &phase.origin,
                format!("phase `{}` begins by itself (from)", phase.name),
            );
        }
    }
    found
}
