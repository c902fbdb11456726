//! What is printed: acts, the administrator's commands, tables of policy against measured.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use crate::lab::time::{SECOND, nanos};
use crate::lab::{now, sleep};

/// How far a figure may be off, in percent.
const TOLERANCE: f64 = 5.0;
/// How wide text is set, in columns.
const WIDTH: usize = 80;
/// What everything but titles begins with.
const INDENT: &str = "   ";

/// What a policy says of a figure.
#[derive(Debug, Clone, Copy)]
pub enum Policy {
    /// It is this.
    Is(f64),
    /// It is this or less.
    AtMost(f64),
    /// It is this many, to the last one.
    Count(usize),
}

/// One line of a table.
pub struct Row {
    what: String,
    policy: Policy,
    measured: f64,
}

/// A figure, with what the policy says of it.
pub fn row(what: impl Into<String>, policy: Policy, measured: f64) -> Row {
    Row {
        what: what.into(),
        policy,
        measured,
    }
}

/// The page that the demo is printed on.
pub struct Page {
    terminal: bool,
    colour: bool,
    /// Whether the line of progress is on the terminal.
    live: Cell<bool>,
    /// Whether a command that follows is set off from what is above.
    set_off: Cell<bool>,
    acts: Cell<usize>,
    figures: Cell<usize>,
    again: Cell<usize>,
    off: RefCell<Vec<String>>,
}

impl Page {
    pub fn new() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|set| !set.is_empty());
        let terminal =
            stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        Self {
            terminal,
            colour: terminal && !set("NO_COLOR"),
            live: Cell::new(false),
            set_off: Cell::new(false),
            acts: Cell::new(0),
            figures: Cell::new(0),
            again: Cell::new(0),
            off: RefCell::default(),
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
        self.clear();
        let mut out = stdout();
        let _ = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    }

    /// Shows what is going on, until the next line is printed: on a terminal alone.
    pub fn live(&self, what: &str) {
        self.clear();
        if self.terminal {
            let mut out = stdout();
            let text = self.paint("2", &format!("{INDENT}… {what}"));
            let _ = write!(out, "{text}").and_then(|()| out.flush());
            self.live.set(true);
        }
    }

    /// Takes the line of progress away.
    pub fn clear(&self) {
        if self.live.take() {
            let mut out = stdout();
            let _ = write!(out, "\r\x1b[2K").and_then(|()| out.flush());
        }
    }

    /// Waits, and shows how long it still takes.
    pub fn wait(&self, what: &str, duration: Duration) {
        let end = now() + nanos(duration);
        loop {
            let left = end.saturating_sub(now());
            if left == 0 {
                break;
            }
            let seconds = left.div_ceil(SECOND);
            self.live(&format!("{what}: {seconds} s"));
            sleep(Duration::from_nanos(left - (seconds - 1) * SECOND));
        }
        self.clear();
    }

    /// The next act begins.
    pub fn act(&self, title: &str, narration: &[&str]) {
        self.acts.set(self.acts.get() + 1);
        let title = format!("{}. {title}", self.acts.get());
        self.line(&format!("\n{}", self.paint("1;36", &title)));
        self.say(narration);
    }

    /// Tells in the demo's own words, below a table.
    pub fn remark(&self, narration: &[&str]) {
        self.line("");
        self.say(narration);
    }

    fn say(&self, narration: &[&str]) {
        for line in narration {
            self.line(&format!("{INDENT}{line}"));
        }
        self.set_off.set(true);
    }

    /// A command, as the administrator types it.
    pub fn command(&self, text: &str) {
        if self.set_off.take() {
            self.line("");
        }
        self.line(&self.paint("1", &format!("{INDENT}edge# {text}")));
    }

    /// What a program answered: results as they are, where they fit the page.
    pub fn answer(&self, text: &str) {
        // An empty line is one, too.
        for line in text.trim_end().split('\n') {
            if line.chars().count() + INDENT.len() <= WIDTH {
                self.line(&format!("{INDENT}{line}"));
            } else {
                self.talk(line);
            }
        }
    }

    /// What a program said besides, folded to the page's width.
    pub fn talk(&self, text: &str) {
        let mut line = INDENT.to_owned();
        for word in text.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                line = format!("{INDENT}  ");
            } else if line.len() > INDENT.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
    }

    /// A table of policy against measured, each figure judged. Where one is off, that may be the machine's doing,
    /// which has other things to do: then all is measured once more, which is said, and that counts.
    pub fn measured(&self, unit: &str, mut measure: impl FnMut() -> Vec<Row>) {
        let rows = measure();
        if rows.iter().all(|row| judge(row).good) {
            return self.table(unit, &rows);
        }
        self.rows(unit, &rows);
        self.again.set(self.again.get() + 1);
        self.line("");
        self.line(&format!(
            "{INDENT}More than {TOLERANCE} % off. {}. Once more:",
            load()
        ));
        self.table(unit, &measure());
    }

    /// The same for figures that no busy machine is an excuse for.
    pub fn table(&self, unit: &str, rows: &[Row]) {
        self.rows(unit, rows);
        self.figures.set(self.figures.get() + rows.len());
        let bad = rows.iter().filter(|row| !judge(row).good);
        let act = self.acts.get();
        let bad = bad.map(|row| format!("act {act}: {}", squeezed(&row.what)));
        self.off.borrow_mut().extend(bad);
    }

    fn rows(&self, unit: &str, rows: &[Row]) {
        self.line("");
        let head = format!(
            "{INDENT}{unit:<47}{:>9}{:>10}{:>9}",
            "policy", "measured", "off"
        );
        self.line(&self.paint("2", &head));
        for row in rows {
            let told = judge(row);
            let off = format!("{:>9}", told.off);
            let off = self.paint(if told.good { "32" } else { "1;31" }, &off);
            let flag = if told.good { "" } else { " !" };
            self.line(&format!(
                "{INDENT}{:<47}{:>9}{:>10}{off}{flag}",
                row.what, told.policy, told.measured
            ));
        }
        self.set_off.set(true);
    }

    /// The last words, and whether all figures were good.
    pub fn verdict(&self, seconds: f64) -> bool {
        let off = self.off.borrow();
        let figures = self.figures.get();
        let again = match self.again.get() {
            0 => String::new(),
            1 => "; one table measured twice".to_owned(),
            tables => format!("; {tables} tables measured twice"),
        };
        let time = format!("({seconds:.0} s{again})");
        if off.is_empty() {
            let text = format!("All {figures} figures are within {TOLERANCE} % of the policy");
            self.line(&format!("\n{} {time}.", self.paint("1;32", &text)));
        } else {
            let text = format!(
                "{} of {figures} figures are more than {TOLERANCE} % off",
                off.len()
            );
            self.line(&format!("\n{} {time}:", self.paint("1;31", &text)));
            off.iter().for_each(|what| self.line(&format!("  {what}")));
        }
        off.is_empty()
    }
}

