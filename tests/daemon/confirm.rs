//! Changes that are undone unless they are confirmed.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::common::daemon::Daemon;
use super::common::host::{EdgeHost, assert_same, dump};
use super::common::{in_namespace, sh};
use super::{begin, history, is_shifting, rejects, share, wait_until, with_daemon};

const WITHIN_A_SECOND: [&str; 4] = ["phase", "telework", "--confirm-within", "1s"];
const WITHIN_AN_HOUR: [&str; 4] = ["phase", "telework", "--confirm-within", "1h"];

fn is_back(status: &Value) -> bool {
    status["phase"]["name"] == "nominal" && status["pending"].is_null()
}

#[test]
fn what_is_not_confirmed_is_undone() {
    with_daemon("300ms", |host, mut daemon| {
        let before = dump();
        let answer = host.wanshift(&WITHIN_A_SECOND);
        assert!(answer.contains("undone in 1 s"), "{answer}");
        assert!(rejects());
        daemon.wait_for("the way back", is_back);
        assert_same(&dump(), &before, "after it was undone");
        let last = &history(host)[0];
        assert_eq!(last["state"], "undone");
        assert_eq!(last["because"], "it was not confirmed in time");
        let errors = host.refused(&["confirm"]);
        assert!(errors.contains("no change waits"), "{errors}");
    });
}

#[test]
fn what_is_confirmed_stays() {
    with_daemon("300ms", |host, mut daemon| {
        host.wanshift(&["phase", "telework", "--confirm-within", "2s"]);
        let status = daemon.wait_for("what waits", |status| status["pending"].is_object());
        assert_eq!(status["phase"]["name"], "telework");
        let held = dump();
        host.wanshift(&["confirm"]);
        std::thread::sleep(Duration::from_millis(2_300));
        let status = daemon.wait_for_phase("telework");
        assert!(status["pending"].is_null());
        assert_same(&dump(), &held, "after its time");
        assert_eq!(history(host)[0]["state"], "done");
    });
}

#[test]
fn one_that_is_confirmed_on_its_way_arrives_and_stays() {
    with_daemon("2s", |host, mut daemon| {
        let ordered = begin(host, &WITHIN_A_SECOND);
        daemon.wait_for("the ramp", is_shifting);
        host.wanshift(&["confirm"]);
        assert!(ordered.wait_with_output().unwrap().status.success());
        let status = daemon.wait_for_phase("telework");
        assert!(status["pending"].is_null());
        assert_eq!(history(host)[0]["state"], "done");
    });
}

/// The time to confirm begins where the ramp ends: else it would be over before anybody could look.
#[test]
fn who_ordered_it_may_be_killed() {
    with_daemon("2s", |_, mut daemon| {
        let before = dump();
        let mut ordered = begin(daemon.host(), &WITHIN_A_SECOND);
        daemon.wait_for("the ramp", is_shifting);
        ordered.kill().unwrap();
        ordered.wait().unwrap();
        let status = daemon.wait_for_phase("telework");
        assert!(status["pending"].is_object(), "{status}");
        daemon.wait_for("the way back", is_back);
        assert_same(&dump(), &before, "after it was undone");
    });
}

/// Whatever kept the daemon from its work on the way does not take of that time either.
#[test]
fn a_long_way_takes_nothing_of_the_time_to_confirm() {
    with_daemon("3s", |host, mut daemon| {
        let ordered = begin(host, &["phase", "telework", "--confirm-within", "20s"]);
        daemon.wait_for("the ramp", is_shifting);
        daemon.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_secs(5));
        daemon.signal(Signal::SIGCONT);
        let answer = ordered.wait_with_output().unwrap();
        let answer = String::from_utf8(answer.stdout).unwrap();
        assert!(answer.contains("undone in 20 s"), "{answer}");
        let status = daemon.wait_for_phase("telework");
        let left = status["pending"]["seconds_left"].as_u64().unwrap();
        assert!(left > 16, "{status}");
        host.wanshift(&["confirm"]);
    });
}

#[test]
fn a_daemon_killed_before_the_deadline_keeps_it() {
    with_daemon("0s", |host, daemon| {
        let before = dump();
        host.wanshift(&["phase", "telework", "--confirm-within", "4s"]);
        daemon.kill();
        let mut daemon = Daemon::start(host);
        let status = daemon.wait_for_phase("telework");
        assert!(status["pending"].is_object(), "{status}");
        assert!(rejects());
        daemon.wait_for("the way back", is_back);
        assert_same(&dump(), &before, "after it was undone");
    });
}

#[test]
fn a_daemon_that_comes_back_after_the_deadline_undoes_it() {
    with_daemon("0s", |host, daemon| {
        let before = dump();
        host.wanshift(&WITHIN_A_SECOND);
        daemon.kill();
        std::thread::sleep(Duration::from_millis(1_100));
        let mut daemon = Daemon::start(host);
        daemon.wait_for("the way back", is_back);
        assert_same(&dump(), &before, "after it was undone");
    });
}

#[test]
fn a_daemon_killed_on_the_way_goes_on_and_takes_it_back() {
    with_daemon("3s", |host, mut daemon| {
        let before = dump();
        let mut ordered = begin(host, &WITHIN_A_SECOND);
        daemon.wait_for("the ramp", is_shifting);
        daemon.kill();
        assert!(!ordered.wait().unwrap().success());
        let mut daemon = Daemon::start(host);
        daemon.wait_for("the way back", is_back);
        assert_same(&dump(), &before, "after it was undone");
    });
}

