//! The command line: a file a verb.
//!
//! Results go to stdout, talk to stderr. 0 is good, 1 is not, 2 is a usage error (and, where
//! `plan --detailed-exitcode` asks for it, "there is something to do").

mod apply;
mod check;
mod condition;
mod event;
mod facts;
mod output;
mod plan;
mod session;
mod ssh;
mod teardown;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use output::Format;
pub use output::Output;

use crate::kernel::{Kernel, KernelError};
use crate::model::names::{EventName, PhaseName};

/// Moves WAN capacity from one circuit to another while people work over both, and puts it back.
#[derive(Debug, Parser)]
#[command(name = "wanshift", version, about, disable_help_subcommand = true)]
#[command(arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Global {
    /// Directory with host.toml and policy.d/
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "WANSHIFT_CONFIG",
        default_value = "/etc/wanshift"
    )]
    config: PathBuf,
    /// Directory for what must outlive a restart [default: /var/lib/wanshift, or what host.toml says]
    #[arg(long, global = true, value_name = "DIR", env = "WANSHIFT_STATE")]
    state: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read host and policy files and say all that is wrong with them; no root, any path
    Check(check::CheckArgs),
    /// Show what would change in this kernel and why, class by class; writes nothing
    Plan(plan::PlanArgs),
    /// Make the kernel hold what the policy files say for the present phase
    Apply(apply::ChangeArgs),
    /// Enter a phase, over its ramp where it has one
    Phase {
        /// The phase to enter
        name: PhaseName,
        #[command(flatten)]
        args: apply::ChangeArgs,
    },
    /// Report that something happened that conditions wait for
    Event {
        /// The event, as conditions of the policy name it
        name: EventName,
    },
    /// Show which conditions are true, and what the others wait for; or reset one
    Condition {
        #[command(subcommand)]
        what: Option<condition::What>,
    },
    /// Take everything of ours out of the kernel
    Teardown,
}

/// Opens the kernel that a verb works on.
pub type OpenKernel<'a> = &'a mut dyn FnMut() -> Result<Box<dyn Kernel>, KernelError>;

/// Runs the command line `arguments` on the kernel that `kernel` opens; returns the exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return output.usage(&error),
    };
    if cli.global.json {
        output.set_format(Format::Json);
    }
    let global = &cli.global;
    let outcome = match &cli.verb {
        Verb::Check(args) => check::check(global, args, kernel, output),
        Verb::Plan(args) => plan::plan(global, args, kernel, output),
        Verb::Apply(args) => apply::apply(global, args, kernel, output),
        Verb::Phase { name, args } => apply::phase(global, name, args, kernel, output),
        Verb::Event { name } => event::event(global, name, kernel, output),
        Verb::Condition { what } => condition::condition(global, what.as_ref(), kernel, output),
        Verb::Teardown => teardown::teardown(global, kernel, output),
    };
    outcome.unwrap_or_else(|failure| output.failure(&failure))
}
