//! Rules in the administrator's words: `to 192.0.2.10, service tcp/443`.

use super::fields::{Field, FieldKind};
use super::memory::Memory;
use super::names::{ChainRole, MapName};
use super::rule::{Action, Answer, Rule};
use super::values::{Range, Values};
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

/// A rule, whoever's.
pub(super) fn rule(rule: &Rule) -> String {
    one(rule, None, None)
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
        } else if let (Field::Label, Some(memories)) = (field, memories(asked)) {
            parts.push(format!("connection with {memories}"));
        } else {
            parts.push(format!("{} {text}", word(*field)));
        }
    }
    if let Some(limit) = rule.limit() {
        parts.push(format!("up to {} bytes a second", limit.bytes_per_second));
    }
    let does = does(rule.action());
    if let (Action::Priority(_) | Action::Mark { .. }, Some(does), true) =
        (rule.action(), &does, parts.is_empty())
    {
        return does.clone();
    }
    let leads = rule.action().target().and_then(ChainRole::of);
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
    match leads {
        Some(ChainRole::Place(key, _) | ChainRole::Classes { of: key, .. }) if Some(&key) == of => {
        }
        Some(ChainRole::Rejected(_)) => text.push_str(" → rejected"),
        Some(ChainRole::Classes { of, .. }) => text.push_str(&format!(" → classes of {of}")),
        // Which direction is meant is said beside.
        Some(ChainRole::Place(key, _)) => text.push_str(&format!(" → {key}")),
        _ => {
            let does = does.or_else(|| rule.action().target().map(ToString::to_string));
            text.extend(does.map(|does| format!(" → {does}")));
        }
    }
    if let Some(note) = rule.note() {
        text.push_str(&format!(" # {note}"));
    }
    text
}

/// What a rule does, where it leads to no chain.
fn does(action: &Action) -> Option<String> {
    Some(match action {
        Action::Goto(_) | Action::Jump(_) => return None,
        Action::Lookup(_, map) => format!("map {map}"),
        Action::Priority(id) => format!("class {id}"),
        Action::Mark { mask, minor } => {
            let kind = FieldKind::Mark(*mask);
            let mark = kind.write(Range::one(minor.get().into()));
            format!("mark {mark}/{:#010x}", mask.bits())
        }
        Action::Unmark(mask) => format!("mark 0/{:#010x}", mask.bits()),
        Action::Remember(memory) => format!("{} remembered", remembered(*memory)),
        Action::Reject { answer, .. } => match answer {
            Answer::Reset => "reset".to_owned(),
            Answer::Prohibited => "prohibited".to_owned(),
        },
        Action::Return => "return".to_owned(),
        Action::Continue => "go on".to_owned(),
    })
}

/// What labels of connections stand for, where all are ours.
fn memories(labels: &Values) -> Option<String> {
    let labels = labels
        .ranges()
        .iter()
        .flat_map(|range| range.first()..=range.last());
    let memories: Option<Vec<String>> = labels
        .map(|label| Memory::of(label).map(remembered))
        .collect();
    memories.map(|memories| memories.join(", "))
}

fn remembered(memory: Memory) -> String {
    match memory {
        Memory::Own => "this host itself".to_owned(),
        Memory::Dscp(point) => {
            let point = FieldKind::Dscp.write(Range::one(point.get().into()));
            format!("dscp {point}")
        }
    }
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
        Field::Direction => "direction",
        Field::Arrival => "arriving by",
        Field::Departure => "leaving by",
        Field::Family
        | Field::SourceType
        | Field::SourceTypeThere
        | Field::State
        | Field::Mark(_)
        | Field::Label
        | Field::Source4
        | Field::Source6
        | Field::Destination4
        | Field::Destination6
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
        Element::Device(device) if *map == MapName::origins() => format!("from device {device}"),
        Element::Device(device) if *map == MapName::departures() => {
            format!("no foreign bits to device {device}")
        }
        Element::Device(device) => format!("device {device}"),
        Element::Pair(arrival, departure) => format!("from device {arrival} to {departure}"),
        Element::Addresses4(_) | Element::Addresses6(_) => format!("prefix {element}"),
    };
    match verdict {
        Verdict::Goto(_) | Verdict::Jump(_) => what,
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
