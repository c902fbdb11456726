//! Where a verb's words go: results to stdout, talk to stderr; a reader who has gone away is no error.

use std::io::{ErrorKind, IsTerminal, Write};

use serde::Serialize;

use crate::api::{Answer, Failure, Milestone, Talk};
use crate::policy::Style;

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Whether progress may be drawn over itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// A terminal: the last line may be written again.
    Terminal,
    /// A file or a pipe: a line stands.
    Lines,
}

/// Whether the last line on the terminal waits to be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Ended,
    Live,
}

/// Where a verb's words go.
pub struct Output<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    format: Format,
    screen: Screen,
    line: Line,
}

/// What every JSON result begins with.
#[derive(Serialize)]
struct Versioned<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    result: &'a T,
}

impl<'a> Output<'a> {
    /// Results to `out`, talk to `err`.
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        let screen = if std::io::stderr().is_terminal() {
            Screen::Terminal
        } else {
            Screen::Lines
        };
        Self {
            out,
            err,
            format: Format::Text,
            screen,
            line: Line::Ended,
        }
    }

    pub(super) const fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// A result: as text, or as JSON where that was asked for.
    pub(super) fn result<T: Serialize>(&mut self, result: &T, text: &str) -> Result<(), Failure> {
        match self.format {
            Format::Text => self.print(text),
            Format::Json => {
                let json = serde_json::to_string_pretty(&Versioned {
                    schema_version: 1,
                    result,
                })?;
                self.print(&format!("{json}\n"))
            }
        }
    }

    /// A result that is a file in a language of its own; as JSON it is no other.
    pub(super) fn text_result(&mut self, text: &str) -> Result<(), Failure> {
        self.print(text)
    }

    /// Ends a line of progress that waits to be written again.
    fn end_line(&mut self) {
        if self.line == Line::Live {
            let _ = writeln!(self.err);
            self.line = Line::Ended;
        }
    }

    fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.end_line();
        match self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
        {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// How people's text is drawn.
    pub(super) fn style(&self) -> Style {
        let plain = self.screen == Screen::Lines
            || std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
        if plain { Style::Plain } else { Style::Colour }
    }

    /// What came of an order.
    pub(super) fn answer(&mut self, answer: &Answer) -> Result<(), Failure> {
        self.result(&answer.json, &answer.text)
    }

    pub(super) fn failure(&mut self, failure: &Failure) -> u8 {
        if self.format == Format::Json {
            let own = failure.json.clone();
            let error = own.unwrap_or_else(
                || serde_json::json!({ "error": failure.error, "because": failure.because }),
            );
            let _ = self.result(&error, "");
        }
        if failure.error.is_empty() {
            return 1;
        }
        let told = |words: &str| {
            let mut all = std::iter::once(&failure.error).chain(&failure.because);
            all.any(|text| text.contains(words))
        };
        let denied = told("ermission denied") || told("not permitted");
        let help = if denied && !nix::unistd::Uid::effective().is_root() {
            "\n  help: run it as root; `wanshift check` works without"
        } else {
            ""
        };
        let because: String = failure
            .because
            .iter()
            .map(|cause| format!("\n  because: {cause}"))
            .collect();
        self.say(&format!("error: {}{because}{help}", failure.error));
        1
    }

    pub(super) fn usage(&mut self, error: &clap::Error) -> u8 {
        let text = error.render();
        let _ = if error.use_stderr() {
            write!(self.err, "{text}")
        } else {
            write!(self.out, "{text}")
        };
        u8::try_from(error.exit_code()).unwrap_or(2)
    }
}

impl Talk for Output<'_> {
    /// To stderr.
    fn say(&mut self, line: &str) {
        self.end_line();
        let _ = writeln!(self.err, "{line}");
    }

    fn text(&mut self, text: &str) {
        if self.format == Format::Text {
            // A reader who has gone away is told nothing more.
            let _ = self.print(text);
        }
    }

    /// On a terminal one line that is written again, elsewhere a line of its own where `milestone` says that it
    /// is worth one.
    fn progress(&mut self, line: &str, milestone: Milestone) {
        self.line = match (self.screen, milestone) {
            (Screen::Terminal, Milestone::Step) => Line::Live,
            (Screen::Terminal | Screen::Lines, _) => Line::Ended,
        };
        let _ = match (self.screen, milestone) {
            (Screen::Terminal, Milestone::Step) => write!(self.err, "\r\x1b[2K{line}"),
            (Screen::Terminal, Milestone::Line) => writeln!(self.err, "\r\x1b[2K{line}"),
            (Screen::Lines, Milestone::Line) => writeln!(self.err, "{line}"),
            (Screen::Lines, Milestone::Step) => Ok(()),
        };
        let _ = self.err.flush();
    }
}
