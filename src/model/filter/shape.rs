//! A table as a graph: what leads where.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{ChainName, ChainRole, MapName};
use super::rule::{Action, Rule, read_note};
use super::{Chain, Element, Line, MapKind, Table, Verdict};
use crate::model::names::{CircuitName, DeviceName};
use crate::model::node::{NodeKey, Place};
use crate::model::state::ClassId;

impl Table {
    /// The numbers of places, as far as the table shows them: those of classes by the name of the chain,
    /// those of circuits and of sites with classes by a note.
    #[must_use]
    pub fn class_ids(&self) -> BTreeMap<NodeKey, ClassId> {
        let mut ids = BTreeMap::new();
        for (name, chain) in &self.chains {
            for line in &chain.lines {
                if let Line::Rule(rule) = line
                    && let Some((key, id)) = rule.note().and_then(read_note)
                {
                    ids.insert(key, id);
                }
            }
            if let (Some(ChainRole::Place(key)), Some(id)) = (ChainRole::of(name), chain.class()) {
                ids.insert(key, id);
            }
        }
        ids
    }

    /// The class into which the packets of `key` are put; `None` where they go on to other places.
    #[must_use]
    pub fn class_of(&self, key: &NodeKey) -> Option<ClassId> {
        let name = ChainRole::Place(key.clone()).name();
        self.chains.get(&name)?.class()
    }

    /// The device of each circuit.
    #[must_use]
    pub fn devices(&self) -> BTreeMap<CircuitName, &DeviceName> {
        let maps = self.maps.values();
        let maps = maps.filter(|map| map.kind == MapKind::Device);
        maps.flat_map(|map| &map.elements)
            .filter_map(|(element, verdict)| match (element, verdict) {
                (Element::Device(device), Verdict::Goto(chain)) => match ChainRole::of(chain) {
                    Some(ChainRole::Up(circuit)) => Some((circuit, device)),
                    _ => None,
                },
                _ => None,
            })
            .collect()
    }

    /// The same table without what leads to a class of which `missing` is true, so that rules name
    /// only classes that exist.
    ///
    /// What would have gone there meets the next rule that fits, in the end the rest; where that is
    /// missing too, it leaves unclassified. A site that lacks its own rest is left out whole, so that its
    /// traffic is not lost between; a circuit of which nothing is left, too.
    #[must_use]
    pub fn without(&self, missing: impl Fn(ClassId) -> bool) -> Self {
        let mut table = self.clone();
        let mut gone: BTreeSet<ChainName> = self
            .chains
            .iter()
            .filter(|(_, chain)| chain.class().is_some_and(&missing))
            .map(|(name, _)| name.clone())
            .collect();
        while !gone.is_empty() {
            gone = table.leave_out(&gone);
        }
        let dead = table.dead_ends();
        table.leave_out(&dead);
        let used: BTreeSet<MapName> = table
            .chains
            .values()
            .flat_map(Chain::maps)
            .cloned()
            .collect();
        table.maps.retain(|name, _| used.contains(name));
        table.name_by_content();
        table
    }

    /// Names the chains of classes after their rules, so that one that says something else is another
    /// chain, which is made before anything leads there.
    ///
    /// A rule that asks for ranges is blind for a moment after it was made: on 6.18 the kernel lets
    /// packets meet new rules before it fills the ranges of their sets (tried: of 100,000 packets during
    /// 50 changes of their chain 40 fell to the rest). So such a rule is never put where packets pass.
    pub fn name_by_content(&mut self) {
        let names: BTreeMap<ChainName, ChainName> = self
            .chains
            .iter()
            .filter_map(|(name, chain)| {
                let Some(ChainRole::Classes { of, .. }) = ChainRole::of(name) else {
                    return None;
                };
                let digest = chain.digest();
                Some((name.clone(), ChainRole::Classes { of, digest }.name()))
            })
            .collect();
        let renamed = |name: &ChainName| names.get(name).cloned().unwrap_or_else(|| name.clone());
        let rename = |line: Line| match line {
            Line::Rule(rule) => Line::Rule(match rule.action() {
                Action::Goto(to) => {
                    let to = renamed(to);
                    rule.doing(Action::Goto(to))
                }
                Action::Lookup(..) | Action::Priority(_) | Action::Return | Action::Continue => {
                    rule
                }
            }),
            Line::Foreign(_) => line,
        };
        self.chains = std::mem::take(&mut self.chains)
            .into_iter()
            .map(|(name, mut chain)| {
                chain.lines = chain.lines.into_iter().map(rename).collect();
                (renamed(&name), chain)
            })
            .collect();
    }

