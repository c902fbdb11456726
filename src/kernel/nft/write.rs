//! A table in nft's own language.

use std::fmt::Write as _;

use crate::model::circuit::MarkMask;
use crate::model::filter::{
    Action, Answer, Chain, ChainName, ChainRole, FAMILY, Field, FieldKind, Foreign, Hook, Line,
    MapKind, NAME, Range, Rule, Table, Values, Verdict, VerdictMap,
};
use crate::units::Direction;

/// The whole table, as an administrator would write it, with remarks: what `nft -f` takes.
#[must_use]
pub fn render_whole(table: &Table) -> String {
    let mut text = format!("table {FAMILY} {NAME} {{\n");
    if !table.flags.is_empty() {
        let flags: Vec<&str> = table.flags.iter().map(String::as_str).collect();
        line(&mut text, 1, &format!("flags {}", flags.join(", ")));
    }
    for foreign in &table.foreign {
        self::foreign(&mut text, foreign);
    }
    for counter in &table.counters {
        line(&mut text, 1, &format!("counter {counter} {{"));
        line(&mut text, 1, "}");
    }
    for (name, map) in &table.maps {
        line(&mut text, 1, &format!("map {name} {{"));
        line(&mut text, 2, map_definition(map));
        if !map.elements.is_empty() {
            line(&mut text, 2, "elements = {");
            for (element, verdict) in &map.elements {
                let entry = format!("{} : {},", map.kind.write(element), self::verdict(verdict));
                line(&mut text, 3, &entry);
            }
            line(&mut text, 2, "}");
        }
        line(&mut text, 1, "}");
        text.push('\n');
    }
    let mut chains: Vec<(&ChainName, &Chain)> = table.chains.iter().collect();
    chains.sort_by_key(|(name, _)| order(name));
    for (name, chain) in chains {
        if let Some(remark) = remark(name) {
            line(&mut text, 1, &format!("# {remark}"));
        }
        self::chain(&mut text, name, chain);
        text.push('\n');
    }
    if text.ends_with("\n\n") {
        text.pop();
    }
    text.push_str("}\n");
    text
}

/// In the order in which packets meet them, circuit by circuit.
fn order(name: &ChainName) -> (u8, String, u8, String) {
    let of =
        |circuit: &dyn std::fmt::Display, place| (1, circuit.to_string(), place, name.to_string());
    match ChainRole::of(name) {
        Some(ChainRole::Leaving) => (0, String::new(), 0, name.to_string()),
        Some(ChainRole::Marking) => (0, String::new(), 1, name.to_string()),
        Some(ChainRole::Unmark) => (0, String::new(), 2, name.to_string()),
        Some(ChainRole::Remember) => (0, String::new(), 3, name.to_string()),
        Some(ChainRole::Arrived(circuit)) => of(&circuit, 7),
        Some(ChainRole::Up(circuit)) => of(&circuit, 0),
        Some(ChainRole::Own(circuit)) => of(&circuit, 1),
        Some(ChainRole::Line(circuit)) => of(&circuit, 2),
        Some(ChainRole::Hand(circuit)) => of(&circuit, 3),
        Some(ChainRole::Traffic(circuit)) => of(&circuit, 4),
        Some(ChainRole::Classes {
            of: key,
            direction: Direction::Up,
            ..
        }) => of(&key.circuit, 5),
        Some(ChainRole::Place(key, Direction::Up)) => of(&key.circuit, 6),
        Some(ChainRole::Down(circuit)) => of(&circuit, 8),
        Some(ChainRole::Classes {
            of: key,
            direction: Direction::Down,
            ..
        }) => of(&key.circuit, 9),
        Some(ChainRole::Place(key, Direction::Down)) => of(&key.circuit, 10),
        Some(ChainRole::Forward) => (2, String::new(), 0, name.to_string()),
        Some(ChainRole::Block { block, .. }) => (2, block.to_string(), 1, name.to_string()),
        Some(ChainRole::Rejected(block)) => (2, block.to_string(), 2, name.to_string()),
        None => (3, String::new(), 0, name.to_string()),
    }
}

fn remark(name: &ChainName) -> Option<String> {
    Some(match ChainRole::of(name)? {
        ChainRole::Leaving => {
            "packets about to leave, before their source is translated".to_owned()
        }
        ChainRole::Marking => {
            "packets about to leave, when rules that go by marks are done with them".to_owned()
        }
        ChainRole::Unmark => "bits of ours that somebody else set".to_owned(),
        ChainRole::Remember => {
            "code points that classes go by, in labels of connections: replies may lack them"
                .to_owned()
        }
        ChainRole::Arrived(circuit) => {
            format!("what connections remember of packets that came over {circuit}")
        }
        ChainRole::Up(circuit) => format!("all that leaves over {circuit}"),
        ChainRole::Own(circuit) => format!("what this host itself sends over {circuit}"),
        ChainRole::Line(circuit) => {
            format!("what keeps the line of {circuit} alive, within bounds")
        }
        ChainRole::Hand(circuit) => {
            format!("what this host is reached by over {circuit}, within bounds")
        }
        ChainRole::Traffic(circuit) => format!("{circuit}: sites by address, then the rest of it"),
        ChainRole::Down(circuit) => {
            format!("all that came over {circuit}: sites by address, then the rest of it")
        }
        ChainRole::Classes { of, .. } => {
            format!("classes of {of}; named after these rules, so that new ones are another chain")
        }
        ChainRole::Forward => {
            "packets on their way through this host; errors about connections pass".to_owned()
        }
        ChainRole::Block { block, .. } => format!(
            "block {block}: exceptions first; named after these rules, so that new ones are another chain"
        ),
        ChainRole::Place(..) | ChainRole::Rejected(_) => return None,
    })
}

