//! The play behind `scripts/demo`: a host at the edge of a wide area network, its daemon, real traffic, and what
//! arrives of it beside what the policy says.
//!
//! It is an example for cargo, so that `cargo test` and clippy build it and nothing runs it unasked. It
//! lies here because it plays in the tests' own lab: network namespaces that end with the process.
//!
//! ```text
//! demo PROGRAM [--quick]
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "what goes wrong in the play ends the play"
)]

mod edge;
mod guard;
#[path = "../lab/mod.rs"]
mod lab;
mod play;
mod ramp;
mod sheet;
mod traffic;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

use lab::now;
use play::{Pace, play};
use sheet::Page;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().map(PathBuf::from);
    let pace = match (arguments.next(), arguments.next()) {
        (None, None) => Some(Pace::FULL),
        (Some(word), None) if word == "--quick" => Some(Pace::QUICK),
        _ => None,
    };
    let (Some(program), Some(pace)) = (program, pace) else {
        eprintln!("usage: demo PROGRAM [--quick]");
        return ExitCode::from(2);
    };
    let program = match program.canonicalize() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("demo: {}: {error}", program.display());
            return ExitCode::from(2);
        }
    };
    let page = Page::new();
    let Some(directory) = std::env::var_os(guard::DIRECTORY).map(PathBuf::from) else {
        return guard::watch(&page);
    };
    let begun = now();
    play(&page, program, directory, &pace);
    if page.verdict((now() - begun) as f64 / 1e9) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
