//! What a change of the table means for each place: which rules lead there no more, which do from now
//! on, and which are asked in another order.

use std::collections::BTreeMap;

use serde::Serialize;

use super::names::{ChainName, ChainRole};
use super::rule::Action;
use super::tell::{self, Told};
use super::{Chain, Line, Table, Verdict};
use crate::model::node::{NodeKey, Place};

/// How the rules of one place change, each in words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RuleChanges {
    /// Those that go.
    pub removed: Vec<String>,
    /// Those that come.
    pub added: Vec<String>,
    /// Those that stay, but are asked before or after others than they were.
    pub moved: Vec<String>,
}

impl RuleChanges {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.moved.is_empty()
    }
}

/// What changes for each place; under `None` what is of no place, such as the hook.
type Changes = BTreeMap<Option<NodeKey>, RuleChanges>;

impl Table {
    /// How the rules of each place change on the way to `to`; under `None` those that are of no place.
    ///
    /// A rule is of the place to which it leads, or else of the place of its chain. Its time grows with the
    /// tables as that of sorting.
    #[must_use]
    pub fn changes_to(&self, to: &Self) -> BTreeMap<Option<NodeKey>, RuleChanges> {
        let mut changes = Changes::new();
        if self == to {
            return changes;
        }
        let (old, new) = (by_purpose(self), by_purpose(to));
        for (purpose, chain) in &old {
            compare_chains(
                &mut changes,
                purpose,
                Some(chain),
                new.get(purpose).copied(),
            );
        }
        for (purpose, chain) in new
            .iter()
            .filter(|(purpose, _)| !old.contains_key(*purpose))
        {
            compare_chains(&mut changes, purpose, None, Some(chain));
        }
        compare_maps(&mut changes, self, to);
        compare_whole(&mut changes, self, to);
        changes.retain(|_, changes| !changes.is_empty());
        changes
    }
}

/// What a chain is for, without what its rules say: so a chain and its successor are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Classes(NodeKey),
    Named(ChainName),
}

fn by_purpose(table: &Table) -> BTreeMap<Purpose, &Chain> {
    let chains = table.chains.iter();
    chains.map(|(name, chain)| (purpose(name), chain)).collect()
}

fn purpose(name: &ChainName) -> Purpose {
    match ChainRole::of(name) {
        Some(ChainRole::Classes { of, .. }) => Purpose::Classes(of),
        _ => Purpose::Named(name.clone()),
    }
}

/// The place that a chain is of.
fn owner(purpose: &Purpose) -> Option<NodeKey> {
    let name = match purpose {
        Purpose::Classes(of) => return Some(of.clone()),
        Purpose::Named(name) => name,
    };
    match ChainRole::of(name)? {
        ChainRole::Leaving => None,
        ChainRole::Up(circuit) | ChainRole::Traffic(circuit) => {
            Some(NodeKey::new(circuit, Place::Circuit))
        }
        ChainRole::Own(circuit) | ChainRole::Line(circuit) | ChainRole::Hand(circuit) => {
            Some(NodeKey::new(circuit, Place::Control))
        }
        ChainRole::Classes { of: key, .. } | ChainRole::Place(key) => Some(key),
    }
}

/// The place that a chain to which a rule leads is of, where it is that of one place alone.
fn target(chain: &ChainName) -> Option<NodeKey> {
    match ChainRole::of(chain)? {
        ChainRole::Place(key) | ChainRole::Classes { of: key, .. } => Some(key),
        ChainRole::Leaving
        | ChainRole::Up(_)
        | ChainRole::Own(_)
        | ChainRole::Line(_)
        | ChainRole::Hand(_)
        | ChainRole::Traffic(_) => None,
    }
}

