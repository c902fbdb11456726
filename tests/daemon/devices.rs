//! Devices that are not there, come and go.

use super::common::daemon::Daemon;
use super::common::host::{EdgeHost, assert_same, dump};
use super::common::{in_namespace, sh};
use super::{rejects, share, wait_until};

const MAKE: &str = "ip link add mpls0 type veth peer name far-mpls0; ip link set mpls0 up; ip link set far-mpls0 up";

#[test]
fn one_that_is_missing_is_waited_for_and_all_else_holds() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        sh("ip link del mpls0");
        let mut daemon = Daemon::start(&host);
        let status = daemon.wait_for("the wait", |status| {
            status["problems"][0]["stage"] == "wait" && status["phase"]["name"] == "nominal"
        });
        let what = status["problems"][0]["what"].as_str().unwrap();
        assert!(
            what.contains("mpls0") && what.contains("waited for"),
            "{what}"
        );
        assert_eq!(status["healthy"], false);
        assert_eq!(share("wan0"), 100_000_000);
        host.wanshift(&["phase", "telework"]);
        assert_eq!(share("wan0"), 220_000_000);
        assert!(rejects());
        sh(MAKE);
        wait_until("its tree", || share("mpls0") == 80_000_000);
        daemon.wait_for("health", |status| status["healthy"] == true);
        let held = dump().len();
        sh("ip link del mpls0");
        let status = daemon.wait_for("the wait", |status| {
            status["problems"][0]["stage"] == "wait"
        });
        assert_eq!(status["phase"]["name"], "telework");
        assert!(rejects());
        sh(MAKE);
        wait_until("its tree", || share("mpls0") == 80_000_000);
        daemon.wait_for("health", |status| status["healthy"] == true);
        wait_until("all of it", || dump().len() == held);
    });
}

/// A slip in a name does not take what is shaped out of the kernel.
#[test]
fn one_that_no_file_named_before_is_not_waited_for_unasked() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        let before = dump();
        host.edit("host.toml", "device = \"wan0\"", "device = \"wan9\"");
        for order in [&["apply"][..], &["phase", "telework"]] {
            let errors = host.refused(order);
            assert!(
                errors.contains("there is no device `wan9` here")
                    && errors.contains("did you mean `wan0`?"),
                "{errors}"
            );
            assert_same(&dump(), &before, "after the refusal");
        }
        host.wanshift(&["apply", "--force"]);
        let status = daemon.wait_for("the wait", |status| {
            let problems = status["problems"].as_array().unwrap();
            problems.iter().any(|problem| problem["stage"] == "wait")
        });
        assert_eq!(status["phase"]["name"], "nominal");
    });
}

#[test]
fn one_that_comes_while_no_daemon_runs_is_shaped_at_the_next_start() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        assert!(daemon.end().success());
        sh("ip link del mpls0");
        let mut daemon = Daemon::start(&host);
        daemon.wait_for("the wait", |status| {
            status["problems"][0]["stage"] == "wait"
        });
        daemon.kill();
        sh(MAKE);
        let before = sh("tc class show dev wan0");
        let mut daemon = Daemon::start(&host);
        daemon.wait_for("health", |status| {
            status["healthy"] == true
                && status["phase"]["shifting"].is_null()
                && share("mpls0") == 200_000_000
        });
        assert_same(
            &[sh("tc class show dev wan0")],
            &[before],
            "the other circuit",
        );
    });
}
