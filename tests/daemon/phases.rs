//! Phases: changes of mind on the way, restarts, and what begins by itself.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::common::daemon::Daemon;
use super::common::host::{EdgeHost, assert_same, dump};
use super::common::{in_namespace, sh};
use super::{begin, history, is_shifting, rejects, share, wait_until, with_daemon};

/// A host on which the way back takes time, too.
fn with_ramps(test: impl for<'a> FnOnce(&'a EdgeHost, Daemon<'a>) + Send + 'static) {
    in_namespace(move || {
        let host = EdgeHost::new("2s");
        host.edit(
            "policy.d/20-telework.toml",
            "internet = \"100mbit\" }",
            "internet = \"100mbit\" }\nramp = \"1s\"",
        );
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        test(&host, daemon);
    });
}

#[test]
fn a_change_of_mind_goes_from_where_it_stands() {
    with_ramps(|host, mut daemon| {
        let before = dump();
        let first = begin(host, &["phase", "telework"]);
        daemon.wait_for("the ramp", is_shifting);
        let mut second = begin(host, &["phase", "nominal"]);
        let mut shares = Vec::new();
        while second.try_wait().unwrap().is_none() {
            shares.push(share("mpls0"));
        }
        assert!(second.wait().unwrap().success());
        let first = first.wait_with_output().unwrap();
        let told = super::common::said(&first.stderr);
        assert_eq!(first.status.code(), Some(1), "{told}");
        assert!(told.contains("ended by another order"), "{told}");
        // Down on the first way, then up on the second: it jumps to neither end, and turns once.
        let turn = (0..shares.len()).min_by_key(|at| shares[*at]).unwrap();
        assert!(shares[turn] > 80_000_000, "{shares:?}");
        assert!(shares[..turn].is_sorted_by(|a, b| a >= b), "{shares:?}");
        assert!(shares[turn..].is_sorted(), "{shares:?}");
        let between = |share: &&u64| (80_000_001..200_000_000).contains(*share);
        assert!(
            shares[turn..].iter().filter(between).count() > 1,
            "{shares:?}"
        );
        daemon.wait_for_phase("nominal");
        assert_same(&dump(), &before, "after it came back");
    });
}

#[test]
fn a_block_is_on_record_from_the_first_step_on() {
    with_ramps(|host, mut daemon| {
        let mut way = begin(host, &["phase", "telework"]);
        let on_the_way = daemon.wait_for("the block", |status| {
            is_shifting(status) && status["blocks"][0]["since"].is_string()
        });
        assert!(rejects());
        assert!(way.wait().unwrap().success());
        let there = daemon.wait_for_phase("telework");
        let since = |status: &Value| status["blocks"][0]["since"].clone();
        assert_eq!(since(&there), since(&on_the_way));
    });
}

