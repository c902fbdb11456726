//! A machine that is cut off and started again with the same disk, and the machine's own clock.
//!
//! `scripts/test` boots Debian's kernel twice with one disk. [`boot_one`] leaves two hosts with a daemon each, one
//! of them with a change that nobody confirmed, and cuts the machine off; [`boot_two`] looks at what becomes of them,
//! after what Debian's `nftables.service` does at boot. The clock is set there, too: no other machine's would do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "what a test's helpers cannot do fails the test, and a test waits for what a daemon does"
)]

mod common;

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common::daemon::Daemon;
use common::host::{EdgeHost, assert_same, make_devices};
use common::{in_namespace, sh};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use serde_json::Value;
use wanshift::kernel::{Host, Kernel, Scope};

const BLOCK: &str = "browsing-in-session";

/// Where the disk is that outlives the machine; none on a machine that is not one of `scripts/stock-kernel`: it would
/// be cut off.
fn disk() -> Option<PathBuf> {
    let guest = std::fs::read_to_string("/proc/cmdline")
        .unwrap()
        .contains("virtme");
    let disk = std::env::var_os("WANSHIFT_TEST_DISK").filter(|_| guest);
    if disk.is_none() {
        println!("skipped: no machine to cut off: scripts/test reboot has one");
        assert!(std::env::var_os("CI").is_none(), "skipped under CI");
    }
    disk.map(PathBuf::from)
}

fn blocked() -> bool {
    let state = Host::open().unwrap().observe(Scope::All).unwrap().state;
    let blocks = state.table.map(|table| table.blocks()).unwrap_or_default();
    blocks.iter().any(|block| block.as_str() == BLOCK)
}

/// What is ours in the kernel.
fn ours() -> Vec<String> {
    let mut all = sh("nft -s list table inet wanshift");
    for device in ["lan0", "mpls0", "wan0", "wanshift-down"] {
        for what in ["qdisc", "class", "filter"] {
            all += &sh(&format!(
                "tc {what} show dev {device} | sed 's/direct_packets_stat [0-9]*//'"
            ));
        }
    }
    // A queue shows flows that are on their way as classes, too.
    let flow = |line: &str| line.starts_with("class fq_codel");
    let lines = all.lines().filter(|line| !flow(line));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Writes what is read after the machine was cut off.
fn keep(path: PathBuf, lines: &[String]) {
    let mut file = File::create(path).unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    file.sync_all().unwrap();
}

fn on_a_thread(run: impl FnOnce() + Send + 'static) {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        run();
    };
    std::thread::spawn(run).join().unwrap();
}

#[test]
#[ignore = "run by scripts/test on a stock kernel, which it cuts off"]
fn boot_one() {
    let Some(disk) = disk() else { return };
    for name in ["unconfirmed", "confirmed"] {
        let directory = disk.join(name);
        on_a_thread(move || {
            std::fs::create_dir(&directory).unwrap();
            let host = EdgeHost::at(&directory, "0s");
            sh("sync");
            let mut daemon = Daemon::start(&host);
            if name == "unconfirmed" {
                host.wanshift(&["phase", "telework"]);
                assert!(blocked());
                keep(directory.join("before"), &ours());
                host.wanshift(&["phase", "nominal", "--confirm-within", "10m"]);
                assert!(!blocked());
                daemon.wait_for("what waits", |status| !status["pending"].is_null());
            } else {
                host.wanshift(&["phase", "telework", "--confirm-within", "10m"]);
                host.wanshift(&["confirm"]);
                keep(directory.join("before"), &ours());
            }
            // It runs on, in its namespace, until the machine is cut off.
            std::mem::forget(daemon);
        });
    }
    keep(disk.join("cut-off"), &[]);
    println!("cut off");
    std::fs::write("/proc/sysrq-trigger", "b").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
#[ignore = "run by scripts/test on a stock kernel, after another that was cut off"]
fn boot_two() {
    let Some(disk) = disk() else { return };
    assert!(disk.join("cut-off").exists(), "the first boot failed");
    for name in ["unconfirmed", "confirmed"] {
        let directory = disk.join(name);
        on_a_thread(move || comes_back(name, &EdgeHost::found(&directory), &directory));
    }
}

#[test]
#[ignore = "run by scripts/test on a stock kernel, whose clock it sets"]
fn boot_two_has_a_clock() {
    if disk().is_some() {
        in_namespace(a_date_is_believed_from_a_clock_that_is_kept_right);
    }
}

/// What becomes of a host after the machine was cut off.
fn comes_back(name: &str, host: &EdgeHost, directory: &std::path::Path) {
    // As Debian's nftables.service does before anything of ours runs.
    sh("printf '#!/usr/sbin/nft -f\\nflush ruleset\\n' | nft -f -");
    assert!(!blocked());
    // Before there is a device.
    host.wanshift(&["restore-blocks"]);
    assert!(blocked(), "{name}: not blocked before the network");
    make_devices();
    let (over, looks) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                assert!(blocked(), "{name}: the block was lifted");
                looks.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut daemon = Daemon::start(host);
        let status = daemon.wait_for("telework again", |status| {
            status["phase"]["name"] == "telework"
                && status["phase"]["shifting"].is_null()
                && status["pending"].is_null()
                && status["healthy"] == true
                && status["circuits"][0]["present"] == true
                && !sh("tc class show dev mpls0").is_empty()
        });
        assert!(blocked());
        let before = std::fs::read_to_string(directory.join("before")).unwrap();
        let before: Vec<String> = before.lines().map(str::to_owned).collect();
        assert_same(&ours(), &before, &format!("{name}, after the reboot"));
        let last = &status["last_change"];
        match name {
            "unconfirmed" => {
                assert_eq!(last["outcome"], "undone", "{last}");
                assert!(daemon.log().contains("started anew"), "{}", daemon.log());
            }
            _ => assert_eq!(last["outcome"], "done", "{last}"),
        }
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap();
        assert!(looks.load(Ordering::Relaxed) > 0);
        // The way back is intact.
        host.wanshift(&["rollback"]);
        daemon.wait_for_phase("nominal");
    });
    println!("{name}: as it should be, and blocked before the network");
}

