//! `wanshift completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::output::Output;
use crate::api::Failure;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For this shell
    shell: Shell,
}

pub fn completions(args: &CompletionsArgs, output: &mut Output<'_>) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), super::PROGRAM, &mut text);
    output.text_result(&String::from_utf8_lossy(&text))?;
    Ok(0)
}
