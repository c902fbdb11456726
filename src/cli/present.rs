//! What holds now, as far as may be known: from the store, else from the daemon, else by the policy alone.
//!
//! For verbs that only look, and that must be of use to somebody who may read neither.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::output::Output;
use super::{Global, place, ssh};
use crate::api::{BlockState, Failure, Order, Request, SchemaVersion, Status};
use crate::clock::{Clock, SystemClock, boot_id};
use crate::control;
use crate::control::client;
use crate::engine::Engine;
use crate::keeper::known::standing;
use crate::model::desired::Standing;
use crate::model::hold::Established;
use crate::model::ids::Ids;
use crate::model::names::{ConditionName, PhaseName};
use crate::policy::Policy;
use crate::store::{Extent, RecordState, Store};

/// What is known of what holds.
pub struct Present {
    /// The phase; none where none is known to hold.
    pub phase: Option<PhaseName>,
    /// How it is known, or why it is not.
    pub how: &'static str,
    /// Which conditions are true.
    latched: BTreeSet<ConditionName>,
    /// How blocks stand.
    standing: Standing,
    /// The numbers of places.
    pub ids: Ids,
    /// What is to be kept in mind.
    pub notes: Vec<String>,
}

/// The phase that is asked about, and why that one.
pub struct Chosen {
    /// Decides by it.
    pub engine: Engine,
    /// Why that phase.
    pub why: String,
    /// Whether it is the one that holds.
    pub holds: bool,
}

impl Present {
    /// Looks.
    pub fn of(global: &Global, policy: &Policy, output: &mut Output<'_>) -> Result<Self, Failure> {
        let mut notes = Vec::new();
        let state = place::state(global)?;
        match Store::read(&state) {
            Ok(store) => return Self::stored(policy, store.as_ref()),
            Err(error) => tracing::debug!(%error, "the store is not read"),
        }
        if let Some(status) = status(global, output) {
            return Self::told(policy, &status);
        }
        notes.push(format!(
            "the store in {} cannot be read, and no daemon answers: which phase holds is not known",
            state.display()
        ));
        Ok(Self {
            notes,
            how: "the first of the policy",
            ..Self::stored(policy, None)?
        })
    }

    fn stored(policy: &Policy, store: Option<&Store>) -> Result<Self, Failure> {
        let intent = store.map(Store::intent).transpose()?.flatten();
        let latches = store.map(Store::latches).transpose()?.unwrap_or_default();
        let mut notes = Vec::new();
        if let Some(record) = store.map(Store::unfinished).transpose()?.flatten() {
            let what = &record.change.what;
            notes.push(match record.state {
                RecordState::Unconfirmed => format!("`{what}` holds, and waits to be confirmed"),
                RecordState::Applying
                | RecordState::Undoing
                | RecordState::Stuck
                | RecordState::Done
                | RecordState::Undone => {
                    format!("`{what}` is not finished: what holds is a step on its way")
                }
            });
        }
        match intent.as_ref().map(|intent| intent.extent) {
            Some(Extent::Nothing) => {
                notes.push("everything was taken out of the kernel: none of this holds".to_owned());
            }
            Some(Extent::Blocks) => notes
                .push("the shaping was taken out of the kernel: the blocks alone hold".to_owned()),
            Some(Extent::Whole) | None => {}
        }
        let (date, now) = (SystemClock.wall(), SystemClock.now());
        Ok(Self {
            how: if intent.is_some() {
                "holds, by the store"
            } else {
                "the first of the policy; no other was ever entered here"
            },
            phase: intent.map(|intent| intent.phase),
            latched: latches.names(),
            standing: standing(policy, store, date, &boot_id()?, now)?.standing,
            ids: store.map(Store::ids).transpose()?.unwrap_or_default(),
            notes,
        })
    }

    fn told(policy: &Policy, status: &Status) -> Result<Self, Failure> {
        let (date, now) = (SystemClock.wall(), SystemClock.now());
        let mut standing = standing(policy, None, date, &boot_id()?, now)?.standing;
        // Who lets open connections finish says so while that lasts.
        let over = status.blocks.iter().filter(|told| {
            let block = policy.blocks().get(&told.name);
            let drains =
                block.is_some_and(|block| matches!(block.established, Established::Drain(_)));
            drains && told.state == BlockState::Holding
        });
        standing.drained.extend(over.map(|told| told.name.clone()));
        let conditions = status.conditions.iter();
        let latched = conditions.filter(|condition| condition.holds);
        Ok(Self {
            phase: status.phase.as_ref().map(|phase| phase.name.clone()),
            how: "holds, by the daemon",
            latched: latched.map(|condition| condition.name.clone()).collect(),
            standing,
            ids: Ids::default(),
            notes: Vec::new(),
        })
    }

    /// The phase that is `asked` for, else the one that holds, else the policy's first.
    pub fn choose(
        &mut self,
        policy: &Arc<Policy>,
        asked: Option<&PhaseName>,
    ) -> Result<Chosen, Failure> {
        let present = self.phase.clone();
        let known = present
            .clone()
            .filter(|phase| policy.phases().contains_key(phase));
        if let (Some(gone), None) = (&present, &known) {
            self.notes.push(format!(
                "phase `{gone}` holds, and these files do not have it"
            ));
        }
        let (phase, why) = match (asked, known) {
            (Some(asked), known) if known.as_ref() == Some(asked) => {
                (asked.clone(), self.how.to_owned())
            }
            (Some(asked), Some(known)) => (asked.clone(), format!("as asked for; {known} holds")),
            (Some(asked), None) => (asked.clone(), "as asked for".to_owned()),
            (None, Some(known)) => (known, self.how.to_owned()),
            (None, None) if present.is_some() => {
                (policy.start().clone(), "the first of the policy".to_owned())
            }
            (None, None) => (policy.start().clone(), self.how.to_owned()),
        };
        let holds = present.as_ref() == Some(&phase);
        let mut latched = self.latched.clone();
        let found = policy.phases().get(&phase);
        if let Some(requires) = found.and_then(|phase| phase.requires.as_ref())
            && latched.insert(requires.clone())
        {
            self.notes.push(format!(
                "phase `{phase}` requires condition `{requires}`, which is not true: told as if it were"
            ));
        }
        let mut standing = self.standing.clone();
        if !holds {
            // A block that begins anew lets open connections finish anew.
            standing.drained.clear();
        }
        let engine = Engine::keeping(Arc::clone(policy), phase, latched)?.standing(standing);
        Ok(Chosen { engine, why, holds })
    }
}

/// What a daemon tells everybody; none where none does.
fn status(global: &Global, output: &mut Output<'_>) -> Option<Status> {
    let request = Request {
        schema_version: SchemaVersion::NOW,
        order: Order::Status,
        config: None,
        state: None,
        session: ssh::present(),
        on_behalf_of: None,
        style: output.style(),
    };
    let socket = place::socket(global).ok()?;
    let socket = control::socket_for(&socket, &request.order);
    let answer = client::ask(&socket, &request, &mut crate::api::Silent);
    let answer = answer.inspect_err(|error| tracing::debug!(%error, "no daemon is asked"));
    serde_json::from_value(answer.ok()?.json).ok()
}