fn set_clock(date: &str) {
    let date: jiff::Timestamp = date.parse().unwrap();
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(date.as_second(), 0)).unwrap();
}

/// Says to the kernel, as a time service does, that its clock is right.
fn synchronise() {
    let mut timex = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all zeroes is a valid `timex`, of integers alone, and the kernel reads and writes no more than one.
    let state = unsafe {
        let timex = timex.assume_init_mut();
        timex.modes = libc::ADJ_STATUS | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
        timex.status = libc::STA_PLL;
        libc::adjtimex(timex)
    };
    assert!(state >= 0 && state != libc::TIME_ERROR, "{state}");
}

fn a_date_is_believed_from_a_clock_that_is_kept_right() {
    set_clock("2030-06-02T00:00:00Z");
    let host = EdgeHost::new("0s");
    host.edit(
        "policy.d/20-telework.toml",
        "any = [{ event = \"uplink-upgraded\" }]",
        "any = [{ event = \"uplink-upgraded\" }, { after = 2030-06-01T00:00:00Z }]\n\
         [condition.someday]\nany = [{ after = 2090-01-01T00:00:00Z }]",
    );
    let holds = |status: &Value, name: &str| {
        let conditions = status["conditions"].as_array().unwrap();
        let condition = conditions
            .iter()
            .find(|condition| condition["name"] == name);
        condition.unwrap()["true"] == true
    };
    let mut daemon = Daemon::start(&host);
    host.wanshift(&["phase", "telework"]);
    // The date has come, by a clock that nobody keeps right.
    std::thread::sleep(Duration::from_secs(5));
    host.wanshift(&["apply"]);
    assert!(!holds(&daemon.status().unwrap(), "uplink-upgraded"));
    assert!(blocked());
    synchronise();
    host.wanshift(&["apply"]);
    daemon.wait_for_phase("upgraded");
    let status = daemon.status().unwrap();
    assert!(holds(&status, "uplink-upgraded") && !holds(&status, "someday"));
    assert!(!blocked());
    // To the end of the century and back, and somebody says that it is right each time.
    for date in ["2100-01-01T00:00:00Z", "2030-06-02T00:10:00Z"] {
        set_clock(date);
        for _ in 0..3 {
            synchronise();
            host.wanshift(&["apply"]);
            assert!(!holds(&daemon.status().unwrap(), "someday"), "{date}");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    assert!(daemon.end().success());
    let again = Command::new(env!("CARGO_BIN_EXE_wanshift"));
    let mut daemon = Daemon::start_as(&host, again, &[]);
    let status = daemon.wait_for("health", |status| status["healthy"] == true);
    assert!(!holds(&status, "someday"));
    println!("clock: as it should be");
}