fn compare_chains(
    changes: &mut Changes,
    purpose: &Purpose,
    old: Option<&Chain>,
    new: Option<&Chain>,
) {
    if old == new {
        return;
    }
    let owner = owner(purpose);
    let hook = |chain: Option<&Chain>| chain.and_then(|chain| chain.hook.clone());
    if hook(old) != hook(new) {
        let own = changes.entry(owner.clone()).or_default();
        own.removed.extend(hook(old).as_ref().map(tell::hook));
        own.added.extend(hook(new).as_ref().map(tell::hook));
    }
    if let (Purpose::Named(name), None) = (purpose, &owner)
        && ChainRole::of(name).is_none()
    {
        let whole = changes.entry(None).or_default();
        match (old, new) {
            (Some(_), None) => whole.removed.push(format!("chain {name}")),
            (None, Some(_)) => whole.added.push(format!("chain {name}")),
            _ => {}
        }
    }
    let lines = |chain: Option<&Chain>| -> Vec<Line> {
        let lines = chain.map_or(&[][..], |chain| &chain.lines);
        lines.iter().map(without_digest).collect()
    };
    let (old, new) = (lines(old), lines(new));
    let fate = Fate::of(&old, &new);

    let of_line = |line: &Line| match line {
        Line::Rule(rule) => match rule.action() {
            Action::Goto(chain) => target(chain).or_else(|| owner.clone()),
            Action::Lookup(..) | Action::Priority(_) | Action::Return | Action::Continue => {
                owner.clone()
            }
        },
        Line::Foreign(_) => owner.clone(),
    };
    let mut pairs: BTreeMap<Option<NodeKey>, [Vec<&Line>; 2]> = BTreeMap::new();
    for line in fate.removed {
        pairs.entry(of_line(line)).or_default()[0].push(line);
    }
    for line in fate.added {
        pairs.entry(of_line(line)).or_default()[1].push(line);
    }
    for (key, [removed, added]) in pairs {
        let Told { removed, added } = tell::lines(&removed, &added, key.as_ref());
        let change = changes.entry(key).or_default();
        change.removed.extend(removed);
        change.added.extend(added);
    }
    for line in fate.moved {
        let key = of_line(line);
        let text = tell::line(line, key.as_ref());
        changes.entry(key).or_default().moved.push(text);
    }
}

/// A line that leads to a chain of classes, whatever that chain says.
fn without_digest(line: &Line) -> Line {
    let Line::Rule(rule) = line else {
        return line.clone();
    };
    let Action::Goto(chain) = rule.action() else {
        return line.clone();
    };
    match ChainRole::of(chain) {
        Some(ChainRole::Classes { of, .. }) => {
            let chain = ChainRole::Classes { of, digest: 0 }.name();
            Line::Rule(rule.clone().doing(Action::Goto(chain)))
        }
        _ => line.clone(),
    }
}

/// What becomes of the lines of a chain.
struct Fate<'a> {
    removed: Vec<&'a Line>,
    added: Vec<&'a Line>,
    moved: Vec<&'a Line>,
}

impl<'a> Fate<'a> {
    fn of(old: &'a [Line], new: &'a [Line]) -> Self {
        let same = |pairs: &mut dyn Iterator<Item = (&'a Line, &'a Line)>| {
            pairs.take_while(|(old, new)| old == new).count()
        };
        let head = same(&mut old.iter().zip(new));
        let (old, new) = (
            old.get(head..).unwrap_or_default(),
            new.get(head..).unwrap_or_default(),
        );
        let tail = same(&mut old.iter().rev().zip(new.iter().rev()));
        let old = old.get(..old.len() - tail).unwrap_or_default();
        let new = new.get(..new.len() - tail).unwrap_or_default();
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, line) in old.iter().enumerate().rev() {
            places.entry(identity(line)).or_default().push(place);
        }
        let mut kept: Vec<(usize, &Line)> = Vec::new();
        let mut added = Vec::new();
        for line in new {
            match places.get_mut(&identity(line)).and_then(Vec::pop) {
                Some(place) => kept.push((place, line)),
                None => added.push(line),
            }
        }
        let mut gone: Vec<usize> = places.into_values().flatten().collect();
        gone.sort_unstable();
        let still = longest_rise(&kept.iter().map(|(place, _)| *place).collect::<Vec<_>>());
        let moved = kept
            .iter()
            .zip(still)
            .filter(|(_, still)| !still)
            .map(|((_, line), _)| *line)
            .collect();
        Self {
            removed: gone
                .into_iter()
                .filter_map(|place| old.get(place))
                .collect(),
            added,
            moved,
        }
    }
}

