//! What a table does with one packet: its chains walked as the kernel walks them.
//!
//! So what is told of a packet is told by the very table that is loaded, and cannot say anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::fields::{Field, number_of_device};
use super::memory::Memory;
use super::names::{ChainName, CounterName, MapName};
use super::rule::{Action, Answer, LookupKey, Rule};
use super::values::Values;
use super::{Element, Hook, Line, Table, Verdict};
use crate::model::circuit::MarkMask;
use crate::model::names::DeviceName;
use crate::model::state::{ClassId, Minor};

/// The kernel goes no deeper (`NFT_JUMP_STACK_SIZE` of `net/netfilter/nf_tables.h`), and takes no table that would.
const DEEPEST: usize = 16;

/// What a packet shows to the rules of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packet {
    shows: BTreeMap<Field, BTreeSet<u128>>,
    answerer: Option<IpAddr>,
    mark: u32,
    limits: Limits,
}

/// Whether rules with a limit take a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Limits {
    /// There is room in each.
    #[default]
    Within,
    /// Each is used up.
    Beyond,
}

impl Packet {
    /// The same packet, that shows `value` as `field`. It shows nothing of a field that it was not given: a rule that
    /// asks for that does not take it.
    #[must_use]
    pub fn showing(mut self, field: Field, value: u128) -> Self {
        self.shows.insert(field, BTreeSet::from([value]));
        self
    }

    /// The same packet, on its way from one device to another, as far as they are known; what this host itself sends
    /// came by none.
    #[must_use]
    pub fn passing(self, arrival: Option<&DeviceName>, departure: Option<&DeviceName>) -> Self {
        let devices = [(Field::Arrival, arrival), (Field::Departure, departure)];
        devices
            .into_iter()
            .filter_map(|(field, device)| Some((field, number_of_device(device?))))
            .fold(self, |packet, (field, device)| {
                packet.showing(field, device)
            })
    }

    /// The same packet, of a connection in which `answerer` replies (`ct reply saddr`).
    #[must_use]
    pub const fn answered_by(mut self, answerer: IpAddr) -> Self {
        self.answerer = Some(answerer);
        self
    }

    /// The same packet, of a connection that remembers `memories`.
    #[must_use]
    pub fn remembering(mut self, memories: &[Memory]) -> Self {
        for memory in memories {
            self.remember(*memory);
        }
        self
    }

    /// The same packet, where limits are like that.
    #[must_use]
    pub const fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    fn remember(&mut self, memory: Memory) {
        let labels = self.shows.entry(Field::Label).or_default();
        labels.insert(memory.label().into());
    }

    fn meets(&self, rule: &Rule) -> bool {
        let room = rule.limit().is_none() || self.limits == Limits::Within;
        room && rule.criteria().iter().all(|(field, asked)| {
            if let Field::Mark(mask) = field {
                return has(asked, mask.number(self.mark).into());
            }
            let mut shown = self.shows.get(field).into_iter().flatten();
            shown.any(|value| has(asked, *value))
        })
    }

    fn shown(&self, field: Field) -> Option<u128> {
        self.shows.get(&field)?.first().copied()
    }

    /// Whether what a map is asked with is what stands in that element.
    fn is_in(&self, element: &Element, key: LookupKey) -> bool {
        let is =
            |field: Field, device: &DeviceName| self.shown(field) == Some(number_of_device(device));
        let device = if key == LookupKey::Arrival {
            Field::Arrival
        } else {
            Field::Departure
        };
        match element {
            Element::Device(name) => is(device, name),
            Element::Pair(arrival, departure) => {
                is(Field::Arrival, arrival) && is(Field::Departure, departure)
            }
            Element::Addresses4(range) | Element::Addresses6(range) => self
                .address(key)
                .is_some_and(|address| range.first() <= address && address <= range.last()),
        }
    }

    fn address(&self, key: LookupKey) -> Option<u128> {
        match key {
            LookupKey::Device | LookupKey::Arrival | LookupKey::Pair => None,
            LookupKey::Source4 => self.shown(Field::Source4),
            LookupKey::Source6 => self.shown(Field::Source6),
            LookupKey::Opener4 => self.shown(Field::From4),
            LookupKey::Opener6 => self.shown(Field::From6),
            LookupKey::Destination4 => self.shown(Field::Destination4),
            LookupKey::Destination6 => self.shown(Field::Destination6),
            LookupKey::Answerer4 => match self.answerer? {
                IpAddr::V4(address) => Some(u32::from(address).into()),
                IpAddr::V6(_) => None,
            },
            LookupKey::Answerer6 => match self.answerer? {
                IpAddr::V6(address) => Some(address.into()),
                IpAddr::V4(_) => None,
            },
        }
    }
}

