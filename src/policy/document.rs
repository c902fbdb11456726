//! One file's text → its tables, with every fault of its syntax.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue};

use super::Source;
use super::fault::{At, Lines, Log};

/// The largest file that is read.
pub const LARGEST: usize = 8 << 20;
/// The largest file of which every fault of syntax is told; of a larger one, the first.
/// The parser holds each fault as a text of its own, and a large file of garbage has millions.
const THOROUGH: usize = 1 << 20;

/// A table while it is read: keys and values, each with its place in the text.
pub(super) type Raw<'a> = DeTable<'a>;
/// A value of such a table.
pub(super) type Value<'a> = DeValue<'a>;

/// The tables of the file with number `file`; nothing where it cannot be read at all.
pub(super) fn parse<'a>(file: usize, source: &'a Source, log: &mut Log) -> Option<Raw<'a>> {
    let text: &'a str = &source.text;
    let whole = At::new(file, &(0..0));
    if text.len() > LARGEST {
        log.fault(
            whole,
            format!(
                "the file has {} MiB; at most {} MiB are read",
                text.len() >> 20,
                LARGEST >> 20
            ),
        )
        .help("split it into several files; they are read in the order of their names");
        return None;
    }
    if let Some(nul) = text.find('\0') {
        log.fault(
            At::new(file, &(nul..nul + 1)),
            "a NUL byte: this is no text",
        )
        .help("the file is damaged or binary; write it again as plain text in UTF-8");
        return None;
    }
    if text.len() > THOROUGH {
        return match DeTable::parse(text) {
            Ok(table) => Some(table.into_inner()),
            Err(error) => {
                syntax(file, text, &error, log);
                None
            }
        };
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        syntax(file, text, error, log);
    }
    Some(table.into_inner())
}

/// A fault of syntax, in words for people who do not know TOML by heart.
fn syntax(file: usize, text: &str, error: &toml::de::Error, log: &mut Log) {
    let span = error.span().unwrap_or(0..0);
    let at = At::new(file, &span);
    let written = text.get(span.clone()).unwrap_or_default();
    if error.message().starts_with("duplicate key") {
        let name = written.trim_matches(['"', '\'']);
        let fault = log
            .fault(at, format!("`{name}` is written twice"))
            .label("again here")
            .help("write it once, or give one of them another name");
        if let Some(first) = first_of(file, text, span.start, written) {
            fault.see(first, "first here");
        }
        return;
    }
    let (message, help) = words(error.message(), written);
    log.fault(at, message).help(help);
}

/// What the parser says, and what to do about it.
fn words(message: &str, written: &str) -> (String, Cow<'static, str>) {
    let plain = || format!("not TOML: {message}");
    let message_is = |part: &str| message.contains(part);
    if message_is("recursion limit") {
        (
            "nested too deep".to_owned(),
            "a policy has at most a handful of levels; remove the brackets that are too many"
                .into(),
        )
    } else if message_is("string values must be quoted") {
        (
            plain(),
            format!("write \"{}\" in quotes", written.trim()).into(),
        )
    } else if message_is("unclosed") || message_is("missing close") || message_is("unopened") {
        (
            plain(),
            "each `[`, `{` and quote needs its partner, in the right order".into(),
        )
    } else if message_is("key with no value") || message_is("missing value") {
        (plain(), "write `key = value`, one on a line".into())
    } else if message_is("extend value") {
        (
            plain(),
            "the name has a value already; a table of the same name cannot stand beside it".into(),
        )
    } else {
        (
            plain(),
            "a file is made of `[table]` lines and `key = value` lines; texts stand in \"quotes\""
                .into(),
        )
    }
}

/// Where the key or table header written at `again` was written before.
///
/// The parser knows, and does not tell; so the lines before are searched for the same words.
fn first_of(file: usize, text: &str, again: usize, key: &str) -> Option<At> {
    let lines = Lines::of(text);
    let line = lines.line(again);
    let this = text.get(lines.bytes(line))?;
    let is_header = this.trim_start().starts_with('[');
    let header = |line: &str| {
        let inner = line.trim_start().strip_prefix('[')?;
        let inner = inner.split(']').next()?;
        Some(
            inner
                .trim_start_matches('[')
                .chars()
                .filter(|c| !c.is_whitespace())
                .collect::<String>(),
        )
    };
    let wanted = header(this);
    if !is_header {
        // Within an inline table, the first is mostly on the same line.
        let start = lines.bytes(line).start;
        if let Some(first) = word(text.get(start..again)?, key) {
            return Some(At::new(file, &(start + first..start + first + key.len())));
        }
    }
    for before in (1..line).rev() {
        let bytes = lines.bytes(before);
        let there = text.get(bytes.clone())?;
        let found = if is_header {
            (header(there) == wanted).then_some(there)
        } else if there.trim_start().starts_with('[') {
            return None;
        } else {
            let key_part = there.split('=').next().unwrap_or_default();
            word(key_part, key).map(|_| key_part)
        };
        if let Some(found) = found {
            let first = bytes.start + found.rfind(key).unwrap_or(0);
            return Some(At::new(file, &(first..first + key.len())));
        }
    }
    None
}

/// Where `key` stands in `text` as a word of its own.
fn word(text: &str, key: &str) -> Option<usize> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(key).map(|(at, _)| at).find(|at| {
        let before = text
            .get(..*at)
            .and_then(|before| before.chars().next_back());
        let after = text
            .get(at + key.len()..)
            .and_then(|after| after.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}
