//! The classes that packets meet, and why.

use std::net::IpAddr;

use serde::Serialize;

use super::World;
use crate::lower::match_of;
use crate::model::class::Match;
use crate::model::filter::{Action, ChainRole, Field, Step, Walk};
use crate::model::ids::Ids;
use crate::model::names::{CircuitName, DeviceName, Origin};
use crate::model::node::{NodeKey, Place};
use crate::model::state::{ClassId, Ifb, Minor};
use crate::units::{Direction, Rate};

/// A class that packets meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Met {
    /// In which tree: of what leaves over the circuit, or of what came over it.
    pub tree: Direction,
    /// The device at whose root that tree is.
    pub device: DeviceName,
    /// The circuit.
    pub circuit: CircuitName,
    /// The place in the tree.
    pub place: NodeKey,
    /// Its class, as `tc` writes it; none where its number is not known.
    pub class: Option<String>,
    /// Why it is this one.
    pub because: Vec<Because>,
    /// The rule of the packet filter that decides, in words.
    pub rule: String,
    /// The chain in which that rule stands.
    pub chain: String,
    /// What the place and those above it are given, from the circuit down.
    pub levels: Vec<Level>,
    /// Where it goes beyond what control takes a second.
    pub beyond: Option<NodeKey>,
}

/// A reason, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Because {
    /// In words.
    pub what: String,
    /// Where that was written; none of what is built in.
    pub at: Option<Origin>,
}

/// What a place is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Level {
    /// The place.
    pub place: NodeKey,
    /// Its class, as `tc` writes it; none where its number is not known.
    pub class: Option<String>,
    /// What it has for certain; a circuit's share.
    pub guarantee: Rate,
    /// What it never goes beyond.
    pub ceiling: Rate,
    /// Where that comes from.
    pub because: Because,
}

/// The classes into which `walk` puts packets between those addresses: the tree for what arrived first, for they
/// pass it first.
pub(super) fn met(
    world: &World<'_>,
    walk: &Walk<'_>,
    beyond: &Walk<'_>,
    ends: [IpAddr; 2],
) -> Vec<Met> {
    let down = walk
        .mark
        .map(|minor| (Direction::Down, Ifb::device(), minor));
    let up = walk.class.and_then(|class| {
        let device = device_of(world.ids, class)?;
        Some((Direction::Up, device, class.minor))
    });
    let classes = [down, up].into_iter().flatten();
    classes
        .filter_map(|(tree, device, minor)| one(world, walk, beyond, ends, (tree, device, minor)))
        .collect()
}

fn device_of(ids: &Ids, class: ClassId) -> Option<DeviceName> {
    let mut majors = ids.majors();
    let found = majors.find(|(_, major)| *major == class.major)?;
    Some(found.0.clone())
}

fn one(
    world: &World<'_>,
    walk: &Walk<'_>,
    beyond: &Walk<'_>,
    ends: [IpAddr; 2],
    (tree, device, minor): (Direction, DeviceName, Minor),
) -> Option<Met> {
    // Control has one number in a tree, which circuits may share: the chain says whose it is.
    let entered = |walk: &Walk<'_>| {
        let steps = walk.steps.iter().rev();
        let mut chains = steps.filter_map(|step| match ChainRole::of(step.chain) {
            Some(ChainRole::Place(key, direction)) if direction == tree => Some(key),
            Some(_) | None => None,
        });
        chains.next()
    };
    let place = entered(walk)?;
    let step = decisive(walk, &place, tree)?;
    let class = |minor: Option<Minor>| {
        let major = world.ids.major(&device)?;
        let minor = minor?;
        Some(ClassId { major, minor }.to_string())
    };
    let mut keys: Vec<NodeKey> =
        std::iter::successors(Some(place.clone()), NodeKey::parent).collect();
    keys.reverse();
    let levels = keys.into_iter().filter_map(|key| {
        let minor = world.ids.minor(&key);
        let (guarantee, ceiling) = world.figures(&device, tree, minor, &key)?;
        let figures = &world.reasons.places.get(&key)?.figures;
        Some(Level {
            class: class(minor),
            guarantee,
            ceiling,
            because: Because {
                what: figures.what.clone(),
                at: figures.origin.clone(),
            },
            place: key,
        })
    });
    let levels = levels.collect();
    let is_control = place.place == Place::Control;
    Some(Met {
        tree,
        circuit: place.circuit.clone(),
        because: because(world, &place, &step, ends),
        class: class(Some(minor)),
        rule: words(&step),
        chain: step.chain.to_string(),
        levels,
        beyond: is_control.then(|| entered(beyond)).flatten(),
        device,
        place,
    })
}

