//! `wanshift run`: the daemon, in the foreground.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::output::Output;
use super::{Global, place};
use crate::api::Failure;
use crate::daemon::{self, Settings};
use crate::http::on_loopback;
use crate::keeper::files;
use crate::model::daemon::{Daemon, OnExit};

/// Where metrics are served, where nobody says otherwise.
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9817);
/// How often counters are read, where nobody says otherwise.
const SAMPLE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Address of this host's loopback to serve metrics at [default: 127.0.0.1:9817, or what host.toml says]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = of_this_host)]
    http: Option<SocketAddr>,
    /// How far apart counters are read [default: 1s, or what host.toml says]
    #[arg(long, value_name = "TIME", value_parser = place::time)]
    sample: Option<Duration>,
    /// What to do with the kernel at the end [default: leave, or what host.toml says]
    #[arg(long, value_name = "WHAT")]
    on_exit: Option<Exit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Exit {
    /// Leave it as it is
    Leave,
    /// Take everything of wanshift's out of it
    Teardown,
}

fn of_this_host(text: &str) -> Result<SocketAddr, String> {
    let address = text
        .parse()
        .map_err(|_| "write for example 127.0.0.1:9817".to_owned())?;
    match on_loopback(address) {
        Ok(()) => Ok(address),
        Err(error) => Err(error.to_string()),
    }
}

pub fn run(global: &Global, args: &RunArgs, output: &mut Output<'_>) -> Result<u8, Failure> {
    // A policy that does not load keeps no daemon from holding the last good one; what it says of the daemon itself
    // is then as if it were not said, but for where its state and its socket are.
    let daemon = files::from(global.config(), output.style())
        .map(|files| files.policy.daemon().clone())
        .unwrap_or_else(|_| Daemon::default());
    let on_exit = match args.on_exit {
        Some(Exit::Leave) => OnExit::Leave,
        Some(Exit::Teardown) => OnExit::Teardown,
        None => daemon.on_exit,
    };
    daemon::run(Settings {
        config: global.config().to_owned(),
        state: place::state(global)?,
        socket: place::socket(global)?,
        http: args.http.or(daemon.http).unwrap_or(HTTP),
        sample: args.sample.or(daemon.sample).unwrap_or(SAMPLE),
        on_exit,
        holder: place::holder(place::DAEMON),
    })?;
    Ok(0)
}
