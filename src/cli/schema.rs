//! `wanshift schema`: what files may say, and what verbs print with `--json`, as JSON Schema.

use clap::Args;

use super::output::Output;
use super::shapes::{Described, schema_of};
use crate::api::Failure;
use crate::policy::{self, Files};

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of which file, or of the JSON that which verb prints [default: of any file, with all that one may say]
    #[arg(value_name = "WHAT")]
    of: Option<Described>,
}

/// The same whether or not JSON is asked for.
pub fn schema(args: &SchemaArgs, output: &mut Output<'_>) -> Result<u8, Failure> {
    let schema = match args.of {
        None => policy::schema(Files::Any),
        Some(of) => schema_of(of),
    };
    output.text_result(&format!("{}\n", serde_json::to_string_pretty(&schema)?))?;
    Ok(0)
}
