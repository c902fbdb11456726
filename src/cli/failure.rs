//! Why a verb failed, as programs are told: one form, whatever went wrong.

use serde::Serialize;
use serde_json::Value;

use crate::api::{Asker, Failure};

/// What is printed as JSON, on stdout, where a verb fails.
#[derive(Debug, Serialize)]
pub(super) struct Failed<'a> {
    error: Wrong<'a>,
}

#[derive(Debug, Serialize)]
struct Wrong<'a> {
    kind: Kind,
    /// What was attempted and why not.
    message: &'a str,
    /// The causes, each the next one's.
    because: &'a [String],
    /// What to do about it.
    help: Option<&'a str>,
    /// What is wrong with the policy files.
    faults: Value,
    /// What is worth a look beside that.
    notes: Value,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// The command line is wrong.
    Usage,
    /// The policy files do not load.
    Policy,
    /// Who asks may not.
    Denied,
    /// Something else.
    Failed,
}

/// What helps one who may not.
const AS_ROOT: &str = "run it as root; `wanshift check` works without";

impl<'a> Failed<'a> {
    /// An order that failed.
    pub(super) fn order(failure: &'a Failure) -> Self {
        let none = || Value::Array(Vec::new());
        let (kind, faults, notes) = match &failure.files {
            Some(files) => (Kind::Policy, files.faults.clone(), files.notes.clone()),
            None if is_denied(failure) => (Kind::Denied, none(), none()),
            None => (Kind::Failed, none(), none()),
        };
        Self {
            error: Wrong {
                kind,
                message: &failure.error,
                because: &failure.because,
                help: help(failure),
                faults,
                notes,
            },
        }
    }

    /// A command line that is wrong.
    pub(super) fn usage(message: &'a str, help: Option<&'a str>) -> Self {
        Self {
            error: Wrong {
                kind: Kind::Usage,
                message,
                because: &[],
                help,
                faults: Value::Array(Vec::new()),
                notes: Value::Array(Vec::new()),
            },
        }
    }
}

/// What to do about a failure.
pub(super) fn help(failure: &Failure) -> Option<&str> {
    let own = failure.help.as_deref();
    own.or_else(|| lacks_privilege(failure).then_some(AS_ROOT))
}

/// Whether it failed because who asks may not: a daemon says so, or the kernel does.
fn is_denied(failure: &Failure) -> bool {
    match failure.asker {
        Asker::MayNot => true,
        Asker::May => lacks_privilege(failure),
    }
}

/// Whether the kernel refused it to one who is not root.
fn lacks_privilege(failure: &Failure) -> bool {
    let mut all = std::iter::once(&failure.error).chain(&failure.because);
    let denied =
        all.any(|text| text.contains("ermission denied") || text.contains("not permitted"));
    denied && !nix::unistd::Uid::effective().is_root()
}
