//! The transaction that makes one table of another.
//!
//! nft checks each command against what the commands before it left, and all take effect at once. So
//! the order is: empty the chains that change or go, take elements and maps away, then chains, which
//! nothing refers to any more; then chains and maps that are new, elements, and at last rules.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::write;
use crate::model::filter::{
    Chain, ChainName, Element, FAMILY, Foreign, Line, MapName, NAME, Table, Verdict, VerdictMap,
};

/// What `nft -f` must be told, so that the kernel's table, which is `from`, becomes `to`; empty where
/// they are equal.
#[must_use]
pub fn render(from: Option<&Table>, to: Option<&Table>) -> String {
    match (from, to) {
        (None, None) => String::new(),
        // `create` is refused where there is one: what it holds is not known here.
        (None, Some(to)) => format!("create table {FAMILY} {NAME}\n{}", write::render_whole(to)),
        // Somebody may have been faster: to delete what is gone is no failure.
        (Some(_), None) => {
            format!("add table {FAMILY} {NAME}\ndelete table {FAMILY} {NAME}\n")
        }
        (Some(from), Some(to)) => Change::between(from, to).render(),
    }
}

/// What differs.
struct Change<'a> {
    from: &'a Table,
    to: &'a Table,
    /// Maps that are made again: another map has their name.
    remade_maps: BTreeSet<&'a MapName>,
    /// Chains that are made again: their hook cannot be changed.
    remade_chains: BTreeSet<&'a ChainName>,
}

impl<'a> Change<'a> {
    fn between(from: &'a Table, to: &'a Table) -> Self {
        let taken = |name: &MapName| {
            from.foreign
                .iter()
                .any(|foreign| foreign.is_set() && foreign.name == name.as_str())
        };
        let remade_maps = to
            .maps
            .iter()
            .filter(|(name, map)| {
                taken(name)
                    || from
                        .maps
                        .get(*name)
                        .is_some_and(|before| before.kind != map.kind)
            })
            .map(|(name, _)| name)
            .collect();
        let remade_chains = to
            .chains
            .iter()
            .filter(|(name, chain)| {
                from.chains
                    .get(*name)
                    .is_some_and(|before| before.hook != chain.hook)
            })
            .map(|(name, _)| name)
            .collect();
        Self {
            from,
            to,
            remade_maps,
            remade_chains,
        }
    }

    fn render(&self) -> String {
        let mut text = String::new();
        self.flush_chains(&mut text);
        self.delete_elements(&mut text);
        self.delete_sets(&mut text);
        self.delete_chains(&mut text);
        self.add(&mut text);
        if self.from.flags != self.to.flags {
            let flags: Vec<&str> = self.to.flags.iter().map(String::as_str).collect();
            let _ = match flags.as_slice() {
                // Without flags it is woken where it was made dormant.
                [] => writeln!(text, "add table {FAMILY} {NAME}"),
                _ => writeln!(
                    text,
                    "add table {FAMILY} {NAME} {{ flags {}; }}",
                    flags.join(", ")
                ),
            };
        }
        text
    }

    /// Whether the rules of the chain in `from` go.
    fn changes(&self, name: &ChainName, before: &Chain) -> bool {
        self.to.chains.get(name) != Some(before) || self.asks_remade(before)
    }

    /// A map that a rule asks cannot be deleted, though the rule stays the same.
    fn asks_remade(&self, chain: &Chain) -> bool {
        let gone_sets = || {
            self.from
                .foreign
                .difference(&self.to.foreign)
                .map(|foreign| &foreign.name)
        };
        chain.maps().any(|map| self.remade_maps.contains(map))
            || chain.lines.iter().any(|line| match line {
                Line::Foreign(text) => gone_sets().any(|name| text.contains(name.as_str())),
                Line::Rule(_) => false,
            })
    }

    fn flush_chains(&self, text: &mut String) {
        for (name, before) in &self.from.chains {
            if !before.lines.is_empty() && self.changes(name, before) {
                let _ = writeln!(text, "flush chain {FAMILY} {NAME} {name}");
            }
        }
    }

    fn delete_elements(&self, text: &mut String) {
        for (name, before) in &self.from.maps {
            let Some(after) = self.kept_map(name) else {
                continue;
            };
            let gone: Vec<String> = before
                .elements
                .iter()
                .filter(|(element, verdict)| after.elements.get(element) != Some(*verdict))
                .map(|(element, _)| before.kind.write(element))
                .collect();
            elements(text, "delete", name, &gone);
        }
    }

