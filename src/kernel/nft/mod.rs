//! The packet filter: one `inet` table of ours, read and changed through `nft`.
//!
//! What packets meet is changed in one transaction each time: the rules before or the rules after,
//! nothing between. The table itself is never deleted and made again: only what differs is touched.

mod change;
mod counters;
mod flowtables;
mod read;
mod run;
mod text;
pub(super) mod wire;
mod write;

pub use change::render;
pub use counters::rejected;
pub use flowtables::flowtables;
pub use read::{ReadError, parse};
pub use write::render_whole;

use run::{Output, RunError, nft};

use super::{KernelError, OpError};
use crate::model::filter::{FAMILY, NAME, Table};

/// Reads our table; `None` where there is none.
///
/// # Errors
/// Where `nft` cannot be run, fails, or prints what is no table.
pub fn read() -> Result<Option<Table>, KernelError> {
    let failed = |why: String| KernelError::Nft { why };
    let unread = |error: RunError| failed(error.to_string());
    let list = || ask(&["-nn", "-s", "list", "table", FAMILY, NAME]).map_err(unread);
    let mut output = list()?;
    if !output.status.success() {
        // nft says that there is no such table and that it may not look in the same way, by a message
        // and exit code 1. So the question is asked again such that no table is no failure.
        let tables = ask(&["list", "tables", FAMILY]).map_err(unread)?;
        if tables.status.success() && !has_table(&String::from_utf8_lossy(&tables.stdout)) {
            return Ok(None);
        }
        // Somebody may have made it in between.
        output = list()?;
    }
    if !output.status.success() {
        return Err(failed(complaint(&output, "")));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).map(Some).map_err(|error| KernelError::Decode {
        what: "the packet filter",
        why: error.to_string(),
    })
}

/// How often a question is asked again whose `nft` was killed.
const AGAIN: usize = 5;

/// Asks `nft`, which changes nothing. A signal that came between its start and its leaving our process
/// group may have been meant for us (Ctrl-C goes to a whole group): who was killed by one is asked again.
fn ask(arguments: &[&str]) -> Result<Output, RunError> {
    let mut output = nft(arguments, "")?;
    for _ in 0..AGAIN {
        if output.status.code().is_some() {
            break;
        }
        output = nft(arguments, "")?;
    }
    Ok(output)
}

fn has_table(tables: &str) -> bool {
    tables
        .lines()
        .any(|line| line.split_whitespace().eq(["table", FAMILY, NAME]))
}

/// Changes the kernel's table from `from` to `to`; writes nothing where they are equal.
///
/// What packets meet changes in one transaction. Before it, in another, the new chains are made that
/// nothing leads to yet ([`Table::prepared`] says why). After it, in a third, maps go that no rule asks any more
/// ([`Table::outgoing`] says why).
///
/// # Errors
/// Where `nft` cannot be run or refuses: then what packets meet is unchanged. Where it was killed, by
/// somebody or because it did not end, or only what is no longer met could not be taken away: it may have changed.
pub fn apply(from: Option<&Table>, to: Option<&Table>) -> Result<(), OpError> {
    let middle = to.and_then(|to| to.prepared(from));
    let rest = from.zip(to).and_then(|(from, to)| from.outgoing(to));
    if let Some(middle) = &middle {
        send(&render(from, Some(middle)))?;
    }
    let from = middle.as_ref().or(from);
    let Some(rest) = &rest else {
        return send(&render(from, to));
    };
    send(&render(from, Some(rest)))?;
    send(&render(Some(rest), to)).map_err(|error| OpError::Unknown {
        why: format!("what no packet meets any more could not be taken away: {error}"),
    })
}

/// Has `nft` carry out one transaction.
fn send(text: &str) -> Result<(), OpError> {
    if text.is_empty() {
        return Ok(());
    }
    let output = nft(&["-f", "-"], text).map_err(|error| match error {
        RunError::NotStarted(why) => OpError::Nft { why },
        RunError::Lost(why) => OpError::Unknown {
            why: format!("nft {why}"),
        },
    })?;
    let why = || complaint(&output, text);
    match output.status.code() {
        Some(0) => Ok(()),
        Some(_) => Err(OpError::Nft { why: why() }),
        // Killed: before the kernel had it, or after.
        None => Err(OpError::Unknown {
            why: format!("nft {}", why()),
        }),
    }
}

/// How many of the lines that nft complains with are passed on.
const MOST_LINES: usize = 6;

/// What nft said, with the line of `input` that it means.
fn complaint(output: &Output, input: &str) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let mut lines: Vec<&str> = said
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .take(MOST_LINES)
        .collect();
    let meant = lines
        .first()
        .and_then(|line| line_number(line))
        .and_then(|number| input.lines().nth(number.checked_sub(1)?));
    if let Some(meant) = meant.map(str::trim)
        && !lines.iter().any(|line| line.contains(meant))
    {
        lines.push(meant);
    }
    match (lines.is_empty(), output.status.code()) {
        (false, _) => lines.join("\n"),
        (true, Some(code)) => format!("failed without a word, with exit code {code}"),
        (true, None) => "was killed".to_owned(),
    }
}

/// The line in `/dev/stdin:12:5-8: Error: ...`.
fn line_number(line: &str) -> Option<usize> {
    let (place, _) = line.split_once(": ")?;
    let mut parts = place.split(':');
    parts.next()?;
    parts.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_table_is_ours() {
        assert!(has_table("table ip nat\ntable inet wanshift\n"));
        assert!(!has_table("table inet wanshift2\ntable ip wanshift\n"));
    }

    #[test]
    fn a_complaint_names_its_line() {
        assert_eq!(line_number("/dev/stdin:12:5-8: Error: no"), Some(12));
        assert_eq!(line_number("Error: no"), None);
    }
}
