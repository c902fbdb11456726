//! Events that are reported, and conditions that are reset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::words::Follow;
use super::{Asked, Keeper, files, known, words};
use crate::api::{Answer, Failure};
use crate::engine::condition::evaluate;
use crate::engine::effects::{Effects, effects, needs};
use crate::model::names::{ConditionName, EventName, PhaseName};
use crate::model::readings::Latch;
use crate::policy::Policy;

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

/// What `condition reset` prints as JSON.
#[derive(Debug, Serialize)]
struct Reset<'a> {
    condition: &'a ConditionName,
    /// Whether it was true.
    was_true: bool,
    /// What it had meant, and means no longer.
    no_longer: Effects,
}

impl Keeper {
    /// The policy that conditions are judged by: a daemon's is the one in force, a verb's what the files say.
    pub(super) fn judging(&self, asked: &Asked<'_>) -> Result<Arc<Policy>, Failure> {
        match (self.follow(), &self.in_force) {
            (Follow::ByItself, Some(in_force)) => Ok(Arc::clone(&in_force.policy)),
            (Follow::ByItself, None) | (Follow::ByHand, _) => {
                Ok(files::from(&self.config, asked.request.style)?.policy)
            }
        }
    }

    pub(super) const fn follow(&self) -> Follow {
        match self.looks.absent {
            crate::lower::Absent::Waited => Follow::ByItself,
            crate::lower::Absent::Refused => Follow::ByHand,
        }
    }

    pub(super) fn event(&mut self, asked: &Asked<'_>, name: &EventName) -> Result<Answer, Failure> {
        let policy = self.judging(asked)?;
        let known: BTreeSet<&str> = policy.events().map(EventName::as_str).collect();
        if !known.contains(name.as_str()) {
            return Err(words::unknown("event", name.as_str(), known));
        }
        let (at, now) = (self.clock.date(), self.clock.now());
        self.links.look(&policy, self.kernel.as_mut(), now)?;
        self.store.report(name, at, asked.actor)?;
        let date = self.looks.date(self.clock.as_ref(), now);
        let known = known::judged(&policy, Some(&self.store), &self.links, date, now)?;
        self.store.latch(&known.new)?;
        self.because.extend(
            known
                .new
                .iter()
                .map(|(name, latch)| format!("condition {name} is true: {}", words::why(latch))),
        );
        self.looks.soon();
        let after = known.latches.names();
        let before = after
            .iter()
            .filter(|condition| !known.new.contains_key(*condition));
        let effects = effects(&policy, &before.cloned().collect(), &after);
        let follows = self
            .store
            .phase()?
            .and_then(|phase| follows(&policy, phase, &known.new));
        let text = event_text(name, &known.new, &effects, follows.as_ref(), self.follow());
        Answer::of(
            &Reported {
                event: name,
                at,
                by: asked.actor,
                became_true: &known.new,
                effects: &effects,
                follows,
            },
            text,
        )
    }

    pub(super) fn reset(
        &mut self,
        asked: &Asked<'_>,
        name: &ConditionName,
    ) -> Result<Answer, Failure> {
        let policy = self.judging(asked)?;
        let now = self.clock.now();
        self.links.look(&policy, self.kernel.as_mut(), now)?;
        let date = self.looks.date(self.clock.as_ref(), now);
        let known = known::judged(&policy, Some(&self.store), &self.links, date, now)?;
        let latched = known.latches.names();
        // One that the policy no longer has may stay true in the store: that can be mended, too.
        let names: BTreeSet<&str> = policy
            .conditions()
            .keys()
            .chain(&latched)
            .map(ConditionName::as_str)
            .collect();
        if !names.contains(name.as_str()) {
            return Err(words::unknown("condition", name.as_str(), names));
        }
        let record = self.store.unfinished()?.map(|record| record.change);
        let (from, to) = record.map_or((None, None), |change| {
            (change.phase_from().cloned(), change.phase_to)
        });
        for phase in [self.store.phase()?, from, to].into_iter().flatten() {
            if let Some(why) = needs(&policy, &phase, &latched, name) {
                return Err(Failure::from(format!(
                    "condition `{name}` cannot be reset: {why}; nothing was changed"
                ))
                .with_help("enter another phase first: wanshift phase NAME"));
            }
        }
        let seen = known.readings.events.values().map(|report| report.number);
        let mut after = known.latches.clone();
        after.reset(name, seen.max().unwrap_or_default());
        let again = evaluate(&policy, &after, &known.readings, now);
        if let Some(latch) = again.new.get(name) {
            return Err(format!(
                "condition `{name}` cannot be reset: it would be true again at once, by {}; nothing was changed",
                words::why(latch)
            )
            .into());
        }
        let was_true = latched.contains(name);
        if was_true {
            self.store.latch(&known.new)?;
            self.store.reset(name, self.clock.date(), asked.actor)?;
            self.because
                .push(format!("condition {name} was reset by {}", asked.actor));
            self.looks.soon();
        }
        let no_longer = effects(&policy, &after.names(), &latched);
        let text = reset_text(name, was_true, &no_longer, self.follow());
        Answer::of(
            &Reset {
                condition: name,
                was_true,
                no_longer,
            },
            text,
        )
    }
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

fn event_text(
    event: &EventName,
    new: &BTreeMap<ConditionName, Latch>,
    effects: &Effects,
    follows: Option<&Follows>,
    follow: Follow,
) -> String {
    let mut text = format!("Event {event} is on record.\n");
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if new.is_empty() {
        line(
            "No condition became true by it; `wanshift condition` shows which are, and what the others wait for.".into(),
        );
    }
    for (name, latch) in new {
        line(format!("Condition {name} is true: {}.", words::why(latch)));
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
    match (follows, follow) {
        (Some(Follows { phase, then }), Follow::ByHand) => line(format!(
            "Phase {phase}, which holds, is over: {then} follows. Enter it: `wanshift phase {then}`"
        )),
        (Some(Follows { phase, then }), Follow::ByItself) => {
            line(format!(
                "Phase {phase}, which holds, is over: {then} begins."
            ));
        }
        (None, Follow::ByHand) if !effects.lifts.is_empty() || !effects.pools.is_empty() => {
            line("Bring it into the kernel: `wanshift apply`".into());
        }
        (None, _) => {}
    }
    text
}

fn reset_text(name: &ConditionName, was_true: bool, no_longer: &Effects, follow: Follow) -> String {
    if !was_true {
        return format!("Nothing to do: condition {name} is not true.\n");
    }
    let mut text = format!("Condition {name} is false again.\n");
    for block in &no_longer.lifts {
        text.push_str(&format!("Block {block} is no longer lifted.\n"));
    }
    for pool in no_longer.pools.keys() {
        text.push_str(&format!("Pool {pool} carries what it did before.\n"));
    }
    for phase in &no_longer.opens {
        text.push_str(&format!("Phase {phase} may be entered no more.\n"));
    }
    for phase in &no_longer.closes {
        text.push_str(&format!("Phase {phase} may be entered again.\n"));
    }
    if !no_longer.is_empty() && follow == Follow::ByHand {
        text.push_str("Bring it into the kernel: wanshift apply\n");
    }
    text
}
