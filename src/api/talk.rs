//! What is said while something is done, and what it comes to.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether a word of progress is worth a line that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// One of many.
    Step,
    /// One that stays.
    Line,
}

/// Who is told what goes on. There is nobody to tell where telling fails.
pub trait Talk {
    /// Talk: a line that is no result.
    fn say(&mut self, line: &str);

    /// A part of a result that people are told before the rest; for programs it is all in one.
    fn text(&mut self, text: &str);

    /// How far it has come.
    fn progress(&mut self, line: &str, milestone: Milestone);
}

/// Nobody listens: what would be said goes to the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Talk for Silent {
    fn say(&mut self, line: &str) {
        tracing::info!("{line}");
    }

    fn text(&mut self, _: &str) {}

    fn progress(&mut self, _: &str, _: Milestone) {}
}

/// What something came to: for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// For people, after what they were told before.
    pub text: String,
    /// For programs: an object.
    pub json: Value,
}

impl Answer {
    /// `result`, and the same as `text`.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn of<T: Serialize>(result: &T, text: impl Into<String>) -> Result<Self, Failure> {
        Ok(Self {
            text: text.into(),
            json: serde_json::to_value(result)?,
        })
    }
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was attempted and why not.
    pub error: String,
    /// The causes, each the next one's.
    pub because: Vec<String>,
    /// What to do about it.
    #[serde(default)]
    pub help: Option<String>,
    /// What is wrong with the policy files, where it is that.
    #[serde(default)]
    pub files: Option<Box<WrongFiles>>,
    /// Whether who asked may ask that at all.
    #[serde(default)]
    pub asker: Asker,
}

/// Whether somebody may ask what he asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    /// He may, or nobody said that he may not.
    #[default]
    May,
    /// He may not.
    MayNot,
}

/// Why policy files do not load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongFiles {
    /// All that is wrong, drawn for people.
    pub drawn: String,
    /// The same for programs: a list of [`Fault`](crate::policy::Fault).
    pub faults: Value,
    /// What is worth a look beside it: a list of [`Note`](crate::check::Note).
    pub notes: Value,
}

impl Failure {
    /// The same with what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same as the failure of one who may not ask that.
    #[must_use]
    pub const fn denied(mut self) -> Self {
        self.asker = Asker::MayNot;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        self.because
            .iter()
            .try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: Box<dyn Error> = error.into();
        let mut because = Vec::new();
        let mut cause = error.source();
        while let Some(next) = cause {
            because.push(next.to_string());
            cause = next.source();
        }
        Self {
            error: error.to_string(),
            because,
            help: None,
            files: None,
            asker: Asker::May,
        }
    }
}

/// A line of what a daemon answers: talk, as long as it is at work, then one answer or failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// See [`Talk::say`].
    Say(String),
    /// See [`Talk::text`].
    Text(String),
    /// See [`Talk::progress`].
    Progress(String, Milestone),
    /// It is done. The last line.
    Done(Answer),
    /// It is not. The last line.
    Failed(Failure),
}
