//! The policy that is to be put into force: from files that nobody else may write.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::api::{Failure, FileFacts, Talk};
use crate::check::{Note, unsupported};
use crate::load::{Choice, Trust, load};
use crate::policy::{Fault, Faults, Policy, Source, Style, read, report};
use crate::store::hashes;

/// How wide what is wrong or worth a look is drawn.
pub const WIDTH: usize = 80;

/// What the files of a host say.
#[derive(Debug, Clone)]
pub struct Files {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The files.
    pub sources: Vec<Source>,
}

impl Files {
    /// Which files, and the hash of each.
    #[must_use]
    pub fn facts(&self) -> Vec<FileFacts> {
        hashes(&self.sources)
    }
}

/// What `check` prints as JSON, and every verb where the policy does not load.
#[derive(Debug, Serialize)]
pub struct Checked<'a> {
    /// Whether the policy may be applied.
    pub valid: bool,
    /// What is wrong.
    pub errors: &'a [Fault],
    /// What is worth a look.
    pub notes: &'a [Note],
}

/// Reads the files in `config`. What is wrong with them is told at once, all of it.
///
/// # Errors
/// Where they do not load, or ask for what this version cannot hold the line to.
pub fn from(config: &Path, style: Style, talk: &mut dyn Talk) -> Result<Files, Failure> {
    trusted(config, Trust::Apply, style, talk)
}

/// The same, of files that nothing is put into force from: whoever may write them.
///
/// # Errors
/// As of [`from`].
pub fn on_paper(config: &Path, style: Style, talk: &mut dyn Talk) -> Result<Files, Failure> {
    trusted(config, Trust::Read, style, talk)
}

fn trusted(
    config: &Path,
    trust: Trust,
    style: Style,
    talk: &mut dyn Talk,
) -> Result<Files, Failure> {
    let loaded = load(&Choice::Directory(config.to_owned()), trust)
        .map_err(|faults| told(&faults, &[], &[], style, talk))?;
    let policy = read(&loaded.sources)
        .map_err(|faults| told(&faults, &loaded.sources, &loaded.notes, style, talk))?;
    Ok(Files {
        policy: enforceable(policy)?,
        sources: loaded.sources,
    })
}

/// Tells what is wrong with policy files.
pub fn told(
    faults: &Faults,
    sources: &[Source],
    notes: &[Note],
    style: Style,
    talk: &mut dyn Talk,
) -> Failure {
    talk.say(report(faults, sources, style, WIDTH).trim_end());
    let checked = Checked {
        valid: false,
        errors: faults.list(),
        notes,
    };
    serde_json::to_value(&checked).map_or_else(Failure::from, Failure::told)
}

/// Refuses a policy that asks for what this version cannot hold the line to.
pub(super) fn enforceable(policy: Policy) -> Result<Arc<Policy>, Failure> {
    let refused = unsupported(&policy);
    if refused.is_empty() {
        return Ok(Arc::new(policy));
    }
    let lines: Vec<String> = refused.iter().map(|note| format!("\n  {note}")).collect();
    Err(format!(
        "this version cannot enforce all that the policy says:{}",
        lines.concat()
    )
    .into())
}
