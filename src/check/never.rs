//! Conditions that can never be true, or say less than they seem to.
//!
//! Conditions only ever become true, so no two terms contradict each other. What can never be is a speed of a device that
//! has none; what says nothing is a term beside one that decides alone.

use std::collections::{BTreeMap, BTreeSet};

use super::Note;
use crate::model::hold::{Combine, Condition, ConditionTerm};
use crate::model::names::{ConditionName, DeviceName};
use crate::model::state::Ifb;
use crate::policy::{Policy, implied, nearest};

/// Devices that have no speed, on any host.
const WITHOUT_SPEED: [&str; 2] = ["lo", Ifb::NAME];

/// The notes on conditions, and on what waits for those that can never be.
pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    let never = never(policy);
    let mut notes = Vec::new();
    for condition in policy.conditions().values() {
        if never.contains(&condition.name) {
            notes.push(told(policy, condition));
        } else {
            notes.extend(idle_terms(policy, condition));
            notes.extend(unnamed_devices(policy, condition));
        }
    }
    notes
}

/// Whether a term can never hold by itself.
fn has_no_speed(term: &ConditionTerm) -> Option<&DeviceName> {
    match term {
        ConditionTerm::LinkSpeed { device, .. } => {
            WITHOUT_SPEED.contains(&device.as_str()).then_some(device)
        }
        ConditionTerm::Event(_) | ConditionTerm::After(_) | ConditionTerm::Condition(_) => None,
    }
}

/// The conditions that can never be true.
pub(super) fn never(policy: &Policy) -> BTreeSet<ConditionName> {
    let mut never = BTreeSet::new();
    loop {
        let before = never.len();
        for condition in policy.conditions().values() {
            let cannot = |term: &ConditionTerm| match term {
                ConditionTerm::Condition(name) => never.contains(name),
                ConditionTerm::Event(_)
                | ConditionTerm::After(_)
                | ConditionTerm::LinkSpeed { .. } => has_no_speed(term).is_some(),
            };
            let mut terms = condition.terms.iter();
            if match condition.combine {
                Combine::All => terms.any(cannot),
                Combine::Any => !condition.terms.is_empty() && terms.all(cannot),
            } {
                never.insert(condition.name.clone());
            }
        }
        if never.len() == before {
            return never;
        }
    }
}

fn told(policy: &Policy, condition: &Condition) -> Note {
    let device = condition.terms.iter().find_map(has_no_speed);
    let why = match device {
        Some(device) => format!("device `{device}` has no speed"),
        None => "what it waits for can never hold".to_owned(),
    };
    let name = &condition.name;
    let waits = |waited: &Option<ConditionName>| waited.as_ref() == Some(name);
    let blocks = policy.blocks().values();
    let blocks = blocks
        .filter(|block| waits(&block.until))
        .map(|block| format!("block `{}` never lifts by itself", block.name));
    let phases = policy.phases().values();
    let phases = phases.filter_map(|phase| {
        if waits(&phase.requires) {
            Some(format!("phase `{}` can never be entered", phase.name))
        } else if waits(&phase.until) {
            Some(format!("phase `{}` never ends by itself", phase.name))
        } else {
            None
        }
    });
    let so: Vec<String> = blocks.chain(phases).collect();
    let so = if so.is_empty() {
        String::new()
    } else {
        format!("; so {}", so.join(", "))
    };
    Note::at(
        &condition.origin,
        format!("condition `{name}` can never be true: {why}{so}"),
        "name a device that has a link, or wait for an event",
    )
}

/// Terms beside one that decides alone: of `any`, those that need that one as well; of `all`, those that it brings along.
fn idle_terms(policy: &Policy, condition: &Condition) -> Vec<Note> {
    let mut implied_by: BTreeMap<&ConditionName, BTreeSet<ConditionName>> = BTreeMap::new();
    for term in &condition.terms {
        if let ConditionTerm::Condition(name) = term {
            implied_by
                .entry(name)
                .or_insert_with(|| implied(policy.conditions(), name));
        }
    }
    // Whether one is certainly true where the other is.
    let brings = |one: &ConditionTerm, other: &ConditionTerm| match (one, other) {
        (ConditionTerm::Event(one), ConditionTerm::Event(other)) => one == other,
        (ConditionTerm::After(one), ConditionTerm::After(other)) => one >= other,
        (
            ConditionTerm::LinkSpeed {
                device,
                at_least,
                lasting,
            },
            ConditionTerm::LinkSpeed {
                device: other,
                at_least: less,
                lasting: shorter,
            },
        ) => device == other && at_least >= less && lasting >= shorter,
        (ConditionTerm::Condition(one), ConditionTerm::Condition(other)) => implied_by
            .get(one)
            .is_some_and(|implied| implied.contains(other)),
        (
            ConditionTerm::Event(_)
            | ConditionTerm::After(_)
            | ConditionTerm::LinkSpeed { .. }
            | ConditionTerm::Condition(_),
            _,
        ) => false,
    };
    let mut notes = Vec::new();
    let mut idle: BTreeSet<usize> = BTreeSet::new();
    // Of two that say the same the later one is idle.
    for (index, term) in condition.terms.iter().enumerate().rev() {
        let decides = condition.terms.iter().enumerate().find(|(other, decides)| {
            *other != index
                && !idle.contains(other)
                && match condition.combine {
                    Combine::Any => brings(term, decides),
                    Combine::All => brings(decides, term),
                }
        });
        if let Some((other, _)) = decides {
            idle.insert(index);
            notes.push(Note::at(
                &condition.origin,
                format!(
                    "term {} of condition `{}` says nothing beside term {}",
                    index + 1,
                    condition.name,
                    other + 1
                ),
                match condition.combine {
                    Combine::Any => {
                        "where it is true, the other is as well: remove it, or write `all` where both are needed"
                    }
                    Combine::All => {
                        "where the other is true, it is as well: remove it, or write `any` where one is enough"
                    }
                },
            ));
        }
    }
    notes
}

/// Devices whose speed is waited for and that nothing else speaks of: a typing error, most likely.
fn unnamed_devices(policy: &Policy, condition: &Condition) -> Vec<Note> {
    let circuits = policy.circuits().values();
    let circuits =
        circuits.flat_map(|circuit| std::iter::once(&circuit.device).chain(&circuit.also));
    let pools = policy
        .pools()
        .values()
        .filter_map(|pool| pool.device.as_ref());
    let named: BTreeSet<&str> = circuits
        .chain(pools)
        .chain(&policy.host().inside)
        .map(DeviceName::as_str)
        .collect();
    let speeds = condition.terms.iter().filter_map(|term| match term {
        ConditionTerm::LinkSpeed { device, .. } => Some(device.as_str()),
        ConditionTerm::Event(_) | ConditionTerm::After(_) | ConditionTerm::Condition(_) => None,
    });
    speeds
        .filter(|device| {
            // A VLAN has its speed from the port below.
            let vlan = |name: &&str| {
                name.strip_prefix(device)
                    .is_some_and(|rest| rest.starts_with('.'))
            };
            !named.contains(device) && !named.iter().any(vlan)
        })
        .map(|device| {
            let help = match nearest(device, named.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? if not, all is well"),
                None => "if that is the port that carries the line, all is well".to_owned(),
            };
            Note::at(
                &condition.origin,
                format!(
                    "condition `{}` waits for the speed of device `{device}`, which nothing else in the policy names",
                    condition.name
                ),
                help,
            )
        })
        .collect()
}
