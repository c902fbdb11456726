//! Rules in the administrator's words: `to 192.0.2.10, service tcp/443`.

use super::names::{ChainRole, MapName};
use super::rule::{Action, Rule};
use super::values::{Field, Range, Values};
use super::{Element, Hook, Line, Verdict};
use crate::model::node::NodeKey;

/// So many values of one kind are told; of more, how many they are.
const MANY: usize = 8;

/// Rules that go and rules that come, in words.
pub(super) struct Told {
    pub(super) removed: Vec<String>,
    pub(super) added: Vec<String>,
}

/// Lines of `of` that go and that come; of two that ask about the same things, what both ask for is not
/// told at length.
pub(super) fn lines(removed: &[&Line], added: &[&Line], of: Option<&NodeKey>) -> Told {
    let mut told = Told {
        removed: Vec::with_capacity(removed.len()),
        added: Vec::with_capacity(added.len()),
    };
    let mut pairs = added.iter();
    for line in removed {
        let other = pairs.next().copied();
        told.removed.push(beside(line, other, of));
    }
    let mut pairs = removed.iter();
    for line in added {
        let other = pairs.next().copied();
        told.added.push(beside(line, other, of));
    }
    told
}

/// A line of `of`.
pub(super) fn line(line: &Line, of: Option<&NodeKey>) -> String {
    beside(line, None, of)
}

fn beside(line: &Line, other: Option<&Line>, of: Option<&NodeKey>) -> String {
    let other = match other {
        Some(Line::Rule(rule)) => Some(rule),
        Some(Line::Foreign(_)) | None => None,
    };
    match line {
        Line::Rule(rule) => one(rule, other, of),
        Line::Foreign(text) => text.clone(),
    }
}

/// A rule, without the values that `other` asks for as well where they are many.
fn one(rule: &Rule, other: Option<&Rule>, of: Option<&NodeKey>) -> String {
    let mut parts = Vec::new();
    let mut transport = None;
    for (field, asked) in rule.criteria() {
        let common = other.and_then(|other| other.criteria().get(field));
        let text = values(*field, asked, common);
        if *field == Field::Transport && rule.criteria().contains_key(&Field::Service) {
            transport = Some(text);
        } else if *field == Field::Service {
            let transport = transport.take().unwrap_or_else(|| "port".to_owned());
            parts.push(format!("service {transport}/{text}"));
        } else {
            parts.push(format!("{} {text}", word(*field)));
        }
    }
    if let Some(limit) = rule.limit() {
        parts.push(format!("up to {} bytes a second", limit.bytes_per_second));
    }
    if let (Action::Priority(id), true) = (rule.action(), parts.is_empty()) {
        return format!("class {id}");
    }
    let leads = match rule.action() {
        Action::Goto(chain) => ChainRole::of(chain),
        Action::Lookup(..) | Action::Priority(_) | Action::Return | Action::Continue => None,
    };
    if parts.is_empty() {
        let own = matches!(&leads, Some(ChainRole::Classes { of: key, .. }) if Some(key) == of);
        parts.push(
            if own {
                "its classes"
            } else {
                "all that is left"
            }
            .to_owned(),
        );
    }
    let mut text = parts.join(", ");
    match rule.action() {
        Action::Goto(chain) => match leads {
            Some(ChainRole::Place(key) | ChainRole::Classes { of: key, .. })
                if Some(&key) == of => {}
            Some(ChainRole::Classes { of, .. }) => text.push_str(&format!(" → classes of {of}")),
            _ => text.push_str(&format!(" → {chain}")),
        },
        Action::Lookup(_, map) => text.push_str(&format!(" → map {map}")),
        Action::Priority(id) => text.push_str(&format!(" → class {id}")),
        Action::Return => text.push_str(" → return"),
        Action::Continue => text.push_str(" → go on"),
    }
    if let Some(note) = rule.note() {
        text.push_str(&format!(" # {note}"));
    }
    text
}

fn values(field: Field, asked: &Values, common: Option<&Values>) -> String {
    let kind = field.kind();
    let shared =
        |range: &&Range| common.is_some_and(|common| common.ranges().binary_search(range).is_ok());
    let all = asked.ranges();
    let told: Vec<&Range> = if all.len() <= MANY {
        all.iter().collect()
    } else {
        let own: Vec<&Range> = all.iter().filter(|range| !shared(range)).collect();
        if own.is_empty() {
            all.iter().collect()
        } else {
            own
        }
    };
    let mut texts: Vec<String> = told
        .iter()
        .take(MANY)
        .map(|range| kind.write(**range))
        .collect();
    if texts.len() < all.len() {
        texts.push(format!("… {} more", all.len() - texts.len()));
    }
    texts.join(" ")
}

/// As policies call it, or else as nft does.
const fn word(field: Field) -> &'static str {
    match field {
        Field::From4 | Field::From6 => "from",
        Field::To4 | Field::To6 => "to",
        Field::Dscp4 => "dscp",
        Field::Dscp6 => "IPv6 dscp",
        Field::Family
        | Field::SourceType
        | Field::State
        | Field::Source4
        | Field::Source6
        | Field::Transport
        | Field::Service
        | Field::SourcePort
        | Field::DestinationPort
        | Field::Icmp6Type => field.text(),
    }
}

/// An element of a map.
pub(super) fn element(map: &MapName, element: &Element, verdict: &Verdict) -> String {
    let what = match element {
        Element::Device(device) => format!("device {device}"),
        Element::Addresses4(_) | Element::Addresses6(_) => format!("to {element}"),
    };
    match verdict {
        Verdict::Goto(_) => what,
        Verdict::Foreign(verdict) => format!("map {map}: {what} → {verdict}"),
    }
}

/// Where packets enter.
pub(super) fn hook(hook: &Hook) -> String {
    format!(
        "hook {} {} priority {} policy {}",
        hook.kind, hook.point, hook.priority, hook.policy
    )
}
