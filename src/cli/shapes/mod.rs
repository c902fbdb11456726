//! What verbs print with `--json`, as JSON Schema (draft 2020-12).
//!
//! No key is there that is not described: a test holds each verb's output to its schema.

mod build;
mod changes;
mod explained;
mod small;
mod status;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::policy::{self, Files};

use build::{count, list, object, object_with, or_null, text, word};

/// What has a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Described {
    /// What host.toml may say
    Host,
    /// What the files in policy.d may say
    Policy,
    /// What every verb prints with --json where it fails
    Failure,
    /// What check prints with --json; so with all that follow
    Check,
    Plan,
    Explain,
    Render,
    Apply,
    Phase,
    Confirm,
    Rollback,
    History,
    /// What status prints, and the daemon at /status over HTTP
    Status,
    Event,
    #[value(alias = "condition-list")]
    Condition,
    ConditionReset,
    Teardown,
    RestoreBlocks,
}

/// The schema of files, or of what a verb prints: its result, or why it failed.
pub(super) fn schema_of(what: Described) -> Value {
    let (words, results) = match what {
        Described::Host => return policy::schema(Files::Host),
        Described::Policy => return policy::schema(Files::Policy),
        Described::Failure => return failure(),
        Described::Check => ("check", vec![small::checked()]),
        Described::Plan => ("plan", vec![changes::planned()]),
        Described::Explain => ("explain", vec![explained::explained()]),
        Described::Render => ("render", vec![small::rendered()]),
        Described::Apply => ("apply", vec![changes::applied(), changes::settled()]),
        Described::Phase => ("phase", vec![changes::applied(), changes::settled()]),
        Described::Confirm => ("confirm", vec![changes::settled()]),
        Described::Rollback => (
            "rollback",
            vec![changes::applied(), changes::settled(), small::torn_down()],
        ),
        Described::History => ("history", vec![changes::history()]),
        Described::Status => ("status", vec![status::status()]),
        Described::Event => ("event", vec![small::reported()]),
        Described::Condition => ("condition", vec![small::conditions()]),
        Described::ConditionReset => ("condition reset", vec![small::reset()]),
        Described::Teardown => ("teardown", vec![small::torn_down()]),
        Described::RestoreBlocks => ("restore-blocks", vec![small::restored()]),
    };
    document(
        &format!("wanshift --json {words}"),
        &format!("What `wanshift --json {words}` prints on stdout: its result, or why it failed"),
        results.into_iter().chain([failed()]).collect(),
    )
}

/// Why a verb failed: the same of every verb.
fn failure() -> Value {
    document(
        "wanshift --json: why a verb failed",
        "What every verb prints on stdout where it fails",
        vec![failed()],
    )
}

/// A schema of which one of `results` is true, each with the version that all have.
fn document(title: &str, description: &str, results: Vec<Value>) -> Value {
    let version = json!({
        "description": "The version of this form: it changes where a key goes or means something else, \
                        not where one comes",
        "const": 1,
    });
    let versioned = |mut result: Value| {
        result["properties"]["schema_version"] = version.clone();
        if let Some(required) = result["required"].as_array_mut() {
            required.insert(0, json!("schema_version"));
        }
        result
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": description,
        "oneOf": results.into_iter().map(versioned).collect::<Vec<Value>>(),
    })
}

fn failed() -> Value {
    let error = object(
        "Why",
        &[
            (
                "kind",
                word(
                    "`usage`: the command line is wrong (exit code 2). `policy`: the policy files do not load; see \
                     faults. `denied`: who asks may not. `failed`: anything else. All but `usage`: exit code 1",
                    &["usage", "policy", "denied", "failed"],
                ),
            ),
            ("message", text("What was attempted, on what, and why not")),
            (
                "because",
                list("The causes, each the next one's", &text("A cause")),
            ),
            ("help", or_null(text("What to do about it"))),
            (
                "faults",
                list("All that is wrong with the policy files", &fault()),
            ),
            ("notes", list("What is worth a look beside that", &note())),
        ],
    );
    object("It failed, or was refused", &[("error", error)])
}

/// Something wrong with a policy file.
fn fault() -> Value {
    object_with(
        "Something that is wrong",
        &[
            ("file", text("The file")),
            ("message", text("What is wrong")),
            ("help", or_null(text("What to do"))),
        ],
        &placed(),
    )
}

/// Something in a policy file that is worth a look.
fn note() -> Value {
    object_with(
        "Something that is worth a look",
        &[
            ("file", text("The file")),
            (
                "kind",
                word(
                    "advice: it goes where the files or the host are put right; limit: what wanshift does not do, \
                     whatever the files say",
                    &["advice", "limit"],
                ),
            ),
            ("message", text("What was noticed")),
            ("help", text("What to do about it")),
        ],
        &placed(),
    )
}

/// Where in a file; not there where the file as a whole is meant.
fn placed() -> [(&'static str, Value); 3] {
    let line = || count("The line, counted from 1");
    let column = || count("The column in characters, counted from 1");
    let other = object(
        "Another place that has to do with it",
        &[
            ("file", text("The file")),
            ("line", line()),
            ("column", column()),
            ("message", text("What is to be seen there")),
        ],
    );
    [
        ("line", line()),
        ("column", column()),
        (
            "related",
            list("Other places that have to do with it", &other),
        ),
    ]
}

/// Where something was written.
fn origin(doc: &str) -> Value {
    object(
        doc,
        &[
            ("file", text("The policy file")),
            ("line", count("The line, counted from 1")),
        ],
    )
}

/// Why something is as it is: in words, and where that was written.
fn because(doc: &str) -> Value {
    object(
        doc,
        &[
            ("what", text("In words")),
            (
                "at",
                or_null(origin("Where that was written; null of what is built in")),
            ),
        ],
    )
}