#[test]
fn three_in_a_row_end_with_the_last_and_go_back_to_the_first() {
    with_ramps(|host, mut daemon| {
        let before = dump();
        let first = begin(host, &["phase", "telework"]);
        daemon.wait_for("the ramp", is_shifting);
        let second = begin(host, &["phase", "nominal"]);
        daemon.wait_for("the other way", |status| {
            status["phase"]["shifting"]["to"] == "nominal"
        });
        host.wanshift(&["phase", "telework"]);
        for ended in [first, second] {
            assert!(!ended.wait_with_output().unwrap().status.success());
        }
        assert_eq!(share("mpls0"), 80_000_000);
        assert!(rejects());
        let states: Vec<String> = history(host)
            .iter()
            .map(|change| change["state"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(states, ["done", "undone", "undone", "done"]);
        host.wanshift(&["rollback"]);
        assert_same(&dump(), &before, "after rollback");
    });
}

#[test]
fn a_rollback_on_the_way_takes_it_back() {
    with_ramps(|host, mut daemon| {
        let before = dump();
        let ordered = begin(host, &["phase", "telework"]);
        daemon.wait_for("the ramp", is_shifting);
        host.wanshift(&["rollback"]);
        assert_same(&dump(), &before, "after rollback");
        assert!(!ordered.wait_with_output().unwrap().status.success());
        daemon.wait_for_phase("nominal");
        assert_same(&dump(), &before, "later");
    });
}

#[test]
fn who_ordered_it_may_go_away() {
    with_daemon("2s", |host, mut daemon| {
        let mut ordered = begin(host, &["phase", "telework"]);
        daemon.wait_for("the ramp", is_shifting);
        kill(Pid::from_raw(ordered.id().cast_signed()), Signal::SIGINT).unwrap();
        ordered.wait().unwrap();
        daemon.wait_for_phase("telework");
        assert_eq!(history(host)[0]["state"], "done");
    });
}

#[test]
fn a_restart_on_the_way_ramps_on() {
    with_daemon("2s", |host, mut daemon| {
        let ordered = begin(host, &["phase", "telework"]);
        daemon.wait_for("the ramp", is_shifting);
        assert!(daemon.end().success());
        assert!(!ordered.wait_with_output().unwrap().status.success());
        let stood = share("mpls0");
        assert!((80_000_001..200_000_000).contains(&stood), "{stood}");
        let mut daemon = Daemon::spawn(host, daemon_command(), &[]);
        let mut shares = vec![stood];
        wait_until("the end of the ramp", || {
            shares.push(share("mpls0"));
            shares.last() == Some(&80_000_000)
        });
        daemon.wait_for_phase("telework");
        assert!(shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
        assert_eq!(share("mpls0"), 80_000_000);
        assert_eq!(history(host)[0]["state"], "done");
    });
}

#[test]
fn what_is_over_by_an_event_is_followed_by_itself() {
    with_daemon("0s", |host, mut daemon| {
        let errors = host.refused(&["phase", "upgraded"]);
        assert!(errors.contains("uplink-upgraded"), "{errors}");
        host.wanshift(&["phase", "telework"]);
        assert!(rejects());
        let text = host.wanshift(&["event", "uplink-upgraded"]);
        assert!(text.contains("upgraded begins"), "{text}");
        let status = daemon.wait_for_phase("upgraded");
        assert_eq!(status["phase"]["by"], "wanshift");
        assert_eq!(share("wan0"), 800_000_000);
        assert!(!rejects());
        let errors = host.refused(&["phase", "telework"]);
        assert!(errors.contains("upgraded"), "{errors}");
    });
}

#[test]
fn a_pool_carries_more_as_soon_as_its_condition_is_true() {
    with_daemon("0s", |host, mut daemon| {
        assert_eq!(share("wanshift-down"), 300_000_000);
        host.wanshift(&["event", "uplink-upgraded"]);
        wait_until("the capacity", || share("wanshift-down") == 1_000_000_000);
        let status = daemon.wait_for_phase("nominal");
        assert_eq!(status["circuits"][0]["up"]["capacity"], "1gbit");
        assert_eq!(status["repairs"]["count"], 0);
        let last = &history(host)[0];
        assert!(
            last["what"]
                .as_str()
                .unwrap()
                .contains("condition uplink-upgraded"),
            "{last}"
        );
    });
}

/// Whatever is written to the kernel, monitors tell.
#[test]
fn a_restart_writes_nothing() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        let changes = history(host).len();
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let told = || std::fs::read_to_string(file.path()).unwrap();
        let mut monitors: Vec<_> = ["tc monitor", "nft monitor"]
            .map(|line| {
                std::process::Command::new("sh")
                    .args(["-c", &format!("exec {line} >> {path}")])
                    .spawn()
                    .unwrap()
            })
            .into();
        let mark = |name: &str| {
            wait_until(name, || {
                sh(&format!(
                    "nft add table ip {name}; nft delete table ip {name}"
                ));
                sh(
                    "tc qdisc replace dev lo root handle 99: pfifo limit 7; tc qdisc del dev lo root",
                );
                told().contains(name) && told().contains("limit 7p")
            });
        };
        mark("begin");
        for ended in ["politely", "killed"] {
            let length = told().len();
            match ended {
                "politely" => assert!(daemon.end().success()),
                _ => daemon.kill(),
            }
            daemon = Daemon::start(host);
            daemon.wait_for("a look", |status| {
                status["healthy"] == true && status["sampling"]["last"].is_string()
            });
            mark(&format!("end-{ended}").replace('-', "_"));
            let ours: Vec<String> = told()[length..]
                .lines()
                .filter(|line| {
                    !["begin", "end_", "99:", "dev lo", "generation"]
                        .iter()
                        .any(|mark| line.contains(mark))
                })
                .map(str::to_owned)
                .collect();
            assert_eq!(ours, [""; 0], "{ended}");
        }
        assert_eq!(history(host).len(), changes);
        for monitor in &mut monitors {
            monitor.kill().unwrap();
            monitor.wait().unwrap();
        }
    });
}

fn daemon_command() -> std::process::Command {
    std::process::Command::new(env!("CARGO_BIN_EXE_wanshift"))
}

/// What time does within a phase is on record, and is nothing to go back from.
#[test]
fn a_rollback_goes_past_what_time_did() {
    with_daemon("0s", |host, mut daemon| {
        host.edit(
            "policy.d/20-telework.toml",
            "established = \"cut\"",
            "established = \"drain\"\ndrain_for = \"1s\"",
        );
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for("the end of the drain", |status| {
            status["blocks"][0]["state"] == "holding"
        });
        wait_until("its record", || history(host).len() == 3);
        host.wanshift(&["rollback"]);
        daemon.wait_for_phase("nominal");
    });
}