/// How a figure is printed.
struct Told {
    policy: String,
    measured: String,
    off: String,
    good: bool,
}

fn judge(row: &Row) -> Told {
    let percent = |policy: f64| (row.measured - policy) / policy * 100.0;
    match row.policy {
        Policy::Is(policy) => {
            let off = percent(policy);
            Told {
                policy: format!("{policy:.1}"),
                measured: format!("{:.1}", row.measured),
                off: format!("{off:+.1} %"),
                good: off.abs() <= TOLERANCE,
            }
        }
        Policy::AtMost(policy) if row.measured.is_infinite() => Told {
            policy: format!("≤ {policy:.0}"),
            measured: "never".to_owned(),
            off: String::new(),
            good: false,
        },
        Policy::AtMost(policy) => {
            let over = percent(policy);
            Told {
                policy: format!("≤ {policy:.0}"),
                measured: format!("{:.1}", row.measured),
                off: if over > 0.0 {
                    format!("{over:+.1} %")
                } else {
                    "below".to_owned()
                },
                good: over <= TOLERANCE,
            }
        }
        Policy::Count(policy) => {
            let off = row.measured - policy as f64;
            Told {
                policy: policy.to_string(),
                measured: format!("{:.0}", row.measured),
                off: if off == 0.0 {
                    "none".to_owned()
                } else {
                    format!("{off:+.0}")
                },
                good: off == 0.0,
            }
        }
    }
}

/// How busy this machine is.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!("Load is {load} on {processors} processors")
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
