//! A table restricted to what stands.

use std::collections::BTreeSet;

use super::fields::Field;
use super::names::{ChainName, ChainRole, MapName};
use super::rule::{Action, Rule};
use super::slot::Slot;
use super::{Chain, Line, Table, Verdict};
use crate::model::names::CircuitName;
use crate::model::node::Place;
use crate::units::Direction;

impl Table {
    /// The same table without what leads to a slot of which `missing` is true, so that rules name only
    /// classes that exist.
    ///
    /// What would have gone there meets the next rule that fits, in the end the rest; where that is
    /// missing too, it leaves unclassified. A site that lacks its own rest is left out whole, so that its
    /// traffic is not lost between; a circuit of which nothing is left, too. Of what came over a circuit whose
    /// rest for it is missing nothing is told apart: a mark would lead it to where it cannot wait.
    #[must_use]
    pub fn without(&self, missing: impl Fn(Slot) -> bool) -> Self {
        let mut table = self.clone();
        let mut gone: BTreeSet<ChainName> = self
            .chains
            .iter()
            .filter(|(_, chain)| chain.slot().is_some_and(&missing))
            .map(|(name, _)| name.clone())
            .collect();
        gone.extend(self.down_without_rest(&gone));
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

    /// The chains for packets from those circuits of which the chain of the rest for such packets is `gone`.
    fn down_without_rest(&self, gone: &BTreeSet<ChainName>) -> Vec<ChainName> {
        let circuits: BTreeSet<CircuitName> = gone
            .iter()
            .filter_map(ChainRole::of)
            .filter(|role| {
                matches!(role, ChainRole::Place(key, Direction::Down) if key.place == Place::Rest)
            })
            .filter_map(|role| role.circuit().cloned())
            .collect();
        let of_those = |name: &&ChainName| {
            ChainRole::of(name).is_some_and(|role| {
                role.direction() == Some(Direction::Down)
                    && role
                        .circuit()
                        .is_some_and(|circuit| circuits.contains(circuit))
            })
        };
        self.chains.keys().filter(of_those).cloned().collect()
    }

    /// Takes `gone` out of the table and gives back the chains that have no purpose without them.
    fn leave_out(&mut self, gone: &BTreeSet<ChainName>) -> BTreeSet<ChainName> {
        self.chains.retain(|name, _| !gone.contains(name));
        for map in self.maps.values_mut() {
            let leads_there =
                |verdict: &Verdict| verdict.target().is_some_and(|to| gone.contains(to));
            map.elements.retain(|_, verdict| !leads_there(verdict));
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
                Some(ChainRole::Place(key, _) | ChainRole::Classes { of: key, .. })
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
                // To remember is an end of its own, and so is to clear what others left, and to reject.
                Action::Priority(_)
                | Action::Mark { .. }
                | Action::Unmark(_)
                | Action::Remember(_)
                | Action::Reject { .. } => true,
                Action::Return | Action::Continue => false,
                Action::Goto(to) | Action::Jump(to) => live.contains(to),
                Action::Lookup(_, map) => self.maps.get(map).is_some_and(|map| {
                    let verdicts = map.elements.values();
                    let mut ends = verdicts.map(Verdict::target);
                    ends.any(|to| to.is_none_or(|to| live.contains(to)))
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
    if !rule.action().target().is_some_and(|to| gone.contains(to)) {
        return Some(rule);
    }
    let stateless = rule.criteria().keys().eq([&Field::State]);
    stateless.then(|| rule.doing(Action::Return))
}
