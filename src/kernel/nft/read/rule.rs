//! One rule, read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::text::{Cursor, END};
use super::mark;
use crate::model::filter::{
    Action, Answer, ChainName, CounterName, Field, Limit, LookupKey, MapName, Memory, Range, Rule,
    Values, number, read_class_id,
};
use crate::model::state::Minor;

/// The rule, where it says only what rules of ours can say.
pub(super) fn parse(statement: &[&str]) -> Option<Rule> {
    let tokens: Vec<&str> = statement
        .iter()
        .copied()
        .filter(|token| *token != END)
        .collect();
    let mut reader = Reader {
        cursor: Cursor::new(&tokens),
        criteria: BTreeMap::new(),
        limit: None,
    };
    let action = loop {
        if let Some(action) = reader.part()? {
            break action;
        }
    };
    let Reader {
        mut cursor,
        criteria,
        limit,
    } = reader;
    let note = cursor
        .take("comment")
        .then(|| cursor.next())
        .flatten()
        .map(|note| note.trim_matches('"').to_owned());
    cursor
        .peek()
        .is_none()
        .then(|| Rule::new(criteria, limit, action).noted(note))
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    criteria: BTreeMap<Field, Values>,
    limit: Option<Limit>,
}

const TCP: u128 = 6;
const UDP: u128 = 17;

