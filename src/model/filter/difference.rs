//! What a change of the table means for each place: which rules lead there no more, which do from now
//! on, and which are asked in another order.

use std::collections::BTreeMap;

use serde::Serialize;

use super::blocks::{is_of_blocks, leads_to_block};
use super::fate::Fate;
use super::names::{ChainName, ChainRole, MapName};
use super::tell::{self, Told};
use super::{Chain, Line, Table, VerdictMap};
use crate::model::node::{NodeKey, Place};
use crate::units::Direction;

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
    /// How the rules of each place change on the way to `to`; under `None` those that are of no place. Those of
    /// blocks are no part of it: they are told as what they are.
    ///
    /// A rule is of the place to which it leads, or else of the place of its chain. Its time grows with the
    /// tables as that of sorting.
    #[must_use]
    pub fn changes_to(&self, to: &Self) -> BTreeMap<Option<NodeKey>, RuleChanges> {
        let mut sides = Sides::default();
        if self == to {
            return sides.up;
        }
        let (old, new) = (by_purpose(self), by_purpose(to));
        for (purpose, chain) in &old {
            let after = new.get(purpose).copied();
            compare_chains(sides.of(purpose.direction()), purpose, Some(chain), after);
        }
        for (purpose, chain) in new
            .iter()
            .filter(|(purpose, _)| !old.contains_key(*purpose))
        {
            compare_chains(sides.of(purpose.direction()), purpose, None, Some(chain));
        }
        compare_maps(&mut sides, self, to);
        compare_whole(&mut sides.up, self, to);
        let mut changes = sides.together();
        changes.retain(|_, changes| !changes.is_empty());
        changes
    }
}

/// What changes for packets of each direction.
#[derive(Default)]
struct Sides {
    /// For those that leave over a circuit, or for all.
    up: Changes,
    /// For those that came over one.
    down: Changes,
}

impl Sides {
    const fn of(&mut self, direction: Direction) -> &mut Changes {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// Both as one. Policies speak of both directions at once, so what is the same for both is told once.
    fn together(self) -> Changes {
        let mut all = self.up;
        for (key, down) in self.down {
            let up = all.entry(key).or_default();
            join(&mut up.removed, down.removed);
            join(&mut up.added, down.added);
            join(&mut up.moved, down.moved);
        }
        all
    }
}

fn join(up: &mut Vec<String>, down: Vec<String>) {
    let mut same: BTreeMap<&str, usize> = BTreeMap::new();
    for text in &*up {
        *same.entry(text).or_default() += 1;
    }
    let mut alone = Vec::new();
    for text in down {
        match same.get_mut(text.as_str()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => alone.push(format!("{}: {text}", Direction::Down)),
        }
    }
    up.extend(alone);
}

/// What a chain is for, without what its rules say: so a chain and its successor are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Classes(NodeKey, Direction),
    Named(ChainName),
}

impl Purpose {
    fn direction(&self) -> Direction {
        let direction = match self {
            Self::Classes(_, direction) => Some(*direction),
            Self::Named(name) => ChainRole::of(name).and_then(|role| role.direction()),
        };
        direction.unwrap_or(Direction::Up)
    }
}

fn by_purpose(table: &Table) -> BTreeMap<Purpose, &Chain> {
    let chains = table.chains.iter();
    chains
        .filter(|(name, _)| !is_of_blocks(name))
        .map(|(name, chain)| (purpose(name), chain))
        .collect()
}

fn purpose(name: &ChainName) -> Purpose {
    match ChainRole::of(name) {
        Some(ChainRole::Classes { of, direction, .. }) => Purpose::Classes(of, direction),
        _ => Purpose::Named(name.clone()),
    }
}

/// The place that a chain is of.
fn owner(purpose: &Purpose) -> Option<NodeKey> {
    let name = match purpose {
        Purpose::Classes(of, _) => return Some(of.clone()),
        Purpose::Named(name) => name,
    };
    match ChainRole::of(name)? {
        ChainRole::Leaving
        | ChainRole::Marking
        | ChainRole::Unmark
        | ChainRole::Remember
        | ChainRole::Forward
        | ChainRole::Block { .. }
        | ChainRole::Rejected(_) => None,
        ChainRole::Up(circuit)
        | ChainRole::Arrived(circuit)
        | ChainRole::Traffic(circuit)
        | ChainRole::Down(circuit) => Some(NodeKey::new(circuit, Place::Circuit)),
        ChainRole::Own(circuit) | ChainRole::Line(circuit) | ChainRole::Hand(circuit) => {
            Some(NodeKey::new(circuit, Place::Control))
        }
        ChainRole::Classes { of: key, .. } | ChainRole::Place(key, _) => Some(key),
    }
}

/// The place that a chain to which a rule leads is of, where it is that of one place alone.
fn target(chain: &ChainName) -> Option<NodeKey> {
    match ChainRole::of(chain)? {
        ChainRole::Place(key, _) | ChainRole::Classes { of: key, .. } => Some(key),
        ChainRole::Leaving
        | ChainRole::Marking
        | ChainRole::Unmark
        | ChainRole::Remember
        | ChainRole::Arrived(_)
        | ChainRole::Down(_)
        | ChainRole::Up(_)
        | ChainRole::Own(_)
        | ChainRole::Line(_)
        | ChainRole::Hand(_)
        | ChainRole::Traffic(_)
        | ChainRole::Forward
        | ChainRole::Block { .. }
        | ChainRole::Rejected(_) => None,
    }
}

