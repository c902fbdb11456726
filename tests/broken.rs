//! A daemon whose store fails it: it stays, lifts no block, says what is wrong and what to do, and heals.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::daemon::{Daemon, PATIENCE};
use common::host::{EdgeHost, dump as held};
use common::{in_namespace, sh};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use wanshift::clock::{Clock, SystemClock};

const BLOCK: &str = "chain block.browsing-in-session";

fn blocked() -> bool {
    sh("nft list ruleset").contains(BLOCK)
}

fn database(host: &EdgeHost) -> PathBuf {
    host.state().join("wanshift.db")
}

fn problems(status: &Value) -> String {
    status["problems"].to_string()
}

/// A daemon that looks after phase `telework`, with its block.
fn telework(host: &EdgeHost) {
    let mut daemon = Daemon::start(host);
    host.wanshift(&["phase", "telework"]);
    daemon.wait_for_phase("telework");
    assert!(daemon.end().success());
    assert!(blocked());
}

/// Gives `host` a state directory of its own file system, of `kilobytes`.
fn own_disk(host: &EdgeHost, kilobytes: u32) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let state = host.state();
    sh(&format!(
        "mount --make-rprivate / && mkdir -p -m 700 {0} && mount -t tmpfs -o size={kilobytes}k,mode=700 tmpfs {0}",
        state.display()
    ));
}

fn remount(host: &EdgeHost, how: &str) {
    sh(&format!(
        "mount -o remount,{how} {}",
        host.state().display()
    ));
}

/// Lets `seconds` pass, of which the daemon is idle for the most part: what fails is tried again in peace.
fn let_pass(daemon: &Daemon<'_>, seconds: u64) {
    // In hundredths of a second; its name is in parentheses.
    let used = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = used();
    std::thread::sleep(Duration::from_secs(seconds));
    assert!(used() - before < seconds * 50, "it is never idle");
}

/// Leaves no room on the disk of `host`; what is there stays.
fn fill(host: &EdgeHost) {
    sh(&format!(
        "cat /dev/zero > {}/filler 2>/dev/null || true",
        host.state().display()
    ));
}

fn make_room(host: &EdgeHost) {
    std::fs::remove_file(host.state().join("filler")).unwrap();
}

#[test]
fn a_damaged_store_is_said_and_the_operator_heals_it() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        telework(&host);
        let before = held();
        std::fs::write(
            database(&host),
            "this is no database, it is text".repeat(200),
        )
        .unwrap();
        let _ = std::fs::remove_file(host.state().join("wanshift.db-wal"));
        let mut daemon = Daemon::start(&host);
        let status = daemon.wait_for("what is wrong", |status| status["healthy"] == false);
        let said = problems(&status);
        assert!(said.contains("not a database"), "{said}");
        assert!(said.contains("wanshift phase NAME"), "{said}");
        let said = host.refused(&["apply"]);
        assert!(said.contains("wanshift phase NAME"), "{said}");
        let said = host.refused(&["event", "uplink-upgraded"]);
        assert!(said.contains("nothing was written"), "{said}");
        let said = host.refused(&["phase", "telewrok"]);
        assert!(said.contains("no phase `telewrok`"), "{said}");
        assert!(database(&host).metadata().unwrap().len() > 1_000);
        let_pass(&daemon, 2);
        assert_eq!(held(), before);

        host.wanshift(&["phase", "telework"]);
        daemon.wait_for("health", |status| status["healthy"] == true);
        assert_eq!(held(), before);
        let aside = std::fs::read_dir(host.state()).unwrap().any(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            name.starts_with("wanshift.db.corrupt-2")
        });
        assert!(aside);
        // It goes on.
        host.wanshift(&["phase", "nominal"]);
        daemon.wait_for_phase("nominal");
        assert!(!blocked());
    });
}

#[test]
fn a_sound_copy_put_back_is_found_by_itself() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        telework(&host);
        let good = std::fs::read(database(&host)).unwrap();
        // Its head is as ever, what follows is not.
        let mut bad = good.clone();
        for byte in bad.iter_mut().skip(4_096) {
            *byte = 0xa5;
        }
        std::fs::write(database(&host), bad).unwrap();
        let mut daemon = Daemon::start(&host);
        daemon.wait_for("what is wrong", |status| status["healthy"] == false);
        assert!(blocked());
        std::fs::write(database(&host), good).unwrap();
        let status = daemon.wait_for("health", |status| status["healthy"] == true);
        assert_eq!(status["phase"]["name"], "telework");
    });
}

