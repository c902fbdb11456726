//! How things are, told to people.

use jiff::tz::TimeZone;

use super::classes::{Shown, classes};
use super::columns::{Rows, carried};
use super::words;
use crate::api::{DirectionStatus, Holds, Outcome, Status};
use crate::units::short_text;

/// The same for people: what matters first.
#[must_use]
pub fn text(status: &Status, zone: &TimeZone) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    let when = |at: &jiff::Timestamp| words::date(*at, zone);
    let health = if status.healthy {
        "healthy"
    } else {
        "NOT HEALTHY"
    };
    let host = if status.host.is_empty() {
        "this host"
    } else {
        &status.host
    };
    let daemon = status.daemon.as_ref().map_or_else(
        || "no daemon runs".to_owned(),
        |daemon| {
            let since = when(&daemon.since);
            format!(
                "daemon {} (process {}) since {since}",
                daemon.version, daemon.pid
            )
        },
    );
    line(format!("{host}: {health}; {daemon}"));
    for problem in &status.problems {
        line(format!(
            "! {} (since {})",
            problem.what,
            when(&problem.since)
        ));
    }
    match &status.phase {
        None if status.healthy => line("Nothing was applied yet.".to_owned()),
        None => line("No phase is on record.".to_owned()),
        Some(phase) => {
            let (name, since) = (&phase.name, when(&phase.since));
            line(match phase.holds {
                Holds::Whole => format!("Phase {name} since {since}"),
                Holds::Blocks => {
                    format!("No shaping since {since}: the blocks of phase {name} alone")
                }
                Holds::Nothing => format!("Nothing holds since {since}"),
            });
            if !phase.because.is_empty() {
                line(format!("  by {}: {}", phase.by, phase.because));
            }
            if phase.holds != Holds::Whole {
                line(format!("  the next apply brings phase {name} back"));
            }
            if let Some(until) = &phase.until {
                line(format!("  until {until}"));
            }
            if let Some(shift) = &phase.shifting {
                line(format!(
                    "  on the way into {}: {:.0} %, {:.0} s left",
                    shift.to,
                    shift.done * 100.0,
                    shift.seconds_left
                ));
            }
        }
    }
    if status.files_taken_back {
        line(
            "The policy files were taken back: `wanshift apply` puts them into force again."
                .to_owned(),
        );
    }
    if let Some(pending) = &status.pending {
        line(format!(
            "Change {} (`{}` by {}) waits:",
            pending.change, pending.what, pending.by
        ));
        let left = words::time(std::time::Duration::from_secs(pending.seconds_left));
        line(match (&status.daemon, pending.seconds_left) {
            (Some(_), _) => format!("  undone in {left} unless it is confirmed: wanshift confirm"),
            (None, 0) => "  its time is over, and nobody undid it: wanshift rollback".to_owned(),
            (None, _) => format!("  {left} are left to confirm it: wanshift confirm"),
        });
    }
    let mut table = Rows::default();
    for circuit in &status.circuits {
        let mut row = |way: &str, direction: &DirectionStatus| {
            let rate = direction.rate.map_or_else(|| "-".to_owned(), carried);
            table.row([
                format!("{} {way}", circuit.name),
                short_text(direction.share.bits()),
                short_text(direction.capacity.bits()),
                rate,
                format!("{:.0} s", direction.hot_seconds),
                format!("{:.0} s", direction.saturated_seconds),
            ]);
        };
        row("up", &circuit.up);
        if let Some(down) = &circuit.down {
            row("down", down);
        }
    }
    for row in table.fitting(["circuit", "share", "of", "carries", "full", "saturated"]) {
        line(row);
    }
    for row in classes(status, Shown::Busiest) {
        line(row);
    }
    let mut table = Rows::default();
    for block in &status.blocks {
        table.row([
            block.name.to_string(),
            block.state.word().to_owned(),
            block.since.as_ref().map_or_else(|| "-".to_owned(), when),
            format!("{}", block.rejected_packets),
        ]);
    }
    let because = status.blocks.iter().map(|block| block.because.as_str());
    for row in table.told(["block", "", "since", "rejected"], because) {
        line(row);
    }
    let mut table = Rows::default();
    for condition in &status.conditions {
        table.row([
            condition.name.to_string(),
            if condition.holds { "true" } else { "false" }.to_owned(),
            condition
                .since
                .as_ref()
                .map_or_else(|| "-".to_owned(), when),
        ]);
    }
    let because = status.conditions.iter();
    let because = because.map(|condition| condition.because.as_str());
    for row in table.told(["condition", "", "since"], because) {
        line(row);
    }
    if let Some(change) = &status.last_change {
        let outcome = match change.outcome {
            Outcome::Done => "done",
            Outcome::Undone => "undone",
        };
        line(String::new());
        line(format!(
            "Last change: {} `{}` by {}",
            change.change, change.what, change.by
        ));
        line(format!("  {outcome} {}", when(&change.at)));
    }
    if let (Some(last), Some(what)) = (&status.repairs.last, &status.repairs.what) {
        line(format!(
            "Last repair: {} (of {})",
            when(last),
            status.repairs.count
        ));
        line(format!("  {what}"));
        let mut changes = status.repairs.changes.iter();
        if let Some(first) = changes.next() {
            line(format!("  {}", first.what));
        }
        let more = changes.len() + status.repairs.more;
        if more > 0 {
            line(format!("  and {more} more: `wanshift --json status`"));
        }
    }
    text
}