fn has(values: &Values, value: u128) -> bool {
    let ranges = values.ranges();
    let after = ranges.partition_point(|range| range.first() <= value);
    let before = after.checked_sub(1).and_then(|index| ranges.get(index));
    before.is_some_and(|range| value <= range.last())
}

/// A rule that took a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'t> {
    /// The chain in which it stands.
    pub chain: &'t ChainName,
    /// The rule.
    pub rule: &'t Rule,
    /// The chain to which it led by a map; `None` of a rule that asks none, or found nothing in it.
    pub found: Option<&'t ChainName>,
}

/// What came of a packet at one point of its way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walk<'t> {
    /// The rules that took it, in order.
    pub steps: Vec<Step<'t>>,
    /// The class of the tree on the device that it leaves by.
    pub class: Option<ClassId>,
    /// The class of the tree for what arrived.
    pub mark: Option<Minor>,
    /// What its connection remembers from now on.
    pub remembered: Vec<Memory>,
    /// How who sent it was told that it goes no further, and what counted it.
    pub rejected: Option<(Answer, &'t CounterName)>,
}

/// Whether a packet goes on in the chain from which it was sent into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Goes,
    Stops,
}

impl Table {
    /// Leads `packet` through all chains at a point of its way (`forward`, `postrouting`), in the order of their
    /// priorities. What the chains change of it holds afterwards.
    pub fn walk<'t>(&'t self, point: &str, packet: &mut Packet) -> Walk<'t> {
        let at = |hook: &&Hook| hook.point == point;
        let mut bases: Vec<(i32, &ChainName)> = self
            .chains
            .iter()
            .filter_map(|(name, chain)| {
                let hook = chain.hook.as_ref().filter(at)?;
                Some((hook.priority, name))
            })
            .collect();
        bases.sort_unstable();
        let mut walk = Walk::default();
        for (_, name) in bases {
            if self.lead(name, packet, &mut walk, 0) == On::Stops {
                break;
            }
        }
        walk
    }

    fn lead<'t>(
        &'t self,
        name: &ChainName,
        packet: &mut Packet,
        walk: &mut Walk<'t>,
        depth: usize,
    ) -> On {
        let chain = self.chains.get_key_value(name);
        let Some((name, chain)) = chain.filter(|_| depth < DEEPEST) else {
            return On::Goes;
        };
        for line in &chain.lines {
            let Line::Rule(rule) = line else { continue };
            if !packet.meets(rule) {
                continue;
            }
            let looked_up = if let Action::Lookup(key, map) = rule.action() {
                self.found(*key, map, packet)
            } else {
                None
            };
            walk.steps.push(Step {
                chain: name,
                rule,
                found: looked_up.and_then(Verdict::target),
            });
            match rule.action() {
                Action::Goto(to) => return self.lead(to, packet, walk, depth + 1),
                Action::Jump(to) => {
                    if self.lead(to, packet, walk, depth + 1) == On::Stops {
                        return On::Stops;
                    }
                }
                Action::Lookup(..) => match looked_up {
                    Some(Verdict::Goto(to)) => return self.lead(to, packet, walk, depth + 1),
                    Some(Verdict::Jump(to)) => {
                        if self.lead(to, packet, walk, depth + 1) == On::Stops {
                            return On::Stops;
                        }
                    }
                    Some(Verdict::Foreign(_)) | None => {}
                },
                Action::Priority(class) => walk.class = Some(*class),
                Action::Mark { mask, minor } => {
                    walk.mark = Some(*minor);
                    packet.mark = set(packet.mark, *mask, minor.get().into());
                }
                Action::Unmark(mask) => packet.mark = set(packet.mark, *mask, 0),
                Action::Remember(memory) => {
                    walk.remembered.push(*memory);
                    packet.remember(*memory);
                }
                Action::Reject { answer, counter } => {
                    walk.rejected = Some((*answer, counter));
                    return On::Stops;
                }
                Action::Return => return On::Goes,
                Action::Continue => {}
            }
        }
        On::Goes
    }

    fn found(&self, key: LookupKey, map: &MapName, packet: &Packet) -> Option<&Verdict> {
        let map = self.maps.get(map)?;
        let mut elements = map.elements.iter();
        let found = elements.find(|(element, _)| packet.is_in(element, key));
        found.map(|(_, verdict)| verdict)
    }
}

