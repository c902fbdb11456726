//! Faults as an administrator sees them: the line, what is wrong in it, and what to do.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, Severity, SourceCode, SourceSpan, SpanContents,
};

use super::Source;
use super::fault::{Fault, Faults, Position, Starts, floor_char};

/// How faults are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// Without colour: for files, pipes, and those who set `NO_COLOR`.
    Plain,
    /// With colour, for a terminal.
    Colour,
}

/// How many faults are drawn at the most; the others are counted.
pub const SHOWN: usize = 50;
/// How much of a long line is drawn on each side of what is meant.
const AROUND: usize = 100;

/// Draws `faults` for people, `width` columns wide, one after another, with a count at the end.
///
/// `sources` are those that were read; a fault in a file that is not among them is drawn without
/// its line. What a file holds is made harmless first: no escape sequence reaches the terminal.
#[must_use]
pub fn report(faults: &Faults, sources: &[Source], style: Style, width: usize) -> String {
    let shown = faults.list().iter().take(SHOWN);
    let mut out = drawn(shown, Severity::Error, sources, style, width);
    let count = faults.count();
    out.push_str(&match (count, count.saturating_sub(SHOWN)) {
        (1, _) => "1 error\n".to_owned(),
        (_, 0) => format!("{count} errors\n"),
        (_, more) => format!("… and {more} more: {count} errors\n"),
    });
    out
}

/// Draws what is worth a look in the same way: nothing where there is nothing.
#[must_use]
pub fn advice(notes: &[Fault], sources: &[Source], style: Style, width: usize) -> String {
    let shown = notes.iter().take(SHOWN);
    let mut out = drawn(shown, Severity::Advice, sources, style, width);
    match (notes.len(), notes.len().saturating_sub(SHOWN)) {
        (0, _) => {}
        (1, _) => out.push_str("1 note\n"),
        (count, 0) => out.push_str(&format!("{count} notes\n")),
        (count, more) => out.push_str(&format!("… and {more} more: {count} notes\n")),
    }
    out
}

/// Each of `faults`, with an empty line after it.
fn drawn<'f>(
    faults: impl Iterator<Item = &'f Fault>,
    severity: Severity,
    sources: &[Source],
    style: Style,
    width: usize,
) -> String {
    let theme = match style {
        Style::Plain => GraphicalTheme::unicode_nocolor(),
        Style::Colour => GraphicalTheme::unicode(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_wrap_lines(false)
        .with_context_lines(0)
        .with_links(false)
        .with_urls(false)
        .without_syntax_highlighting();
    let texts: Vec<Text<'_>> = sources.iter().map(Text::of).collect();
    let mut out = String::new();
    for fault in faults {
        // Writing into a `String` cannot fail.
        let drawn = Drawn::of(fault, severity, &texts, width);
        let _ = handler.render_report(&mut out, &drawn);
        for elsewhere in &drawn.elsewhere {
            let _ = handler.render_report(&mut out, elsewhere);
        }
        out.push('\n');
    }
    out
}

/// A fault on its way to miette.
#[derive(Debug)]
struct Drawn<'a> {
    message: String,
    help: Option<String>,
    severity: Severity,
    text: Option<&'a Text<'a>>,
    labels: Vec<(Range<usize>, Option<String>)>,
    /// Places in other files, each drawn below with a head of its own.
    elsewhere: Vec<Drawn<'a>>,
}

impl<'a> Drawn<'a> {
    fn of(fault: &Fault, severity: Severity, texts: &'a [Text<'a>], width: usize) -> Self {
        let text = |file: &str| texts.iter().find(|text| text.name == file);
        let here = fault.position.as_ref().and_then(|_| text(&fault.file));
        let mut labels: Vec<_> = fault
            .position
            .iter()
            .map(|position| (position.span.clone(), fault.label.clone()))
            .collect();
        let mut elsewhere = Vec::new();
        for related in &fault.related {
            let span = related.position.span.clone();
            if related.file == fault.file {
                labels.push((span, Some(related.message.clone())));
            } else {
                elsewhere.push(Self {
                    message: related.message.clone(),
                    help: None,
                    severity: Severity::Advice,
                    text: text(&related.file),
                    labels: vec![(span, None)],
                    elsewhere: Vec::new(),
                });
            }
        }
        let message = match here {
            Some(_) => fault.message.clone(),
            None => format!(
                "{}{}: {}",
                fault.file,
                place(fault.position.as_ref()),
                fault.message
            ),
        };
        Self {
            message: fill(&printable(&message), width.saturating_sub(4)),
            help: fault
                .help
                .as_deref()
                .map(|help| fill(&printable(help), width.saturating_sub(8))),
            severity,
            text: here,
            labels,
            elsewhere,
        }
    }
}

