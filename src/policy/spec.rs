//! What a table of the language may say, as data: the reader walks a file along it, and whatever
//! describes the language to others (help, a schema) is made from the same words.

use std::fmt;

/// The kinds of things that have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Circuit,
    Pool,
    Class,
    Site,
    Phase,
    Block,
    Condition,
    Group,
    Service,
    Rest,
}

impl Kind {
    /// As messages and files call it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Circuit => "circuit",
            Self::Pool => "pool",
            Self::Class => "class",
            Self::Site => "site",
            Self::Phase => "phase",
            Self::Block => "block",
            Self::Condition => "condition",
            Self::Group => "group",
            Self::Service => "service",
            Self::Rest => "rest",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// One rate.
    Rate,
    /// A rate, or one for each direction.
    Rates,
    /// A rate or a percentage, or one for each direction.
    Amounts,
    /// A stretch of time.
    Duration,
    /// A point in time.
    Date,
    /// Days and times of a week.
    Schedule,
    /// True or false.
    Bool,
    /// A whole number between two bounds, both included.
    Integer(i64, i64),
    /// A number of bits, or its text in hexadecimal.
    Mask,
    /// The name of a thing that is defined elsewhere.
    Name(Kind),
    /// The name of a device.
    Device,
    /// The name of something that no table defines: a host, an event.
    Word(&'static str),
    /// A path from the root.
    Path(&'static str),
    /// Some text; the example says which.
    Text(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A prefix, an address, or a group.
    Prefix,
    /// A service, or ports of a transport.
    Service,
    /// Ports of a transport.
    Ports,
    /// A code point by name or number.
    Dscp,
    /// Several of these.
    List(&'static Shape),
    /// A table with these keys.
    Table(&'static Spec),
    /// A table from names of that kind to such values.
    Map(Kind, &'static Shape),
    /// A prefix, or a table.
    PrefixOr(&'static Spec),
    /// Not in this version.
    Later,
}

impl Shape {
    /// In words, after "is".
    pub(super) fn words(self) -> String {
        match self {
            Self::Rate => "a rate".to_owned(),
            Self::Rates => "a rate, or one for each direction".to_owned(),
            Self::Amounts => "a rate or a percentage, or one for each direction".to_owned(),
            Self::Duration => "a duration".to_owned(),
            Self::Date => "a date".to_owned(),
            Self::Schedule => "days and times of a week".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::Mask => "a mask of bits".to_owned(),
            Self::Name(kind) => format!("the name of a {kind}"),
            Self::Device => "the name of a network device".to_owned(),
            Self::Word(_) => "a name".to_owned(),
            Self::Path(_) => "a path from the root".to_owned(),
            Self::Text(_) => "a text".to_owned(),
            Self::Choice(words) => format!("one of {}", quoted(words)),
            Self::Prefix => "a prefix, an address or an @group".to_owned(),
            Self::Service => "a service or ports".to_owned(),
            Self::Ports => "ports of a transport".to_owned(),
            Self::Dscp => "a DSCP by name or number".to_owned(),
            Self::List(inner) => format!("a list, each item {}", inner.words()),
            Self::Table(_) => "a table".to_owned(),
            Self::Map(kind, Self::Table(_)) => format!("a table for each {kind} by name"),
            Self::Map(kind, inner) => format!("a table of {kind} = {}", inner.words()),
            Self::PrefixOr(_) => "a prefix, an @group, or { from, to }".to_owned(),
            Self::Later => "not in this version".to_owned(),
        }
    }

    /// How it is written.
    pub(super) fn example(self) -> String {
        match self {
            Self::Rate => "\"40mbit\"".to_owned(),
            Self::Rates => "\"40mbit\" or { up = \"10mbit\", down = \"40mbit\" }".to_owned(),
            Self::Amounts => {
                "\"40mbit\", \"10%\" or { up = \"10mbit\", down = \"10%\" }".to_owned()
            }
            Self::Duration => "\"90s\", \"5m\" or \"1h30m\"".to_owned(),
            Self::Date => "\"2020-03-30T08:00\"".to_owned(),
            Self::Schedule => "\"mon-fri 08:00-12:00, 13:30-18:00\"".to_owned(),
            Self::Bool => "true".to_owned(),
            Self::Integer(least, _) => least.to_string(),
            Self::Mask => "\"0xffff0000\"".to_owned(),
            Self::Name(kind) => format!("\"{kind}-name\""),
            Self::Device => "\"eth0\"".to_owned(),
            Self::Word(example) | Self::Path(example) | Self::Text(example) => {
                format!("\"{example}\"")
            }
            Self::Choice(words) => quoted(words).replace(", ", " or "),
            Self::Prefix => "\"10.1.0.0/16\" or \"@group-name\"".to_owned(),
            Self::Service => "\"https\", \"tcp/443\" or \"udp/1000-2000\"".to_owned(),
            Self::Ports => "\"tcp/443\" or \"udp/1000-2000\"".to_owned(),
            Self::Dscp => "\"ef\" or 46".to_owned(),
            Self::List(inner) => {
                let inner = inner.example();
                let first = inner.split([',']).next().unwrap_or_default();
                let first = first.split(" or ").next().unwrap_or_default();
                let whole = inner.starts_with('{');
                format!("[{}]", if whole { inner.as_str() } else { first })
            }
            Self::Table(spec) => spec.example(),
            Self::Map(kind, inner) => {
                let inner = inner.example();
                let first = if inner.starts_with('{') {
                    inner.as_str()
                } else {
                    inner.split([',']).next().unwrap_or_default()
                };
                format!(
                    "{{ {kind}-name = {} }}",
                    first.split(" or ").next().unwrap_or_default()
                )
            }
            Self::PrefixOr(_) => {
                "\"203.0.113.80/32\" or { from = [\"10.1.0.0/16\"], to = [\"203.0.113.80\"] }"
                    .to_owned()
            }
            Self::Later => String::new(),
        }
    }
}

/// A list of words in quotes.
fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("\"{word}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It must.
    Required,
    /// It need not.
    Optional,
}

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// As it is written.
    pub(super) name: &'static str,
    /// Whether it must be there.
    pub(super) need: Need,
    /// What its value looks like.
    pub(super) shape: Shape,
    /// What it says, in a line.
    pub(super) doc: &'static str,
}

/// A key that must be there.
pub(super) const fn must(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        need: Need::Required,
        shape,
        doc,
    }
}

/// A key that need not be there.
pub(super) const fn may(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        need: Need::Optional,
        shape,
        doc,
    }
}

/// How many of a table's keys are given, beside those that must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// Any number, and none.
    Any,
    /// At least one.
    Some,
    /// Exactly one.
    One,
}

/// A table: its keys.
#[derive(Debug)]
pub(super) struct Spec {
    /// What it describes, in a line.
    pub(super) doc: &'static str,
    /// How many of them are given.
    pub(super) given: Given,
    /// Its keys.
    pub(super) keys: &'static [Key],
}

impl Spec {
    /// The key of that name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of the keys that may be given in this version.
    pub(super) fn offered(&self) -> impl Iterator<Item = &'static str> + Clone {
        let keys = self.keys.iter();
        keys.filter(|key| !matches!(key.shape, Shape::Later))
            .map(|key| key.name)
    }

    /// The table as it might be written in one line: what must be there, else the first key.
    fn example(&self) -> String {
        let required: Vec<&Key> = self
            .keys
            .iter()
            .filter(|key| key.need == Need::Required)
            .collect();
        let keys = if required.is_empty() {
            self.keys.iter().take(1).collect()
        } else {
            required
        };
        let parts: Vec<String> = keys
            .into_iter()
            .map(|key| {
                let example = key.shape.example();
                let first = if example.starts_with(['{', '[']) {
                    example.as_str()
                } else {
                    example.split([',']).next().unwrap_or_default()
                };
                format!(
                    "{} = {}",
                    key.name,
                    first.split(" or ").next().unwrap_or_default()
                )
            })
            .collect();
        format!("{{ {} }}", parts.join(", "))
    }
}

/// The one of `known` that is most likely meant by `written`, where one is near enough.
#[must_use]
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if written.len() > 64 {
        return None;
    }
    let lower = written.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .filter(|name| {
            let (long, short) = (name.len().max(lower.len()), name.len().min(lower.len()));
            long - short <= allowed(long)
        })
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&lower, &name.replace('_', "-"));
            (distance, name)
        })
        .filter(|(distance, name)| *distance <= allowed(name.len().max(written.len())))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters may differ in a name of that length.
const fn allowed(length: usize) -> usize {
    match length {
        0..=2 => 0,
        3..=5 => 1,
        length => length / 3,
    }
}
