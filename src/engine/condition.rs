//! Which conditions are true, from what is known.
//!
//! A condition that was true once is latched: it stays true, whatever becomes of what made it so, until
//! an administrator resets it. So evaluating is only ever adding, and asking twice adds nothing.

use std::collections::BTreeMap;

use crate::model::hold::{Combine, Condition, ConditionTerm};
use crate::model::names::ConditionName;
use crate::model::readings::{Cause, Latch, Latches, Readings, WallClock};
use crate::policy::Policy;
use crate::units::Moment;

/// What an evaluation came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evaluation {
    /// What became true. It is to be on disk before anything acts on it.
    pub new: BTreeMap<ConditionName, Latch>,
    /// When another answer may come with nothing but time passing; always after `now`, so that who waits for
    /// it never waits in circles.
    pub next: Option<Moment>,
}

/// Evaluates the conditions of `policy` at `now` from what is known, beside those that are true already.
#[must_use]
pub fn evaluate(
    policy: &Policy,
    latches: &Latches,
    readings: &Readings,
    now: Moment,
) -> Evaluation {
    let mut after = latches.clone();
    let mut new = BTreeMap::new();
    // Each round looks at what was true before it, so that the order of names decides nothing. A round that
    // adds nothing is the last, and every other makes a condition true: there are at most as many.
    loop {
        let asked = policy.conditions().values();
        let found: BTreeMap<ConditionName, Latch> = asked
            .filter(|condition| !after.holds(&condition.name))
            .filter_map(|condition| {
                let latch = latch(condition, &after, readings, now)?;
                Some((condition.name.clone(), latch))
            })
            .collect();
        if found.is_empty() {
            break;
        }
        new.extend(found.clone());
        after.take_in(found);
    }
    let waiting = policy.conditions().values();
    let next = waiting
        .filter(|condition| !after.holds(&condition.name))
        .flat_map(|condition| &condition.terms)
        .filter_map(|term| deadline(term, readings, now))
        .filter(|deadline| *deadline > now)
        .min();
    Evaluation { new, next }
}

/// What makes a term of `condition` true at `now`; `None` where it is not.
#[must_use]
pub fn cause(
    condition: &ConditionName,
    term: &ConditionTerm,
    latches: &Latches,
    readings: &Readings,
    now: Moment,
) -> Option<Cause> {
    match term {
        ConditionTerm::Event(event) => {
            let report = readings.events.get(event)?;
            let counts = latches.counts(condition, report);
            counts.then(|| Cause::Event(event.clone()))
        }
        ConditionTerm::After(date) => match readings.date {
            WallClock::Trusted(today) if today >= *date => Some(Cause::After(*date)),
            WallClock::Trusted(_) | WallClock::Untrusted(_) => None,
        },
        ConditionTerm::LinkSpeed {
            device,
            at_least,
            lasting,
        } => {
            let link = readings.links.get(device)?;
            let fast = link.speed >= *at_least && now.since(link.since) >= *lasting;
            fast.then(|| Cause::LinkSpeed {
                device: device.clone(),
                speed: link.speed,
            })
        }
        ConditionTerm::Condition(other) => latches
            .holds(other)
            .then(|| Cause::Condition(other.clone())),
    }
}

fn latch(
    condition: &Condition,
    latches: &Latches,
    readings: &Readings,
    now: Moment,
) -> Option<Latch> {
    let mut causes = condition
        .terms
        .iter()
        .map(|term| cause(&condition.name, term, latches, readings, now));
    let because: Vec<Cause> = match condition.combine {
        Combine::Any => vec![causes.find_map(|cause| cause)?],
        Combine::All => causes.collect::<Option<_>>()?,
    };
    if because.is_empty() {
        return None;
    }
    let mut by = Vec::new();
    for who in because
        .iter()
        .flat_map(|cause| who(cause, latches, readings))
    {
        if !by.contains(&who) {
            by.push(who);
        }
    }
    Some(Latch {
        since: readings.date.shows(),
        because,
        by,
    })
}

/// Who stands behind a cause.
fn who(cause: &Cause, latches: &Latches, readings: &Readings) -> Vec<String> {
    match cause {
        Cause::Event(event) => {
            let report = readings.events.get(event);
            report.map(|report| report.by.clone()).into_iter().collect()
        }
        Cause::Condition(other) => {
            let latch = latches.held().get(other);
            latch.map_or_else(Vec::new, |latch| latch.by.clone())
        }
        Cause::After(_) | Cause::LinkSpeed { .. } => Vec::new(),
    }
}

/// When a term that is not true may be, if nothing happens but that time passes.
fn deadline(term: &ConditionTerm, readings: &Readings, now: Moment) -> Option<Moment> {
    match term {
        ConditionTerm::After(date) => match readings.date {
            WallClock::Trusted(today) if today < *date => {
                Some(now.plus(date.duration_since(today).unsigned_abs()))
            }
            WallClock::Trusted(_) | WallClock::Untrusted(_) => None,
        },
        ConditionTerm::LinkSpeed {
            device,
            at_least,
            lasting,
        } => {
            let link = readings.links.get(device)?;
            (link.speed >= *at_least).then(|| link.since.plus(*lasting))
        }
        ConditionTerm::Event(_) | ConditionTerm::Condition(_) => None,
    }
}
