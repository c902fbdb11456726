//! The binary `wanshift`.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use wanshift::cli::{self, Output};
use wanshift::kernel::{Host, Kernel};

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .without_time()
        .with_env_filter(
            EnvFilter::try_from_env("WANSHIFT_LOG").unwrap_or_else(|_| EnvFilter::new("error")),
        )
        .init();
    let (mut out, mut err) = (stdout(), stderr());
    let mut open = || Host::open().map(|host| Box::new(host) as Box<dyn Kernel>);
    ExitCode::from(cli::run(
        std::env::args_os(),
        &mut open,
        &mut Output::new(&mut out, &mut err),
    ))
}
