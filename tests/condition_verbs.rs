//! Events and conditions, as an administrator uses them, on the machine's kernel.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::host::{EdgeHost, assert_same, dump};
use common::{in_namespace, sh};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use wanshift::store::Store;

fn json(host: &EdgeHost, verb: &[&str]) -> Value {
    let verb: Vec<&str> = ["--json"].iter().chain(verb).copied().collect();
    let value: Value = serde_json::from_str(&host.wanshift(&verb)).unwrap();
    assert_eq!(value["schema_version"], 1);
    value
}

/// What `condition` says of one.
fn condition(host: &EdgeHost, name: &str) -> Value {
    let listed = json(host, &["condition"]);
    let conditions = listed["conditions"].as_array().unwrap();
    let one = conditions.iter().find(|one| one["name"] == name);
    one.unwrap_or_else(|| panic!("{listed}")).clone()
}

/// The rates of the circuits in the kernel, up by device and down, and that of the pool.
fn holds(up: &str, rates: &[&str]) {
    let (device, rate) = up.split_once(' ').unwrap();
    let classes = sh(&format!("tc class show dev {device}"));
    assert!(
        classes.contains(&format!("rate {rate} ")),
        "{up}: {classes}"
    );
    let classes = sh("tc class show dev wanshift-down");
    for rate in rates {
        assert!(
            classes.contains(&format!("rate {rate} ")),
            "{rate}: {classes}"
        );
    }
}

fn start(host: &EdgeHost, verb: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wanshift"));
    let command = command.args(host.arguments()).args(verb);
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().unwrap()
}

#[test]
fn an_upgrade_opens_the_phase_that_waits_for_it_and_a_reset_closes_it() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["phase", "telework"]);
        holds("wan0 220Mbit", &["300Mbit", "220Mbit", "80Mbit"]);
        let before = dump();
        let errors = host.refused(&["phase", "upgraded"]);
        assert!(errors.contains("uplink-upgraded"), "{errors}");
        assert_same(&dump(), &before, "after the refusal");
        let one = condition(&host, "uplink-upgraded");
        assert_eq!(one["true"], false);
        assert_eq!(one["terms"][0]["what"], "event `uplink-upgraded`");

        let told = host.wanshift(&["event", "uplink-upgraded"]);
        for line in [
            "Condition uplink-upgraded is true: event `uplink-upgraded`, by ",
            "Block browsing-in-session is lifted.",
            "Pool access carries 1gbit.",
            "Phase upgraded may be entered.",
            "Phase telework may be entered no more.",
            "wanshift phase upgraded",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        assert_same(&dump(), &before, "an event alone writes nothing");
        let text = host.wanshift(&["condition", "list"]);
        assert!(
            text.starts_with("uplink-upgraded  true   since 20"),
            "{text}"
        );

        // The phase that is over goes on until the next is entered; who left it cannot come back.
        let output = host.run(&["apply"]);
        assert!(output.status.success());
        let talk = common::said(&output.stderr);
        assert!(
            talk.contains("phase `telework` is over") && talk.contains("is lifted"),
            "{talk}"
        );
        holds("wan0 220Mbit", &["1Gbit", "220Mbit", "80Mbit"]);

        host.wanshift(&["phase", "upgraded"]);
        holds("wan0 800Mbit", &["1Gbit", "800Mbit", "200Mbit"]);
        holds("mpls0 200Mbit", &[]);
        assert_eq!(json(&host, &["apply"])["writes"], 0);
        let errors = host.refused(&["phase", "telework"]);
        assert!(
            errors.contains("`upgraded` follows it: wanshift phase upgraded"),
            "{errors}"
        );

        let upgraded = dump();
        let errors = host.refused(&["condition", "reset", "uplink-upgraded"]);
        assert!(errors.contains("phase `upgraded` requires"), "{errors}");
        // The phase is remembered through a teardown, and so is what it needs.
        host.wanshift(&["teardown"]);
        host.refused(&["condition", "reset", "uplink-upgraded"]);
        host.wanshift(&["apply"]);
        assert_same(&dump(), &upgraded, "after a teardown and an apply");

        host.wanshift(&["phase", "nominal"]);
        holds("wan0 100Mbit", &["1Gbit", "100Mbit", "200Mbit"]);
        let told = host.wanshift(&["condition", "reset", "uplink-upgraded"]);
        assert!(
            told.contains("is false again")
                && told.contains("Phase upgraded may be entered no more"),
            "{told}"
        );
        host.refused(&["phase", "upgraded"]);
        host.wanshift(&["apply"]);
        holds("wan0 100Mbit", &["300Mbit"]);
        assert!(!sh("tc class show dev wanshift-down").contains("1Gbit"));
        host.wanshift(&["phase", "telework"]);
        host.wanshift(&["event", "uplink-upgraded"]);
        host.wanshift(&["phase", "upgraded"]);
    });
}