    /// What may be made before the step from `from` to `self`, without any packet meeting it: `from`
    /// with the chains and maps that are new. `None` where that is nothing, or where a new one has the
    /// place of another.
    #[must_use]
    pub fn prepared(&self, from: Option<&Self>) -> Option<Self> {
        let Some(from) = from else {
            let mut table = self.clone();
            table.chains.retain(|_, chain| chain.hook.is_none());
            return Some(table);
        };
        let mut table = from.clone();
        let taken = |name: &MapName| from.foreign.iter().any(|other| other.name == name.as_str());
        for (name, map) in &self.maps {
            match from.maps.get(name) {
                Some(before) if before.kind != map.kind => return None,
                None if taken(name) => return None,
                Some(_) => {}
                None => {
                    // Its elements may lead only to what is there by then, and all is.
                    table.maps.insert(name.clone(), map.clone());
                }
            }
        }
        let new = self
            .chains
            .iter()
            .filter(|(name, chain)| chain.hook.is_none() && !from.chains.contains_key(*name));
        let before = table.chains.len();
        table
            .chains
            .extend(new.map(|(name, chain)| (name.clone(), chain.clone())));
        // A chain that is entered by a hook cannot be led to.
        let hooked = from.chains.iter().any(|(name, chain)| {
            chain.hook.is_some()
                && self
                    .chains
                    .get(name)
                    .is_some_and(|after| after.hook.is_none())
        });
        (table.chains.len() > before && !hooked).then_some(table)
    }

    /// Takes `gone` out of the table and gives back the chains that have no purpose without them.
    fn leave_out(&mut self, gone: &BTreeSet<ChainName>) -> BTreeSet<ChainName> {
        self.chains.retain(|name, _| !gone.contains(name));
        for map in self.maps.values_mut() {
            map.elements.retain(|_, verdict| match verdict {
                Verdict::Goto(chain) => !gone.contains(chain),
                Verdict::Foreign(_) => true,
            });
        }
        let mut next = BTreeSet::new();
        for (name, chain) in &mut self.chains {
            let closed = chain.closes();
            chain.lines = std::mem::take(&mut chain.lines)
                .into_iter()
                .filter_map(|line| match line {
                    Line::Rule(rule) => redirect(rule, gone).map(Line::Rule),
                    Line::Foreign(_) => Some(line),
                })
                .collect();
            let of_site = matches!(
                ChainRole::of(name),
                Some(ChainRole::Place(key) | ChainRole::Classes { of: key, .. })
                    if matches!(key.place, Place::Site(_))
            );
            if of_site && closed && !chain.closes() {
                next.insert(name.clone());
            }
        }
        next
    }

    /// The chains from which no class can be reached.
    fn dead_ends(&self) -> BTreeSet<ChainName> {
        let mut live: BTreeSet<&ChainName> = BTreeSet::new();
        loop {
            let more: Vec<&ChainName> = self
                .chains
                .iter()
                .filter(|(name, chain)| {
                    !live.contains(name) && (chain.hook.is_some() || self.leads(chain, &live))
                })
                .map(|(name, _)| name)
                .collect();
            if more.is_empty() {
                break;
            }
            live.extend(more);
        }
        self.chains
            .keys()
            .filter(|name| !live.contains(name))
            .cloned()
            .collect()
    }

    fn leads(&self, chain: &Chain, live: &BTreeSet<&ChainName>) -> bool {
        chain.lines.iter().any(|line| match line {
            Line::Foreign(_) => true,
            Line::Rule(rule) => match rule.action() {
                Action::Priority(_) => true,
                Action::Return | Action::Continue => false,
                Action::Goto(to) => live.contains(to),
                Action::Lookup(_, map) => self.maps.get(map).is_some_and(|map| {
                    map.elements.values().any(|verdict| match verdict {
                        Verdict::Goto(to) => live.contains(to),
                        Verdict::Foreign(_) => true,
                    })
                }),
            },
        })
    }
}

/// The rule, where its target is not gone.
///
/// A packet that went to the rest because it has no connection must not go on to rules about
/// connections: it returns.
fn redirect(rule: Rule, gone: &BTreeSet<ChainName>) -> Option<Rule> {
    match rule.action() {
        Action::Goto(to) if gone.contains(to) => {
            let stateless = rule.criteria().keys().eq([&super::Field::State]);
            stateless.then(|| rule.doing(Action::Return))
        }
        Action::Goto(_)
        | Action::Lookup(..)
        | Action::Priority(_)
        | Action::Return
        | Action::Continue => Some(rule),
    }
}

impl Chain {
    /// The maps that its rules ask.
    pub fn maps(&self) -> impl Iterator<Item = &MapName> {
        self.lines.iter().filter_map(|line| match line {
            Line::Rule(rule) => match rule.action() {
                Action::Lookup(_, map) => Some(map),
                Action::Goto(_) | Action::Priority(_) | Action::Return | Action::Continue => None,
            },
            Line::Foreign(_) => None,
        })
    }

    /// What its rules say, in short: FNV-1a of their text.
    fn digest(&self) -> u64 {
        let text = serde_json::to_string(&self.lines).unwrap_or_default();
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// Whether its last rule takes every packet.
    fn closes(&self) -> bool {
        matches!(self.lines.last(), Some(Line::Rule(rule)) if rule.is_always())
    }
}
