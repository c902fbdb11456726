//! Walking tables along their descriptions: what every table's reader shares.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::Source;
use super::document::{Raw, Value};
use super::fault::{At, Lines, Log, RawFault};
use super::spec::{Key, Kind, Need, Shape, Spec, nearest};
pub(super) use super::table::{Item, State, Table, Written, items, shorten};
use crate::model::class::PortRange;
use crate::model::names::{NAME_RULE, Origin, is_name};

/// So many faults are told with the name that was likely meant: to look for it among ten thousand
/// takes a while.
const HINTS: usize = 200;

/// What has been learned on the way through the files.
#[derive(Debug)]
pub(super) struct Cx<'t> {
    /// What is wrong.
    pub(super) log: Log,
    /// The names that are defined, whether or not their tables are good: a class with a fault in
    /// it is no reason to call its name unknown elsewhere.
    pub(super) names: BTreeMap<Kind, BTreeMap<&'t str, At>>,
    /// The names that something refers to.
    pub(super) used: BTreeSet<(Kind, &'t str)>,
    /// The host's zone.
    pub(super) zone: Option<TimeZone>,
    /// The prefixes of each group that could be read.
    pub(super) groups: BTreeMap<&'t str, Vec<IpNet>>,
    /// The ports of each defined service that could be read.
    pub(super) services: BTreeMap<&'t str, Vec<PortRange>>,
    sources: &'t [Source],
    lines: Vec<Lines<'t>>,
}

impl<'t> Cx<'t> {
    pub(super) fn new(sources: &'t [Source], log: Log) -> Self {
        Self {
            log,
            names: BTreeMap::new(),
            used: BTreeSet::new(),
            zone: None,
            groups: BTreeMap::new(),
            services: BTreeMap::new(),
            sources,
            lines: sources
                .iter()
                .map(|source| Lines::of(&source.text))
                .collect(),
        }
    }

    /// Where something was written, as the policy remembers it.
    pub(super) fn origin(&self, at: At) -> Origin {
        let position = match self.lines.get(at.file) {
            Some(lines) => lines.position(at),
            None => Lines::of("").position(at),
        };
        Origin {
            file: self
                .sources
                .get(at.file)
                .map_or_else(|| "?".into(), |source| source.name.clone()),
            line: position.line,
            column: position.column,
            start: position.span.start,
            end: position.span.end,
        }
    }

    /// A table of a named thing, along its description, and what `read` makes of it.
    pub(super) fn written<T>(
        &mut self,
        item: Item<'t>,
        kind: Kind,
        spec: &'static Spec,
        read: impl FnOnce(&mut Self, &Table<'t>) -> Option<T>,
    ) -> Option<Written<'t, T>> {
        let before = self.log.count();
        let who = format!("{kind} `{}`", shorten(item.name));
        let table = self.table(item, spec, who)?;
        let value = read(self, &table)?;
        let state = if self.log.count() == before {
            State::Sound
        } else {
            State::Faulty
        };
        Some(Written {
            value,
            table,
            state,
        })
    }

    /// Notes that `message` is wrong at `at`.
    pub(super) fn fault(&mut self, at: At, message: impl Into<String>) -> &mut RawFault {
        self.log.fault(at, message)
    }

    /// A fault in the words of an error that says "what; what to do".
    pub(super) fn error(&mut self, item: Item<'_>, error: &impl Display) {
        let text = error.to_string();
        match text.split_once("; ") {
            Some((message, help)) => self.fault(item.at, message).help(help),
            None => self
                .fault(item.at, text)
                .help(format!("write for example {}", item.shape.example())),
        };
    }