/// `mark` with `number` in the bits of `mask`.
fn set(mark: u32, mask: MarkMask, number: u32) -> u32 {
    (mark & mask.others()) | mask.holding(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::{Chain, Limit};

    fn name(chain: &str) -> ChainName {
        ChainName::new(chain)
    }

    fn class(minor: u16) -> ClassId {
        ClassId {
            major: crate::model::state::Major::new(0x7a01).unwrap(),
            minor: Minor::new(minor).unwrap(),
        }
    }

    fn asking(field: Field, value: u128, action: Action) -> Rule {
        Rule::new([(field, Values::of([value]))], None, action)
    }

    /// A table whose chain at `forward` has these rules, beside other chains.
    fn table(base: Vec<Rule>, others: Vec<(&str, Vec<Rule>)>) -> Table {
        let mut table = Table::default();
        let mut chain = Chain::of(base);
        chain.hook = Some(Hook {
            kind: "filter".to_owned(),
            point: "forward".to_owned(),
            priority: 0,
            policy: "accept".to_owned(),
        });
        table.chains.insert(name("base"), chain);
        for (other, rules) in others {
            table.chains.insert(name(other), Chain::of(rules));
        }
        table
    }

    fn lands(table: &Table, packet: Packet) -> Option<u16> {
        let walk = table.walk("forward", &mut packet.clone());
        assert!(table.walk("input", &mut packet.clone()).steps.is_empty());
        walk.class.map(|class| class.minor.get())
    }

    #[test]
    fn a_jump_comes_back_and_a_goto_does_not() {
        let last = |minor| Rule::always(Action::Priority(class(minor)));
        let back = || vec![asking(Field::Transport, 6, Action::Return), last(0x20)];
        let tcp = || Packet::default().showing(Field::Transport, 6);
        let jumping = table(
            vec![Rule::always(Action::Jump(name("x"))), last(0x10)],
            vec![("x", back())],
        );
        assert_eq!(lands(&jumping, tcp()), Some(0x10));
        let going = table(
            vec![Rule::always(Action::Goto(name("x"))), last(0x10)],
            vec![("x", back())],
        );
        assert_eq!(lands(&going, tcp()), None);
        assert_eq!(
            lands(&going, tcp().showing(Field::Transport, 17)),
            Some(0x20)
        );
        // A chain that leads to itself, which the kernel does not take, ends all the same.
        let round = table(vec![Rule::always(Action::Jump(name("base")))], vec![]);
        assert_eq!(lands(&round, tcp()), None);
    }

    #[test]
    fn what_a_packet_does_not_show_no_rule_takes() {
        let rule = |field, value| {
            table(
                vec![asking(field, value, Action::Priority(class(0x10)))],
                vec![],
            )
        };
        let packet = || Packet::default().showing(Field::Source4, 7);
        assert_eq!(lands(&rule(Field::Source4, 7), packet()), Some(0x10));
        assert_eq!(lands(&rule(Field::Source4, 8), packet()), None);
        assert_eq!(lands(&rule(Field::Source6, 7), packet()), None);
        let own = Memory::Own.label().into();
        assert_eq!(lands(&rule(Field::Label, own), packet()), None);
        let known = packet().remembering(&[Memory::Own]);
        assert_eq!(lands(&rule(Field::Label, own), known), Some(0x10));
    }

    #[test]
    fn a_limit_that_is_used_up_takes_nothing() {
        let limit = Limit {
            bytes_per_second: 1,
            burst: 1,
        };
        let limited = Rule::new([], Some(limit), Action::Priority(class(0x10)));
        let table = table(vec![limited], vec![]);
        assert_eq!(lands(&table, Packet::default()), Some(0x10));
        assert_eq!(
            lands(&table, Packet::default().limited(Limits::Beyond)),
            None
        );
    }
}