fn identity(line: &Line) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

/// Which of `numbers`, all different, are part of a longest rising row of them.
fn longest_rise(numbers: &[usize]) -> Vec<bool> {
    // The index that ends the best row of each length, and of each index the one before it in its row.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|(least, _)| least < number);
        before.push(
            length
                .checked_sub(1)
                .and_then(|shorter| ends.get(shorter))
                .map(|(_, index)| *index),
        );
        ends.truncate(ends.len().max(length));
        match ends.get_mut(length) {
            Some(end) => *end = (*number, index),
            None => ends.push((*number, index)),
        }
    }
    let mut part = vec![false; numbers.len()];
    let mut last = ends.last().map(|(_, index)| *index);
    while let Some(index) = last {
        if let Some(part) = part.get_mut(index) {
            *part = true;
        }
        last = before.get(index).copied().flatten();
    }
    part
}

fn compare_maps(changes: &mut Changes, old: &Table, new: &Table) {
    let mut note = |from: &Table, to: &Table, side: fn(&mut RuleChanges) -> &mut Vec<String>| {
        for (name, map) in &from.maps {
            let other = to.maps.get(name).filter(|other| other.kind == map.kind);
            if other == Some(map) {
                continue;
            }
            for (element, verdict) in &map.elements {
                if other.and_then(|other| other.elements.get(element)) == Some(verdict) {
                    continue;
                }
                let key = match verdict {
                    Verdict::Goto(chain) => owner(&purpose(chain)),
                    Verdict::Foreign(_) => None,
                };
                let text = tell::element(name, element, verdict);
                side(changes.entry(key).or_default()).push(text);
            }
        }
    };
    note(old, new, |changes| &mut changes.removed);
    note(new, old, |changes| &mut changes.added);
}

