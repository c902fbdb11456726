//! The policy that is to be put into force: from files that nobody else may write.

use std::path::Path;
use std::sync::Arc;

use super::Keeper;
use crate::api::{Failure, FileFacts, Insist, WrongFiles};
use crate::check::{Note, unsupported};
use crate::executor::error::ChangeError;
use crate::kernel::Scope;
use crate::load::{Choice, Trust, load};
use crate::lower::{Absent, slips};
use crate::policy::{Faults, Policy, Source, Style, read, report};
use crate::store::{hash, hashes};
use crate::units::lines::WIDTH;

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

/// Reads the files in `config`.
///
/// # Errors
/// Where they do not load, with all that is wrong with them; or ask for what this version cannot hold the line to.
pub fn from(config: &Path, style: Style) -> Result<Files, Failure> {
    trusted(config, Trust::Apply, style)
}

/// The same, of files that nothing is put into force from: whoever may write them.
///
/// # Errors
/// As of [`from`].
pub fn on_paper(config: &Path, style: Style) -> Result<Files, Failure> {
    trusted(config, Trust::Read, style)
}

/// The hash of the files in `config`, whatever they say; none where they cannot be read or may not be believed.
pub(super) fn hash_of(config: &Path) -> Option<String> {
    let loaded = load(&Choice::Directory(config.to_owned()), Trust::Apply).ok()?;
    Some(hash(&hashes(&loaded.sources)))
}

fn trusted(config: &Path, trust: Trust, style: Style) -> Result<Files, Failure> {
    let loaded = load(&Choice::Directory(config.to_owned()), trust)
        .map_err(|faults| wrong(&faults, &[], &[], style))?;
    let policy = read(&loaded.sources)
        .map_err(|faults| wrong(&faults, &loaded.sources, &loaded.notes, style))?;
    Ok(Files {
        policy: enforceable(policy)?,
        sources: loaded.sources,
    })
}

/// That policy files do not load, with what is wrong with them, and what is worth a look beside it.
#[must_use]
pub fn wrong(faults: &Faults, sources: &[Source], notes: &[Note], style: Style) -> Failure {
    let list = serde_json::to_value(faults.list());
    let notes = serde_json::to_value(notes);
    let (faults_told, notes) = match (list, notes) {
        (Ok(list), Ok(notes)) => (list, notes),
        (Err(error), _) | (_, Err(error)) => return error.into(),
    };
    let count = match faults.list().len() {
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    let mut failure = Failure::from(format!("the policy files do not load: {count}"));
    failure.files = Some(Box::new(WrongFiles {
        drawn: report(faults, sources, style, WIDTH).trim_end().to_owned(),
        faults: faults_told,
        notes,
    }));
    failure
}

impl Keeper {
    /// Refuses files with a slip in the name of a device: what is shaped now on the one that was meant would be so no
    /// longer. A device of the policy that is on its way was there, or is waited for: it is no slip. Where nothing is in
    /// force, only who ordered it is told.
    pub(super) fn are_there(&mut self, policy: &Policy, force: Insist) -> Result<(), Failure> {
        // Without a daemon nothing is waited for: who finds it missing says so then.
        if force == Insist::Yes || self.looks.absent == Absent::Refused {
            return Ok(());
        }
        let here = self.kernel.observe(Scope::Shaping)?.devices;
        let going = self.going.as_ref().map(|going| &going.policy);
        let before = going.into_iter().chain(&self.in_force);
        let before: Vec<&Policy> = before.map(|before| before.policy.as_ref()).collect();
        let slips = slips(policy, &before, here.keys());
        if slips.is_empty() {
            return Ok(());
        }
        let refused = Err(Failure::from(ChangeError::Lower(slips)).with_help(
            "nothing was written; --force goes on without it, and has the daemon wait for it",
        ));
        match before.as_slice() {
            [] => refused,
            [_, ..] => self.judged(refused),
        }
    }
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