#[test]
fn what_became_true_outlives_a_killed_process_and_a_change_that_is_taken_back() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.edit(
            "policy.d/20-telework.toml",
            "[phase.upgraded]",
            "[phase.upgraded]\nramp = \"20s\"",
        );
        host.wanshift(&["apply"]);
        host.wanshift(&["event", "uplink-upgraded"]);
        host.wanshift(&["apply"]);
        let before = dump();

        let child = start(&host, &["phase", "upgraded"]);
        std::thread::sleep(Duration::from_millis(800));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
        assert_same(&dump(), &before, "after Ctrl-C");
        assert_eq!(condition(&host, "uplink-upgraded")["true"], true);

        let mut child = start(&host, &["phase", "upgraded"]);
        std::thread::sleep(Duration::from_millis(800));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert_eq!(condition(&host, "uplink-upgraded")["true"], true);
        // Not even then is taken away what the change that was cut off needs.
        let errors = host.refused(&["condition", "reset", "uplink-upgraded"]);
        assert!(errors.contains("phase `upgraded` requires"), "{errors}");
        host.edit(
            "policy.d/20-telework.toml",
            "ramp = \"20s\"",
            "ramp = \"300ms\"",
        );
        let applied = json(&host, &["apply"]);
        assert_eq!(applied["cut_off"], "phase upgraded");
        holds("wan0 800Mbit", &["1Gbit", "800Mbit", "200Mbit"]);
        assert_eq!(json(&host, &["plan"])["phase_now"], "upgraded");
    });
}

#[test]
fn programs_are_told_the_same() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["phase", "telework"]);
        let told = json(&host, &["event", "uplink-upgraded"]);
        let latch = &told["became_true"]["uplink-upgraded"];
        assert_eq!(latch["because"][0]["event"], "uplink-upgraded");
        assert_eq!(latch["by"][0], told["by"]);
        assert_eq!(told["lifts"][0], "browsing-in-session");
        assert_eq!(told["opens"][0], "upgraded");
        assert_eq!(told["closes"][0], "telework");
        assert_eq!(told["pools"]["access"]["down"], "1gbit");
        assert_eq!(told["follows"]["then"], "upgraded");
        // Once more: on record, and nothing new.
        let told = json(&host, &["event", "uplink-upgraded"]);
        assert_eq!(told["became_true"], serde_json::json!({}));
        let one = condition(&host, "uplink-upgraded");
        assert_eq!(
            (&one["true"], &one["on_record"]),
            (&true.into(), &true.into())
        );
        assert_eq!(one["by"][0], told["by"]);

        host.wanshift(&["phase", "upgraded"]);
        let output = host.run(&["--json", "condition", "reset", "uplink-upgraded"]);
        assert_eq!(output.status.code(), Some(1));
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            error["error"]["message"]
                .as_str()
                .unwrap()
                .contains("upgraded"),
            "{error}"
        );
        host.wanshift(&["phase", "nominal"]);
        let told = json(&host, &["condition", "reset", "uplink-upgraded"]);
        assert_eq!(told["was_true"], true);
        assert_eq!(told["no_longer"]["opens"][0], "upgraded");
        let told = json(&host, &["condition", "reset", "uplink-upgraded"]);
        assert_eq!(told["was_true"], false);
    });
}

#[test]
fn names_that_the_policy_does_not_know_are_refused_with_the_nearest() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let errors = host.refused(&["event", "uplink-upgrade"]);
        assert!(
            errors.contains("did you mean `uplink-upgraded`?"),
            "{errors}"
        );
        let errors = host.refused(&["event", "fire"]);
        assert!(
            errors.contains("the policy has `uplink-upgraded`"),
            "{errors}"
        );
        let store = Store::read(&host.state()).unwrap().unwrap();
        assert!(store.events().unwrap().is_empty());
        let errors = host.refused(&["condition", "reset", "uplnk-upgraded"]);
        assert!(
            errors.contains("did you mean `uplink-upgraded`?"),
            "{errors}"
        );
        assert_eq!(host.run(&["event", "Not A Name"]).status.code(), Some(2));
        assert_eq!(condition(&host, "uplink-upgraded")["true"], false);
    });
}