fn line(text: &mut String, depth: usize, content: &str) {
    for _ in 0..depth {
        text.push('\t');
    }
    text.push_str(content);
    text.push('\n');
}

fn foreign(text: &mut String, foreign: &Foreign) {
    let Foreign { kind, name, body } = foreign;
    line(text, 1, &format!("{kind} {name} {{"));
    text.push_str(body);
    text.push('\n');
    line(text, 1, "}");
}

/// What a map is, without its elements.
pub(super) fn map_definition(map: &VerdictMap) -> &'static str {
    match map.kind {
        MapKind::Device => "type ifname : verdict;",
        MapKind::Pair => "type ifname . ifname : verdict;",
        MapKind::Address4 => "type ipv4_addr : verdict; flags interval;",
        MapKind::Address6 => "type ipv6_addr : verdict; flags interval;",
        MapKind::Networks4(_) => "type ipv4_addr : verdict;",
        MapKind::Networks6(_) => "type ipv6_addr : verdict;",
    }
}

/// Where packets enter a chain.
pub(super) fn hook(hook: &Hook) -> String {
    let Hook {
        kind,
        point,
        priority,
        policy,
    } = hook;
    format!("type {kind} hook {point} priority {priority}; policy {policy};")
}

fn chain(text: &mut String, name: &ChainName, chain: &Chain) {
    line(text, 1, &format!("chain {name} {{"));
    if let Some(hook) = &chain.hook {
        line(text, 2, &self::hook(hook));
    }
    for rule in &chain.lines {
        line(text, 2, &self::rule(rule));
    }
    line(text, 1, "}");
}

/// What an element does.
pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Goto(chain) => format!("goto {chain}"),
        Verdict::Jump(chain) => format!("jump {chain}"),
        Verdict::Foreign(text) => text.clone(),
    }
}

/// A rule. It must be followed by the end of the line: nft 1.0.6 takes what stands after a class id
/// for a part of it.
pub(super) fn rule(rule: &Line) -> String {
    let rule = match rule {
        Line::Foreign(text) => return text.clone(),
        Line::Rule(rule) => rule,
    };
    let mut text = String::new();
    for (field, values) in rule.criteria() {
        let _ = write!(text, "{} ", criterion(*field, values));
    }
    if let Some(limit) = rule.limit() {
        let rate = bytes(limit.bytes_per_second);
        let _ = write!(
            text,
            "limit rate {rate}/second burst {} ",
            bytes(limit.burst)
        );
    }
    text.push_str(&action(rule));
    if let Some(note) = rule.note() {
        let _ = write!(text, " comment \"{note}\"");
    }
    text
}

fn action(rule: &Rule) -> String {
    match rule.action() {
        Action::Goto(chain) => format!("goto {chain}"),
        Action::Jump(chain) => format!("jump {chain}"),
        Action::Lookup(key, map) => format!("{} vmap @{map}", key.asking(map)),
        Action::Priority(id) => format!("meta priority set {id}"),
        Action::Mark { mask, minor } => set_bits(*mask, minor.get().into()),
        Action::Unmark(mask) => set_bits(*mask, 0),
        Action::Remember(memory) => format!("ct label set {}", memory.label()),
        Action::Reject { answer, counter } => {
            let with = match answer {
                Answer::Reset => "tcp reset",
                Answer::Prohibited => "icmpx type admin-prohibited",
            };
            format!("counter name \"{counter}\" reject with {with}")
        }
        Action::Return => "return".to_owned(),
        Action::Continue => "continue".to_owned(),
    }
}

/// Sets those bits of the mark to a number that fits there; the others stay.
fn set_bits(mask: MarkMask, number: u32) -> String {
    let mut text = "meta mark set".to_owned();
    let others = mask.others();
    let number = mask.holding(number).unwrap_or(mask.bits());
    if others != 0 {
        let _ = write!(text, " meta mark & {others:#010x}");
    }
    match (others, number) {
        (0, _) => {
            let _ = write!(text, " {number:#010x}");
        }
        (_, 0) => {}
        _ => {
            let _ = write!(text, " | {number:#010x}");
        }
    }
    text
}

fn criterion(field: Field, values: &Values) -> String {
    let kind = field.kind();
    let FieldKind::Mark(mask) = kind else {
        return format!("{} {}", field.text(), several(spelled(kind, values)));
    };
    let mut text = field.text().to_owned();
    if mask.others() != 0 {
        let _ = write!(text, " & {:#010x}", mask.bits());
    }
    // All but one may be very many.
    let _ = match values.missing(kind) {
        Some(one) => write!(text, " != {}", kind.write(Range::one(one))),
        None => write!(text, " == {}", several(spelled(kind, values))),
    };
    text
}

fn several(texts: Vec<String>) -> String {
    match texts.as_slice() {
        [one] => one.clone(),
        _ => format!("{{ {} }}", texts.join(", ")),
    }
}

/// Each value or range as text. Of what has few values each is written for itself, since it has a
/// name, and nft knows no ranges of some.
fn spelled(kind: FieldKind, values: &Values) -> Vec<String> {
    let ranges = values.ranges().iter();
    // A few are better off one by one: a set without ranges is a hash.
    let few =
        kind == FieldKind::Port && ranges.clone().all(|range| range.last() - range.first() < 4);
    if kind.ranges() && !few {
        return ranges.map(|range| kind.write(*range)).collect();
    }
    ranges
        .flat_map(|range| range.first()..=range.last())
        .map(|value| kind.write(Range::one(value)))
        .collect()
}

/// In the largest unit that says it exactly.
fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 2] = [(1 << 20, "mbytes"), (1 << 10, "kbytes")];
    UNITS
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(
            || format!("{bytes} bytes"),
            |(unit, name)| format!("{} {name}", bytes / unit),
        )
}