    /// A value of another type than its key takes.
    pub(super) fn wrong_type(&mut self, item: Item<'_>) {
        let found = match item.value {
            Value::String(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        };
        let help = match (item.shape, item.value) {
            (Shape::Rate | Shape::Rates | Shape::Amounts, Value::Integer(number)) => {
                format!("a rate needs a unit, in quotes: \"{number}mbit\"")
            }
            (Shape::List(_), Value::String(_) | Value::Table(_)) => {
                "put it between [ and ]".to_owned()
            }
            (Shape::Map(kind, Shape::Table(_)), _) => {
                format!("write [{kind}.NAME], one table for each")
            }
            (Shape::Table(_), Value::Array(_)) => {
                format!("write [{}] with single brackets", item.name)
            }
            _ => format!("write for example {}", item.shape.example()),
        };
        let message = format!("`{}` is {}, not {found}", item.name, item.shape.words());
        self.fault(item.at, message).help(help);
    }

    /// The known name that is most likely meant; none any more where so much is wrong that nobody
    /// will be told, since looking costs.
    pub(super) fn nearest<'k>(
        &self,
        written: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<&'k str> {
        if self.log.count() >= HINTS {
            return None;
        }
        nearest(written, known)
    }

    /// A text.
    pub(super) fn text(&mut self, item: Item<'t>) -> Option<&'t str> {
        if let Value::String(text) = item.value {
            return Some(text);
        }
        self.wrong_type(item);
        None
    }

    /// Where a part of a text stands in its file; the whole where it was written with escapes, or over several lines.
    pub(super) fn within(&self, whole: At, text: &str, part: Range<usize>) -> At {
        let source = self.sources.get(whole.file);
        let written = source.and_then(|source| source.text.get(whole.start..whole.end));
        let inner = written.and_then(|written| written.get(1..written.len().checked_sub(1)?));
        if part.is_empty() || inner != Some(text) {
            return whole;
        }
        At {
            start: whole.start + 1 + part.start,
            end: whole.start + 1 + part.end,
            ..whole
        }
    }

    /// A text that reads as a `T`.
    pub(super) fn parse<T: FromStr<Err: Display>>(&mut self, item: Item<'t>) -> Option<T> {
        let text = self.text(item)?;
        text.parse().map_err(|error| self.error(item, &error)).ok()
    }

    /// One of the words that the key's shape names, with its index among them.
    pub(super) fn choice(&mut self, item: Item<'t>) -> Option<&'static str> {
        let Shape::Choice(words) = item.shape else {
            return None;
        };
        let text = self.text(item)?;
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Some(word);
        }
        let help = match nearest(text, words.iter().copied()) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("write {}", item.shape.example()),
        };
        let message = format!("`{}` is {}", item.name, item.shape.words());
        self.fault(item.at, message).help(help);
        None
    }

    /// True or false.
    pub(super) fn boolean(&mut self, item: Item<'t>) -> Option<bool> {
        if let Value::Boolean(value) = item.value {
            return Some(*value);
        }
        self.wrong_type(item);
        None
    }

    /// A whole number within the bounds that the key's shape names.
    pub(super) fn integer(&mut self, item: Item<'t>) -> Option<i64> {
        let Value::Integer(number) = item.value else {
            self.wrong_type(item);
            return None;
        };
        let (least, most) = if let Shape::Integer(least, most) = item.shape {
            (least, most)
        } else {
            (i64::MIN, i64::MAX)
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if (least..=most).contains(&value) => Some(value),
            _ => {
                let message = format!("{number} is out of range for `{}`", item.name);
                self.fault(item.at, message)
                    .help(format!("write a number from {least} to {most}"));
                None
            }
        }
    }

