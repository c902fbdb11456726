//! What tests on the machine's kernel have in common.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod daemon;
pub mod host;
pub mod service;

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Runs `test` in a network namespace of its own: it belongs to a thread and goes with it, so that tests
/// run side by side and leave nothing behind. Where there may be none, says so, and fails where that
/// must not be (`CI`).
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let run = move || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => test(),
        Err(error) => {
            eprintln!("{name}: skipped: no network namespace: {error}");
            assert!(std::env::var_os("CI").is_none(), "skipped under CI");
        }
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command line in the thread's namespace and gives what it prints.
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {text}{errors}");
    text
}

/// What the program said on stderr, each line whole again: what goes on of one that was too wide is indented by four.
pub fn said(stderr: &[u8]) -> String {
    String::from_utf8_lossy(stderr).replace("\n    ", " ")
}
