//! Ctrl-C in `scripts/demo`, and whatever else asks it to end: at no moment does anything of it stay.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[path = "lab/mod.rs"]
mod lab;

/// `cargo test` builds it, `cargo test --test demo_ends` alone does not.
fn demo() -> Option<PathBuf> {
    let demo = Path::new(env!("CARGO_BIN_EXE_wanshift")).with_file_name("examples/demo");
    if !demo.exists() {
        lab::skip("the demo is not built: cargo build --example demo");
        return None;
    }
    Some(demo)
}

/// The processes that were started with `text` in their environment.
fn with_environment(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let has = |path: &Path| {
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(text)
    };
    let command = |path: &Path| std::fs::read_to_string(path.join("cmdline")).unwrap_or_default();
    processes
        .map(|entry| entry.path())
        .filter(|path| has(path))
        .map(|path| format!("{}: {}", path.display(), command(&path)))
        .collect()
}

fn backlog() -> String {
    std::fs::read_to_string("/proc/sys/net/core/netdev_max_backlog").unwrap_or_default()
}

/// Runs the demo, sends `signal` once it has printed `line`, and looks for what is left.
fn leaves_nothing(demo: &Path, line: &str, signal: Signal) {
    let directory = tempfile::tempdir().unwrap();
    let before = backlog();
    let mut child = Command::new(demo)
        .args([env!("CARGO_BIN_EXE_wanshift"), "--quick"])
        .env("TMPDIR", directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let came = output.any(|printed| printed.unwrap().contains(line));
    assert!(came, "the demo ended before it printed `{line}`");
    let there = std::fs::read_dir(directory.path()).unwrap().count();
    assert!(there > 1, "`{line}`: no directory yet: nothing is tried");
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("interrupted"), "`{line}`: {told}");
    assert!(!told.contains("panicked"), "`{line}`: {told}");
    let code = output.status.code();
    assert_eq!(
        code,
        Some(128 + signal as i32),
        "{:?}",
        output.status.signal()
    );
    // Measurements wait for each other by a file, which stays.
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "wanshift-quiet-machine.lock")
        .collect();
    assert!(left.is_empty(), "`{line}`: {left:?}");
    let left = with_environment(directory.path().to_str().unwrap());
    assert!(left.is_empty(), "`{line}`: {left:?}");
    assert_eq!(backlog(), before, "`{line}`");
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    if !lab::ready() {
        return;
    }
    let Some(demo) = demo() else { return };
    let _quiet = lab::quiet_machine();
    for (line, signal) in [
        ("datacentre", Signal::SIGINT),
        ("wanshift run", Signal::SIGTERM),
        ("desktops: all that", Signal::SIGHUP),
        (" 20 %", Signal::SIGINT),
    ] {
        leaves_nothing(&demo, line, signal);
    }
}

/// The directory goes as the play ends by itself, too; here because the program cannot be run.
#[test]
fn a_demo_that_fails_says_so_and_leaves_nothing() {
    if !lab::ready() {
        return;
    }
    let Some(demo) = demo() else { return };
    let _quiet = lab::quiet_machine();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(demo)
        .args(["/bin/false", "--quick"])
        .env("TMPDIR", directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success(), "{:?}", output.status);
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 1, "more than the lock");
}
