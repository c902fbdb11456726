//! `wanshift check`: reads host and policy, says all that is wrong. No root, no daemon, any path.
//!
//! On the host that the policy is for, which is one with the devices of all its circuits, it says as well what
//! of this host the policy does not reach, as far as the kernel shows it to everybody.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::output::{Format, Output};
use super::{Global, OpenKernel};
use crate::api::Failure;
use crate::check::{Kind, Note, draw, notes, surroundings};
use crate::keeper::files::wrong;
use crate::load::{Choice, Trust, load};
use crate::policy::{Policy, read};
use crate::units::lines::WIDTH;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Files, or directories with host.toml and policy.d/ [default: the configuration directory]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Exit with 3 where notes remain that the files or the host can be rid of
    #[arg(long)]
    lint_fatal: bool,
}

/// What is printed as JSON of a policy that may be applied.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    /// Always true: of one that may not be applied, the failure is told.
    valid: bool,
    /// The host, as its file names it.
    host: String,
    /// How much of what there is in the policy.
    counts: Counts,
    /// What is worth a look.
    notes: &'a [Note],
}

#[derive(Debug, Serialize)]
struct Counts {
    circuits: usize,
    pools: usize,
    classes: usize,
    sites: usize,
    phases: usize,
    blocks: usize,
    conditions: usize,
}

impl Counts {
    fn of(policy: &Policy) -> Self {
        Self {
            circuits: policy.circuits().len(),
            pools: policy.pools().len(),
            classes: policy.classes().len(),
            sites: policy.sites().len(),
            phases: policy.phases().len(),
            blocks: policy.blocks().len(),
            conditions: policy.conditions().len(),
        }
    }
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
            return Err(wrong(&faults, &[], &noted, output.style()));
        }
    };
    noted.extend(loaded.notes);
    let whose = whose(&choice, global);
    if whose == Whose::Ours {
        noted.extend(unbelievable(&choice));
    }
    let policy = match read(&loaded.sources) {
        Ok(policy) => policy,
        Err(faults) => {
            return Err(wrong(&faults, &loaded.sources, &noted, output.style()));
        }
    };
    noted.extend(notes(&policy));
    noted.extend(of_this_host(&policy, whose, kernel));
    if output.format() == Format::Text && !noted.is_empty() {
        let drawn = draw(&noted, &loaded.sources, output.style(), WIDTH);
        output.drawn(drawn.trim_end());
    }
    let checked = Checked {
        valid: true,
        host: policy.host().name.to_string(),
        counts: Counts::of(&policy),
        notes: &noted,
    };
    output.result(&checked, &summary(&checked))?;
    let to_mend = noted.iter().any(|note| note.kind == Kind::Advice);
    Ok(if args.lint_fatal && to_mend { 3 } else { 0 })
}

/// Whose files are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Those that verbs and the daemon act on.
    Ours,
    /// Others may lie in anybody's home.
    Somebodys,
}

fn whose(choice: &Choice, global: &Global) -> Whose {
    let config = std::fs::canonicalize(global.config());
    let ours = match (choice, config) {
        (Choice::Directory(_), _) => true,
        (Choice::Paths(paths), Ok(config)) => paths
            .iter()
            .any(|path| std::fs::canonicalize(path).is_ok_and(|path| path.starts_with(&config))),
        (Choice::Paths(_), Err(_)) => false,
    };
    if ours { Whose::Ours } else { Whose::Somebodys }
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
fn of_this_host(policy: &Policy, whose: Whose, kernel: OpenKernel<'_>) -> Vec<Note> {
    let around = kernel().and_then(|mut kernel| kernel.surroundings());
    match (around, whose) {
        (Ok(around), _) if surroundings::is_of(policy, &around) => {
            surroundings::notes(policy, &around)
        }
        (Ok(around), Whose::Ours) => surroundings::without_device(policy, &around),
        (Ok(_), Whose::Somebodys) => Vec::new(),
        (Err(error), _) => {
            tracing::debug!(%error, "this host is not looked at");
            Vec::new()
        }
    }
}

fn summary(checked: &Checked<'_>) -> String {
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {}", plural(one)),
    };
    let counts = &checked.counts;
    let parts = [
        (counts.circuits, "circuit"),
        (counts.pools, "pool"),
        (counts.classes, "class"),
        (counts.sites, "site"),
        (counts.phases, "phase"),
        (counts.blocks, "block"),
        (counts.conditions, "condition"),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts.map(|(number, one)| count(number, one)).collect();
    let notes = match checked.notes.len() {
        0 => String::new(),
        notes => format!("; {}", count(notes, "note")),
    };
    let (good, counted) = (
        format!("{}: good.", checked.host),
        format!("{}{notes}.", parts.join(", ")),
    );
    let fits = good.len() + 1 + counted.len() <= WIDTH;
    format!("{good}{}{counted}\n", if fits { " " } else { "\n" })
}

fn plural(one: &str) -> String {
    if one.ends_with('s') {
        format!("{one}es")
    } else {
        format!("{one}s")
    }
}
