//! `wanshift check`: reads host and policy, says all that is wrong. No root, no daemon, any path.
//!
//! On the host that the policy is for, which is one with the devices of all its circuits, it says as well what
//! of this host the policy does not reach, as far as the kernel shows it to everybody.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::output::{Format, Output};
use super::{Global, OpenKernel};
use crate::api::{Failure, Talk};
use crate::check::{Note, draw, notes, surroundings};
use crate::keeper::files::{Checked, WIDTH, told};
use crate::load::{Choice, Trust, load};
use crate::policy::{Policy, read};

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Files, or directories with host.toml and policy.d/ [default: the configuration directory]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Exit with 3 where notes remain
    #[arg(long)]
    lint_fatal: bool,
}

pub fn check(
    global: &Global,
    args: &CheckArgs,
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let choice = if args.paths.is_empty() {
        Choice::Directory(global.config().to_owned())
    } else {
        Choice::Paths(args.paths.clone())
    };
    let mut noted = Vec::new();
    let loaded = match load(&choice, Trust::Read) {
        Ok(loaded) => loaded,
        Err(faults) => {
            return Err(told(&faults, &[], &noted, output.style(), output));
        }
    };
    noted.extend(loaded.notes);
    if believed_by_the_daemon(&choice, global) {
        noted.extend(unbelievable(&choice));
    }
    let policy = match read(&loaded.sources) {
        Ok(policy) => policy,
        Err(faults) => {
            let (sources, style) = (&loaded.sources, output.style());
            return Err(told(&faults, sources, &noted, style, output));
        }
    };
    noted.extend(notes(&policy));
    noted.extend(of_this_host(&policy, kernel));
    if output.format() == Format::Text && !noted.is_empty() {
        let drawn = draw(&noted, &loaded.sources, output.style(), WIDTH);
        output.say(drawn.trim_end());
    }
    let checked = Checked {
        valid: true,
        errors: &[],
        notes: &noted,
    };
    output.result(&checked, &summary(&policy, noted.len()))?;
    Ok(if args.lint_fatal && !noted.is_empty() {
        3
    } else {
        0
    })
}

/// Whether these files are those that verbs and the daemon act on: others may lie in anybody's home.
fn believed_by_the_daemon(choice: &Choice, global: &Global) -> bool {
    let config = std::fs::canonicalize(global.config());
    match (choice, config) {
        (Choice::Directory(_), _) => true,
        (Choice::Paths(paths), Ok(config)) => paths
            .iter()
            .any(|path| std::fs::canonicalize(path).is_ok_and(|path| path.starts_with(&config))),
        (Choice::Paths(_), Err(_)) => false,
    }
}

/// A note for each file, or directory or link on the way to it, that somebody else may write: `apply` and the daemon
/// would refuse it.
fn unbelievable(choice: &Choice) -> Vec<Note> {
    let Err(faults) = load(choice, Trust::Apply) else {
        return Vec::new();
    };
    let mut notes: Vec<Note> = Vec::new();
    for fault in faults.list() {
        let note = Note::of_file(
            Arc::clone(&fault.file),
            format!("apply and the daemon will refuse it: {}", fault.message),
            fault.help.clone().unwrap_or_default(),
        );
        // A directory may be on the way to many files.
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}

/// What this host shows beside the policy, where it is the policy's. A kernel that cannot be asked is no
/// fault of the policy's.
fn of_this_host(policy: &Policy, kernel: OpenKernel<'_>) -> Vec<Note> {
    let around = kernel().and_then(|mut kernel| kernel.surroundings());
    match around {
        Ok(around) if surroundings::is_of(policy, &around) => surroundings::notes(policy, &around),
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::debug!(%error, "this host is not looked at");
            Vec::new()
        }
    }
}

fn summary(policy: &Policy, notes: usize) -> String {
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {}", plural(one)),
    };
    let parts = [
        count(policy.circuits().len(), "circuit"),
        count(policy.pools().len(), "pool"),
        count(policy.classes().len(), "class"),
        count(policy.sites().len(), "site"),
        count(policy.phases().len(), "phase"),
        count(policy.blocks().len(), "block"),
        count(policy.conditions().len(), "condition"),
    ];
    let notes = match notes {
        0 => String::new(),
        notes => format!("; {}", count(notes, "note")),
    };
    format!(
        "{}: good. {}{notes}.\n",
        policy.host().name,
        parts.join(", ")
    )
}

fn plural(one: &str) -> String {
    if one.ends_with('s') {
        format!("{one}es")
    } else {
        format!("{one}s")
    }
}