#[test]
fn a_second_change_is_refused_and_the_same_again_gives_more_time() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework", "--confirm-within", "20s"]);
        for verb in [
            &["phase", "nominal"][..],
            &["apply"],
            &["phase", "telework"],
        ] {
            let errors = host.refused(verb);
            assert!(
                errors.contains("phase telework --confirm-within 20s")
                    && errors.contains("change 2"),
                "{errors}"
            );
        }
        host.wanshift(&WITHIN_AN_HOUR);
        let status = daemon.wait_for("more time", |status| status["pending"].is_object());
        let left = status["pending"]["seconds_left"].as_u64().unwrap();
        assert!((3_000..=3_600).contains(&left), "{left}");
        assert_eq!(history(host).len(), 2);
    });
}

/// More time for the same is no answer where the files say something else by now: that would not be carried out.
#[test]
fn the_same_again_with_other_files_is_refused() {
    with_daemon("0s", |host, mut daemon| {
        let again = ["apply", "--confirm-within", "1h"];
        let (file, split) = ("policy.d/20-telework.toml", "mpls = \"200mbit\", internet");
        host.edit(file, split, "mpls = \"199mbit\", internet");
        host.wanshift(&["apply", "--confirm-within", "10m"]);
        host.edit(file, "mpls = \"199mbit\"", "mpls = \"198mbit\"");
        let errors = host.refused(&again);
        assert!(
            errors.contains(
                "the policy files are others than those of `apply --confirm-within 10m` (change 2)"
            ),
            "{errors}"
        );
        let status = daemon.wait_for("what waits", |status| status["pending"].is_object());
        assert!(
            status["pending"]["seconds_left"].as_u64() <= Some(600),
            "{status}"
        );
        assert_eq!(share("mpls0"), 199_000_000);
        host.edit(file, "mpls = \"198mbit\"", "mpls = \"199mbit\"");
        host.wanshift(&again);
    });
}

#[test]
fn a_rollback_takes_it_back_at_once() {
    with_daemon("0s", |host, mut daemon| {
        let before = dump();
        host.wanshift(&WITHIN_AN_HOUR);
        assert!(rejects());
        let text = host.wanshift(&["rollback"]);
        assert!(text.contains("Taken back: `phase telework"), "{text}");
        assert_same(&dump(), &before, "after rollback");
        daemon.wait_for("the way back", is_back);
    });
}

/// What waited to be confirmed is not what an `apply` afterwards enters.
#[test]
fn a_teardown_ends_it() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        sh(
            "ip link set lo up; nft add table ip t; nft add chain ip t c '{ type filter hook forward priority 0; }'; \
            nft add rule ip t c ct state established accept",
        );
        let before = dump();
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        host.wanshift(&WITHIN_AN_HOUR);
        host.wanshift(&["teardown"]);
        assert_same(&dump(), &before, "after teardown");
        assert!(daemon.status().unwrap()["pending"].is_null());
        host.wanshift(&["apply"]);
        daemon.wait_for_phase("nominal");
        assert!(!rejects());
    });
}

#[test]
fn what_comes_by_itself_waits_until_it_is_confirmed() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&WITHIN_AN_HOUR);
        assert!(rejects());
        host.wanshift(&["event", "uplink-upgraded"]);
        wait_until("the block's end", || !rejects());
        let status = daemon.wait_for("the event", |status| {
            status["blocks"][0]["state"] == "lifted"
        });
        assert_eq!(status["phase"]["name"], "telework");
        assert_eq!(status["repairs"]["count"], 0, "{status}");
        host.wanshift(&["confirm"]);
        daemon.wait_for_phase("upgraded");
    });
}

/// The way back is to a phase that blocks; that this block has been lifted meanwhile stays so.
#[test]
fn the_way_back_does_not_bring_back_what_was_lifted_meanwhile() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework"]);
        host.wanshift(&["phase", "nominal", "--confirm-within", "1h"]);
        assert!(!rejects());
        let mut monitor = begin_monitor();
        host.wanshift(&["event", "uplink-upgraded"]);
        host.wanshift(&["rollback"]);
        daemon.wait_for_phase("upgraded");
        sh("nft add table ip sentinel");
        let told = monitor.told("sentinel");
        assert!(!told.contains("reject"), "{told}");
    });
}

/// What `nft monitor` tells.
struct Monitor {
    child: std::process::Child,
    file: tempfile::NamedTempFile,
}

fn begin_monitor() -> Monitor {
    let file = tempfile::NamedTempFile::new().unwrap();
    let child = std::process::Command::new("nft")
        .args(["monitor"])
        .stdout(file.reopen().unwrap())
        .spawn()
        .unwrap();
    let monitor = Monitor { child, file };
    wait_until("the monitor", || {
        sh("nft add table ip probe; nft delete table ip probe");
        monitor.read().contains("probe")
    });
    monitor
}

impl Monitor {
    fn read(&self) -> String {
        std::fs::read_to_string(self.file.path()).unwrap()
    }

    /// All that it told until it told of `last`.
    fn told(&mut self, last: &str) -> String {
        wait_until(last, || self.read().contains(last));
        self.read()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGKILL,
        );
        let _ = self.child.wait();
    }
}
