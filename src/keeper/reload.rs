//! Reads the policy files again where somebody says so, or where that had to wait; tells where they are not in force.

use super::confirm::waits;
use super::look::Unread;
use super::{Came, Keeper, files};
use crate::api::{Failure, Request, Silent, Stage, Talk};
use crate::policy::Style;

impl Keeper {
    /// Carries out `request` to put the files into force, by `actor`; where a change waits to be confirmed, they are read
    /// once it has come to its end.
    ///
    /// # Errors
    /// Where they are not put into force now. Nothing was changed then.
    pub fn reload(
        &mut self,
        request: &Request,
        actor: &str,
        talk: &mut dyn Talk,
    ) -> Result<Came, Failure> {
        if let Some(record) = self.store.unfinished()?.filter(waits) {
            self.looks.unread = Unread::Waiting;
            return Err(format!(
                "`{}` waits to be confirmed; the policy files are read once it has come to its end",
                record.change.what
            )
            .into());
        }
        self.ask(request, actor, talk)
    }

    /// Reads the files that had to wait.
    pub(super) fn read_files_at_last(&mut self) {
        let files = files::from(&self.config, Style::Plain);
        let taken = files.and_then(|files| self.take_in(files, &mut Silent));
        match self.judged(taken) {
            Ok(()) => self.troubles.over(Stage::Policy),
            Err(failure) => tracing::debug!("the policy files are not in force: {failure}"),
        }
        self.looks.soon();
    }

    /// Has a daemon say, as long as it is so, that the files are not in force.
    pub(super) fn judged<T>(&mut self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        if let (Err(failure), Some(_)) = (&outcome, &self.daemon) {
            let what = format!(
                "the policy files are not in force: {}; see `wanshift check`",
                first_fault(failure)
            );
            self.fail(Stage::Policy, &what.into());
        }
        outcome
    }
}

/// What is wrong, in a line: of many faults in policy files the first.
#[must_use]
pub fn first_fault(failure: &Failure) -> String {
    let faults = failure.files.as_ref();
    let Some(first) = faults.map(|files| &files.faults[0]) else {
        return failure.to_string();
    };
    let file = first["file"].as_str().unwrap_or_default();
    let line = first["line"].as_u64();
    let place = line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"));
    let message = first["message"].as_str().unwrap_or_default();
    format!("{place}: {message}")
}
