//! The command line: a file a verb.
//!
//! Results go to stdout, talk to stderr. 0 is good, 1 is not, 2 is a usage error (and, where
//! `plan --detailed-exitcode` asks for it, "there is something to do").

mod check;
mod completions;
mod condition;
mod desk;
mod explain;
mod failure;
mod man;
mod output;
mod pages;
mod place;
mod plan;
mod present;
mod render;
mod restore;
mod run;
mod schema;
mod shapes;
mod ssh;
mod usage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use output::Format;
pub use output::Output;

use crate::api::{Insist, Order};
use crate::kernel::{Kernel, KernelError};
use crate::model::names::{EventName, PhaseName};

/// Moves WAN capacity from one circuit to another while people work over both, and puts it back.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, about, disable_help_subcommand = true)]
#[command(arg_required_else_help = true, term_width = 80)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every verb")]
struct Global {
    /// Directory with host.toml and policy.d/ [default: /etc/wanshift]
    #[arg(long, global = true, value_name = "DIR", env = "WANSHIFT_CONFIG")]
    #[arg(hide_env_values = true)]
    config: Option<PathBuf>,
    /// Directory for what must outlive a restart [default: /var/lib/wanshift, or what host.toml says]
    #[arg(long, global = true, value_name = "DIR", env = "WANSHIFT_STATE")]
    #[arg(hide_env_values = true)]
    state: Option<PathBuf>,
    /// Socket of the daemon [default: /run/wanshift/wanshift.sock, or what host.toml says]
    #[arg(long, global = true, value_name = "PATH", env = "WANSHIFT_SOCKET")]
    #[arg(hide_env_values = true)]
    socket: Option<PathBuf>,
    /// Print the result, or why there is none, as JSON on stdout; `wanshift schema VERB` describes it
    #[arg(long, global = true)]
    json: bool,
}

impl Global {
    /// The configuration directory.
    fn config(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(CONFIG))
    }
}

/// As it is called.
const PROGRAM: &str = "wanshift";
/// Where the policy files are, where nobody says otherwise.
const CONFIG: &str = "/etc/wanshift";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read host and policy files and say all that is wrong with them; needs no root
    Check(check::CheckArgs),
    /// Show what would change in this kernel and why, class by class; writes nothing
    Plan(plan::PlanArgs),
    /// Say which circuit, class and block a connection meets, and why; needs no root
    Explain(explain::ExplainArgs),
    /// Print what the policy comes to as commands of tc, or as rules of nft; writes nothing
    Render(render::RenderArgs),
    /// Make the kernel hold what the policy files say for the present phase
    Apply(ChangeArgs),
    /// Enter a phase of the policy, in small steps where it has a ramp
    Phase {
        /// The phase to enter, as the policy names it
        name: PhaseName,
        #[command(flatten)]
        args: ChangeArgs,
    },
    /// Have the change stay that is undone unless it is confirmed
    Confirm,
    /// Go back to what held before the last change
    Rollback {
        /// How many changes to go back
        #[arg(default_value_t = 1, value_parser = usage::changes)]
        changes: u32,
        /// Go on even where that would cut the ssh session that it is ordered from, or take everything out
        #[arg(long)]
        force: bool,
    },
    /// Show the changes of the past: when, who, what, from which files
    History,
    /// Show what holds, why, and since when; exits with 1 where something is not as it should be
    Status {
        /// Show all classes, what each is promised, and what it carries and drops, instead
        #[arg(long)]
        classes: bool,
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
    /// Take everything of wanshift's out of the kernel
    Teardown {
        /// Take the shaping out alone; what is blocked stays blocked
        #[arg(long)]
        shaping_only: bool,
    },
    /// Have the packet filter block again what was blocked, early at boot; for the unit that does so
    RestoreBlocks,
    /// Be the daemon, in the foreground: keep the kernel as the policy says, by date, event and order
    Run(run::RunArgs),
    /// Print what files may say, or what a verb prints with --json, as JSON Schema (draft 2020-12)
    Schema(schema::SchemaArgs),
    /// Print what a shell needs to complete verbs, options, and names of the policy
    Completions(completions::CompletionsArgs),
    /// Print the page for man, of the program or of a verb
    Man(man::ManArgs),
}

