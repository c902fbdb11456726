//! What a `rollback` goes back to.

use std::sync::Arc;

use super::alter::Stance;
use crate::api::Failure;
use crate::model::names::PhaseName;
use crate::policy::{Policy, read};
use crate::store::{Extent, Intent, Record, Store};

/// A phase that is to hold.
#[derive(Debug, Clone)]
pub struct Aim {
    /// The policy that it is of.
    pub policy: Arc<Policy>,
    /// The hash of its files.
    pub hash: String,
    /// The phase.
    pub phase: PhaseName,
    /// Whether it is entered, or goes on.
    pub stance: Stance,
}

impl Aim {
    /// What held `changes` changes ago. Where `waits` waits to be confirmed, that is the first that goes back, alone.
    ///
    /// # Errors
    /// Where there are not so many changes, nothing held then, or what did cannot be read any more.
    pub fn back(store: &Store, waits: Option<&Record>, changes: u32) -> Result<Self, Failure> {
        let (before, stance) = match (waits, changes) {
            (Some(record), 1) => (record.change.before.clone(), Stance::Keeps),
            (Some(record), _) => {
                return Err(Failure::from(format!(
                    "`{}` waits to be confirmed, and goes back first: what more would go back is not known before",
                    record.change.what
                ))
                .with_help("`wanshift plan --rollback` shows what that comes to"));
            }
            (None, _) => {
                let (_, before) = store.before(changes)?.ok_or_else(|| too_few(changes))?;
                (before, Stance::Enters)
            }
        };
        let intent = match before {
            Some(intent) if intent.extent == Extent::Whole => intent,
            before => return Err(takes_out(before.as_ref())),
        };
        let in_force = || Ok::<_, Failure>(store.intent()?.and_then(|intent| intent.policy));
        let id = match intent.policy {
            Some(id) => Some(id),
            None => in_force()?,
        };
        let stored = id.map(|id| store.policy(id)).transpose()?;
        let policy = stored.and_then(|stored| Some((read(&stored.sources).ok()?, stored.hash)));
        let Some((policy, hash)) = policy else {
            return Err(unreadable());
        };
        Ok(Self {
            policy: Arc::new(policy),
            hash,
            phase: intent.phase,
            stance,
        })
    }
}

/// That there are not so many changes.
pub(super) fn too_few(changes: u32) -> Failure {
    format!(
        "there are not {changes} changes on record to go back; `wanshift history` shows them; nothing was written"
    )
    .into()
}

/// That what held before was no phase.
pub(super) fn takes_out(before: Option<&Intent>) -> Failure {
    let blocks = before.is_some_and(|intent| intent.extent == Extent::Blocks);
    let (before, takes, verb) = if blocks {
        ("only blocks were", "the shaping", "teardown --shaping-only")
    } else {
        ("nothing was", "everything", "teardown")
    };
    Failure::from(format!(
        "before that {before} held: going back takes {takes} out of the kernel; nothing was written"
    ))
    .with_help(format!(
        "`wanshift {verb}` does that, and so does --force; `wanshift history` shows the changes"
    ))
}

/// That the policy of then is lost.
pub(super) fn unreadable() -> Failure {
    "the policy of then cannot be read any more; nothing was written".into()
}