    /// What becomes of a map that is there and stays.
    fn kept_map(&self, name: &MapName) -> Option<&VerdictMap> {
        if self.remade_maps.contains(name) {
            return None;
        }
        self.to.maps.get(name)
    }

    fn delete_sets(&self, text: &mut String) {
        for name in self.from.maps.keys() {
            if self.kept_map(name).is_none() {
                let _ = writeln!(text, "delete map {FAMILY} {NAME} {name}");
            }
        }
        // Maps and sets first: their elements may refer to the rest.
        let gone = || self.from.foreign.difference(&self.to.foreign);
        let sets = gone().filter(|foreign| foreign.is_set());
        for Foreign { kind, name, .. } in sets.chain(gone().filter(|foreign| !foreign.is_set())) {
            let _ = writeln!(text, "delete {kind} {FAMILY} {NAME} {name}");
        }
    }

    fn delete_chains(&self, text: &mut String) {
        for name in self.from.chains.keys() {
            if self.remade_chains.contains(name) || !self.to.chains.contains_key(name) {
                let _ = writeln!(text, "delete chain {FAMILY} {NAME} {name}");
            }
        }
        for counter in self.from.counters.difference(&self.to.counters) {
            let _ = writeln!(text, "delete counter {FAMILY} {NAME} {counter}");
        }
    }

    /// Adds by commands, each of which needs a table that is there: a block `table ... {` would make
    /// one, with half of the rules, where somebody has just deleted ours.
    fn add(&self, text: &mut String) {
        let changed = || {
            self.to.chains.iter().filter(|(name, _)| {
                let before = self.from.chains.get(*name);
                before.is_none_or(|before| self.changes(name, before))
            })
        };
        for (name, after) in changed() {
            if !self.from.chains.contains_key(name) || self.remade_chains.contains(name) {
                let _ = write!(text, "add chain {FAMILY} {NAME} {name}");
                if let Some(hook) = &after.hook {
                    let _ = write!(text, " {{ {} }}", write::hook(hook));
                }
                text.push('\n');
            }
        }
        for counter in self.to.counters.difference(&self.from.counters) {
            let _ = writeln!(text, "add counter {FAMILY} {NAME} {counter}");
        }
        for Foreign { kind, name, body } in self.to.foreign.difference(&self.from.foreign) {
            let _ = writeln!(text, "add {kind} {FAMILY} {NAME} {name} {{\n{body}\n}}");
        }
        for (name, map) in &self.to.maps {
            if !self.is_kept(name) {
                let definition = write::map_definition(map);
                let _ = writeln!(text, "add map {FAMILY} {NAME} {name} {{ {definition} }}");
            }
        }
        for (name, after) in &self.to.maps {
            let before = self.from.maps.get(name).filter(|_| self.is_kept(name));
            let new: Vec<String> = after
                .elements
                .iter()
                .filter(|(element, verdict)| !holds(before, element, verdict))
                .map(|(element, verdict)| {
                    let element = after.kind.write(element);
                    format!("{element} : {}", write::verdict(verdict))
                })
                .collect();
            elements(text, "add", name, &new);
        }
        for (name, after) in changed() {
            for rule in &after.lines {
                let rule = write::rule(rule);
                let _ = writeln!(text, "add rule {FAMILY} {NAME} {name} {rule}");
            }
        }
    }

    fn is_kept(&self, name: &MapName) -> bool {
        self.from.maps.contains_key(name) && !self.remade_maps.contains(name)
    }
}

fn holds(map: Option<&VerdictMap>, element: &Element, verdict: &Verdict) -> bool {
    map.is_some_and(|map| map.elements.get(element) == Some(verdict))
}

fn elements(text: &mut String, verb: &str, map: &MapName, elements: &[String]) {
    if !elements.is_empty() {
        let _ = writeln!(
            text,
            "{verb} element {FAMILY} {NAME} {map} {{\n\t{}\n}}",
            elements.join(",\n\t")
        );
    }
}

impl Foreign {
    fn is_set(&self) -> bool {
        self.kind == "map" || self.kind == "set"
    }
}
