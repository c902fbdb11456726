//! What is printed: acts, the administrator's commands, tables of policy against measured.

use std::cell::Cell;
use std::io::{IsTerminal, Write, stdout};

/// How far a figure may be off, in percent.
const TOLERANCE: f64 = 5.0;
/// How wide text is set, in columns.
const WIDTH: usize = 80;

/// What a policy says of a figure.
#[derive(Debug, Clone, Copy)]
pub enum Policy {
    /// It is this.
    Is(f64),
    /// It is this or less.
    AtMost(f64),
    /// None of it, to the last one.
    None,
}

/// One line of a table.
pub struct Row {
    pub what: String,
    pub policy: Policy,
    pub measured: f64,
}

/// The page that the demo is printed on.
pub struct Page {
    colour: bool,
    /// Whether the last line was narration, which what follows is set off from.
    narrated: Cell<bool>,
    acts: usize,
    figures: usize,
    off: Vec<String>,
}

impl Page {
    pub fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        Self {
            colour: wanted && stdout().is_terminal(),
            narrated: Cell::new(false),
            acts: 0,
            figures: 0,
            off: Vec::new(),
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Prints a line. A reader who has gone away is no reason to leave the play half done.
    pub fn line(&self, text: &str) {
        let mut out = stdout();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// The next act begins.
    pub fn act(&mut self, title: &str, narration: &[&str]) {
        self.acts += 1;
        let title = format!("{}. {title}", self.acts);
        self.line(&format!("\n{}", self.paint("1;36", &title)));
        for line in narration {
            self.line(&format!("   {line}"));
        }
        self.narrated.set(true);
    }

    /// A command, as the administrator types it.
    pub fn command(&self, text: &str) {
        if self.narrated.take() {
            self.line("");
        }
        self.line(&self.paint("1", &format!("   edge# {text}")));
    }

    /// What a program answered, as it is but for the indent: a table of its own may be wide.
    pub fn answer(&self, text: &str) {
        for line in text.trim_end().lines() {
            let line = format!("   {line}");
            self.line(line.trim_end());
        }
    }

    /// What a program said besides, folded to the page's width.
    pub fn talk(&self, text: &str) {
        let mut line = String::from("  ");
        for word in text.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                line = String::from("    ");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    /// A table of policy against measured, each figure judged.
    pub fn table(&mut self, unit: &str, rows: &[Row]) {
        let head = format!("   {unit:<47}{:>9}{:>10}{:>9}", "policy", "measured", "off");
        self.narrated.set(false);
        self.line("");
        self.line(&self.paint("2", &head));
        for row in rows {
            let (policy, off, good) = judge(row);
            let digits = usize::from(!matches!(row.policy, Policy::None));
            let off = self.paint(if good { "32" } else { "1;31" }, &format!("{off:>9}"));
            let flag = if good { "" } else { " !" };
            let measured = format!("{:.digits$}", row.measured);
            let text = format!("   {:<47}{policy:>9}{measured:>10}{off}{flag}", row.what);
            self.line(&text);
            self.figures += 1;
            if !good {
                self.off.push(row.what.clone());
            }
        }
    }

    /// The last words, and whether all figures were good.
    pub fn verdict(&self, seconds: f64) -> bool {
        let text = match self.off.as_slice() {
            [] => self.paint(
                "1;32",
                &format!(
                    "All {} figures are within {TOLERANCE} % of the policy",
                    self.figures
                ),
            ),
            off => self.paint(
                "1;31",
                &format!("Off by more than {TOLERANCE} %: {}", off.join("; ")),
            ),
        };
        self.line(&format!("\n{text} ({seconds:.0} s)."));
        self.off.is_empty()
    }
}

fn judge(row: &Row) -> (String, String, bool) {
    let percent = |policy: f64| (row.measured - policy) / policy * 100.0;
    match row.policy {
        Policy::Is(policy) => {
            let off = percent(policy);
            (
                format!("{policy:.1}"),
                format!("{off:+.1} %"),
                off.abs() <= TOLERANCE,
            )
        }
        Policy::AtMost(policy) => {
            let over = percent(policy).max(0.0);
            (
                format!("≤ {policy:.1}"),
                format!("{over:+.1} %"),
                over <= TOLERANCE,
            )
        }
        Policy::None => {
            let good = row.measured == 0.0;
            (
                "0".to_owned(),
                if good { "none" } else { "some" }.to_owned(),
                good,
            )
        }
    }
}
