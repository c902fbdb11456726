//! What is told of a change that is on its way, and of one that waits.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::process::{Command, Stdio};

use common::daemon::Daemon;
use common::host::EdgeHost;
use common::{in_namespace, said};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn who_stops_waiting_is_told_that_the_daemon_goes_on() {
    in_namespace(|| {
        let host = EdgeHost::new("30s");
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        let child = Command::new(env!("CARGO_BIN_EXE_wanshift"))
            .args(host.arguments())
            .args(["phase", "telework"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        daemon.wait_for("the shift", |status| !status["phase"]["shifting"].is_null());
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        let output = child.wait_with_output().unwrap();
        let told = said(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        for words in [
            "no longer waiting for `phase telework`: the daemon goes on with it",
            "`wanshift status` shows how far it is; `wanshift rollback` takes it back",
        ] {
            assert!(told.contains(words), "{told}");
        }
        // It does go on, and is taken back in the way that was told.
        let status = daemon.status().unwrap();
        assert_eq!(status["phase"]["shifting"]["to"], "telework", "{status}");
        host.wanshift(&["rollback"]);
        daemon.wait_for_phase("nominal");
    });
}

#[test]
fn a_change_that_waits_is_told_with_when_it_was_ordered() {
    in_namespace(|| {
        let host = EdgeHost::new("300ms");
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        host.wanshift(&["phase", "telework", "--confirm-within", "1h"]);
        let last = || {
            let status = host.wanshift(&["status"]);
            let (_, last) = status.split_once("Last change:").unwrap();
            let mut lines = last.lines();
            assert!(lines.next().unwrap().contains("phase telework"), "{status}");
            lines.next().unwrap().trim().to_owned()
        };
        let waits = last();
        assert!(
            waits.starts_with("ordered ") && waits.ends_with("; it waits to be confirmed"),
            "{waits}"
        );
        host.wanshift(&["confirm"]);
        assert!(last().starts_with("done "), "{}", last());
    });
}

#[test]
fn a_plan_with_a_ramp_says_that_its_writes_are_made_step_by_step() {
    in_namespace(|| {
        let host = EdgeHost::new("3s");
        let at_once = host.wanshift(&["plan"]);
        assert!(!at_once.contains("the ramp"), "{at_once}");
        host.wanshift(&["apply"]);
        let plan = host.wanshift(&["plan", "--phase", "telework"]);
        let told = "That is without the ramp: each of its 30 steps has writes of its own.";
        assert!(plan.contains(told), "{plan}");
        host.edit(
            "policy.d/20-telework.toml",
            "ramp = \"3s\"",
            "ramp = \"0s\"",
        );
        let at_once = host.wanshift(&["plan", "--phase", "telework"]);
        assert!(!at_once.contains("the ramp"), "{at_once}");
    });
}
