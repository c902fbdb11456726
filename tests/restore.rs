//! What is blocked on a host on its way up: before there is a network, before the daemon.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::daemon::Daemon;
use common::host::EdgeHost;
use common::{in_namespace, sh};
use nix::sched::{CloneFlags, unshare};
use wanshift::kernel::nft;
use wanshift::model::filter::Table;

const BLOCK: &str = "browsing-in-session";
const COUNTER: &str = "nft list counter inet wanshift blocked.browsing-in-session";

/// The machine starts anew: another namespace, in which there is no device and no rule.
fn start_anew() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    assert_eq!(sh("nft list ruleset"), "");
}

fn blocks() -> Vec<String> {
    let table = nft::read().unwrap();
    let blocks = table.as_ref().map(Table::blocks).unwrap_or_default();
    blocks.iter().map(ToString::to_string).collect()
}

fn copy(host: &EdgeHost) -> PathBuf {
    host.state().join("blocks.nft")
}

/// A host behind a device, as a process in a namespace of its own.
struct Behind(Child);

impl Behind {
    fn of(device: &str, address: &str, edge: &str) -> Self {
        let child = Command::new("unshare")
            .args(["-n", "sleep", "600"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let behind = Self(child);
        let pid = behind.0.id();
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        while std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other == own) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        sh(&format!(
            "ip link set far-{device} netns {pid} && ip addr add {edge}/24 dev {device}"
        ));
        behind.sh(&format!(
            "ip addr add {address}/24 dev far-{device} && ip link set far-{device} up && ip route add default via {edge}"
        ));
        behind
    }

    fn sh(&self, line: &str) -> String {
        sh(&format!("nsenter -t {} -n sh -c '{line}'", self.0.id()))
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn blocks_hold_before_there_is_a_device_and_the_daemon_takes_them_over() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        host.wanshift(&["phase", "telework"]);
        assert_eq!(blocks(), [BLOCK]);
        // The rules of before are there: they stay as they are.
        let whole = sh("nft -a list ruleset");
        assert!(host.wanshift(&["restore-blocks"]).contains("already"));
        assert_eq!(sh("nft -a list ruleset"), whole);

        start_anew();
        let told = host.wanshift(&["restore-blocks"]);
        assert_eq!(told, format!("Blocked again: {BLOCK}.\n"));
        assert_eq!(blocks(), [BLOCK]);
        // Once more: nothing.
        assert!(host.wanshift(&["restore-blocks"]).contains("already"));

        host.make_devices();
        sh("sysctl -qw net.ipv4.ip_forward=1");
        let inside = Behind::of("lan0", "10.77.20.9", "10.77.20.1");
        let _outside = Behind::of("wan0", "203.0.113.9", "203.0.113.1");
        let refused = inside.sh("timeout 5 bash -c \"echo > /dev/tcp/203.0.113.9/443\" 2>&1; true");
        assert!(refused.contains("refused"), "{refused}");
        let counted = sh(COUNTER);
        assert!(counted.contains("packets 1 "), "{counted}");
        drop((inside, _outside));
        for device in ["lan0", "wan0"] {
            sh(&format!("ip link del {device} 2>/dev/null || true"));
        }
        host.make_devices();
        let mut daemon = Daemon::start(&host);
        daemon.wait_for("all of it", |status| {
            status["healthy"] == true && sh("tc qdisc show dev wan0").contains("htb 7a")
        });
        assert_eq!(blocks(), [BLOCK]);
        assert_eq!(sh(COUNTER), counted);
        let held = host.run(&["restore-blocks"]);
        assert!(held.status.success());
        assert!(common::said(&held.stderr).contains("at work"));
    });
}

