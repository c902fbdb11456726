//! `wanshift schema`: what files may say, and what verbs print with `--json`, as JSON Schema.

use clap::{Args, ValueEnum};

use super::output::Output;
use super::shapes::{Printed, failure, shape};
use crate::api::Failure;
use crate::policy::{self, Files};

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of which file, or of the JSON that which verb prints [default: of any file, with all that one may say]
    #[arg(value_name = "WHAT")]
    of: Option<Of>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Of {
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

/// The same whether or not JSON is asked for.
pub fn schema(args: &SchemaArgs, output: &mut Output<'_>) -> Result<u8, Failure> {
    let schema = match args.of {
        None => policy::schema(Files::Any),
        Some(Of::Host) => policy::schema(Files::Host),
        Some(Of::Policy) => policy::schema(Files::Policy),
        Some(Of::Failure) => failure(),
        Some(Of::Check) => shape(Printed::Check),
        Some(Of::Plan) => shape(Printed::Plan),
        Some(Of::Explain) => shape(Printed::Explain),
        Some(Of::Render) => shape(Printed::Render),
        Some(Of::Apply) => shape(Printed::Apply),
        Some(Of::Phase) => shape(Printed::Phase),
        Some(Of::Confirm) => shape(Printed::Confirm),
        Some(Of::Rollback) => shape(Printed::Rollback),
        Some(Of::History) => shape(Printed::History),
        Some(Of::Status) => shape(Printed::Status),
        Some(Of::Event) => shape(Printed::Event),
        Some(Of::Condition) => shape(Printed::Condition),
        Some(Of::ConditionReset) => shape(Printed::ConditionReset),
        Some(Of::Teardown) => shape(Printed::Teardown),
        Some(Of::RestoreBlocks) => shape(Printed::RestoreBlocks),
    };
    output.text_result(&format!("{}\n", serde_json::to_string_pretty(&schema)?))?;
    Ok(0)
}
