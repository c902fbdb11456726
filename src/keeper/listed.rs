//! Which conditions are true, and what the others wait for.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{Asked, Keeper, known, words};
use crate::api::{Answer, Failure, Talk};
use crate::engine::condition::cause;
use crate::model::hold::{Combine, Condition, ConditionTerm};
use crate::model::names::ConditionName;
use crate::model::readings::{Latch, WallClock};
use crate::policy::Policy;

/// What `condition list` prints as JSON.
#[derive(Debug, Serialize)]
struct Listed {
    /// Whether the host's clock is believed.
    clock_trusted: bool,
    /// The conditions, by name.
    conditions: Vec<One>,
}

/// A condition.
#[derive(Debug, Serialize)]
struct One {
    name: ConditionName,
    /// Whether it is true.
    #[serde(rename = "true")]
    holds: bool,
    /// Whether that is on record yet; if not, the next `apply`, `phase` or `event` puts it there.
    on_record: bool,
    /// Why it is true.
    #[serde(flatten)]
    latch: Option<Latch>,
    /// Whether one of its terms is enough.
    needs: &'static str,
    /// What it waits for, or waited for.
    terms: Vec<Term>,
}

/// A term of a condition.
#[derive(Debug, Serialize)]
struct Term {
    /// In words.
    what: String,
    /// Whether it is true by itself at this moment.
    #[serde(rename = "true")]
    holds: bool,
}

impl Keeper {
    pub(super) fn conditions(
        &mut self,
        asked: &Asked<'_>,
        talk: &mut dyn Talk,
    ) -> Result<Answer, Failure> {
        let policy = self.judging(asked)?;
        let now = self.clock.now();
        self.links.look(&policy, self.kernel.as_mut(), now)?;
        let date = self.looks.date(self.clock.as_ref(), now);
        let known = known::judged(&policy, Some(&self.store), &self.links, date, now)?;
        let clock_trusted = matches!(known.readings.date, WallClock::Trusted(_));
        let one = |condition: &Condition| One {
            name: condition.name.clone(),
            holds: known.latches.holds(&condition.name),
            on_record: known.latches.holds(&condition.name)
                && !known.new.contains_key(&condition.name),
            latch: known.latches.held().get(&condition.name).cloned(),
            needs: match condition.combine {
                Combine::Any => "any",
                Combine::All => "all",
            },
            terms: condition
                .terms
                .iter()
                .map(|term| Term {
                    what: term.to_string(),
                    holds: cause(&condition.name, term, &known.latches, &known.readings, now)
                        .is_some(),
                })
                .collect(),
        };
        let listed = Listed {
            clock_trusted,
            conditions: policy.conditions().values().map(one).collect(),
        };
        if !clock_trusted && waits_for_a_date(&policy) {
            talk.say("note: nothing keeps this host's clock right (the kernel calls it unsynchronised): dates are not believed");
        }
        Answer::of(&listed, text(&listed, &policy.host().timezone))
    }
}

fn waits_for_a_date(policy: &Policy) -> bool {
    let mut terms = policy
        .conditions()
        .values()
        .flat_map(|condition| &condition.terms);
    terms.any(|term| matches!(term, ConditionTerm::After(_)))
}

fn text(listed: &Listed, zone: &TimeZone) -> String {
    if listed.conditions.is_empty() {
        return "The policy has no conditions.\n".to_owned();
    }
    let width = listed
        .conditions
        .iter()
        .map(|one| one.name.as_str().len())
        .max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for one in &listed.conditions {
        let told = match &one.latch {
            Some(latch) if one.on_record => {
                let since = words::date(latch.since, zone);
                format!("true   since {since}: {}", words::why(latch))
            }
            Some(latch) => format!(
                "true   {}; on record with the next apply",
                words::why(latch)
            ),
            None => {
                let terms = one.terms.iter().map(|term| {
                    let met = if term.holds { " (is)" } else { "" };
                    format!("{}{met}", term.what)
                });
                let terms: Vec<String> = terms.collect();
                match terms.as_slice() {
                    [] => "false".to_owned(),
                    [only] => format!("false  waits for {only}"),
                    _ => format!("false  waits for {} of: {}", one.needs, terms.join(", ")),
                }
            }
        };
        text.push_str(&format!("{:width$}  {told}\n", one.name));
    }
    text
}
