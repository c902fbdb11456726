//! What leads from one phase to the next, and one condition to another.

use std::collections::BTreeSet;

use super::super::cx::Cx;
use super::super::draft::Draft;
use super::super::{Policy, implied};
use crate::model::hold::ConditionTerm;
use crate::model::names::ConditionName;

pub(super) fn judge(cx: &mut Cx<'_>, draft: &Draft<'_>, policy: &Policy) {
    cycles(cx, draft, policy);
    for phase in &draft.phases {
        let (Some(until), Some(then)) = (&phase.value.until, &phase.value.then) else {
            continue;
        };
        let Some(next) = draft.phases.iter().find(|next| next.value.name == *then) else {
            continue;
        };
        let name = &phase.value.name;
        let mut certain = implied(policy.conditions(), until);
        if let Some(requires) = &phase.value.requires {
            certain.extend(implied(policy.conditions(), requires));
        }
        if then == name {
            cx.fault(
                phase.table.place("then"),
                format!("phase `{name}` follows itself"),
            )
            .help("name the phase that comes after it");
            continue;
        }
        if let Some(required) = &next.value.requires
            && !certain.contains(required)
        {
            let message = format!(
                "phase `{then}` requires `{required}`, which need not be true when `{until}` is"
            );
            cx.fault(phase.table.place("then"), message)
                .help(format!(
                    "end phase `{name}` at `{required}`, or take that condition into `{until}`"
                ))
                .see(next.table.place("requires"), "required here");
        }
        if let Some(over) = &next.value.until
            && certain.contains(over)
        {
            let message =
                format!("phase `{then}` is over before it begins: `{over}` is true by then");
            cx.fault(phase.table.place("then"), message)
                .help("conditions stay true; let the next phase end at another one")
                .see(next.table.place("until"), "it ends here");
        }
    }
    for phase in &draft.phases {
        if let (Some(until), Some(requires)) = (&phase.value.until, &phase.value.requires)
            && implied(policy.conditions(), requires).contains(until)
        {
            let name = &phase.value.name;
            let message = format!("phase `{name}` ends as soon as it may begin");
            cx.fault(phase.table.place("until"), message)
                .help("conditions stay true; end it at another condition than it requires")
                .see(phase.table.place("requires"), "required here");
        }
    }
    if let Some((start, at)) = &draft.start
        && let Some(phase) = draft.phases.iter().find(|phase| phase.value.name == *start)
        && let Some(required) = &phase.value.requires
    {
        let message =
            format!("the start phase `{start}` requires `{required}`, which is not true at first");
        cx.fault(*at, message)
            .help("start in a phase that can always be entered")
            .see(phase.table.place("requires"), "required here");
    }
}

/// A condition that waits for itself is never true.
fn cycles(cx: &mut Cx<'_>, draft: &Draft<'_>, policy: &Policy) {
    let next = |name: &ConditionName| -> Vec<ConditionName> {
        let condition = policy.conditions().get(name);
        condition
            .into_iter()
            .flat_map(|condition| &condition.terms)
            .filter_map(|term| match term {
                ConditionTerm::Condition(name) => Some(name.clone()),
                ConditionTerm::Event(_)
                | ConditionTerm::After(_)
                | ConditionTerm::LinkSpeed { .. } => None,
            })
            .collect()
    };
    let mut told: BTreeSet<ConditionName> = BTreeSet::new();
    for condition in &draft.conditions {
        let start = &condition.value.name;
        if told.contains(start) {
            continue;
        }
        // Depth first, with the way remembered; each condition is entered once.
        let mut seen = BTreeSet::from([start.clone()]);
        let mut way = vec![(start.clone(), next(start))];
        while let Some((_, left)) = way.last_mut() {
            let Some(to) = left.pop() else {
                way.pop();
                continue;
            };
            if to == *start {
                let mut names: Vec<String> =
                    way.iter().map(|(name, _)| format!("`{name}`")).collect();
                names.push(format!("`{start}`"));
                told.extend(way.iter().map(|(name, _)| name.clone()));
                cx.fault(
                    condition.table.at,
                    format!("condition `{start}` waits for itself"),
                )
                .label(names.join(" → "))
                .help("take one of these references out, else none of them is ever true");
                break;
            }
            if seen.insert(to.clone()) {
                let after = next(&to);
                way.push((to, after));
            }
        }
    }
}
