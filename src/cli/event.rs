//! `wanshift event NAME`: something happened that conditions wait for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::output::{Failure, Output};
use super::{Global, OpenKernel, facts, session};
use crate::clock::{Clock, SystemClock};
use crate::engine::effects::{Effects, effects};
use crate::model::hold::ConditionTerm;
use crate::model::names::{ConditionName, EventName, PhaseName};
use crate::model::readings::Latch;
use crate::policy::Policy;
use crate::store::{Lock, Store};

/// What `event` prints as JSON.
#[derive(Debug, Serialize)]
struct Reported<'a> {
    /// The event.
    event: &'a EventName,
    /// When it was reported.
    at: jiff::Timestamp,
    /// By whom.
    by: &'a str,
    /// The conditions that became true, each with why.
    became_true: &'a BTreeMap<ConditionName, Latch>,
    /// What that means.
    #[serde(flatten)]
    effects: &'a Effects,
    /// Where the phase that holds is over by it: which one follows.
    follows: Option<Follows>,
}

/// What comes after the phase that holds.
#[derive(Debug, Serialize)]
struct Follows {
    /// The phase that holds.
    phase: PhaseName,
    /// The one that follows.
    then: PhaseName,
}

pub fn event(
    global: &Global,
    name: &EventName,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let policy = session::policy(global, output)?;
    let known: BTreeSet<&str> = events(&policy).map(EventName::as_str).collect();
    if !known.contains(name.as_str()) {
        return Err(facts::unknown("event", name.as_str(), known));
    }
    let state = session::state_directory(global, Some(&policy));
    let order = session::order(format!("event {name}"))?;
    let _lock = Lock::take(&state, &session::holder(&order))?;
    let mut store = Store::open(&state)?;
    let links = facts::links_or_none(&policy, open, output);
    let at = SystemClock.date();
    store.report(name, at, &order.actor)?;
    let known = facts::judged(&policy, Some(&store), links)?;
    store.latch(&known.new)?;

    let after = known.latches.names();
    let before = after
        .iter()
        .filter(|condition| !known.new.contains_key(*condition));
    let effects = effects(&policy, &before.cloned().collect(), &after);
    let follows = store
        .phase()?
        .and_then(|phase| follows(&policy, phase, &known.new));
    let text = text(name, &known.new, &effects, follows.as_ref());
    output.result(
        &Reported {
            event: name,
            at,
            by: &order.actor,
            became_true: &known.new,
            effects: &effects,
            follows,
        },
        &text,
    )?;
    Ok(0)
}

/// The events that conditions of `policy` wait for.
fn events(policy: &Policy) -> impl Iterator<Item = &EventName> {
    let terms = policy.conditions().values();
    terms
        .flat_map(|condition| &condition.terms)
        .filter_map(|term| match term {
            ConditionTerm::Event(event) => Some(event),
            ConditionTerm::After(_)
            | ConditionTerm::LinkSpeed { .. }
            | ConditionTerm::Condition(_) => None,
        })
}

/// What follows `phase`, where what is new ends it.
fn follows(
    policy: &Policy,
    phase: PhaseName,
    new: &BTreeMap<ConditionName, Latch>,
) -> Option<Follows> {
    let present = policy.phases().get(&phase)?;
    let over = new.contains_key(present.until.as_ref()?);
    let then = present.then.clone().filter(|_| over)?;
    Some(Follows { phase, then })
}

fn text(
    event: &EventName,
    new: &BTreeMap<ConditionName, Latch>,
    effects: &Effects,
    follows: Option<&Follows>,
) -> String {
    let mut text = format!("Event {event} is on record.\n");
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if new.is_empty() {
        line(
            "No condition became true by it; `wanshift condition` shows what they wait for.".into(),
        );
    }
    for (name, latch) in new {
        line(format!("Condition {name} is true: {}.", facts::why(latch)));
    }
    for block in &effects.lifts {
        line(format!("Block {block} is lifted."));
    }
    for (pool, carries) in &effects.pools {
        line(format!("Pool {pool} carries {carries}."));
    }
    for phase in &effects.opens {
        line(format!("Phase {phase} may be entered."));
    }
    for phase in &effects.closes {
        line(format!("Phase {phase} may be entered no more."));
    }
    match follows {
        Some(Follows { phase, then }) => line(format!(
            "Phase {phase}, which holds, is over: {then} follows. Enter it: wanshift phase {then}"
        )),
        None if !effects.lifts.is_empty() || !effects.pools.is_empty() => {
            line("Bring it into the kernel: wanshift apply".into());
        }
        None => {}
    }
    text
}