fn compare_whole(changes: &mut Changes, old: &Table, new: &Table) {
    let whole = changes.entry(None).or_default();
    let flag = |flag: &String| format!("flags {flag}");
    whole
        .removed
        .extend(old.flags.difference(&new.flags).map(flag));
    whole
        .added
        .extend(new.flags.difference(&old.flags).map(flag));
    let foreign = |thing: &super::Foreign| format!("{} {}", thing.kind, thing.name);
    whole
        .removed
        .extend(old.foreign.difference(&new.foreign).map(foreign));
    whole
        .added
        .extend(new.foreign.difference(&old.foreign).map(foreign));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::{Field, Range, Rule, Values};
    use proptest::prelude::*;

    fn rule(port: u128, to: &str) -> Rule {
        let criteria = [
            (Field::Transport, Values::of([6])),
            (Field::Service, Values::of([port])),
        ];
        Rule::new(criteria, None, Action::Goto(ChainName::new(to)))
    }

    fn table(rules: impl IntoIterator<Item = Rule>) -> Table {
        let of: NodeKey = "wan".parse().unwrap();
        let name = ChainRole::Classes { of, digest: 0 }.name();
        let mut table = Table {
            chains: BTreeMap::from([(name, Chain::of(rules))]),
            ..Table::default()
        };
        table.name_by_content();
        table
    }

    fn key(text: &str) -> Option<NodeKey> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_rule_is_of_the_place_to_which_it_leads() {
        let (web, mail) = ("wan.class.web", "wan.class.mail");
        let before = table([rule(80, web), rule(443, web), rule(25, mail)]);
        let after = table([rule(80, web), rule(8443, web), rule(25, mail)]);
        let expected = RuleChanges {
            removed: vec!["service tcp/443".to_owned()],
            added: vec!["service tcp/8443".to_owned()],
            moved: vec![],
        };
        assert_eq!(
            before.changes_to(&after),
            BTreeMap::from([(key(web), expected)])
        );
        assert_eq!(before.changes_to(&before), BTreeMap::new());
    }

    #[test]
    fn what_only_moves_is_told_as_moved_and_once() {
        let (web, mail) = ("wan.class.web", "wan.class.mail");
        let before = table([rule(80, web), rule(443, web), rule(25, mail)]);
        let after = table([rule(25, mail), rule(80, web), rule(443, web)]);
        let expected = RuleChanges {
            moved: vec!["service tcp/25".to_owned()],
            ..RuleChanges::default()
        };
        assert_eq!(
            before.changes_to(&after),
            BTreeMap::from([(key(mail), expected)])
        );
    }

    #[test]
    fn of_many_values_those_that_change_are_told() {
        let table = |hosts: std::ops::Range<u128>| {
            let ranges = hosts.map(|host| Range::one(0x0a00_0000 + 2 * host));
            let criteria = [(Field::To4, Values::new(ranges))];
            table([Rule::new(
                criteria,
                None,
                Action::Goto(ChainName::new("wan.class.web")),
            )])
        };
        let changes = table(0..1_000).changes_to(&table(1..1_001));
        let change = changes.get(&key("wan.class.web")).unwrap();
        assert_eq!(change.removed, ["to 10.0.0.0 … 999 more"]);
        assert_eq!(change.added, ["to 10.0.7.208 … 999 more"]);
    }

    proptest! {
        /// Whatever two lists of rules there are, what is told leads from the one to the other, and
        /// nothing is told where they are equal.
        #[test]
        fn what_is_told_is_what_changes(
            old in prop::collection::vec(0_u128..8, 0..12),
            new in prop::collection::vec(0_u128..8, 0..12),
        ) {
            let lines = |ports: &[u128]| -> Vec<Line> {
                ports.iter().map(|port| Line::Rule(rule(*port, "wan.rest"))).collect()
            };
            let (before, after) = (lines(&old), lines(&new));
            let fate = Fate::of(&before, &after);
            prop_assert_eq!(
                before.len() + fate.added.len(),
                after.len() + fate.removed.len()
            );
            let told = fate.added.len() + fate.removed.len() + fate.moved.len();
            prop_assert_eq!(told == 0, old == new);
            let count = |lines: &[Line], line: &Line| lines.iter().filter(|one| *one == line).count();
            for line in before.iter().chain(&after) {
                let gone = fate.removed.iter().filter(|one| **one == line).count();
                let come = fate.added.iter().filter(|one| **one == line).count();
                prop_assert_eq!(count(&before, line) + come, count(&after, line) + gone);
            }
        }

        /// The longest row, by trying them all.
        #[test]
        fn the_longest_rise_is_the_longest(numbers in Just((0..9).collect::<Vec<usize>>()).prop_shuffle()) {
            let rises = |row: &[usize]| row.is_sorted();
            let picked = |part: &dyn Fn(usize) -> bool| -> Vec<usize> {
                let chosen = numbers.iter().enumerate().filter(|(index, _)| part(*index));
                chosen.map(|(_, number)| *number).collect()
            };
            let part = longest_rise(&numbers);
            let found = picked(&|index| part[index]);
            prop_assert!(rises(&found));
            let longest = (0_u32..1 << numbers.len())
                .map(|mask| picked(&|index| mask & (1 << index) != 0))
                .filter(|row| rises(row))
                .map(|row| row.len())
                .max();
            prop_assert_eq!(Some(found.len()), longest);
        }
    }
}
