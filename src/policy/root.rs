//! The top of the files: which table may stand where, who defines which name, and the host itself.

use std::collections::BTreeMap;

use super::cx::{Cx, Item, Table, items, shorten};
use super::document::{Raw, Value};
use super::fault::At;
use super::host::HOST;
use super::spec::{Given, Key, Kind, Shape, Spec, may};
use super::{class, hold, matching, phase};
use crate::model::names::{
    BlockName, CircuitName, ClassName, ConditionName, GroupName, NAME_RULE, NameError, PhaseName,
    PoolName, ServiceName, SiteName,
};

/// What any file may say.
pub(super) static POLICY: Spec = Spec {
    doc: "What should hold",
    given: Given::Any,
    keys: &[
        may(
            "policy",
            Shape::Table(&phase::POLICY),
            "the policy as a whole",
        ),
        may(
            "group",
            Shape::Map(Kind::Group, &Shape::Table(&matching::GROUP)),
            "names for prefixes",
        ),
        may(
            "service",
            Shape::Map(Kind::Service, &Shape::Table(&matching::SERVICE)),
            "names for ports",
        ),
        may(
            "class",
            Shape::Map(Kind::Class, &Shape::Table(&class::CLASS)),
            "the classes, in the order in which they match",
        ),
        may(
            "rest",
            Shape::Map(Kind::Circuit, &Shape::Table(&class::REST)),
            "what matches nothing",
        ),
        may(
            "site",
            Shape::Map(Kind::Site, &Shape::Table(&class::SITE)),
            "the branches",
        ),
        may(
            "phase",
            Shape::Map(Kind::Phase, &Shape::Table(&phase::PHASE)),
            "the phases",
        ),
        may(
            "block",
            Shape::Map(Kind::Block, &Shape::Table(&hold::BLOCK)),
            "what is rejected",
        ),
        may(
            "condition",
            Shape::Map(Kind::Condition, &Shape::Table(&hold::CONDITION)),
            "what is waited for",
        ),
        may("wave", Shape::Later, "admission in steps"),
        may("report", Shape::Later, "the daily report"),
        may("alert", Shape::Later, "alerts"),
    ],
};

/// Everything at the top of the files.
#[derive(Debug)]
pub(super) struct Root<'t> {
    /// The host's own keys.
    pub(super) host: Table<'t>,
    /// The table `[daemon]`.
    pub(super) daemon: Option<Item<'t>>,
    /// The table `[policy]`.
    pub(super) policy: Option<Item<'t>>,
    /// The tables of each kind, in the order of the files and their texts; no name twice.
    named: BTreeMap<Kind, Vec<Item<'t>>>,
}

impl<'t> Root<'t> {
    /// The tables of a kind.
    pub(super) fn of(&self, kind: Kind) -> &[Item<'t>] {
        self.named.get(&kind).map_or(&[], Vec::as_slice)
    }
}

/// Sorts what stands at the top of the files, and learns all names.
pub(super) fn read<'t>(cx: &mut Cx<'t>, files: &'t [Raw<'t>], host_file: &str) -> Root<'t> {
    let top = At::new(0, &(0..0));
    let mut host_items = Vec::new();
    let mut once: BTreeMap<&'t str, Item<'t>> = BTreeMap::new();
    let mut named: BTreeMap<Kind, Vec<Item<'t>>> = BTreeMap::new();
    for (file, table) in files.iter().enumerate() {
        for item in items(table, file, |name| {
            key(name).map_or(Shape::Later, |key| key.shape)
        }) {
            if HOST.key(item.name).is_some() && file != 0 {
                cx.fault(
                    item.key_at,
                    format!("`{}` is a fact of the host", item.name),
                )
                .help(format!(
                    "move it to {host_file}, the file that is read first"
                ));
                continue;
            }
            match (key(item.name), item.shape) {
                (None, _) => unknown(cx, item),
                (Some(_), Shape::Later) => {
                    let message = format!("`{}` is not supported by this version", item.name);
                    cx.fault(item.key_at, message)
                        .help("remove it; the words of a later version are refused, not ignored");
                }
                (Some(_), Shape::Map(..)) => {
                    let kind = kind(item.name);
                    let tables = cx.entries(item);
                    let list = named.entry(kind).or_default();
                    for table in tables {
                        if define(cx, kind, table) {
                            list.push(table);
                        }
                    }
                }
                (Some(_), Shape::Table(_)) => {
                    if let Some(first) = once.get(item.name) {
                        twice(
                            cx,
                            item.key_at,
                            format!("[{}] is written twice", item.name),
                            first.key_at,
                            "take what both say into one of them",
                        );
                    } else {
                        once.insert(item.name, item);
                    }
                }
                (Some(_), _) => host_items.push(item),
            }
        }
    }
    let host = host_table(cx, top, host_items, host_file);
    Root {
        host,
        daemon: once.get("daemon").copied(),
        policy: once.get("policy").copied(),
        named,
    }
}