#[derive(Debug, Args)]
struct ChangeArgs {
    /// Undo it unless `wanshift confirm` comes within this time after it is done, for example 10m; needs the daemon
    #[arg(long, value_name = "TIME", value_parser = place::time)]
    confirm_within: Option<Duration>,
    /// Go on even where that would cut the ssh session that it is ordered from, or where a circuit's device is not there
    #[arg(long)]
    force: bool,
}

const fn insist(force: bool) -> Insist {
    if force { Insist::Yes } else { Insist::No }
}

/// Opens the kernel that a verb works on.
pub type OpenKernel<'a> = &'a mut dyn FnMut() -> Result<Box<dyn Kernel>, KernelError>;

/// Runs the command line `arguments` on the kernel that `kernel` opens; returns the exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Who asks for JSON is told in JSON, too, that he asks wrongly.
    let words = arguments.iter().take_while(|word| *word != "--");
    if words.into_iter().any(|word| word == "--json") {
        output.set_format(Format::Json);
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return output.usage(&error, &arguments),
    };
    if cli.global.json {
        output.set_format(Format::Json);
    }
    let global = &cli.global;
    let outcome = match (order(&cli.verb), &cli.verb) {
        (Some(order), verb) => desk::order(global, order, told(verb), kernel, output),
        (None, Verb::Check(args)) => check::check(global, args, kernel, output),
        (None, Verb::Plan(args)) => plan::plan(global, args, kernel, output),
        (None, Verb::Explain(args)) => explain::explain(global, args, kernel, output),
        (None, Verb::Render(args)) => render::render(global, args, kernel, output),
        (None, Verb::Run(args)) => run::run(global, args, output),
        (None, Verb::RestoreBlocks) => restore::restore_blocks(global, kernel, output),
        (None, Verb::Schema(args)) => schema::schema(args, output),
        (None, Verb::Completions(args)) => completions::completions(global, args, output),
        (None, Verb::Man(args)) => man::man(args, output),
        (None, _) => Ok(0),
    };
    outcome.unwrap_or_else(|failure| output.failure(&failure))
}

/// What people are told of what an order came to.
const fn told(verb: &Verb) -> desk::Told {
    if matches!(verb, Verb::Status { classes: true }) {
        desk::Told::Classes
    } else {
        desk::Told::Answer
    }
}

/// What a verb orders; none where it looks by itself.
fn order(verb: &Verb) -> Option<Order> {
    Some(match verb {
        Verb::Apply(args) => Order::Apply {
            confirm_within: args.confirm_within,
            force: insist(args.force),
        },
        Verb::Phase { name, args } => Order::Phase {
            name: name.clone(),
            confirm_within: args.confirm_within,
            force: insist(args.force),
        },
        Verb::Confirm => Order::Confirm,
        Verb::Rollback { changes, force } => Order::Rollback {
            changes: *changes,
            force: insist(*force),
        },
        Verb::History => Order::History,
        Verb::Status { .. } => Order::Status,
        Verb::Event { name } => Order::Event { name: name.clone() },
        Verb::Condition {
            what: Some(condition::What::Reset { name }),
        } => Order::ResetCondition { name: name.clone() },
        Verb::Teardown { shaping_only: true } => Order::TeardownShaping,
        Verb::Teardown {
            shaping_only: false,
        } => Order::Teardown,
        Verb::Condition {
            what: None | Some(condition::What::List),
        } => Order::Conditions,
        Verb::Check(_)
        | Verb::Plan(_)
        | Verb::Explain(_)
        | Verb::Render(_)
        | Verb::RestoreBlocks
        | Verb::Run(_)
        | Verb::Schema(_)
        | Verb::Completions(_)
        | Verb::Man(_) => return None,
    })
}
