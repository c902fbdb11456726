//! Percentages that come to next to nothing. One that comes to nothing at all is an error already.

use std::collections::{BTreeMap, BTreeSet};

use super::Note;
use crate::model::class::{Class, DEFAULT_GUARANTEE};
use crate::model::names::{ClassName, Origin};
use crate::model::node::{NodeKey, Place};
use crate::model::phase::Phase;
use crate::policy::Policy;
use crate::units::{Amount, Amounts, Direction, Rate};

/// A guarantee in percent that comes to less than what a class has that says nothing.
struct Small {
    origin: Origin,
    what: String,
    amount: Amount,
    of: Rate,
    comes_to: Rate,
    direction: Direction,
}

type Classes<'a> = BTreeMap<&'a ClassName, &'a Class>;

/// One note for all: sites are made from one pattern, and have the same fault.
pub(super) fn notes(policy: &Policy) -> Vec<Note> {
    let classes: Classes<'_> = policy
        .classes()
        .iter()
        .map(|class| (&class.name, class))
        .collect();
    let mut phases: Vec<&Phase> = policy.phases().values().collect();
    phases.sort_by_key(|phase| &phase.origin);
    let mut found: Vec<(Small, &Phase)> = Vec::new();
    let mut seen = BTreeSet::new();
    for phase in phases {
        let nodes = policy.promises(phase);
        for (key, holding) in &nodes {
            let Some((amounts, origin)) = written(policy, &classes, phase, key) else {
                continue;
            };
            let Some(parent) = key.parent().and_then(|parent| nodes.get(&parent)) else {
                continue;
            };
            let small = [Direction::Up, Direction::Down]
                .into_iter()
                .find(|direction| {
                    matches!(amounts.get(*direction), Amount::Part(_))
                        && holding.guarantee.get(*direction) < DEFAULT_GUARANTEE
                });
            if let Some(direction) = small
                && seen.insert((origin.clone(), key.clone()))
            {
                let small = Small {
                    origin,
                    what: what(key),
                    amount: amounts.get(direction),
                    of: parent.guarantee.get(direction),
                    comes_to: holding.guarantee.get(direction),
                    direction,
                };
                found.push((small, phase));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| (a.comes_to, &a.origin).cmp(&(b.comes_to, &b.origin)));
    let and = match found.len().saturating_sub(1) {
        0 => String::new(),
        1 => ", and one more is like it".to_owned(),
        more => format!(", and {more} more are like it"),
    };
    let note = found.first().map(|(small, phase)| {
        Note::at(
            &small.origin,
            format!(
                "{} of {} comes to {} {}: {} has next to nothing for certain in phase `{}`{and}",
                small.amount, small.of, small.comes_to, small.direction, small.what, phase.name
            ),
            format!(
                "write a rate, such as \"64kbit\", or give more to what it is a part of; a class without `guarantee` has {DEFAULT_GUARANTEE}"
            ),
        )
    });
    note.into_iter().collect()
}

/// The guarantee of a place as it was written, and where.
fn written(
    policy: &Policy,
    classes: &Classes<'_>,
    phase: &Phase,
    key: &NodeKey,
) -> Option<(Amounts, Origin)> {
    match &key.place {
        Place::Class(name) => {
            let class = classes.get(name)?;
            let over = phase.classes.get(name);
            let over = over.and_then(|over| Some((over.guarantee?, over.origin.clone())));
            Some(over.unwrap_or_else(|| (class.terms.guarantee, class.origin.clone())))
        }
        Place::Site(name) => {
            let site = policy.sites().get(name)?;
            let over = phase.sites.get(name);
            let over = over.and_then(|over| Some((over.guarantee?, over.origin.clone())));
            Some(over.unwrap_or_else(|| (site.terms.guarantee, site.origin.clone())))
        }
        Place::SiteClass(site, name) => {
            let classes = &policy.sites().get(site)?.classes;
            let class = classes.iter().find(|class| class.name == *name)?;
            Some((class.terms.guarantee, class.origin.clone()))
        }
        Place::Rest => {
            let rest = policy.rests().get(&key.circuit)?;
            Some((rest.terms.guarantee, rest.origin.clone()?))
        }
        // Nobody wrote those.
        Place::Circuit | Place::Control | Place::SiteRest(_) => None,
    }
}

fn what(key: &NodeKey) -> String {
    match &key.place {
        Place::Class(name) => format!("class `{name}`"),
        Place::Site(name) => format!("site `{name}`"),
        Place::SiteClass(site, name) => format!("class `{name}` of site `{site}`"),
        Place::Rest | Place::SiteRest(_) => format!("the rest of circuit `{}`", key.circuit),
        Place::Circuit | Place::Control => format!("circuit `{}`", key.circuit),
    }
}
