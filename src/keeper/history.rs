//! The changes of the past, told.

use std::path::Path;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{Keeper, words};
use crate::api::{Answer, Failure, FileFacts};
use crate::store::{Past, RecordState, hashes};
use crate::units::lines::wrapped;

/// What stands below a line of a change.
const FILES: &str = "         ";

/// What `history` prints as JSON.
#[derive(Debug, Serialize)]
struct History {
    /// The changes on record, the last first.
    changes: Vec<Entry>,
}

/// A change of the past.
#[derive(Debug, Serialize)]
struct Entry {
    change: i64,
    ordered: jiff::Timestamp,
    ended: Option<jiff::Timestamp>,
    by: String,
    what: String,
    state: RecordState,
    phase_before: Option<String>,
    phase_after: Option<String>,
    /// The hash of the policy that it put into force: SHA-256 of what `sha256sum` prints of its files.
    policy: Option<String>,
    files: Vec<FileFacts>,
    /// Why it was taken back.
    because: Option<String>,
}

impl Keeper {
    pub(super) fn history(&self) -> Result<Answer, Failure> {
        let mut changes = Vec::new();
        for past in self.store.history()? {
            // One that is gone with its time is no reason to tell nothing of the others.
            let policy = past.policy.and_then(|id| self.store.policy(id).ok());
            changes.push(entry(past, policy.as_ref()));
        }
        let text = text(&changes, &self.zone());
        Answer::of(&History { changes }, text)
    }
}

fn entry(past: Past, policy: Option<&crate::store::StoredPolicy>) -> Entry {
    Entry {
        change: past.id.0,
        ordered: past.opened,
        ended: past.closed,
        by: past.actor,
        what: past.what,
        state: past.state,
        phase_before: past.phase_from.map(|phase| phase.to_string()),
        phase_after: past.phase_to.map(|phase| phase.to_string()),
        policy: policy.map(|policy| policy.hash.clone()),
        files: policy.map_or_else(Vec::new, |policy| hashes(&policy.sources)),
        because: past.error,
    }
}

fn text(changes: &[Entry], zone: &TimeZone) -> String {
    if changes.is_empty() {
        return "No change is on record.\n".to_owned();
    }
    let state = |entry: &Entry| match entry.state {
        RecordState::Applying => "on its way",
        RecordState::Undoing => "going back",
        RecordState::Stuck => "stuck going back",
        RecordState::Unconfirmed => "unconfirmed",
        RecordState::Done => "done",
        RecordState::Undone => "undone",
    };
    let mut text = String::new();
    for entry in changes {
        let when = words::date(entry.ordered, zone);
        let phases = match (&entry.phase_before, &entry.phase_after) {
            (Some(before), Some(after)) if before == after => format!("phase {after}"),
            (Some(before), Some(after)) => format!("phase {before} → {after}"),
            (None, Some(after)) => format!("phase {after}"),
            (Some(before), None) => format!("phase {before} taken out"),
            (None, None) => "taken out".to_owned(),
        };
        text.push_str(&format!(
            "{:>5}  {when}  {:<11}  {}\n       by {}; {phases}\n",
            entry.change,
            state(entry),
            entry.what,
            entry.by
        ));
        if let Some(hash) = &entry.policy {
            let short: String = hash.chars().take(12).collect();
            let (place, files) = files(&entry.files);
            text.push_str(&format!("       policy {short}{place}:\n"));
            text.push_str(&wrapped(FILES, FILES, &files));
        }
        if let Some(because) = &entry.because {
            let because = format!("taken back: {because}");
            text.push_str(&wrapped("       ", FILES, &because));
        }
    }
    text
}

/// The directory of policy files, and their names in it; as they are, where they are in no directory.
fn files(files: &[FileFacts]) -> (String, String) {
    let first = files.first().map(|file| Path::new(&file.name));
    let directory = first
        .and_then(Path::parent)
        .filter(|directory| *directory != Path::new(""));
    let name = |file: &FileFacts| {
        let path = Path::new(&file.name);
        let inside = directory.and_then(|directory| path.strip_prefix(directory).ok());
        inside.unwrap_or(path).display().to_string()
    };
    let names: Vec<String> = files.iter().map(name).collect();
    let place = directory.map_or_else(String::new, |place| format!(", in {}", place.display()));
    (place, names.join(" "))
}
