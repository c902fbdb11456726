//! The daemon on the machine's kernel: what it keeps, what it takes back, and what it leaves alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

#[path = "../common/mod.rs"]
mod common;

mod confirm;
mod devices;
mod drift;
mod named;
mod phases;
mod reload;
mod told;
mod verbs;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::daemon::{Daemon, PATIENCE};
use common::host::EdgeHost;
use common::{in_namespace, sh};
use serde_json::Value;
use wanshift::clock::{Clock, SystemClock};

/// Runs `test` on an edge host whose shift into telework takes `ramp`, with a daemon that has reached the first phase.
fn with_daemon(
    ramp: &'static str,
    test: impl for<'a> FnOnce(&'a EdgeHost, Daemon<'a>) + Send + 'static,
) {
    in_namespace(move || {
        let host = EdgeHost::new(ramp);
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        test(&host, daemon);
    });
}

/// Begins a verb, and does not wait for it.
fn begin(host: &EdgeHost, verb: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wanshift"))
        .args(host.arguments())
        .args(verb)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until `is` true.
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let began = SystemClock.now();
    while !is() {
        assert!(
            SystemClock.now().since(began) < PATIENCE,
            "{what} did not come"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What the circuit behind a device is given in the kernel, in bit/s: nothing of it is given more.
fn share(device: &str) -> u64 {
    let classes = sh(&format!("tc class show dev {device}"));
    let rates = classes.lines().filter_map(|line| {
        let rate = line.split(" rate ").nth(1)?.split(' ').next()?;
        Some(bits(rate))
    });
    rates.max().unwrap_or_default()
}

/// A rate as `tc` prints it.
fn bits(rate: &str) -> u64 {
    let digits = rate.trim_end_matches(|c: char| c.is_alphabetic());
    let number: u64 = digits.parse().unwrap();
    match rate.strip_prefix(digits).unwrap() {
        "bit" => number,
        "Kbit" => number * 1_000,
        "Mbit" => number * 1_000_000,
        "Gbit" => number * 1_000_000_000,
        unit => panic!("{unit}"),
    }
}

/// Whether the packet filter rejects what telework blocks.
fn rejects() -> bool {
    sh("nft list table inet wanshift 2>/dev/null || true").contains("reject")
}

/// Whether a change is on its way that has come some part of it.
fn is_shifting(status: &Value) -> bool {
    status["phase"]["shifting"]["done"]
        .as_f64()
        .is_some_and(|done| done > 0.2)
}

/// The changes on record, the last first.
fn history(host: &EdgeHost) -> Vec<Value> {
    let history: Value = serde_json::from_str(&host.wanshift(&["--json", "history"])).unwrap();
    history["changes"].as_array().unwrap().clone()
}
