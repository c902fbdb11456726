//! What a phase promises on a circuit, or within a site's tail, is there to be given.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Policy;
use super::super::cx::{Cx, State, Written};
use super::super::draft::Draft;
use super::super::fault::At;
use super::above;
use crate::model::names::Origin;
use crate::model::node::{NodeKey, Place};
use crate::model::phase::Phase;
use crate::units::{PerDirection, Rate, bits_text};

/// How many of those who were promised most are named.
const NAMED: usize = 3;

pub(super) fn judge(cx: &mut Cx<'_>, draft: &Draft<'_>, policy: &Policy) {
    let mut told: BTreeSet<(At, NodeKey)> = BTreeSet::new();
    for phase in draft
        .phases
        .iter()
        .filter(|phase| phase.state == State::Sound)
    {
        let nodes = policy.promises(&phase.value);
        let mut children: BTreeMap<NodeKey, Vec<(&NodeKey, PerDirection<u64>)>> = BTreeMap::new();
        for (key, holding) in &nodes {
            if let Some(parent) = key.parent() {
                let promised = holding.guarantee.map(Rate::bits);
                children.entry(parent).or_default().push((key, promised));
            }
        }
        for (parent, children) in &children {
            let sum = children.iter().fold(
                PerDirection::both(0),
                |sum: PerDirection<u64>, (_, bits)| sum.zip(*bits, u64::saturating_add),
            );
            let Some(has) = nodes.get(parent) else {
                continue;
            };
            let has = has.guarantee.map(Rate::bits);
            let Some((direction, words)) = above(sum, has) else {
                continue;
            };
            let at = place(draft, policy, phase, parent);
            if !told.insert((at, parent.clone())) {
                continue;
            }
            let mut largest: Vec<(u64, &NodeKey)> = children
                .iter()
                .map(|(key, bits)| (bits.get(direction), *key))
                .collect();
            largest.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
            let named = if largest.len() == NAMED + 1 {
                largest.len()
            } else {
                NAMED
            };
            let rest: u64 = largest.iter().skip(named).map(|(bits, _)| bits).sum();
            let mut parts: Vec<String> = largest
                .iter()
                .take(named)
                .map(|(bits, key)| {
                    format!(
                        "{} {}{}",
                        name(key),
                        bits_text(*bits),
                        origin(cx, policy, phase, key)
                    )
                })
                .collect();
            if largest.len() > named {
                parts.push(format!(
                    "the {} others {}",
                    largest.len() - named,
                    bits_text(rest)
                ));
            }
            let (sum, has) = (sum.get(direction), has.get(direction));
            let message = format!(
                "phase `{}` promises {} more than {} has, {words}",
                phase.value.name,
                bits_text(sum - has),
                whole(parent),
            );
            cx.fault(at, message)
                .label(format!(
                    "{} promised, of {}",
                    bits_text(sum),
                    bits_text(has)
                ))
                .help(format!("promised are {}", parts.join(", ")));
        }
    }
}

fn whole(key: &NodeKey) -> String {
    if let Place::Site(site) = &key.place {
        format!("site `{site}`")
    } else {
        format!("circuit `{}`", key.circuit)
    }
}

fn name(key: &NodeKey) -> String {
    match &key.place {
        Place::Circuit => format!("circuit {}", key.circuit),
        Place::Control => "control".to_owned(),
        Place::Rest | Place::SiteRest(_) => "rest".to_owned(),
        Place::Class(class) | Place::SiteClass(_, class) => format!("class {class}"),
        Place::Site(site) => format!("site {site}"),
    }
}

/// Where the figure that counts was written.
fn origin(cx: &Cx<'_>, policy: &Policy, phase: &Written<'_, Phase>, key: &NodeKey) -> String {
    let replaced = |kind: &str, name: &str| {
        let over = phase.table.get(kind)?.child(name)?;
        Some(cx.origin(over.child("guarantee")?.key_at))
    };
    let origin: Option<Origin> = match &key.place {
        Place::Class(name) => replaced("class", name.as_str())
            .or_else(|| policy.class(name).map(|class| class.origin.clone())),
        Place::Site(name) => replaced("site", name.as_str())
            .or_else(|| policy.sites().get(name).map(|site| site.origin.clone())),
        Place::SiteClass(site, class) => policy.sites().get(site).and_then(|site| {
            let class = site.classes.iter().find(|inner| inner.name == *class)?;
            Some(class.origin.clone())
        }),
        Place::Rest => policy
            .rests()
            .get(&key.circuit)
            .and_then(|rest| rest.origin.clone()),
        Place::Circuit | Place::Control | Place::SiteRest(_) => None,
    };
    origin.map_or_else(String::new, |origin| format!(" ({origin})"))
}

/// Where what there is was written: the share, the circuit's capacity, the site's guarantee.
fn place(draft: &Draft<'_>, policy: &Policy, phase: &Written<'_, Phase>, parent: &NodeKey) -> At {
    if let Place::Site(name) = &parent.place {
        let over = phase
            .table
            .get("site")
            .and_then(|item| item.child(name.as_str())?.child("guarantee"));
        let site = draft
            .sites
            .iter()
            .find(|(site, _)| site.value.name == *name);
        let own = site.map_or(phase.table.at, |(site, _)| site.table.place("guarantee"));
        return over.map_or(own, |item| item.at);
    }
    let share = policy.pool_of(&parent.circuit).and_then(|pool| {
        let split = phase.table.get("split")?.child(pool.name.as_str())?;
        split.child(parent.circuit.as_str())
    });
    let circuit = draft
        .circuits
        .iter()
        .find(|circuit| circuit.value.name == parent.circuit);
    share.map_or_else(
        || circuit.map_or(phase.table.at, |circuit| circuit.table.place("capacity")),
        |item| item.at,
    )
}
