//! What is wrong with policy files: every fault with its place in the text and what to do about it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::Source;
use crate::model::names::Origin;

/// A stretch of one source's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct At {
    /// Which of the sources.
    pub(super) file: usize,
    /// Its first byte.
    pub(super) start: usize,
    /// The byte after its last.
    pub(super) end: usize,
}

impl At {
    pub(super) const fn new(file: usize, span: &Range<usize>) -> Self {
        Self {
            file,
            start: span.start,
            end: span.end,
        }
    }
}

/// Where in a file's text something stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// The bytes of the file that are meant.
    #[serde(skip)]
    pub span: Range<usize>,
}

impl From<&Origin> for Position {
    fn from(origin: &Origin) -> Self {
        Self {
            line: origin.line,
            column: origin.column,
            span: origin.start..origin.end,
        }
    }
}

/// Something wrong with the files of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, as it was named to the reader.
    pub file: Arc<str>,
    /// Where in it; `None` where the file as a whole is meant.
    #[serde(flatten)]
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// A word on the place itself.
    #[serde(skip)]
    pub label: Option<String>,
    /// Other places that have to do with it, such as the first definition of a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

impl Fault {
    /// A fault of a whole file, and what to do about it.
    #[must_use]
    pub fn of_file(
        file: impl Into<Arc<str>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            position: None,
            message: message.into(),
            help: Some(help.into()),
            label: None,
            related: Vec::new(),
        }
    }
}

/// Another place that has to do with a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// The file, as it was named to the reader.
    pub file: Arc<str>,
    /// Where in it.
    #[serde(flatten)]
    pub position: Position,
    /// What is to be seen there.
    pub message: String,
}

/// Everything that is wrong with the files of a host, in the order of the files and their texts.
///
/// There is at least one fault in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Faults {
    list: Vec<Fault>,
    /// How many more there are, beyond those that were kept.
    more: usize,
}

impl Faults {
    /// These faults, `first` before the others.
    #[must_use]
    pub fn new(first: Fault, others: Vec<Fault>) -> Self {
        let mut list = vec![first];
        list.extend(others);
        Self { list, more: 0 }
    }

