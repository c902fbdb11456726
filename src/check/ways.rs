//! Ways that end: blocks that nothing lifts, phases that nothing leads out of.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Note;
use super::never::never;
use crate::model::hold::{Block, Combine, ConditionTerm};
use crate::model::names::{ConditionName, PhaseName};
use crate::model::phase::Phase;
use crate::policy::{Policy, implied};

/// The notes on blocks and phases.
pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    let ways = Ways {
        policy,
        never: never(policy),
    };
    let blocks = policy.blocks().values();
    let phases = policy.phases().values();
    blocks
        .flat_map(|block| ways.of_block(block))
        .chain(phases.flat_map(|phase| ways.of_phase(phase)))
        .collect()
}

struct Ways<'a> {
    policy: &'a Policy,
    never: BTreeSet<ConditionName>,
}

impl Ways<'_> {
    /// The phases in which the host may be later, where it is in `phase` and nobody does anything: those that follow each
    /// other, and those that begin at a date.
    fn ahead(&self, phase: &Phase) -> BTreeSet<&PhaseName> {
        let mut ahead = BTreeSet::new();
        let phases = self.policy.phases();
        let mut next: Vec<&Phase> = phases
            .values()
            .filter(|other| other.from.is_some() && other.name != phase.name)
            .chain(self.follows(phase))
            .collect();
        while let Some(phase) = next.pop() {
            if ahead.insert(&phase.name) {
                next.extend(self.follows(phase));
            }
        }
        ahead
    }

    /// The phase that follows where `phase` ends; none where it cannot end by itself.
    fn follows(&self, phase: &Phase) -> Option<&Phase> {
        let until = phase.until.as_ref()?;
        if self.never.contains(until) {
            return None;
        }
        self.policy.phases().get(phase.then.as_ref()?)
    }

    fn of_block(&self, block: &Block) -> Vec<Note> {
        let phases = self.policy.phases().values();
        let mut users: Vec<&Phase> = phases
            .filter(|phase| phase.blocks.contains(&block.name))
            .collect();
        users.sort_by_key(|phase| &phase.origin);
        let name = &block.name;
        if let Some(until) = &block.until {
            // True in the phase already, and blocks never come back.
            let over = users.iter().filter(|phase| {
                let required = phase.requires.as_ref();
                required.is_some_and(|required| {
                    implied(self.policy.conditions(), required).contains(until)
                })
            });
            return over
                .map(|phase| {
                    Note::at(
                        &block.origin,
                        format!(
                            "block `{name}` never holds in phase `{}`, which requires what lifts it, `{until}`",
                            phase.name
                        ),
                        "take it out of that phase, or let another condition lift it",
                    )
                    .see(&phase.origin, "the phase")
                })
                .collect();
        }
        if block.schedule.is_some() {
            return Vec::new();
        }
        let stuck = users.iter().find(|phase| {
            let phases = self.policy.phases();
            let ahead = self.ahead(phase);
            !ahead.into_iter().any(|other| {
                phases
                    .get(other)
                    .is_some_and(|other| !other.blocks.contains(name))
            })
        });
        stuck
            .map(|phase| {
                Note::at(
                    &block.origin,
                    format!(
                        "nothing lifts block `{name}` by itself: it has no `until` and no `schedule`, and nothing leads out of phase `{}`",
                        phase.name
                    ),
                    "add `until` with a condition; else it holds until somebody enters a phase without it",
                )
                .see(&phase.origin, "it holds here")
            })
            .into_iter()
            .collect()
    }

    fn of_phase(&self, phase: &Phase) -> Vec<Note> {
        let policy = self.policy;
        let mut notes = Vec::new();
        let name = &phase.name;
        if let (Some(from), Some(until)) = (phase.from, &phase.until)
            && self.certain_at(until).is_some_and(|date| date <= from)
        {
            notes.push(Note::at(
                &phase.origin,
                format!(
                    "phase `{name}` never begins at its date: `{until}`, at which it ends, is true by then"
                ),
                "let it begin earlier, or end at another condition",
            ));
        }
        let others: Vec<&Phase> = policy
            .phases()
            .values()
            .filter(|other| other.name != *name)
            .collect();
        let certain = phase
            .requires
            .as_ref()
            .map_or_else(BTreeSet::new, |required| {
                implied(policy.conditions(), required)
            });
        let over = |other: &&Phase| {
            other
                .until
                .as_ref()
                .is_some_and(|until| certain.contains(until))
        };
        if !others.is_empty() && others.iter().all(over) {
            notes.push(Note::at(
                &phase.origin,
                format!(
                    "from phase `{name}` no other can be entered, not even by hand: each ends at a condition that is true by then"
                ),
                "leave `until` away in the phase that you will go back to, or `wanshift condition reset` what ends it",
            ));
        } else if *name != *policy.start() && self.ahead(phase).is_empty() {
            let before = others
                .iter()
                .find(|other| self.follows(other).is_some_and(|next| next.name == *name));
            let how = match (before, phase.from) {
                (Some(before), _) => format!("phase `{}` goes on to", before.name),
                (None, Some(_)) => "at its date the host enters".to_owned(),
                (None, None) => return notes,
            };
            notes.push(Note::at(
                &phase.origin,
                format!(
                    "{how} phase `{name}` by itself, and nothing leads back from there by itself"
                ),
                format!(
                    "where it is meant to stay, all is well; else add `until` and `then`, or `wanshift phase {}` when it is over",
                    policy.start()
                ),
            ));
        }
        notes
    }

    /// The date from which a condition is true for certain, whatever else happens.
    fn certain_at(&self, name: &ConditionName) -> Option<Timestamp> {
        let conditions = self.policy.conditions();
        let mut certain = std::collections::BTreeMap::new();
        loop {
            let before = certain.clone();
            for condition in conditions.values() {
                let mut dates = condition.terms.iter().map(|term| match term {
                    ConditionTerm::After(date) => Some(*date),
                    ConditionTerm::Condition(name) => certain.get(name).copied(),
                    ConditionTerm::Event(_) | ConditionTerm::LinkSpeed { .. } => None,
                });
                let date = match condition.combine {
                    Combine::Any => dates.flatten().min(),
                    Combine::All => dates
                        .try_fold(None, |latest: Option<Timestamp>, date| {
                            date.map(|date| Some(latest.map_or(date, |latest| latest.max(date))))
                        })
                        .flatten(),
                };
                if let Some(date) = date {
                    certain.insert(condition.name.clone(), date);
                }
            }
            if certain == before {
                return certain.get(name).copied();
            }
        }
    }
}
