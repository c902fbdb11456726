//! The units of systemd: that they are understood, in their order, and confined.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::daemon::Daemon;
use common::host::EdgeHost;
use common::service::{as_service, give_state, with_socket};
use common::{in_namespace, sh};
use tempfile::TempDir;

const SERVICE: &str = "wanshift.service";
const BLOCKS: &str = "wanshift-blocks.service";
const SOCKET: &str = "wanshift.socket";

/// The most exposure that a unit may have, in tenths.
const EXPOSED: &str = "15";

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dist")
}

/// Runs a program of systemd's; where it is not there, says so, and fails where that must not be (`CI`).
fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            let test = std::thread::current().name().unwrap_or("?").to_owned();
            eprintln!("{test}: skipped: {:?}: {error}", command.get_program());
            assert!(std::env::var_os("CI").is_none(), "skipped under CI");
            None
        }
    }
}

/// All that was printed.
fn text(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    format!("{text}{}", String::from_utf8_lossy(&output.stderr))
}

/// The values of all lines `key=...` of a unit.
fn values(unit: &str, key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dist().join("systemd").join(unit)).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(str::to_owned)
        .collect()
}

/// The words of all lines `key=...` of a unit.
fn words(unit: &str, key: &str) -> Vec<String> {
    let values = values(unit, key);
    let words = values.iter().flat_map(|value| value.split_whitespace());
    words.map(str::to_owned).collect()
}

fn has(unit: &str, key: &str, word: &str) {
    let words = words(unit, key);
    assert!(
        words.iter().any(|w| w == word),
        "{unit}: {key}={words:?} lacks {word}"
    );
}

fn has_not(unit: &str, key: &str) {
    let words = words(unit, key);
    assert!(words.is_empty(), "{unit}: {key}={words:?}");
}

/// The units in a directory of their own, with the program that was built in place of the one that will be
/// installed.
fn units() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for unit in [SERVICE, BLOCKS, SOCKET] {
        let text = std::fs::read_to_string(dist().join("systemd").join(unit)).unwrap();
        let text = text.replace("/usr/bin/wanshift", env!("CARGO_BIN_EXE_wanshift"));
        std::fs::write(directory.path().join(unit), text).unwrap();
    }
    directory
}

fn exposure(unit: &Path, most: &str) -> Option<Output> {
    run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--threshold={most}"))
        .arg(unit))
}

#[test]
fn each_service_is_hardly_exposed() {
    for unit in [SERVICE, BLOCKS] {
        let path = dist().join("systemd").join(unit);
        let Some(output) = exposure(&path, EXPOSED) else {
            return;
        };
        assert!(output.status.success(), "{}", text(&output));
        // That the threshold is looked at.
        let output = exposure(&path, "5").unwrap();
        assert!(!output.status.success(), "{}", text(&output));
    }
}

#[test]
fn systemd_understands_every_line() {
    let units = units();
    let verify = || {
        run(Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .args([SERVICE, BLOCKS, SOCKET].map(|unit| units.path().join(unit))))
    };
    let Some(output) = verify() else { return };
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "");
    // That an odd line would have been told.
    let path = units.path().join(BLOCKS);
    let odd = std::fs::read_to_string(&path).unwrap() + "WantedSideways=yes\n";
    std::fs::write(&path, odd).unwrap();
    assert!(text(&verify().unwrap()).contains("WantedSideways"));
}

#[test]
fn the_blocks_stand_before_the_network_and_the_daemon_comes_after_them() {
    has(BLOCKS, "DefaultDependencies", "no");
    has(BLOCKS, "After", "nftables.service");
    // Its store must be there, and may be written.
    has(BLOCKS, "After", "local-fs.target");
    has(BLOCKS, "Before", "network-pre.target");
    has(BLOCKS, "Wants", "network-pre.target");
    has(BLOCKS, "RemainAfterExit", "yes");
    has(SERVICE, "Wants", BLOCKS);
    for unit in [BLOCKS, SOCKET, "nftables.service"] {
        has(SERVICE, "After", unit);
    }
    // The daemon goes on whatever becomes of what it wants, and whoever stops the packet filter.
    for key in ["Requires", "BindsTo", "PartOf"] {
        has_not(SERVICE, key);
        has_not(BLOCKS, key);
    }
}

