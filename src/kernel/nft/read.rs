//! What `nft -nn -s list table` prints → [`Table`].
//!
//! nft rewrites: it sorts and merges sets, prints numbers for names, moves a protocol into the word
//! for its ports, and versions differ. All the ways that it has to say a thing that we say are read as
//! that thing; all else is kept as it was printed, and so is unequal to anything of ours.

mod mark;
mod rule;

use std::collections::BTreeMap;

use thiserror::Error;

use super::text::{Cursor, END, join, join_line, tokens};
use crate::model::filter::{
    Chain, ChainName, CounterName, Element, FAMILY, Foreign, Hook, Line, MapKind, MapName, NAME,
    Table, Verdict, VerdictMap,
};

/// A text that is no table of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {expected} at `{found}`")]
pub struct ReadError {
    expected: &'static str,
    found: String,
}

/// Reads what `nft -nn -s list table inet wanshift` prints.
///
/// # Errors
/// Where it is no such table. What is in it is no error, whatever it is.
pub fn parse(text: &str) -> Result<Table, ReadError> {
    // nft 1.0.6 has no name for the type of a connection's port in a set.
    let text = text.replace(" [invalid type]", "");
    let tokens = tokens(&text);
    let mut cursor = Cursor::new(&tokens);
    cursor.skip_ends();
    let head = cursor.clone();
    let body = cursor
        .expect(&["table", FAMILY, NAME])
        .and_then(|()| cursor.block())
        .ok_or_else(|| error("a table", &head))?;
    let mut table = Table::default();
    let mut cursor = Cursor::new(body);
    loop {
        cursor.skip_ends();
        match cursor.peek() {
            None => return Ok(table),
            Some("flags") => {
                let words = cursor.statement().iter().skip(1);
                let flags = words.filter(|word| **word != "," && **word != ";");
                table.flags.extend(flags.map(|flag| (*flag).to_owned()));
            }
            // No harm in it, and no way to take it away but with the table.
            Some("comment") => {
                cursor.statement();
            }
            Some("chain") => {
                let head = cursor.clone();
                cursor.next();
                let (name, body) = cursor
                    .next()
                    .zip(cursor.block())
                    .ok_or_else(|| error("a chain", &head))?;
                table.chains.insert(ChainName::new(name), chain(body));
            }
            Some(_) => object(&mut cursor, &mut table)?,
        }
    }
}

fn error(expected: &'static str, at: &Cursor<'_>) -> ReadError {
    ReadError {
        expected,
        found: join_line(at.clone().statement()).chars().take(80).collect(),
    }
}

/// A map of ours, or something that is not.
fn object(cursor: &mut Cursor<'_>, table: &mut Table) -> Result<(), ReadError> {
    let head = cursor.clone();
    let mut words = Vec::new();
    while let Some(word) = cursor.peek().filter(|word| *word != "{" && *word != END) {
        words.push(word);
        cursor.next();
    }
    let (name, kind) = words
        .split_last()
        .filter(|(_, kind)| !kind.is_empty())
        .ok_or_else(|| error("a map", &head))?;
    let body = cursor.block().ok_or_else(|| error("a map", &head))?;
    let counter = CounterName::new(name);
    if kind == ["counter"] && counter.is_ours() && counts_only(body) {
        table.counters.insert(counter);
        return Ok(());
    }
    let map = MapName::new(name);
    match (kind, verdict_map(&map, body)) {
        (["map"], Some(elements)) => {
            table.maps.insert(map, elements);
        }
        _ => {
            table.foreign.insert(Foreign {
                kind: kind.join(" "),
                name: (*name).to_owned(),
                body: join(body),
            });
        }
    }
    Ok(())
}

/// Whether there is nothing but figures in a counter.
fn counts_only(body: &[&str]) -> bool {
    let word = |token: &&str| *token == END || *token == "packets" || *token == "bytes";
    body.iter()
        .all(|token| word(token) || token.parse::<u64>().is_ok())
}

