//! What is defined and serves nothing.

use std::collections::BTreeSet;

use super::Note;
use crate::model::hold::ConditionTerm;
use crate::model::names::ConditionName;
use crate::policy::{ListKind, Policy, Usage};

pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    let mut notes = Vec::new();
    for list in policy.lists() {
        if list.usage == Usage::Unused {
            let kind = match list.kind {
                ListKind::Group => "group",
                ListKind::Service => "service",
            };
            notes.push(Note::at(
                &list.origin,
                format!("nothing uses {kind} `{}`", list.name),
                "remove it, or correct the name where it was meant",
            ));
        }
    }
    for block in policy.blocks().values() {
        let used = |phase: &crate::model::phase::Phase| phase.blocks.contains(&block.name);
        if !policy.phases().values().any(used) {
            notes.push(Note::at(
                &block.origin,
                format!(
                    "no phase uses block `{}`: it never holds by itself",
                    block.name
                ),
                format!("add block = [\"{}\"] to a phase, or remove it", block.name),
            ));
        }
    }
    let waited = waited_for(policy);
    for condition in policy.conditions().values() {
        if !waited.contains(&condition.name) {
            notes.push(Note::at(
                &condition.origin,
                format!("nothing waits for condition `{}`", condition.name),
                "name it in an `until`, a `requires` or a pool's `after`, or remove it",
            ));
        }
    }
    notes
}

fn waited_for(policy: &Policy) -> BTreeSet<&ConditionName> {
    let phases = policy
        .phases()
        .values()
        .flat_map(|phase| phase.until.iter().chain(&phase.requires));
    let blocks = policy.blocks().values().flat_map(|block| &block.until);
    let pools = policy
        .pools()
        .values()
        .flat_map(|pool| pool.after.iter().map(|(condition, _)| condition));
    let conditions = policy
        .conditions()
        .values()
        .flat_map(|condition| &condition.terms)
        .filter_map(|term| match term {
            ConditionTerm::Condition(name) => Some(name),
            ConditionTerm::Event(_) | ConditionTerm::After(_) | ConditionTerm::LinkSpeed { .. } => {
                None
            }
        });
    phases
        .chain(blocks)
        .chain(pools)
        .chain(conditions)
        .collect()
}