fn place(position: Option<&Position>) -> String {
    position.map_or_else(String::new, |position| {
        format!(":{}:{}", position.line, position.column)
    })
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<_>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.text.map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let text = self.text?;
        Some(Box::new(self.labels.iter().enumerate().map(
            move |(index, (span, label))| {
                let span = text.one_line(span);
                let (start, length) = (span.start, span.len());
                if index == 0 {
                    LabeledSpan::new_primary_with_span(label.clone(), (start, length))
                } else {
                    LabeledSpan::new(label.clone(), start, length)
                }
            },
        )))
    }
}

/// A source as it may be drawn.
#[derive(Debug)]
struct Text<'a> {
    name: &'a str,
    text: Cow<'a, str>,
    lines: Starts,
}

impl<'a> Text<'a> {
    fn of(source: &'a Source) -> Self {
        let text = printable(&source.text);
        Self {
            name: &source.name,
            lines: Starts::of(&text),
            text,
        }
    }

    /// What of `span` is on its first line: a multi-line value is pointed at, not underlined whole.
    fn one_line(&self, span: &Range<usize>) -> Range<usize> {
        let start = floor_char(&self.text, span.start);
        let end = floor_char(&self.text, span.end.max(start));
        let meant = self.text.get(start..end).unwrap_or_default();
        let first = meant.lines().next().unwrap_or_default();
        let line = self.lines.bytes(self.lines.line(start));
        if first.is_empty() && start >= line.end && start > line.start {
            // Behind the end of a line no caret is drawn: point at its last character.
            let last = floor_char(&self.text, line.end - 1);
            return last.max(line.start)..line.end;
        }
        start..start + floor_char(first, 2 * AROUND)
    }
}

impl SourceCode for Text<'_> {
    /// The lines of `span`; of a long line, only what is near it.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let lines = &self.lines;
        let (start, end) = (span.offset(), span.offset() + span.len());
        let (first, last) = (
            lines.line(start),
            lines.line(end.saturating_sub(1).max(start)),
        );
        let (line, until) = (lines.bytes(first), lines.bytes(last).end);
        let from = floor_char(&self.text, start.saturating_sub(AROUND)).max(line.start);
        let until = floor_char(&self.text, end + AROUND).min(until).max(from);
        let data = self
            .text
            .get(from..until)
            .ok_or(MietteError::OutOfBounds)?
            .as_bytes();
        let column = self
            .text
            .get(line.start..start)
            .map_or(0, |before| before.chars().count());
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.to_owned(),
            data,
            (from, until - from).into(),
            first - 1,
            column,
            last - first + 1,
        )))
    }
}

/// `text` in lines of at most `width` characters, parted at spaces only: a name with a `-` in it
/// stays whole.
fn fill(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            out.push('\n');
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out
}

/// `text` without what would speak to the terminal rather than to its reader: each such byte
/// becomes a `?`, so that places in it stay what they were.
fn printable(text: &str) -> Cow<'_, str> {
    let hostile = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hostile(c) {
            out.extend(std::iter::repeat_n('?', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}