#[test]
fn a_store_of_a_newer_wanshift_is_not_set_aside() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        telework(&host);
        let before = held();
        let store = rusqlite::Connection::open(database(&host)).unwrap();
        store.execute_batch("PRAGMA user_version = 99;").unwrap();
        drop(store);
        let mut daemon = Daemon::start(&host);
        let status = daemon.wait_for("what is wrong", |status| status["healthy"] == false);
        assert!(problems(&status).contains("newer wanshift"), "{status}");
        let said = host.refused(&["phase", "nominal"]);
        assert!(said.contains("newer wanshift"), "{said}");
        assert_eq!(held(), before);
        let store = rusqlite::Connection::open(database(&host)).unwrap();
        store.execute_batch("PRAGMA user_version = 3;").unwrap();
        drop(store);
        daemon.wait_for("health", |status| status["healthy"] == true);
    });
}

#[test]
fn a_lost_store_lifts_nothing_until_the_operator_says_the_phase() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        telework(&host);
        let before = held();
        sh(&format!("rm {}/*", host.state().display()));
        let mut daemon = Daemon::start(&host);
        let status = daemon.wait_for("what is wrong", |status| status["healthy"] == false);
        assert!(problems(&status).contains("Say which"), "{status}");
        assert_eq!(held(), before);
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for("health", |status| status["healthy"] == true);
        assert_eq!(held(), before);
    });
}

/// By the daemon, and without one.
#[test]
fn what_is_blocked_stays_so_where_the_store_was_lost_and_the_shaping_is_taken_out() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        telework(&host);
        sh(&format!("rm {}/*", host.state().display()));
        let daemon = Daemon::start(&host);
        for _ in 0..2 {
            let said = host.wanshift(&["teardown", "--shaping-only"]);
            assert!(said.contains("Still blocked: "), "{said}");
            let_pass(&daemon, 1);
            assert!(blocked(), "{}", daemon.log());
        }
        daemon.kill();
        let said = host.wanshift(&["teardown", "--shaping-only"]);
        assert!(said.contains("Still blocked: "), "{said}");
        assert!(blocked());
        host.wanshift(&["teardown"]);
        assert!(!blocked());
    });
}

/// Has somebody else flush the rules, after which the block must be back.
fn flush_and_see_it_back(daemon: &mut Daemon<'_>) {
    assert!(blocked());
    sh("nft flush ruleset");
    let began = SystemClock.now();
    while !blocked() {
        assert!(
            SystemClock.now().since(began) < PATIENCE,
            "it did not come back\n{}",
            daemon.log()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon.wait_for("what is wrong", |status| status["healthy"] == false);
}

#[test]
fn a_flush_lifts_nothing_where_the_store_is_damaged() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        telework(&host);
        std::fs::write(database(&host), "no database ".repeat(800)).unwrap();
        let _ = std::fs::remove_file(host.state().join("wanshift.db-wal"));
        let mut daemon = Daemon::start(&host);
        flush_and_see_it_back(&mut daemon);
        daemon.kill();
        // Nothing shows any more what held, but for the copy beside the store.
        sh("nft flush ruleset");
        let mut daemon = Daemon::start(&host);
        flush_and_see_it_back(&mut daemon);
        host.wanshift(&["teardown"]);
        assert!(!blocked());
        daemon.kill();
        let daemon = Daemon::start(&host);
        let_pass(&daemon, 2);
        assert!(!blocked(), "{}", daemon.log());
    });
}

#[test]
fn a_flush_lifts_nothing_where_the_store_was_lost() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        telework(&host);
        let copy = std::fs::read(host.state().join("blocks.nft")).unwrap();
        sh(&format!("rm {}/*", host.state().display()));
        let mut daemon = Daemon::start(&host);
        flush_and_see_it_back(&mut daemon);
        daemon.kill();
        // As after a boot: of ours there is nothing but the copy.
        std::fs::write(host.state().join("blocks.nft"), copy).unwrap();
        sh(
            "nft flush ruleset; for d in lan0 mpls0 wan0; do tc qdisc del dev $d root; tc qdisc del dev $d clsact; done 2>/dev/null; ip link del wanshift-down",
        );
        let mut daemon = Daemon::start(&host);
        let status = daemon.wait_for("what is wrong", |status| status["healthy"] == false);
        assert!(problems(&status).contains("Say which"), "{status}");
        flush_and_see_it_back(&mut daemon);
        host.wanshift(&["phase", "nominal"]);
        daemon.wait_for("health", |status| status["healthy"] == true);
        assert!(!blocked());
    });
}

#[test]
fn from_a_disk_that_can_only_be_read_the_last_intent_is_held() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        own_disk(&host, 4_096);
        telework(&host);
        let before = held();
        // As after a power cut: the journal is there.
        let daemon = Daemon::start(&host);
        daemon.kill();
        remount(&host, "ro");
        let mut daemon = Daemon::start(&host);
        let status = daemon.wait_for("what is wrong", |status| status["healthy"] == false);
        assert!(problems(&status).contains("can be written"), "{status}");
        assert_eq!(status["phase"]["name"], "telework", "{status}");
        sh("nft flush ruleset");
        daemon.wait_for("the block", |_| blocked());
        sh("tc qdisc del dev wan0 root");
        daemon.wait_for("the shaping", |_| held() == before);
        for order in [
            &["phase", "nominal"][..],
            &["event", "uplink-upgraded"],
            &["teardown"],
        ] {
            let said = host.refused(order);
            assert!(said.contains("nothing was written"), "{said}");
        }
        assert_eq!(held(), before);
        let status = daemon.status().unwrap();
        assert_eq!(status["healthy"], false, "{status}");
        remount(&host, "rw");
        daemon.wait_for("health", |status| status["healthy"] == true);
        host.wanshift(&["phase", "nominal"]);
        daemon.wait_for_phase("nominal");
        assert!(!blocked());
    });
}