/// A map from a device or address to a verdict; `None` where it is anything more. The name of a map of networks says
/// how long their prefixes are.
fn verdict_map(name: &MapName, body: &[&str]) -> Option<VerdictMap> {
    let mut cursor = Cursor::new(body);
    cursor.skip_ends();
    cursor.expect(&["type"])?;
    let kind = match cursor.next()? {
        "ifname" if cursor.take(".") => {
            cursor.expect(&["ifname"])?;
            MapKind::Pair
        }
        "ifname" => MapKind::Device,
        "ipv4_addr" => name.length().map_or(MapKind::Address4, MapKind::Networks4),
        "ipv6_addr" => name.length().map_or(MapKind::Address6, MapKind::Networks6),
        _ => return None,
    };
    cursor.expect(&[":", "verdict"])?;
    cursor.skip_ends();
    if matches!(kind, MapKind::Address4 | MapKind::Address6) {
        cursor.expect(&["flags", "interval"])?;
    }
    cursor.skip_ends();
    let mut elements = BTreeMap::new();
    if cursor.take("elements") {
        cursor.expect(&["="])?;
        for element in cursor.block()?.split(|token| *token == ",") {
            let words: Vec<&str> = element
                .iter()
                .copied()
                .filter(|token| *token != END)
                .collect();
            // After the last comma, in a text of ours.
            if words.is_empty() {
                continue;
            }
            let colon = words.iter().position(|word| *word == ":")?;
            let (key, verdict) = words.split_at(colon);
            let element = Element::read(kind, &key.join(" "))?;
            elements.insert(element, self::verdict(verdict.get(1..)?));
        }
    }
    cursor.skip_ends();
    cursor
        .peek()
        .is_none()
        .then_some(VerdictMap { kind, elements })
}

fn verdict(words: &[&str]) -> Verdict {
    match words {
        ["goto", chain] => Verdict::Goto(ChainName::new(chain)),
        ["jump", chain] => Verdict::Jump(ChainName::new(chain)),
        _ => Verdict::Foreign(words.join(" ")),
    }
}

fn chain(body: &[&str]) -> Chain {
    let mut chain = Chain::default();
    let mut cursor = Cursor::new(body);
    loop {
        cursor.skip_ends();
        let statement = cursor.statement();
        match statement {
            [] => return chain,
            ["type", ..] => chain.hook = Some(hook(statement)),
            ["comment", _] => {}
            _ => chain.lines.push(match rule::parse(statement) {
                Some(rule) => Line::Rule(rule),
                None => Line::Foreign(join_line(statement)),
            }),
        }
    }
}

/// The hook of a chain; one that is said otherwise than ours becomes one that is none of ours.
fn hook(statement: &[&str]) -> Hook {
    let known = || {
        let mut cursor = Cursor::new(statement);
        cursor.expect(&["type"])?;
        let kind = cursor.next()?.to_owned();
        cursor.expect(&["hook"])?;
        let point = cursor.next()?.to_owned();
        cursor.expect(&["priority"])?;
        let priority = priority(&mut cursor)?;
        cursor.expect(&[";", "policy"])?;
        let policy = cursor.next()?.to_owned();
        cursor.skip_ends();
        cursor.peek().is_none().then_some(Hook {
            kind,
            point,
            priority,
            policy,
        })
    };
    known().unwrap_or_else(|| Hook {
        kind: join_line(statement),
        point: String::new(),
        priority: 0,
        policy: String::new(),
    })
}

/// `-150`, `mangle`, `mangle + 5`.
fn priority(cursor: &mut Cursor<'_>) -> Option<i32> {
    let word = cursor.next()?;
    if let Ok(number) = word.parse() {
        return Some(number);
    }
    let base = match word {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" => -100,
        "filter" => 0,
        "security" => 50,
        "srcnat" => 100,
        _ => return None,
    };
    let sign = match cursor.peek() {
        Some("+") => 1,
        Some("-") => -1,
        _ => return Some(base),
    };
    cursor.next();
    let offset: i32 = cursor.next()?.parse().ok()?;
    Some(base + sign * offset)
}

#[cfg(test)]
mod tests;