    /// The items of a list that may not be empty.
    pub(super) fn list(&mut self, item: Item<'t>) -> Option<Vec<Item<'t>>> {
        let (Value::Array(values), Shape::List(inner)) = (item.value, item.shape) else {
            self.wrong_type(item);
            return None;
        };
        if values.is_empty() {
            self.fault(item.at, format!("`{}` is empty", item.name))
                .help(format!(
                    "write {}, or leave the key out",
                    item.shape.example()
                ));
            return None;
        }
        let items = values.iter().map(|value| Item {
            name: item.name,
            key_at: item.key_at,
            at: At::new(item.at.file, &value.span()),
            value: value.get_ref(),
            shape: *inner,
        });
        Some(items.collect())
    }

    /// What `read` makes of each item of a list; the good ones, with their places.
    pub(super) fn each<T>(
        &mut self,
        item: Item<'t>,
        mut read: impl FnMut(&mut Self, Item<'t>) -> Option<T>,
    ) -> Vec<(T, At)> {
        let items = self.list(item).unwrap_or_default();
        items
            .into_iter()
            .filter_map(|item| Some((read(self, item)?, item.at)))
            .collect()
    }

    /// The keys and values of a table of named things, in the order of the text.
    pub(super) fn entries(&mut self, item: Item<'t>) -> Vec<Item<'t>> {
        let (Value::Table(table), Shape::Map(_, inner)) = (item.value, item.shape) else {
            self.wrong_type(item);
            return Vec::new();
        };
        items(table, item.at.file, |_| *inner)
    }

    /// A table along its description.
    pub(super) fn table(
        &mut self,
        item: Item<'t>,
        spec: &'static Spec,
        who: String,
    ) -> Option<Table<'t>> {
        let Value::Table(table) = item.value else {
            self.wrong_type(item);
            return None;
        };
        Some(self.keys(table, item.key_at, spec, who))
    }

    /// Checks the keys of a table: none unknown, none missing.
    pub(super) fn keys(
        &mut self,
        table: &'t Raw<'t>,
        at: At,
        spec: &'static Spec,
        who: String,
    ) -> Table<'t> {
        let all = items(table, at.file, |name| {
            spec.key(name).map_or(Shape::Later, |key| key.shape)
        });
        let (known, unknown): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|item| spec.key(item.name).is_some());
        for item in known
            .iter()
            .filter(|item| matches!(item.shape, Shape::Later))
        {
            let message = format!("`{}` is not supported by this version", item.name);
            self.fault(item.key_at, message)
                .help("remove it; the words of a later version are refused, not ignored");
        }
        for item in unknown {
            let help = match self.nearest(item.name, spec.offered()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!(
                    "the keys are {}",
                    spec.offered().collect::<Vec<_>>().join(", ")
                ),
            };
            let message = format!("{who} has no key `{}`", shorten(item.name));
            self.fault(item.key_at, message).help(help);
        }
        let missing = |key: &&Key| {
            key.need == Need::Required && !known.iter().any(|item| item.name == key.name)
        };
        for key in spec.keys.iter().filter(missing) {
            self.fault(at, format!("{who} needs `{}`", key.name))
                .help(format!(
                    "add {}: {} = {}",
                    key.doc,
                    key.name,
                    key.shape.example()
                ));
        }
        Table::of(who, at, known)
    }

    /// The name of a thing that is defined somewhere; it counts as used.
    ///
    /// Where the definition's name is itself no name, there is a fault about it there.
    pub(super) fn refer<N: FromStr>(&mut self, item: Item<'t>, kind: Kind) -> Option<N> {
        let text = self.text(item)?;
        self.refer_text(item.at, text, kind)
    }

    /// The same for a name that was not a value of its own, such as a key.
    pub(super) fn refer_text<N: FromStr>(
        &mut self,
        at: At,
        text: &'t str,
        kind: Kind,
    ) -> Option<N> {
        let known = self.names.get(&kind);
        if known.is_some_and(|known| known.contains_key(text)) {
            self.used.insert((kind, text));
            return text.parse().ok();
        }
        let known = known
            .into_iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect::<Vec<_>>();
        let help = match (self.nearest(text, known.iter().copied()), known.as_slice()) {
            (Some(name), _) => format!("did you mean `{name}`?"),
            // To define it so would be wrong, too.
            (None, []) if !is_name(text) => format!("no {kind} is defined; {NAME_RULE}"),
            (None, []) => format!("no {kind} is defined; add [{kind}.{}]", shorten(text)),
            (None, few) if few.len() <= 8 => format!("defined are {}", few.join(", ")),
            (None, _) if !is_name(text) => NAME_RULE.to_owned(),
            (None, _) => format!("add [{kind}.{}], or correct the name", shorten(text)),
        };
        let message = format!("there is no {kind} `{}`", shorten(text));
        self.fault(at, message).help(help);
        None
    }

    /// Where a thing is defined.
    pub(super) fn defined(&self, kind: Kind, name: &str) -> Option<At> {
        self.names.get(&kind)?.get(name).copied()
    }
}