impl Reader<'_> {
    /// Reads the next part: an action ends the rule. The outer `None` is for what is not ours.
    fn part(&mut self) -> Option<Option<Action>> {
        let word = self.cursor.next()?;
        match word {
            "goto" => {
                let chain = ChainName::new(self.cursor.next()?);
                return Some(Some(Action::Goto(chain)));
            }
            "jump" => {
                let chain = ChainName::new(self.cursor.next()?);
                return Some(Some(Action::Jump(chain)));
            }
            "return" => return Some(Some(Action::Return)),
            "continue" => return Some(Some(Action::Continue)),
            "counter" if self.cursor.take("name") => return self.rejection().map(Some),
            "counter" => self.counter()?,
            "limit" => self.limit()?,
            "oifname" if self.asks_map() => return self.lookup(LookupKey::Device).map(Some),
            "oifname" => self.criterion(Field::Departure)?,
            "iifname" if self.asks_map() => {
                return self.lookup(LookupKey::Arrival).map(Some);
            }
            "iifname" if self.cursor.take(".") => {
                self.cursor.expect(&["oifname"])?;
                return self.lookup(LookupKey::Pair).map(Some);
            }
            "iifname" => self.criterion(Field::Arrival)?,
            "fib" => {
                self.cursor.expect(&["saddr"])?;
                let there = self.cursor.take_all(&[".", "oif"]);
                self.cursor.expect(&["type"])?;
                self.criterion(if there {
                    Field::SourceTypeThere
                } else {
                    Field::SourceType
                })?;
            }
            "meta" => match self.cursor.next()? {
                "l4proto" => self.criterion(Field::Transport)?,
                "nfproto" => self.criterion(Field::Family)?,
                "priority" => {
                    self.cursor.expect(&["set"])?;
                    let id = read_class_id(self.cursor.next()?)?;
                    return Some(Some(Action::Priority(id)));
                }
                "mark" if self.cursor.take("set") => {
                    let (mask, number) = mark::set(&mut self.cursor)?;
                    return Some(Some(match number {
                        0 => Action::Unmark(mask),
                        _ => Action::Mark {
                            mask,
                            minor: Minor::new(u16::try_from(number).ok()?)?,
                        },
                    }));
                }
                "mark" => self.mark()?,
                _ => return None,
            },
            "ct" => return self.connection(),
            "ip" => match self.cursor.next()? {
                "saddr" if self.asks_map() => {
                    return self.lookup(LookupKey::Source4).map(Some);
                }
                "saddr" => self.criterion(Field::Source4)?,
                "dscp" => self.criterion(Field::Dscp4)?,
                "daddr" if self.asks_map() => {
                    return self.lookup(LookupKey::Destination4).map(Some);
                }
                "daddr" => self.criterion(Field::Destination4)?,
                _ => return None,
            },
            "ip6" => match self.cursor.next()? {
                "saddr" if self.asks_map() => {
                    return self.lookup(LookupKey::Source6).map(Some);
                }
                "saddr" => self.criterion(Field::Source6)?,
                "dscp" => self.criterion(Field::Dscp6)?,
                "daddr" if self.asks_map() => {
                    return self.lookup(LookupKey::Destination6).map(Some);
                }
                "daddr" => self.criterion(Field::Destination6)?,
                _ => return None,
            },
            "th" | "tcp" | "udp" => self.ports(word)?,
            "icmpv6" => {
                self.cursor.expect(&["type"])?;
                self.criterion(Field::Icmp6Type)?;
            }
            _ => return None,
        }
        Some(None)
    }

    /// Whether a map is asked, with what stands before or with its network.
    fn asks_map(&self) -> bool {
        matches!(self.cursor.peek(), Some("vmap" | "&"))
    }

    /// `name "blocked.web" reject with tcp reset`: who asks for anything later would count too much.
    fn rejection(&mut self) -> Option<Action> {
        let counter = CounterName::new(self.cursor.next()?.trim_matches('"'));
        self.cursor.expect(&["reject", "with"])?;
        let answer = match self.cursor.next()? {
            "tcp" => {
                self.cursor.expect(&["reset"])?;
                Answer::Reset
            }
            "icmpx" => {
                self.cursor.take("type");
                match self.cursor.next()? {
                    "admin-prohibited" | "3" => Answer::Prohibited,
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(Action::Reject { answer, counter })
    }

    /// `vmap @wan.sites4`, or `& 255.255.255.0 vmap @wan.sites4-24`: asked in another way than it is to be, a map
    /// is asked by none of ours.
    fn lookup(&mut self, key: LookupKey) -> Option<Action> {
        let mask = match self.cursor.take("&") {
            true => Some(self.cursor.next()?.parse::<IpAddr>().ok()?),
            false => None,
        };
        self.cursor.expect(&["vmap"])?;
        let map = MapName::new(self.cursor.next()?.strip_prefix('@')?);
        (key.mask(&map) == mask).then_some(Action::Lookup(key, map))
    }

    fn connection(&mut self) -> Option<Option<Action>> {
        match self.cursor.next()? {
            "state" => self.criterion(Field::State)?,
            "direction" => self.criterion(Field::Direction)?,
            "label" if self.cursor.take("set") => {
                let label = number(self.cursor.next()?)?;
                return Some(Some(Action::Remember(Memory::of(label)?)));
            }
            "label" => self.criterion(Field::Label)?,
            "reply" => {
                let key = match self.cursor.next()? {
                    "ip" => LookupKey::Answerer4,
                    "ip6" => LookupKey::Answerer6,
                    _ => return None,
                };
                self.cursor.expect(&["saddr"])?;
                return self.lookup(key).map(Some);
            }
            "original" => {
                let field = match self.cursor.next()? {
                    "proto-dst" => Field::Service,
                    "ip" => self.either(Field::From4, Field::To4)?,
                    "ip6" => self.either(Field::From6, Field::To6)?,
                    _ => return None,
                };
                match (field, self.cursor.peek()) {
                    (Field::From4, Some("vmap" | "&")) => {
                        return self.lookup(LookupKey::Opener4).map(Some);
                    }
                    (Field::From6, Some("vmap" | "&")) => {
                        return self.lookup(LookupKey::Opener6).map(Some);
                    }
                    _ => self.criterion(field)?,
                }
            }
            _ => return None,
        }
        Some(None)
    }

    /// What certain bits of the mark say.
    fn mark(&mut self) -> Option<()> {
        let (mask, values) = mark::compared(&mut self.cursor)?;
        self.add(Field::Mark(mask), values)
    }

    fn either(&mut self, source: Field, destination: Field) -> Option<Field> {
        match self.cursor.next()? {
            "saddr" => Some(source),
            "daddr" => Some(destination),
            _ => None,
        }
    }

    /// `tcp dport` is printed for `meta l4proto tcp th dport`.
    fn ports(&mut self, transport: &str) -> Option<()> {
        let field = match self.cursor.next()? {
            "sport" => Field::SourcePort,
            "dport" => Field::DestinationPort,
            _ => return None,
        };
        let transport = match transport {
            "tcp" => Some(TCP),
            "udp" => Some(UDP),
            _ => None,
        };
        if let Some(transport) = transport.map(|number| Values::of([number]))
            && self
                .criteria
                .insert(Field::Transport, transport.clone())
                .is_some_and(|before| before != transport)
        {
            return None;
        }
        self.criterion(field)
    }

    /// The values of a field. A limit counts what the criteria before it let pass, so none may follow.
    fn criterion(&mut self, field: Field) -> Option<()> {
        let values = self.values(field)?;
        self.add(field, values)
    }

    fn add(&mut self, field: Field, values: Values) -> Option<()> {
        let fresh = self.criteria.insert(field, values).is_none();
        (fresh && self.limit.is_none()).then_some(())
    }

    fn values(&mut self, field: Field) -> Option<Values> {
        let kind = field.kind();
        let mut ranges: Vec<Range> = Vec::new();
        if let Some(block) = self
            .cursor
            .peek()
            .filter(|token| *token == "{")
            .and_then(|_| self.cursor.block())
        {
            for element in block.split(|token| *token == ",") {
                match element {
                    [value] => ranges.push(kind.read(value)?),
                    _ => return None,
                }
            }
        } else {
            ranges.push(kind.read(self.cursor.next()?)?);
            while self.cursor.take(",") {
                ranges.push(kind.read(self.cursor.next()?)?);
            }
        }
        Some(Values::new(ranges))
    }

    /// `limit rate 64 kbytes/second burst 64 kbytes`.
    fn limit(&mut self) -> Option<()> {
        self.cursor.expect(&["rate"])?;
        let rate: u64 = self.cursor.next()?.parse().ok()?;
        let unit = self.cursor.next()?.strip_suffix("/second")?;
        let bytes_per_second = rate.checked_mul(self::unit(unit)?)?;
        self.cursor.expect(&["burst"])?;
        let burst: u64 = self.cursor.next()?.parse().ok()?;
        let burst = burst.checked_mul(self::unit(self.cursor.next()?)?)?;
        let limit = Limit {
            bytes_per_second,
            burst,
        };
        self.limit.replace(limit).is_none().then_some(())
    }

    /// `counter packets 1 bytes 2`, or without figures: it changes nothing.
    fn counter(&mut self) -> Option<()> {
        for word in ["packets", "bytes"] {
            if self.cursor.take(word) {
                self.cursor.next()?;
            }
        }
        Some(())
    }
}

fn unit(unit: &str) -> Option<u64> {
    match unit {
        "bytes" => Some(1),
        "kbytes" => Some(1 << 10),
        "mbytes" => Some(1 << 20),
        _ => None,
    }
}