#[test]
fn on_a_full_disk_orders_are_refused_and_what_holds_goes_on() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        own_disk(&host, 1_024);
        let mut daemon = Daemon::start(&host);
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        let before = held();
        fill(&host);
        for order in [
            &["phase", "nominal"][..],
            &["event", "uplink-upgraded"],
            &["teardown"],
            &["rollback"],
        ] {
            let said = host.refused(order);
            assert!(said.contains("full"), "{order:?}: {said}");
            assert_eq!(held(), before, "{order:?}");
        }
        sh("nft flush ruleset");
        daemon.wait_for("the block", |_| held() == before);
        make_room(&host);
        host.wanshift(&["event", "uplink-upgraded"]);
        daemon.wait_for_phase("upgraded");
        assert!(!blocked());
        daemon.wait_for("health", |status| status["healthy"] == true);
    });
}

#[test]
fn what_becomes_true_lifts_nothing_before_it_is_on_disk() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.edit(
            "policy.d/20-telework.toml",
            "any = [{ event = \"uplink-upgraded\" }]",
            "any = [{ link_speed = { device = \"far0\", at_least = \"10gbit\", for = \"2s\" } }]",
        );
        own_disk(&host, 1_024);
        let mut daemon = Daemon::start(&host);
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        fill(&host);
        // Such a device says 10 gbit.
        sh(
            "ip link add far0 type veth peer name far1 && ip link set far0 up && ip link set far1 up",
        );
        let status = daemon.wait_for("what is wrong", |status| {
            status["healthy"] == false && problems(status).contains("full")
        });
        assert_eq!(status["phase"]["name"], "telework");
        assert!(blocked());
        sh("nft flush ruleset");
        daemon.wait_for("the block", |_| blocked());
        make_room(&host);
        daemon.wait_for_phase("upgraded");
        daemon.wait_for("health", |status| status["healthy"] == true);
        assert!(!blocked());
    });
}

#[test]
fn a_ramp_whose_end_cannot_be_put_on_record_stays_at_its_goal() {
    in_namespace(|| {
        let host = EdgeHost::new("3s");
        own_disk(&host, 1_024);
        let mut daemon = Daemon::start(&host);
        let mut order = std::process::Command::new(env!("CARGO_BIN_EXE_wanshift"));
        order.args(host.arguments()).args(["phase", "telework"]);
        let mut order = order.stdout(std::process::Stdio::null()).spawn().unwrap();
        daemon.wait_for("the way", |status| !status["phase"]["shifting"].is_null());
        fill(&host);
        let status = daemon.wait_for("what is wrong", |status| {
            status["healthy"] == false && problems(status).contains("put on record")
        });
        assert!(!order.wait().unwrap().success());
        let goal = |what: &str| {
            assert!(blocked(), "{what}");
            let classes = sh("tc class show dev wan0");
            assert!(classes.contains("rate 220Mbit"), "{what}: {classes}");
        };
        goal("at its end");
        // It is looked after there.
        sh("nft flush ruleset");
        daemon.wait_for("the block", |_| blocked());
        let_pass(&daemon, 3);
        goal("later");
        assert_eq!(status["phase"]["name"], "nominal", "{status}");
        make_room(&host);
        let status = daemon.wait_for_phase("telework");
        assert_eq!(status["pending"], Value::Null, "{status}");
        daemon.wait_for("health", |status| status["healthy"] == true);
        goal("on record");
    });
}

#[test]
fn an_unconfirmed_change_is_undone_in_time_though_that_cannot_be_put_on_record() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        own_disk(&host, 1_024);
        let mut daemon = Daemon::start(&host);
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        let before = held();
        host.wanshift(&["phase", "nominal", "--confirm-within", "4s"]);
        daemon.wait_for_phase("nominal");
        fill(&host);
        let said = host.refused(&["confirm"]);
        assert!(said.contains("full"), "{said}");
        daemon.wait_for("the way back", |status| {
            held() == before && status["healthy"] == false
        });
        // It stays back, and is looked after.
        let_pass(&daemon, 3);
        assert_eq!(held(), before);
        sh("nft flush ruleset");
        daemon.wait_for("the block", |_| blocked());
        make_room(&host);
        daemon.wait_for_phase("telework");
        daemon.wait_for("health", |status| {
            status["healthy"] == true && status["pending"].is_null()
        });
        assert_eq!(held(), before);
    });
}
