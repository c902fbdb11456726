//! Verbs where a daemon runs: through it, or not at all.

use std::process::Command;

use nix::sys::signal::Signal;

use super::common::daemon::Daemon;
use super::common::host::{EdgeHost, assert_same, dump};
use super::common::{in_namespace, sh};
use super::{rejects, share, wait_until, with_daemon};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wanshift"))
}

/// A host that nothing of ours was ever on, with connection tracking on, which shows in sysctls.
fn untouched(test: impl FnOnce(EdgeHost) + Send + 'static) {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        sh(
            "ip link set lo up; nft add table ip t; nft add chain ip t c '{ type filter hook forward priority 0; }'; \
            nft add rule ip t c ct state established accept",
        );
        test(host);
    });
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    with_daemon("0s", |host, mut daemon| {
        let output = program()
            .args(host.arguments())
            .args(["run", "--http", "127.0.0.1:9999"])
            .output()
            .unwrap();
        let errors = super::common::said(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let pid = format!("process {}", daemon.pid());
        assert!(
            errors.contains("wanshift run") && errors.contains(&pid),
            "{errors}"
        );
        daemon.wait_for_phase("nominal");
    });
}

#[test]
fn verbs_go_through_the_daemon() {
    with_daemon("0s", |host, daemon| {
        host.wanshift(&["phase", "telework"]);
        let log = daemon.log();
        assert!(log.contains("order=\"phase telework\""), "{log}");
        // One that may not touch the kernel itself has it changed all the same.
        let output = Command::new("setpriv")
            .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
            .arg(env!("CARGO_BIN_EXE_wanshift"))
            .args(host.arguments())
            .args(["phase", "nominal"])
            .output()
            .unwrap();
        let errors = super::common::said(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert_eq!(share("mpls0"), 200_000_000);
    });
}

#[test]
fn a_verb_for_another_place_than_the_daemons_is_refused() {
    with_daemon("0s", |host, _daemon| {
        let before = dump();
        let other = tempfile::tempdir().unwrap();
        for flag in ["--config", "--state"] {
            let output = program()
                .args(host.arguments())
                .args([flag.to_owned(), other.path().display().to_string()])
                .args(["phase", "telework"])
                .output()
                .unwrap();
            let errors = super::common::said(&output.stderr);
            // A flag that is given twice is a usage error.
            assert!(!output.status.success(), "{errors}");
        }
        let socket = host.socket().display().to_string();
        for (flag, what) in [("--config", "configuration"), ("--state", "state")] {
            let output = program()
                .args([
                    "--socket",
                    &socket,
                    flag,
                    &other.path().display().to_string(),
                ])
                .args(["phase", "telework"])
                .output()
                .unwrap();
            let errors = super::common::said(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{errors}");
            assert!(
                errors.contains("has another") && errors.contains(what),
                "{errors}"
            );
        }
        assert_same(&dump(), &before, "after the refusals");
    });
}

#[test]
fn at_the_end_all_is_left_or_all_is_taken_out_as_was_said() {
    untouched(|host| {
        let before = dump();
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        host.wanshift(&["phase", "telework"]);
        let held = dump();
        assert!(daemon.end().success());
        assert_same(&dump(), &held, "after the end");
        let mut daemon = Daemon::start_as(&host, program(), &["--on-exit", "teardown"]);
        daemon.wait_for_phase("telework");
        assert!(daemon.end().success());
        assert_same(&dump(), &before, "after the end with teardown");
    });
}

#[test]
fn a_rollback_of_the_first_change_leaves_what_was_before() {
    untouched(|host| {
        let before = dump();
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        let nominal = dump();
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        host.wanshift(&["rollback"]);
        assert_same(&dump(), &nominal, "after rollback");
        // The rollback is a change, too. One too many does not take everything out.
        let errors = host.refused(&["rollback", "3"]);
        assert!(errors.contains("everything out of the kernel"), "{errors}");
        assert_same(&dump(), &nominal, "after one too many");
        host.wanshift(&["rollback", "3", "--force"]);
        assert_same(&dump(), &before, "after rollback 3");
        let errors = host.refused(&["rollback", "9"]);
        assert!(errors.contains("9 changes"), "{errors}");
    });
}

#[test]
fn the_same_without_a_daemon() {
    untouched(|host| {
        let before = dump();
        host.wanshift(&["apply"]);
        let nominal = dump();
        host.wanshift(&["phase", "telework"]);
        host.wanshift(&["rollback"]);
        assert_same(&dump(), &nominal, "after rollback");
        host.wanshift(&["rollback", "3", "--force"]);
        assert_same(&dump(), &before, "after rollback 3");
        let errors = host.refused(&["apply", "--confirm-within", "10m"]);
        assert!(errors.contains("needs the daemon"), "{errors}");
        assert_same(&dump(), &before, "after the refusal");
    });
}

#[test]
fn the_shaping_goes_and_the_block_stays() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework"]);
        let held = dump();
        let text = host.wanshift(&["teardown", "--shaping-only"]);
        assert!(
            text.contains("Still blocked: browsing-in-session"),
            "{text}"
        );
        assert_eq!(share("wan0"), 0);
        assert!(rejects());
        sh("nft flush ruleset");
        wait_until("the block", rejects);
        assert_eq!(share("wan0"), 0);
        assert!(daemon.end().success());
        daemon = Daemon::start(host);
        daemon.wait_for("a sample", |status| status["sampling"]["last"].is_string());
        assert_eq!(share("wan0"), 0);
        assert!(rejects());
        host.wanshift(&["apply"]);
        daemon.wait_for_phase("telework");
        assert_same(&dump(), &held, "after apply");
    });
}

#[test]
fn a_signal_has_it_log_how_things_are() {
    with_daemon("0s", |_, daemon| {
        daemon.signal(Signal::SIGUSR1);
        wait_until("the log", || {
            let log = daemon.log();
            log.contains("Phase nominal since") && log.contains("internet up")
        });
    });
}

#[test]
fn going_back_from_what_waits_to_be_confirmed_is_told_instead_of_planned() {
    with_daemon("0s", |host, _daemon| {
        let before = dump();
        host.wanshift(&["phase", "telework", "--confirm-within", "1h"]);
        for back in [&["plan", "--rollback"][..], &["plan", "--rollback", "2"]] {
            let told = host.refused(back);
            for words in [
                "waits to be confirmed",
                "at once, without a ramp",
                "phase nominal",
            ] {
                assert!(told.contains(words), "{told}");
            }
        }
        host.wanshift(&["rollback"]);
        wait_until("what held before", || dump() == before);
    });
}