#[test]
fn where_nothing_blocks_nothing_is_done() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        // Never told anything: no state directory is made.
        host.wanshift(&["restore-blocks"]);
        assert!(!host.state().exists());
        host.wanshift(&["apply"]);
        start_anew();
        assert_eq!(
            host.wanshift(&["restore-blocks"]),
            "Nothing is to be blocked.\n"
        );
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn where_all_was_taken_out_nothing_comes_back() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["phase", "telework"]);
        host.wanshift(&["teardown"]);
        host.wanshift(&["restore-blocks"]);
        assert_eq!(sh("nft list ruleset"), "");
        std::fs::write(host.state().join("wanshift.db"), "no database").unwrap();
        host.wanshift(&["restore-blocks"]);
        assert_eq!(sh("nft list ruleset"), "");
    });
}

#[test]
fn blocks_that_stay_where_the_shaping_was_taken_out_come_back() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["phase", "telework"]);
        host.wanshift(&["teardown", "--shaping-only"]);
        start_anew();
        host.wanshift(&["restore-blocks"]);
        assert_eq!(blocks(), [BLOCK]);
    });
}

#[test]
fn a_change_that_waits_leaves_the_blocks_of_both_ends() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["phase", "telework"]);
        let mut daemon = Daemon::start(&host);
        host.wanshift(&["phase", "nominal", "--confirm-within", "10m"]);
        daemon.wait_for_phase("nominal");
        assert_eq!(blocks(), [""; 0]);
        daemon.kill();
        start_anew();
        host.wanshift(&["restore-blocks"]);
        assert_eq!(blocks(), [BLOCK]);
        // So has the copy.
        start_anew();
        std::fs::remove_file(host.state().join("wanshift.db")).unwrap();
        host.wanshift(&["restore-blocks"]);
        assert_eq!(blocks(), [BLOCK]);
    });
}

#[test]
fn the_copy_serves_where_the_store_cannot_be_read() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["phase", "telework"]);
        let text = std::fs::read_to_string(copy(&host)).unwrap();
        let alone = |text: &str| {
            std::fs::write(host.state().join("wanshift.db"), "no database at all").unwrap();
            std::fs::write(copy(&host), text).unwrap();
            start_anew();
            let output = host.run(&["restore-blocks"]);
            (output.status.code(), common::said(&output.stderr))
        };
        let (code, said) = alone(&text);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("taken from the copy"), "{said}");
        assert_eq!(blocks(), [BLOCK]);

        // What we did not write is not loaded.
        let odd = [
            format!("{text}table ip theirs {{\n}}\n"),
            text.replace("table inet wanshift", "table inet theirs"),
            text.replace("chain forward {", "chain forward {\n\t\tcounter accept"),
            text.replace("hook forward", "hook input"),
            text.lines().take(5).collect::<Vec<_>>().join("\n"),
            String::new(),
        ];
        for odd in odd {
            assert_ne!(odd, text);
            let (code, said) = alone(&odd);
            assert_eq!(code, Some(1), "{odd}");
            assert!(said.contains("not as wanshift wrote it"), "{said}");
            assert_eq!(sh("nft list ruleset"), "", "{odd}");
        }
        std::fs::remove_file(copy(&host)).unwrap();
        let output = host.refused(&["restore-blocks"]);
        assert!(output.contains("no copy"), "{output}");
        // Nobody else may have written it.
        std::fs::write(copy(&host), &text).unwrap();
        sh(&format!("chmod 666 {}", copy(&host).display()));
        let output = host.refused(&["restore-blocks"]);
        assert!(output.contains("everybody may write"), "{output}");
    });
}

#[test]
fn the_copy_says_what_holds_at_any_time() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        host.wanshift(&["apply"]);
        let says = |host: &EdgeHost| std::fs::read_to_string(copy(host)).unwrap();
        assert!(!says(&host).contains(BLOCK));
        host.wanshift(&["phase", "telework"]);
        assert!(says(&host).contains(BLOCK));
        host.wanshift(&["phase", "nominal"]);
        assert!(!says(&host).contains(BLOCK));
        host.wanshift(&["phase", "telework"]);
        host.wanshift(&["rollback"]);
        assert!(!says(&host).contains(BLOCK));
    });
}