fn compare_chains(
    changes: &mut Changes,
    purpose: &Purpose,
    old: Option<&Chain>,
    new: Option<&Chain>,
) {
    // The entry of blocks comes and goes with them.
    let entry = *purpose == Purpose::Named(ChainRole::Forward.name());
    if old == new || (entry && (old.is_none() || new.is_none())) {
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
        let lines = chain.map_or(&[][..], |chain| &chain.lines).iter();
        let lines = lines.filter(|line| leads_to_block(line).is_none());
        lines.map(without_digest).collect()
    };
    let (old, new) = (lines(old), lines(new));
    let fate = Fate::of(&old, &new);

    let of_line = |line: &Line| match line {
        Line::Rule(rule) => {
            let target = rule.action().target().and_then(target);
            target.or_else(|| owner.clone())
        }
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
    let action = rule.action().leading(|chain| match ChainRole::of(chain) {
        Some(ChainRole::Classes { of, direction, .. }) => ChainRole::Classes {
            of,
            direction,
            digest: 0,
        }
        .name(),
        _ => chain.clone(),
    });
    Line::Rule(rule.clone().doing(action))
}

fn compare_maps(sides: &mut Sides, old: &Table, new: &Table) {
    let mut note = |from: &Table, to: &Table, side: fn(&mut RuleChanges) -> &mut Vec<String>| {
        // In whichever of the maps of a circuit's sites a prefix stands, it leads to the same.
        let mut others: BTreeMap<MapName, Vec<&VerdictMap>> = BTreeMap::new();
        for (name, map) in &to.maps {
            others.entry(name.whole()).or_default().push(map);
        }
        for (name, map) in &from.maps {
            if to.maps.get(name) == Some(map) {
                continue;
            }
            let others = others.get(&name.whole()).map_or(&[][..], Vec::as_slice);
            for (element, verdict) in &map.elements {
                let mut there = others.iter().map(|other| other.elements.get(element));
                if there.any(|there| there == Some(verdict)) {
                    continue;
                }
                let chain = verdict.target();
                let key = chain.and_then(|chain| owner(&purpose(chain)));
                let text = tell::element(name, element, verdict);
                let changes = sides.of(name.direction());
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
    use crate::model::filter::{Action, Field, Memory, Range, Rule, Values};

    fn rule(port: u128, to: &str) -> Rule {
        let criteria = [
            (Field::Transport, Values::of([6])),
            (Field::Service, Values::of([port])),
        ];
        Rule::new(criteria, None, Action::Goto(ChainName::new(to)))
    }

    fn table(rules: impl IntoIterator<Item = Rule>) -> Table {
        let of: NodeKey = "wan".parse().unwrap();
        let direction = Direction::Up;
        let digest = 0;
        let name = ChainRole::Classes {
            of,
            direction,
            digest,
        }
        .name();
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
    #[test]
    fn what_changes_for_both_directions_is_told_once() {
        let table = |up: u128, down: u128| {
            let mut table = table([rule(up, "wan.class.web")]);
            let role = ChainRole::Classes {
                of: "wan".parse().unwrap(),
                direction: Direction::Down,
                digest: 0,
            };
            let chain = Chain::of([rule(down, "wan.class.web/down")]);
            table.chains.insert(role.name(), chain);
            table.name_by_content();
            table
        };
        let told = |before: &Table, after: &Table| {
            let mut changes = before.changes_to(after);
            let change = changes.remove(&key("wan.class.web")).unwrap();
            assert!(changes.is_empty(), "{changes:?}");
            (change.removed, change.added)
        };
        let words = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(
            told(&table(80, 80), &table(443, 443)),
            (words(&["service tcp/80"]), words(&["service tcp/443"]))
        );
        assert_eq!(
            told(&table(80, 80), &table(80, 443)),
            (
                words(&["down: service tcp/80"]),
                words(&["down: service tcp/443"])
            )
        );
        assert_eq!(
            told(&table(80, 80), &table(443, 25)),
            (
                words(&["service tcp/80"]),
                words(&["service tcp/443", "down: service tcp/25"])
            )
        );
    }

    #[test]
    fn marks_and_replies_are_told_in_words() {
        let mask = crate::model::circuit::MarkMask::UPPER_16;
        let ef = crate::model::class::Dscp::new(46).unwrap();
        let name = |text: &str| ChainName::new(text);
        let minor = |minor| crate::model::state::Minor::new(minor).unwrap();
        let table = |number| Table {
            chains: BTreeMap::from([
                (
                    name("wan.class.web/down"),
                    Chain::of([Rule::always(Action::Mark {
                        mask,
                        minor: minor(number),
                    })]),
                ),
                (
                    name("wan.classes.0000000000000001/down"),
                    Chain::of([Rule::new(
                        [
                            (Field::Direction, Values::of([u128::from(number) % 2])),
                            (Field::Label, Values::of([110])),
                        ],
                        None,
                        Action::Goto(name("wan.class.web/down")),
                    )]),
                ),
                (
                    name("remember"),
                    Chain::of([Rule::always(if number == 0x15 {
                        Action::Remember(Memory::Dscp(ef))
                    } else {
                        Action::Unmark(mask)
                    })]),
                ),
            ]),
            ..Table::default()
        };
        let mut changes = table(0x15).changes_to(&table(0x16));
        let change = changes.remove(&key("wan.class.web")).unwrap();
        assert_eq!(
            change.removed,
            [
                "down: direction reply, connection with dscp ef",
                "down: mark 0x00150000/0xffff0000"
            ]
        );
        assert_eq!(
            change.added,
            [
                "down: direction original, connection with dscp ef",
                "down: mark 0x00160000/0xffff0000"
            ]
        );
        let change = changes.remove(&None).unwrap();
        assert_eq!(change.removed, ["all that is left → dscp ef remembered"]);
        assert_eq!(change.added, ["all that is left → mark 0/0xffff0000"]);
    }
}
