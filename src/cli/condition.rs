//! `wanshift condition`: which conditions are true; and `condition reset NAME`.

use std::collections::BTreeSet;

use clap::Subcommand;
use serde::Serialize;

use super::output::{Failure, Output};
use super::{Global, OpenKernel, facts, session};
use crate::clock::{Clock, SystemClock};
use crate::engine::condition::{cause, evaluate};
use crate::engine::effects::{Effects, effects, needs};
use crate::model::hold::{Combine, Condition, ConditionTerm};
use crate::model::names::ConditionName;
use crate::model::readings::{Latch, WallClock};
use crate::policy::Policy;
use crate::store::{Lock, Store};

#[derive(Debug, Subcommand)]
pub enum What {
    /// Show which conditions are true, and what the others wait for
    List,
    /// Make a condition false again; what made it true no longer counts
    Reset {
        /// The condition
        name: ConditionName,
    },
}

pub fn condition(
    global: &Global,
    what: Option<&What>,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    match what {
        None | Some(What::List) => list(global, open, output),
        Some(What::Reset { name }) => reset(global, name, open, output),
    }
}

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

fn list(global: &Global, open: OpenKernel<'_>, output: &mut Output<'_>) -> Result<u8, Failure> {
    let policy = session::policy(global, output)?;
    let state = session::state_directory(global, Some(&policy));
    let store = Store::read(&state)?;
    let links = facts::links_or_none(&policy, open, output);
    let known = facts::judged(&policy, store.as_ref(), links)?;
    let now = SystemClock.now();
    let clock_trusted = matches!(known.readings.date, WallClock::Trusted(_));
    let one = |condition: &Condition| One {
        name: condition.name.clone(),
        holds: known.latches.holds(&condition.name),
        on_record: known.latches.holds(&condition.name) && !known.new.contains_key(&condition.name),
        latch: known.latches.held().get(&condition.name).cloned(),
        needs: match condition.combine {
            Combine::Any => "any",
            Combine::All => "all",
        },
        terms: condition
            .terms
            .iter()
            .map(|term| Term {
                what: words(term),
                holds: cause(&condition.name, term, &known.latches, &known.readings, now).is_some(),
            })
            .collect(),
    };
    let listed = Listed {
        clock_trusted,
        conditions: policy.conditions().values().map(one).collect(),
    };
    if !clock_trusted && waits_for_a_date(&policy) {
        output.say("note: nothing keeps this host's clock right (the kernel calls it unsynchronised): dates are not believed");
    }
    output.result(&listed, &text(&listed))?;
    Ok(0)
}

fn waits_for_a_date(policy: &Policy) -> bool {
    let mut terms = policy
        .conditions()
        .values()
        .flat_map(|condition| &condition.terms);
    terms.any(|term| matches!(term, ConditionTerm::After(_)))
}

fn words(term: &ConditionTerm) -> String {
    match term {
        ConditionTerm::Event(event) => format!("event `{event}`"),
        ConditionTerm::After(date) => format!("the date {date}"),
        ConditionTerm::LinkSpeed {
            device,
            at_least,
            lasting,
        } if lasting.is_zero() => format!("{device} at {at_least} or more"),
        ConditionTerm::LinkSpeed {
            device,
            at_least,
            lasting,
        } => format!(
            "{device} at {at_least} or more for {} s, which takes a daemon to see",
            lasting.as_secs_f64()
        ),
        ConditionTerm::Condition(name) => format!("condition `{name}`"),
    }
}

fn text(listed: &Listed) -> String {
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
                let since = latch.since.strftime("%Y-%m-%dT%H:%M:%SZ");
                format!("true   since {since}: {}", facts::why(latch))
            }
            Some(latch) => format!(
                "true   {}; on record with the next apply",
                facts::why(latch)
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

/// What `condition reset` prints as JSON.
#[derive(Debug, Serialize)]
struct Reset<'a> {
    condition: &'a ConditionName,
    /// Whether it was true.
    was_true: bool,
    /// What it had meant, and means no longer.
    no_longer: Effects,
}

fn reset(
    global: &Global,
    name: &ConditionName,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let policy = session::policy(global, output)?;
    let state = session::state_directory(global, Some(&policy));
    let order = session::order(format!("condition reset {name}"))?;
    let _lock = Lock::take(&state, &session::holder(&order))?;
    let mut store = Store::open(&state)?;
    let links = facts::links_or_none(&policy, open, output);
    let known = facts::judged(&policy, Some(&store), links)?;
    let latched = known.latches.names();
    // One that the policy no longer has may stay true in the store: that can be mended, too.
    let names: BTreeSet<&str> = policy
        .conditions()
        .keys()
        .chain(&latched)
        .map(ConditionName::as_str)
        .collect();
    if !names.contains(name.as_str()) {
        return Err(facts::unknown("condition", name.as_str(), names));
    }
    let record = store.unfinished()?.map(|record| record.change);
    let (from, to) = record.map_or((None, None), |change| (change.phase_from, change.phase_to));
    for phase in [store.phase()?, from, to].into_iter().flatten() {
        if let Some(why) = needs(&policy, &phase, &latched, name) {
            return Err(format!(
                "condition `{name}` cannot be reset: {why}\n  help: enter another phase first; nothing was changed"
            )
            .into());
        }
    }
    let seen = known.readings.events.values().map(|report| report.number);
    let mut after = known.latches.clone();
    after.reset(name, seen.max().unwrap_or_default());
    let again = evaluate(&policy, &after, &known.readings, SystemClock.now());
    if let Some(latch) = again.new.get(name) {
        return Err(format!(
            "condition `{name}` cannot be reset: it would be true again at once, by {}; nothing was changed",
            facts::why(latch)
        )
        .into());
    }
    let was_true = latched.contains(name);
    if was_true {
        store.latch(&known.new)?;
        store.reset(name, SystemClock.date(), &order.actor)?;
    }
    let no_longer = effects(&policy, &after.names(), &latched);
    let text = reset_text(name, was_true, &no_longer);
    output.result(
        &Reset {
            condition: name,
            was_true,
            no_longer,
        },
        &text,
    )?;
    Ok(0)
}

fn reset_text(name: &ConditionName, was_true: bool, no_longer: &Effects) -> String {
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
    if !no_longer.is_empty() {
        text.push_str("Bring it into the kernel: wanshift apply\n");
    }
    text
}
