//! Where a verb's words go: results to stdout, talk to stderr; a reader who has gone away is no error.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::failure::{Failed, help};
use super::usage::Wrong;
use crate::api::{Answer, Failure, Milestone, Talk};
use crate::policy::Style;
use crate::units::lines::{WIDTH, fitted};

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

    /// A result: as text in lines that fit, or as JSON where that was asked for.
    pub(super) fn result<T: Serialize>(&mut self, result: &T, text: &str) -> Result<(), Failure> {
        self.verbatim(result, &fitted(text))
    }

    /// The same where the text is a file in a language of its own.
    pub(super) fn verbatim<T: Serialize>(&mut self, result: &T, text: &str) -> Result<(), Failure> {
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
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
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

    /// That it failed: to stderr, and as JSON to stdout where that was asked for.
    pub(super) fn failure(&mut self, failure: &Failure) -> u8 {
        if self.format == Format::Json {
            // A reader who has gone away is told nothing more.
            let _ = self.result(&Failed::order(failure), "");
        }
        match (&failure.files, self.format) {
            (Some(files), Format::Text) => self.drawn(&files.drawn),
            (Some(_), Format::Json) | (None, Format::Text | Format::Json) => {
                self.say(&format!("error: {}", failure.error));
                for cause in &failure.because {
                    self.say(&format!("  because: {cause}"));
                }
                if let Some(help) = help(failure) {
                    self.say(&format!("  help: {help}"));
                }
            }
        }
        1
    }

    /// A command line that is wrong, or one that asks for help.
    pub(super) fn usage(&mut self, error: &clap::Error, arguments: &[OsString]) -> u8 {
        let text = error.render().to_string();
        if !error.use_stderr() {
            let _ = self.print(&text);
            return 0;
        }
        self.wrong(&Wrong::of(error, arguments))
    }

    /// A command line that is wrong.
    pub(super) fn wrong(&mut self, wrong: &Wrong) -> u8 {
        if self.format == Format::Json {
            let help = wrong.help.as_deref();
            let _ = self.result(&Failed::usage(&wrong.message, help), "");
        }
        match (&wrong.page, self.format) {
            (Some(page), Format::Text) => self.drawn(&fitted(page)),
            (Some(_), Format::Json) | (None, Format::Text | Format::Json) => {
                self.say(&format!("error: {}", wrong.message));
                if let Some(help) = &wrong.help {
                    self.say(&format!("  help: {help}"));
                }
            }
        }
        2
    }

    /// Talk that is drawn: it stands as it is, however wide.
    pub(super) fn drawn(&mut self, text: &str) {
        self.end_line();
        let _ = writeln!(self.err, "{text}");
    }
}

impl Talk for Output<'_> {
    /// To stderr, in lines that fit.
    fn say(&mut self, line: &str) {
        self.drawn(&fitted(line));
    }

    fn text(&mut self, text: &str) {
        if self.format == Format::Text {
            // A reader who has gone away is told nothing more.
            let _ = self.print(&fitted(text));
        }
    }

    /// On a terminal one line that is written again, elsewhere a line of its own where `milestone` says that it
    /// is worth one.
    fn progress(&mut self, line: &str, milestone: Milestone) {
        self.line = match (self.screen, milestone) {
            (Screen::Terminal, Milestone::Step) => Line::Live,
            (Screen::Terminal | Screen::Lines, _) => Line::Ended,
        };
        let line = match (self.screen, milestone) {
            // One line is all that can be written again.
            (Screen::Terminal, Milestone::Step) => line.chars().take(WIDTH).collect(),
            (Screen::Terminal | Screen::Lines, _) => fitted(line),
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
