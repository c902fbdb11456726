//! What a `rollback` goes back to.

use std::sync::Arc;

use super::alter::Stance;
use crate::api::Failure;
use crate::model::names::PhaseName;
use crate::policy::{Policy, read};
use crate::store::{Extent, Intent, Store};

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

/// What held before some changes.
#[derive(Debug)]
pub(super) enum Before {
    /// A phase.
    Phase(Intent),
    /// Blocks alone.
    Blocks,
    /// Nothing.
    Nothing,
}

/// What held `changes` changes ago.
///
/// # Errors
/// Where there are not so many.
pub(super) fn before(store: &Store, changes: u32) -> Result<Before, Failure> {
    let (_, before) = store.before(changes)?.ok_or_else(|| too_few(changes))?;
    Ok(
        before.map_or(Before::Nothing, |intent| match intent.extent {
            Extent::Whole => Before::Phase(intent),
            Extent::Blocks => Before::Blocks,
            Extent::Nothing => Before::Nothing,
        }),
    )
}

impl Aim {
    /// What held `changes` changes ago, where that was a phase.
    ///
    /// # Errors
    /// Where there are not so many changes, no phase held then, or what did cannot be read any more.
    pub fn back(store: &Store, changes: u32) -> Result<Self, Failure> {
        let intent = match before(store, changes)? {
            Before::Phase(intent) => intent,
            out @ (Before::Blocks | Before::Nothing) => return Err(takes_out(&out)),
        };
        let in_force = store.intent()?.and_then(|intent| intent.policy);
        let id = intent.policy.or(in_force);
        let stored = id.map(|id| store.policy(id)).transpose()?;
        let policy = stored.and_then(|stored| Some((read(&stored.sources).ok()?, stored.hash)));
        let Some((policy, hash)) = policy else {
            return Err(unreadable());
        };
        Ok(Self {
            policy: Arc::new(policy),
            hash,
            phase: intent.phase,
            stance: Stance::Enters,
        })
    }
}

/// That there are not so many changes.
fn too_few(changes: u32) -> Failure {
    let told = match changes {
        1 => "no change is on record that could go back".to_owned(),
        changes => format!("there are not {changes} changes on record that could go back"),
    };
    format!("{told}; `wanshift history` shows them; nothing was written").into()
}

/// That what held before was no phase.
pub(super) fn takes_out(before: &Before) -> Failure {
    let (before, takes, verb) = match before {
        Before::Blocks => ("only blocks were", "the shaping", "teardown --shaping-only"),
        Before::Phase(_) | Before::Nothing => ("nothing was", "everything", "teardown"),
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