/// A veth says that it does 10 Gbit/s, and nothing where its peer is down.
#[test]
fn the_speed_of_a_link_is_asked_of_its_driver() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let speed = |name: &str, device: &str, rate: &str, lasting: &str| {
            format!(
                "[condition.{name}]\nany = [{{ link_speed = {{ device = \"{device}\", at_least = \"{rate}\", for = \"{lasting}\" }} }}]\n"
            )
        };
        let text = speed("fast", "wan0", "1gbit", "0s")
            + &speed("faster", "wan0", "40gbit", "0s")
            + &speed("lasting", "wan0", "1gbit", "10m")
            + &speed("unplugged", "mpls0", "1gbit", "0s")
            + &speed("absent", "none0", "1gbit", "0s");
        let file = host.config().join("policy.d/30-speeds.toml");
        std::fs::write(&file, text).unwrap();
        sh(&format!("chmod 644 {}", file.display()));
        sh("ip link set far-mpls0 down");

        let fast = condition(&host, "fast");
        assert_eq!(
            (&fast["true"], &fast["on_record"]),
            (&true.into(), &false.into())
        );
        assert_eq!(fast["because"][0]["link_speed"]["speed"], "10gbit");
        for other in ["faster", "lasting", "unplugged", "absent"] {
            assert_eq!(condition(&host, other)["true"], false, "{other}");
        }
        let talk = host.run(&["apply"]);
        let talk = common::said(&talk.stderr);
        assert!(
            talk.contains("condition `fast` is true from now on: wan0 at 10gbit"),
            "{talk}"
        );
        // The kernel tells of a carrier a moment after it came or went.
        let cable = |state: &str, told: &str| {
            sh(&format!("ip link set far-wan0 {state}"));
            for _ in 0..500 {
                if sh("ip -o link show dev wan0").contains(told) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("wan0 is not {told}");
        };
        // What was true once stays so.
        cable("down", "NO-CARRIER");
        assert_eq!(condition(&host, "fast")["on_record"], true);
        // And what still is cannot be reset.
        cable("up", "state UP");
        let errors = host.refused(&["condition", "reset", "fast"]);
        assert!(
            errors.contains("true again at once, by wan0 at 10gbit"),
            "{errors}"
        );
        cable("down", "NO-CARRIER");
        host.wanshift(&["condition", "reset", "fast"]);
        assert_eq!(condition(&host, "fast")["true"], false);
    });
}

#[test]
fn a_date_counts_where_the_clock_is_kept_right() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.edit(
            "policy.d/20-telework.toml",
            "any = [{ event = \"uplink-upgraded\" }]",
            "any = [{ after = 2020-01-01T00:00:00 }]\n\
             [condition.someday]\nany = [{ after = 2999-01-01T00:00:00 }]",
        );
        let trusted = &json(&host, &["condition"])["clock_trusted"];
        assert_eq!(&condition(&host, "uplink-upgraded")["true"], trusted);
        assert_eq!(condition(&host, "someday")["true"], false);
        if trusted.as_bool().unwrap() {
            host.wanshift(&["phase", "upgraded"]);
        } else {
            host.refused(&["phase", "upgraded"]);
            let talk = host.run(&["condition"]);
            assert!(common::said(&talk.stderr).contains("unsynchronised"));
        }
    });
}

/// Makes of a store what it would be had the first version written it.
const BACK_TO_THE_FIRST: &str = "
DROP TABLE event; DROP TABLE condition; DROP TABLE block; DROP TABLE beginning; DROP TABLE memory;
CREATE TABLE was (one INTEGER PRIMARY KEY CHECK (one = 1), phase TEXT NOT NULL, since TEXT NOT NULL) STRICT;
INSERT INTO was SELECT one, phase, since FROM intent;
DROP TABLE intent;
ALTER TABLE was RENAME TO intent;
CREATE TABLE was (
    id INTEGER PRIMARY KEY AUTOINCREMENT, opened TEXT NOT NULL, closed TEXT, boot TEXT NOT NULL, actor TEXT NOT NULL,
    what TEXT NOT NULL, state TEXT NOT NULL, phase_from TEXT, phase_to TEXT, goal TEXT NOT NULL, way_back TEXT NOT NULL,
    bounds TEXT NOT NULL, bounds_before TEXT NOT NULL, error TEXT
) STRICT;
INSERT INTO was SELECT id, opened, closed, boot, actor, what, state, phase_from, phase_to, goal, way_back, bounds,
    bounds_before, error FROM change;
DROP TABLE change;
ALTER TABLE was RENAME TO change;
CREATE UNIQUE INDEX open_change ON change (closed IS NULL) WHERE closed IS NULL;
DROP TABLE policy;
PRAGMA user_version = 1;
";

#[test]
fn a_store_of_the_first_format_goes_on() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["phase", "telework"]);
        let file = host.state().join("wanshift.db");
        let connection = rusqlite::Connection::open(file).unwrap();
        connection.execute_batch(BACK_TO_THE_FIRST).unwrap();
        drop(connection);
        assert_eq!(condition(&host, "uplink-upgraded")["true"], false);
        assert_eq!(json(&host, &["plan"])["ops"], 0);
        host.wanshift(&["event", "uplink-upgraded"]);
        host.wanshift(&["phase", "upgraded"]);
        holds("wan0 800Mbit", &["1Gbit"]);
    });
}