fn key(name: &str) -> Option<&'static Key> {
    HOST.key(name).or_else(|| POLICY.key(name))
}

fn kind(name: &str) -> Kind {
    match name {
        "circuit" => Kind::Circuit,
        "pool" => Kind::Pool,
        "class" => Kind::Class,
        "site" => Kind::Site,
        "phase" => Kind::Phase,
        "block" => Kind::Block,
        "condition" => Kind::Condition,
        "group" => Kind::Group,
        "service" => Kind::Service,
        _ => Kind::Rest,
    }
}

fn unknown(cx: &mut Cx<'_>, item: Item<'_>) {
    let known = HOST.offered().chain(POLICY.offered());
    let what = match item.value {
        Value::Table(_) | Value::Array(_) => "table",
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => "key",
    };
    let help = match cx.nearest(item.name, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!(
            "the tables and keys at the top are {}",
            known.collect::<Vec<_>>().join(", ")
        ),
    };
    let message = format!("there is no {what} `{}`", shorten(item.name));
    cx.fault(item.key_at, message).help(help);
}

fn twice(cx: &mut Cx<'_>, at: At, message: String, first: At, help: &str) {
    cx.fault(at, message)
        .label("again here")
        .help(help)
        .see(first, "first here");
}

/// Learns a name; false where it was known already.
fn define<'t>(cx: &mut Cx<'t>, kind: Kind, item: Item<'t>) -> bool {
    if let Some(first) = cx.defined(kind, item.name) {
        let message = format!("{kind} `{}` is defined twice", shorten(item.name));
        twice(
            cx,
            item.key_at,
            message,
            first,
            "keep one of them, or give one another name",
        );
        return false;
    }
    name(cx, kind, item);
    cx.names
        .entry(kind)
        .or_default()
        .insert(item.name, item.key_at);
    true
}

/// Checks that the key of `item` is a name of that kind.
pub(super) fn name(cx: &mut Cx<'_>, kind: Kind, item: Item<'_>) -> Option<()> {
    fn good<N: std::str::FromStr<Err = NameError>>(name: &str) -> Result<(), NameError> {
        name.parse::<N>().map(drop)
    }
    let name = item.name;
    let result = match kind {
        // Such a name refers to a circuit, and is looked up when the table is read.
        Kind::Rest => Ok(()),
        Kind::Circuit => good::<CircuitName>(name),
        Kind::Pool => good::<PoolName>(name),
        Kind::Class => good::<ClassName>(name),
        Kind::Site => good::<SiteName>(name),
        Kind::Phase => good::<PhaseName>(name),
        Kind::Block => good::<BlockName>(name),
        Kind::Condition => good::<ConditionName>(name),
        Kind::Group => good::<GroupName>(name),
        Kind::Service => good::<ServiceName>(name),
    };
    let Err(error) = result else {
        return Some(());
    };
    let text = error.to_string();
    let (message, rule) = text.split_once("; ").unwrap_or((&text, ""));
    let proposal: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .skip_while(|c| !c.is_ascii_lowercase())
        .take(crate::model::names::MAX_NAME)
        .collect();
    let proposal = proposal.trim_end_matches('-');
    let help = match (rule, proposal) {
        ("", "") => NAME_RULE.to_owned(),
        (rule, "") => rule.to_owned(),
        ("", proposal) => format!("write for example `{proposal}`"),
        (rule, proposal) => format!("{rule}: write for example `{proposal}`"),
    };
    cx.fault(item.key_at, message).help(help);
    None
}

fn host_table<'t>(cx: &mut Cx<'t>, top: At, items: Vec<Item<'t>>, host_file: &str) -> Table<'t> {
    let table = Table::of("the host".to_owned(), top, items);
    if table.get("name").is_none() {
        cx.fault(top, "the host needs `name`").help(format!(
            "the file that is read first, here {host_file}, says what the host is: add name = \"hq-melun\" at its top, or name host.toml, or its directory, \
             too"
        ));
    }
    table
}