    /// The faults that were kept: never empty.
    #[must_use]
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// How many there are, with those that were counted only.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len() + self.more
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for fault in &self.list {
            write!(f, "{}", fault.file)?;
            if let Some(position) = &fault.position {
                write!(f, ":{}:{}", position.line, position.column)?;
            }
            writeln!(f, ": {}", fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Beyond so many, faults are counted only: a file of garbage must not fill the memory.
pub(super) const KEPT: usize = 1_000;

/// A fault while the files are being read: its places are not lines yet.
#[derive(Debug)]
pub(super) struct RawFault {
    at: At,
    message: String,
    help: Option<String>,
    label: Option<String>,
    related: Vec<(At, String)>,
}

impl RawFault {
    /// What to do about it.
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// A word on the place itself.
    pub(super) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    /// Another place that has to do with it.
    pub(super) fn see(&mut self, at: At, message: impl Into<String>) -> &mut Self {
        self.related.push((at, message.into()));
        // Drawn beside other places, the place that is wrong needs a word of its own.
        self.label.get_or_insert_with(|| "here".to_owned());
        self
    }
}

/// Collects faults.
#[derive(Debug)]
pub(super) struct Log {
    faults: Vec<RawFault>,
    more: usize,
    /// How many of them are faults of syntax.
    syntax: usize,
}

impl Log {
    pub(super) const fn new() -> Self {
        Self {
            faults: Vec::new(),
            more: 0,
            syntax: 0,
        }
    }

    /// From here on, faults are of meaning; on a line with a fault of syntax they are not told,
    /// since there the reader guesses.
    pub(super) const fn end_of_syntax(&mut self) {
        self.syntax = self.faults.len();
    }

    /// Counts `more` faults that are not told one by one.
    pub(super) const fn add(&mut self, more: usize) {
        self.more += more;
    }

    /// How many there are so far.
    pub(super) const fn count(&self) -> usize {
        self.faults.len() + self.more
    }

    /// Notes that `message` is wrong at `at`.
    pub(super) fn fault(&mut self, at: At, message: impl Into<String>) -> &mut RawFault {
        if self.faults.len() >= KEPT {
            self.more += 1;
            self.faults.pop();
        }
        let last = self.faults.len();
        self.faults.push(RawFault {
            at,
            message: message.into(),
            help: None,
            label: None,
            related: Vec::new(),
        });
        &mut self.faults[last]
    }

    fn without_guesses(&mut self, lines: &[Lines<'_>]) {
        let line = |at: At| {
            let line = lines.get(at.file).map(|lines| lines.line(at.start));
            (at.file, line)
        };
        let broken: BTreeSet<_> = self
            .faults
            .iter()
            .take(self.syntax)
            .map(|fault| line(fault.at))
            .collect();
        let mut index = 0;
        let syntax = self.syntax;
        self.faults.retain(|fault| {
            index += 1;
            index <= syntax || !broken.contains(&line(fault.at))
        });
    }

    /// All of it with lines and columns, or nothing where there was no fault.
    pub(super) fn finish(mut self, sources: &[Source]) -> Option<Faults> {
        let lines: Vec<Lines<'_>> = sources
            .iter()
            .map(|source| Lines::of(&source.text))
            .collect();
        self.without_guesses(&lines);
        self.faults
            .sort_by_key(|fault| (fault.at.file, fault.at.start, Reverse(fault.at.end)));
        self.faults
            .dedup_by(|a, b| a.at == b.at && a.message == b.message);
        let name = |at: At| {
            sources
                .get(at.file)
                .map_or_else(|| Arc::from("?"), |source| Arc::clone(&source.name))
        };
        let position = |at: At| {
            lines
                .get(at.file)
                .map_or_else(|| Lines::of("").position(at), |lines| lines.position(at))
        };
        let list: Vec<Fault> = self
            .faults
            .into_iter()
            .map(|raw| Fault {
                file: name(raw.at),
                // A host without a single source has no text to point into.
                position: (raw.at.file < sources.len()).then(|| position(raw.at)),
                message: raw.message,
                help: raw.help,
                label: raw.label,
                related: raw
                    .related
                    .into_iter()
                    .map(|(at, message)| Related {
                        file: name(at),
                        position: position(at),
                        message,
                    })
                    .collect(),
            })
            .collect();
        (!list.is_empty()).then_some(Faults {
            list,
            more: self.more,
        })
    }
}

/// Where the lines of a text begin.
#[derive(Debug)]
pub(super) struct Starts {
    starts: Vec<usize>,
    length: usize,
}

impl Starts {
    pub(super) fn of(text: &str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            starts: std::iter::once(0).chain(after).collect(),
            length: text.len(),
        }
    }

    /// The line of the byte at `offset`, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The bytes of the line `line`, counted from 1, without its end.
    pub(super) fn bytes(&self, line: usize) -> Range<usize> {
        let start = self
            .starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(self.length);
        let end = self.starts.get(line).map_or(self.length, |next| next - 1);
        start..end.max(start)
    }
}

/// A text with its lines.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Starts,
}

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self {
            text,
            starts: Starts::of(text),
        }
    }

    /// The line of the byte at `offset`, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.line(offset)
    }

    /// The bytes of the line `line`, counted from 1, without its end.
    pub(super) fn bytes(&self, line: usize) -> Range<usize> {
        self.starts.bytes(line)
    }

    /// Where `at` is, in lines and columns.
    pub(super) fn position(&self, at: At) -> Position {
        let start = floor_char(self.text, at.start);
        let end = floor_char(self.text, at.end.max(at.start));
        let line = self.line(start);
        let column = self
            .text
            .get(self.bytes(line).start..start)
            .map_or(1, |before| before.chars().count() + 1);
        Position {
            line,
            column,
            span: start..end,
        }
    }
}

/// The last place between two characters that is not behind `offset`.
pub(super) fn floor_char(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