/// The rule that led to the chain of `place`, or, where that is a site with classes of its own, inside it.
fn decisive<'t>(walk: &Walk<'t>, place: &NodeKey, tree: Direction) -> Option<Step<'t>> {
    let chain = ChainRole::Place(place.clone(), tree).name();
    let leads = |step: &&Step<'t>| {
        let to = step.found.or_else(|| step.rule.action().target());
        to == Some(&chain)
    };
    walk.steps.iter().rev().find(leads).copied()
}

/// The rule in words, and, where it asks a map, what that leads to.
fn words(step: &Step<'_>) -> String {
    let (Action::Lookup(key, map), Some(found)) = (step.rule.action(), step.found) else {
        return step.rule.words();
    };
    format!("{} in map {map} → {found}", key.asking(map))
}

/// Why packets are of `place`, to which `step` led.
fn because(world: &World<'_>, place: &NodeKey, step: &Step<'_>, ends: [IpAddr; 2]) -> Vec<Because> {
    let policy = world.policy;
    let circuit = &place.circuit;
    let site = |name| {
        let site = policy.sites().get(name)?;
        let mut nets = site.prefixes.iter();
        let inside =
            nets.find_map(|net| Some((net, ends.into_iter().find(|end| net.contains(end))?)));
        let what = inside.map_or_else(
            || format!("it is of site {name}"),
            |(net, end)| format!("{end} is in {net}, site {name}"),
        );
        Some(Because {
            what,
            at: Some(site.origin.clone()),
        })
    };
    let class = |name: String, matches: &[Match], at: &[Origin], origin: &Origin| {
        let named = Because {
            what: name,
            at: Some(origin.clone()),
        };
        let found = match_of(matches, step.rule);
        let found = found.and_then(|index| Some((index, at.get(index)?)));
        let entry = found.map(|(index, at)| Because {
            what: entry(index, matches.len(), step),
            at: Some(at.clone()),
        });
        std::iter::once(named).chain(entry)
    };
    let none = |count: usize, of: String, at: Option<Origin>| {
        let what = match count {
            0 => format!("{of} has no classes"),
            1 => format!("the one class of {of} does not match"),
            count => format!("none of the {count} classes of {of} matches"),
        };
        Because { what, at }
    };
    match &place.place {
        Place::Class(name) => policy.class(name).map_or_else(Vec::new, |found| {
            let what = format!("the first class that matches is {name}");
            class(what, &found.matches, &found.matches_at, &found.origin).collect()
        }),
        Place::Site(name) => site(name).into_iter().collect(),
        Place::SiteClass(name, inner) => {
            let mut all: Vec<Because> = site(name).into_iter().collect();
            let site = policy.sites().get(name);
            let mut classes = site.into_iter().flat_map(|site| &site.classes);
            if let Some(found) = classes.find(|class| class.name == *inner) {
                let what = format!("its first class that matches is {inner}");
                all.extend(class(
                    what,
                    &found.matches,
                    &found.matches_at,
                    &found.origin,
                ));
            }
            all
        }
        Place::SiteRest(name) => {
            let count = policy
                .sites()
                .get(name)
                .map_or(0, |site| site.classes.len());
            let rest = none(count, format!("site {name}"), None);
            site(name).into_iter().chain([rest]).collect()
        }
        Place::Rest => {
            let classes = policy.classes().iter();
            let count = classes.filter(|class| class.circuit == *circuit).count();
            let rest = policy.rests().get(circuit);
            let origin = rest.and_then(|rest| rest.origin.clone());
            vec![none(count, format!("circuit {circuit}"), origin)]
        }
        Place::Control => vec![control(step)],
        Place::Circuit => Vec::new(),
    }
}

/// Which entry of `match` it was, and what it says.
fn entry(index: usize, count: usize, step: &Step<'_>) -> String {
    let which = if count > 1 {
        format!("its match {} of {count}", index + 1)
    } else {
        "its match".to_owned()
    };
    if step.rule.criteria().contains_key(&Field::Label) {
        format!(
            "{which}: the requests carried the DSCP, which the connection remembers for replies"
        )
    } else {
        which
    }
}

/// Why it is control.
fn control(step: &Step<'_>) -> Because {
    let hand = matches!(ChainRole::of(step.chain), Some(ChainRole::Hand(_)));
    let whose = if hand {
        "this host's own ssh and ICMP"
    } else {
        "this host's own routing and neighbour protocols"
    };
    let limit = step.rule.limit().map_or_else(String::new, |limit| {
        let rate = Rate::floor(limit.bytes_per_second.saturating_mul(8));
        format!(", up to {rate}")
    });
    Because {
        what: format!("{whose}{limit}: what keeps the line alive is served first"),
        at: None,
    }
}