#[test]
fn a_stopped_daemon_stays_stopped_and_a_dead_one_comes_back() {
    has(SERVICE, "Restart", "always");
    has(SERVICE, "StartLimitIntervalSec", "0");
    // A scrape must not start it.
    has(SOCKET, "PartOf", SERVICE);
    has_not(SOCKET, "WantedBy");
    // What holds goes on to hold.
    has_not(SERVICE, "ExecStop");
    has_not(SERVICE, "ExecStopPost");
    has_not(BLOCKS, "ExecStop");
}

#[test]
fn both_services_are_the_same_user_with_one_capability() {
    for unit in [SERVICE, BLOCKS] {
        for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
            assert_eq!(words(unit, key), ["CAP_NET_ADMIN"], "{unit}");
        }
        for key in ["User", "Group", "StateDirectory"] {
            assert_eq!(words(unit, key), ["wanshift"], "{unit}");
        }
        has(unit, "StateDirectoryMode", "0700");
        has(unit, "NoNewPrivileges", "yes");
    }
}

/// `ProtectClock` would block `adjtimex`, and no clock would ever be believed.
#[test]
fn the_daemon_may_ask_about_the_clock() {
    has_not(SERVICE, "ProtectClock");
    has(SERVICE, "SystemCallFilter", "adjtimex");
}

#[test]
fn the_user_is_made_with_a_group_of_its_name() {
    let file = dist().join("sysusers.d/wanshift.conf");
    let root = tempfile::tempdir().unwrap();
    let Some(output) = run(Command::new("systemd-sysusers")
        .arg("--dry-run")
        .arg(format!("--root={}", root.path().display()))
        .arg(file))
    else {
        return;
    };
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Creating group 'wanshift'"), "{text}");
    assert!(text.contains("Creating user 'wanshift'"), "{text}");
}

/// The system calls of a word of `SystemCallFilter=`: a set, with those in it, or a call. `None` where
/// nobody can tell what is in a set.
fn calls(word: &str) -> Option<BTreeSet<String>> {
    if !word.starts_with('@') {
        return Some(BTreeSet::from([word.to_owned()]));
    }
    let output = run(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", word]))?;
    let text = text(&output);
    let members = text.lines().filter_map(|line| line.strip_prefix("    "));
    let mut all = BTreeSet::new();
    for member in members.filter(|member| !member.starts_with('#')) {
        all.extend(calls(member)?);
    }
    Some(all)
}

/// The system calls that the filter of `unit` lets through.
fn let_through(unit: &str) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for value in values(unit, "SystemCallFilter") {
        let refused = value.strip_prefix('~');
        for word in refused.unwrap_or(&value).split_whitespace() {
            let calls = calls(word)?;
            if refused.is_some() {
                all.retain(|call| !calls.contains(call));
            } else {
                all.extend(calls);
            }
        }
    }
    Some(all)
}

/// What a trace of `what` shows that was called, and how many files were opened to be written. All of it is within what the
/// unit of the service allows.
fn within(
    host: &EdgeHost,
    trace: &Path,
    allowed: &BTreeSet<String>,
    what: &str,
) -> (BTreeSet<String>, usize) {
    let trace = std::fs::read_to_string(trace).unwrap();
    let (mut met, mut writes) = (BTreeSet::new(), 0);
    for line in trace.lines() {
        // The process, the call and what it was given; or how an earlier one, or the process, ended.
        let said = line.split_once(' ').unwrap().1.trim_start();
        let Some((call, given)) = said.split_once('(') else {
            continue;
        };
        if call.chars().any(|c| !c.is_ascii_alphanumeric() && c != '_') {
            continue;
        }
        assert!(allowed.contains(call), "{what}: {line}");
        let code = given.contains("PROT_WRITE|PROT_EXEC");
        assert!(!code, "MemoryDenyWriteExecute: {line}");
        if call == "socket" {
            let family = given.split(',').next().unwrap();
            has(SERVICE, "RestrictAddressFamilies", family);
        }
        let written = ["O_WRONLY", "O_RDWR", "O_CREAT"];
        if call == "openat" && written.iter().any(|how| given.contains(how)) {
            let file = Path::new(given.split('"').nth(1).unwrap());
            let may = file.starts_with(host.state()) || file == Path::new("/dev/null");
            assert!(may, "ProtectSystem: {line}");
            writes += 1;
        }
        met.insert(call.to_owned());
    }
    (met, writes)
}

