//! A table as a graph: what leads where.

use std::collections::BTreeMap;

use super::names::{ChainName, ChainRole, MapName};
use super::slot::{Slot, read_note};
use super::{Chain, Element, Line, Table, Verdict};
use crate::model::names::{CircuitName, DeviceName};
use crate::model::node::NodeKey;
use crate::model::state::{ClassId, Minor};
use crate::units::Direction;

impl Table {
    /// The classes of places by which packets leave, as far as the table shows them: those of classes by the
    /// name of the chain, those of circuits and of sites with classes by a note.
    #[must_use]
    pub fn class_ids(&self) -> BTreeMap<NodeKey, ClassId> {
        self.slots()
            .filter_map(|(key, slot)| match slot {
                Slot::Class(id) => Some((key, id)),
                Slot::Mark(_) => None,
            })
            .collect()
    }

    /// The numbers of places, as far as the table shows them, of either direction; more than once where more
    /// than one chain shows them.
    pub fn minors(&self) -> impl Iterator<Item = (NodeKey, Minor)> + '_ {
        self.slots().map(|(key, slot)| (key, slot.minor()))
    }

    /// Where the table puts the packets of each place, in either direction, and what notes say of places without any.
    pub fn slots(&self) -> impl Iterator<Item = (NodeKey, Slot)> + '_ {
        self.chains.iter().flat_map(|(name, chain)| {
            let noted = chain.lines.iter().filter_map(|line| match line {
                Line::Rule(rule) => rule.note().and_then(read_note),
                Line::Foreign(_) => None,
            });
            let own = match ChainRole::of(name) {
                Some(ChainRole::Place(key, _)) => chain.slot().map(|slot| (key, slot)),
                _ => None,
            };
            noted.chain(own)
        })
    }

    /// The class into which the packets of `key` are put as they leave over its circuit; `None` where they
    /// go on to other places.
    #[must_use]
    pub fn class_of(&self, key: &NodeKey) -> Option<ClassId> {
        let name = ChainRole::Place(key.clone(), Direction::Up).name();
        self.chains.get(&name)?.class()
    }

    /// The devices by which packets leave over each circuit, in the order of their names.
    #[must_use]
    pub fn devices(&self) -> BTreeMap<CircuitName, Vec<&DeviceName>> {
        let mut devices: BTreeMap<CircuitName, Vec<&DeviceName>> = BTreeMap::new();
        for (element, verdict) in self.maps.values().flat_map(|map| &map.elements) {
            if let (Element::Device(device), Verdict::Goto(chain)) = (element, verdict)
                && let Some(ChainRole::Up(circuit)) = ChainRole::of(chain)
            {
                devices.entry(circuit).or_default().push(device);
            }
        }
        devices
    }

    /// Names the chains of classes and of blocks after their rules, so that one that says something else is another
    /// chain, which is made before anything leads there.
    ///
    /// A rule that asks for ranges is blind for a moment after it was made: on 6.18 the kernel lets
    /// packets meet new rules before it fills the ranges of their sets (tried: of 100,000 packets during
    /// 50 changes of their chain 40 fell to the rest). So such a rule is never put where packets pass.
    pub fn name_by_content(&mut self) {
        let names: BTreeMap<ChainName, ChainName> = self
            .chains
            .iter()
            .filter(|(name, _)| name.is_by_content())
            .filter_map(|(name, chain)| {
                let digest = chain.digest();
                let mut role = ChainRole::of(name)?;
                let (ChainRole::Classes { digest: said, .. }
                | ChainRole::Block { digest: said, .. }) = &mut role
                else {
                    return None;
                };
                *said = digest;
                Some((name.clone(), role.name()))
            })
            .filter(|(before, after)| before != after)
            .collect();
        if names.is_empty() {
            return;
        }
        let rules = self.chains.values_mut().flat_map(|chain| &mut chain.lines);
        for rule in rules {
            let Line::Rule(rule) = rule else { continue };
            if let Some(after) = rule.action().target().and_then(|name| names.get(name)) {
                let action = rule.action().leading(|_| after.clone());
                *rule = rule.clone().doing(action);
            }
        }
        let renamed: Vec<(ChainName, Chain)> = names
            .iter()
            .filter_map(|(before, after)| Some((after.clone(), self.chains.remove(before)?)))
            .collect();
        self.chains.extend(renamed);
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
        let before = table.chains.len() + table.maps.len();
        table.counters.extend(self.counters.iter().cloned());
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
        (table.chains.len() + table.maps.len() > before && !hooked).then_some(table)
    }

    /// What is left for a moment after the step from `self` to `to`: `to` with the maps of `self` that go, and the
    /// chains that they lead to. `None` where no map goes, or where one cannot stay.
    ///
    /// A packet on its way goes on by the rules that it met first, but asks a map as it is at that moment. Were the map
    /// emptied together with the rules that ask it, such a packet would find nothing there.
    #[must_use]
    pub fn outgoing(&self, to: &Self) -> Option<Self> {
        let goes = self.maps.keys().any(|name| !to.maps.contains_key(name));
        // What others put there may need what goes.
        let ours = self.foreign == to.foreign
            && !self.lines().any(|line| matches!(line, Line::Foreign(_)));
        (goes && ours).then(|| self.prepared(Some(to)))?
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.chains.values().flat_map(|chain| &chain.lines)
    }
}

impl Chain {
    /// The maps that its rules ask.
    pub fn maps(&self) -> impl Iterator<Item = &MapName> {
        self.lines.iter().filter_map(|line| match line {
            Line::Rule(rule) => rule.action().map(),
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
    pub(super) fn closes(&self) -> bool {
        matches!(self.lines.last(), Some(Line::Rule(rule)) if rule.is_always())
    }
}
