//! Policy files that are read again, by a signal or by a start.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::common::daemon::Daemon;
use super::common::host::{EdgeHost, assert_same, dump};
use super::common::in_namespace;
use super::{history, share, wait_until, with_daemon};

const FILE: &str = "policy.d/20-telework.toml";
const SPLIT: &str = "mpls = \"200mbit\", internet = \"100mbit\"";
const OTHER: &str = "mpls = \"190mbit\", internet = \"110mbit\"";

fn problem(status: &Value) -> String {
    status["problems"][0]["what"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_policy_that_loads_comes_into_force_and_one_that_does_not_changes_nothing() {
    with_daemon("0s", |host, mut daemon| {
        host.edit(FILE, SPLIT, OTHER);
        daemon.signal(Signal::SIGHUP);
        wait_until("the new split", || share("mpls0") == 190_000_000);
        assert_eq!(history(host)[0]["by"], "SIGHUP");
        let before = dump();
        host.edit(FILE, OTHER, "mpls = \"190mbit\", internet = \"110mbps\"");
        daemon.signal(Signal::SIGHUP);
        let status = daemon.wait_for("trouble", |status| status["healthy"] == false);
        let what = problem(&status);
        assert!(
            what.contains("20-telework.toml:") && what.contains("mbps"),
            "{what}"
        );
        assert_eq!(status["problems"][0]["stage"], "policy");
        let not_reloaded = "not reloaded, nothing was changed: ";
        let log = daemon.log();
        let told = log.split(not_reloaded).nth(1).unwrap();
        assert!(told.lines().next().unwrap().contains("mbps"), "{log}");
        assert_same(&dump(), &before, "with a policy that does not load");
        let output = host.run(&["status"]);
        assert_eq!(output.status.code(), Some(1));
        host.edit(FILE, "110mbps", "110mbit");
        daemon.signal(Signal::SIGHUP);
        daemon.wait_for("health", |status| status["healthy"] == true);
        assert_same(&dump(), &before, "with the one that holds");
    });
}

#[test]
fn a_policy_without_the_phase_that_holds_changes_nothing() {
    with_daemon("0s", |host, mut daemon| {
        let before = dump();
        host.edit(FILE, "start = \"nominal\"", "start = \"calm\"");
        host.edit(FILE, "[phase.nominal]", "[phase.calm]");
        daemon.signal(Signal::SIGHUP);
        let status = daemon.wait_for("trouble", |status| status["healthy"] == false);
        assert!(problem(&status).contains("nominal"), "{status}");
        assert_same(&dump(), &before, "without the phase");
        assert!(daemon.end().success());
        let mut daemon = Daemon::start(host);
        let status = daemon.wait_for("trouble", |status| {
            status["healthy"] == false && status["sampling"]["last"].is_string()
        });
        assert!(problem(&status).contains("nominal"), "{status}");
        assert_same(&dump(), &before, "after a restart without the phase");
        host.wanshift(&["phase", "calm"]);
        daemon.wait_for("health", |status| status["healthy"] == true);
    });
}

#[test]
fn what_was_changed_while_no_daemon_ran_is_a_change_of_its_own() {
    with_daemon("0s", |host, daemon| {
        assert!(daemon.end().success());
        host.edit(FILE, SPLIT, OTHER);
        let mut daemon = Daemon::start(host);
        wait_until("the new split", || share("mpls0") == 190_000_000);
        daemon.wait_for_phase("nominal");
        let history = history(host);
        assert_eq!(history.len(), 2);
        assert_eq!(history[0]["by"], "wanshift");
        assert_ne!(history[0]["policy"], history[1]["policy"]);
    });
}

#[test]
fn a_start_with_a_bad_policy_holds_the_last_good_one() {
    with_daemon("0s", |host, daemon| {
        let before = dump();
        assert!(daemon.end().success());
        host.edit(FILE, "[phase.nominal]", "[phase.nominal");
        super::common::sh("tc qdisc del dev wan0 root");
        let mut daemon = Daemon::start(host);
        wait_until("the repair", || dump() == before);
        let status = daemon.wait_for("trouble", |status| status["healthy"] == false);
        assert!(problem(&status).contains("20-telework.toml:"), "{status}");
    });
}

/// What waits to be confirmed comes to its end first; then the files are what holds.
#[test]
fn files_wait_for_a_change_that_is_to_be_confirmed() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework", "--confirm-within", "1h"]);
        host.edit(FILE, SPLIT, OTHER);
        daemon.signal(Signal::SIGHUP);
        wait_until("the refusal", || {
            daemon.log().contains("waits to be confirmed; the policy")
        });
        host.wanshift(&["rollback"]);
        wait_until("the new split", || share("mpls0") == 190_000_000);
        daemon.wait_for_phase("nominal");
    });
}

#[test]
fn with_no_good_policy_ever_a_daemon_waits_for_one() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.edit(FILE, "[phase.nominal]", "[phase.nominal");
        let mut daemon = Daemon::start(&host);
        daemon.wait_for("trouble", |status| status["healthy"] == false);
        host.edit(FILE, "[phase.nominal", "[phase.nominal]");
        daemon.signal(Signal::SIGHUP);
        let status = daemon.wait_for_phase("nominal");
        assert_eq!(status["healthy"], true, "{status}");
    });
}