/// The filter answers with an error what it does not let through; here nothing filters, so what the program
/// does and the units forbid is found in a trace.
#[test]
fn the_program_does_nothing_that_its_unit_forbids() {
    in_namespace(|| {
        let Some(allowed) = let_through(SERVICE) else {
            return;
        };
        assert!(allowed.contains("adjtimex") && !allowed.contains("chown"));
        let host = EdgeHost::new("0s");
        give_state(&host);
        let trace = host.state().join("trace");
        for verb in [
            &["apply"][..],
            &["phase", "telework"],
            &["restore-blocks"],
            &["event", "uplink-upgraded"],
            &["condition"],
            &["plan"],
            &["teardown"],
        ] {
            let mut strace = as_service("strace");
            strace.args(["-f", "-qq", "-o"]).arg(&trace);
            strace.arg(env!("CARGO_BIN_EXE_wanshift"));
            let Some(output) = run(strace.args(host.arguments()).args(verb)) else {
                return;
            };
            assert!(output.status.success(), "{verb:?}: {}", text(&output));
            let (met, writes) = within(&host, &trace, &allowed, &format!("{verb:?}"));
            assert!(met.contains("execve") && writes > 0, "{verb:?}: {met:?}");
            if verb == ["condition"] {
                let asked = ["adjtimex", "clock_adjtime"]
                    .iter()
                    .any(|call| met.contains(*call));
                assert!(asked, "{met:?}");
            }
        }
    });
}

#[test]
fn the_daemon_does_nothing_that_its_unit_forbids() {
    in_namespace(|| {
        let Some(allowed) = let_through(SERVICE) else {
            return;
        };
        let host = EdgeHost::new("300ms");
        give_state(&host);
        let trace = host.state().join("trace");
        sh("ip link set lo up");
        let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        if run(Command::new("strace").arg("--version")).is_none() {
            return;
        }
        let strace = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()];
        let command = with_socket(&host, &metrics, &strace);
        let mut daemon = Daemon::start_as(&host, command, &[]);
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        sh("nft flush ruleset");
        daemon.wait_for("the repair", |_| {
            sh("nft list ruleset").contains("chain block.")
        });
        host.wanshift(&["phase", "nominal", "--confirm-within", "1s"]);
        daemon.wait_for("the way back", |status| status["pending"].is_null());
        let mut asker = std::net::TcpStream::connect(metrics.local_addr().unwrap()).unwrap();
        asker
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        asker.read_to_string(&mut text).unwrap();
        assert!(text.contains("wanshift_healthy"), "{text}");
        host.wanshift(&["teardown"]);
        // The program, not the one that traces it.
        let pid = daemon.status().unwrap()["daemon"]["pid"].to_string();
        sh(&format!("kill -TERM {pid}"));
        daemon.wait();
        // What the shell did before is none of its doing.
        let text = std::fs::read_to_string(&trace).unwrap();
        let program = env!("CARGO_BIN_EXE_wanshift");
        let begins = text.find(&format!("execve(\"{program}\"")).unwrap();
        let begins = text[..begins].rfind('\n').map_or(0, |end| end + 1);
        std::fs::write(&trace, &text[begins..]).unwrap();
        let (met, writes) = within(&host, &trace, &allowed, "run");
        assert!(writes > 0 && met.contains("accept4"), "{met:?}");
    });
}
