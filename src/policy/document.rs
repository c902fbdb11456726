//! One file's text → its tables, with every fault of its syntax.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue, Error};

use super::Source;
use super::cx::shorten;
use super::fault::{At, KEPT, Lines, Log};

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
                syntax(file, text, &Lines::of(text), &error, log);
                None
            }
        };
    }
    let (table, mut errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    let behind = behind_stops(text, &lines, &errors);
    let stopped = errors.iter().any(is_stop);
    errors.extend(behind);
    let (all, errors) = (errors.len(), without_echoes(&errors));
    for error in errors.iter().take(KEPT) {
        syntax(file, text, &lines, error, log);
    }
    log.add(errors.len().saturating_sub(KEPT));
    // What a bracket swallowed, or what stands behind a stop, would be missed wherever it is
    // referred to.
    (errors.len() == all && !stopped).then(|| table.into_inner())
}

/// Whether the parser gave up at this error.
fn is_stop(error: &Error) -> bool {
    error.message().starts_with("key with no value")
}

/// The parser gives up at a key without a value: the errors behind each such line, by reading the
/// text again without it.
fn behind_stops(text: &str, lines: &Lines<'_>, first: &[Error]) -> Vec<Error> {
    let mut found = Vec::new();
    let mut stop = first.iter().find(|error| is_stop(error)).cloned();
    let mut left = text.to_owned();
    // Each round reads the whole text; a file with more such lines is told about the first ones.
    for _ in 0..10 {
        let Some(span) = stop.as_ref().and_then(Error::span) else {
            break;
        };
        let line = lines.bytes(lines.line(span.start));
        // Spaces for the line's bytes keep all places behind it what they are.
        left.replace_range(line.clone(), &" ".repeat(line.len()));
        let (_, errors) = DeTable::parse_recoverable(&left);
        let behind = |error: &Error| error.span().is_some_and(|span| span.start > line.end);
        let new: Vec<Error> = errors.into_iter().filter(behind).collect();
        stop = new.iter().find(|error| is_stop(error)).cloned();
        found.extend(new);
    }
    found
}

/// The errors without those that follow from a bracket that is never closed: behind it the parser
/// takes every line for a part of what it opened, and finds fault with each.
fn without_echoes(errors: &[Error]) -> Vec<&Error> {
    let open = errors.iter().any(|error| {
        error.message().starts_with("unclosed inline")
            || error.message().starts_with("unclosed array")
    });
    let first = errors
        .iter()
        .filter(|error| open && words(error.message(), "").2 == Cause::Bracket)
        .filter_map(|error| Some(error.span()?.start))
        .min();
    let echo = |error: &&Error| match (first, error.span()) {
        (Some(first), Some(span)) => span.start <= first,
        _ => true,
    };
    errors.iter().filter(echo).collect()
}

/// What kind of fault of syntax it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A bracket, a brace or a comma.
    Bracket,
    /// Anything else.
    Other,
}

/// A fault of syntax, in words for people who do not know TOML by heart.
fn syntax(file: usize, text: &str, lines: &Lines<'_>, error: &Error, log: &mut Log) {
    let span = error.span().unwrap_or(0..0);
    let at = At::new(file, &span);
    let written = text.get(span.clone()).unwrap_or_default();
    if error.message().starts_with("duplicate key") {
        let name = shorten(written.trim_matches(['"', '\'']));
        let fault = log
            .fault(at, format!("`{name}` is written twice"))
            .label("again here")
            .help("keep one of them, or give one another name");
        if let Some(first) = first_of(file, text, lines, span.start, written) {
            fault.see(first, "first here");
        }
        return;
    }
    let (message, help, _) = words(error.message(), written);
    log.fault(at, message).help(help);
}

/// What the parser says, what to do about it, and what it is about.
fn words(message: &str, written: &str) -> (String, Cow<'static, str>, Cause) {
    let is = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    let plain = || {
        let said = message.split(", expected").next().unwrap_or(message);
        format!("not TOML: {said}")
    };
    let bare = |c: char| c.is_ascii_alphanumeric() || "._-@:/%".contains(c);
    if is(&["must be quoted"]) && written.trim() == "=" {
        (
            "nothing stands behind the `=`".to_owned(),
            "write key = value, both on the same line".into(),
            Cause::Other,
        )
    } else if is(&["key with no value"]) {
        (
            "a key without a value".to_owned(),
            "write key = value, both on the same line".into(),
            Cause::Other,
        )
    } else if is(&["recurse further", "recursion"]) {
        (
            "nested too deep".to_owned(),
            "a policy has a handful of levels; remove the brackets that are too many".into(),
            Cause::Bracket,
        )
    } else if is(&[
        "must be quoted",
        "invalid float",
        "invalid integer",
        "invalid boolean",
        "invalid datetime",
        "invalid date",
    ]) && !written.is_empty()
        && written.chars().all(bare)
    {
        let written = shorten(written);
        (
            format!("`{written}` is no number and has no quotes"),
            format!("a text stands in quotes: \"{written}\"").into(),
            Cause::Other,
        )
    } else if is(&[
        "unclosed",
        "unopened",
        "missing close",
        "missing comma",
        "inline table",
        "array element",
        "must be quoted",
    ]) {
        (
            plain(),
            "each [ and { needs its partner, and a comma stands between two values".into(),
            Cause::Bracket,
        )
    } else if is(&["basic string", "literal string", "escape"]) {
        (
            plain(),
            "a text ends on its line with the quote it began with, and holds no control characters; \\ begins an escape".into(),
            Cause::Other,
        )
    } else if is(&["extend value"]) {
        (
            plain(),
            "the name has a value already; a table of the same name cannot stand beside it".into(),
            Cause::Other,
        )
    } else {
        (
            plain(),
            "a file is made of `[table]` lines and `key = value` lines; texts stand in \"quotes\""
                .into(),
            Cause::Other,
        )
    }
}

/// Where the key or table header written at `again` was written before.
///
/// The parser knows, and does not tell; so the lines before are searched for the same words.
fn first_of(file: usize, text: &str, lines: &Lines<'_>, again: usize, key: &str) -> Option<At> {
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
