//! `wanshift schema`: what files may say, as JSON Schema, for editors.

use clap::{Args, ValueEnum};

use super::output::Output;
use crate::api::Failure;
use crate::policy::{self, Files};

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of which file [default: of any, with all that one of them may say]
    #[arg(value_name = "FILE")]
    of: Option<Of>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Of {
    /// Of host.toml
    Host,
    /// Of the files in policy.d
    Policy,
}

/// The same whether or not JSON is asked for.
pub fn schema(args: &SchemaArgs, output: &mut Output<'_>) -> Result<u8, Failure> {
    let schema = policy::schema(match args.of {
        None => Files::Any,
        Some(Of::Host) => Files::Host,
        Some(Of::Policy) => Files::Policy,
    });
    output.text_result(&format!("{}\n", serde_json::to_string_pretty(&schema)?))?;
    Ok(0)
}
