//! What a change does where its `nft` takes its time, meets signals, or fails, on the machine's kernel: such
//! an `nft` is mounted over the real one for the program under test alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::host::{EdgeHost, assert_same, dump};
use common::{in_namespace, sh};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use wanshift::store::Lock;

const TICK: Duration = Duration::from_millis(20);

/// An `nft` that writes down what it is asked, and does something before it does that.
struct OddNft {
    directory: TempDir,
    real: String,
}

impl OddNft {
    fn slow(seconds: &str) -> Self {
        Self::new(&format!("sleep {seconds}"))
    }

    fn new(before: &str) -> Self {
        let odd = Self {
            directory: tempfile::tempdir().unwrap(),
            real: sh("realpath $(PATH=/usr/sbin:/sbin:$PATH command -v nft)")
                .trim()
                .to_owned(),
        };
        let copy = odd.path("nft-that-works");
        std::fs::copy(&odd.real, &copy).unwrap();
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}\n{before}\nexec {} \"$@\"\n",
            odd.path("asked").display(),
            copy.display()
        );
        std::fs::write(odd.path("nft"), script).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(odd.path("nft"), executable).unwrap();
        odd
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the program, as a terminal's shell does: in a process group of its own.
    fn start(&self, host: &EdgeHost, verb: &[&str]) -> Child {
        let mount = format!(
            "mount --bind {} {} && exec \"$@\"",
            self.path("nft").display(),
            self.real
        );
        Command::new("unshare")
            .args(["--mount", "sh", "-c", &mount, "sh"])
            .arg(env!("CARGO_BIN_EXE_wanshift"))
            .args(host.arguments())
            .args(verb)
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits until it was asked for something with `words` in it.
    fn wait_for(&self, words: &str) {
        for _ in 0..1_000 {
            let asked = std::fs::read_to_string(self.path("asked")).unwrap_or_default();
            if asked.contains(words) {
                return;
            }
            std::thread::sleep(TICK);
        }
        panic!("nft was never asked for {words}");
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

#[test]
fn ctrl_c_at_a_terminal_takes_a_ramp_back_and_leaves_nft_alone() {
    in_namespace(|| {
        let host = EdgeHost::new("20s");
        host.wanshift(&["apply"]);
        let before = dump();
        let slow = OddNft::slow("0.3");
        let mut ramp = slow.start(&host, &["phase", "telework"]);
        slow.wait_for("list table");
        // To all of the group, again and again.
        while ramp.try_wait().unwrap().is_none() {
            killpg(pid(&ramp), Signal::SIGINT).unwrap();
            std::thread::sleep(TICK);
        }
        let output = ramp.wait_with_output().unwrap();
        let errors = common::said(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("interrupted"), "{errors}");
        assert!(!errors.contains("nft"), "{errors}");
        assert_same(&dump(), &before, "after Ctrl-C");
        assert!(host.wanshift(&["plan"]).contains("Phase nominal"));
    });
}

#[test]
fn an_nft_that_lost_its_wanshift_commits_before_the_lock_is_free() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let slow = OddNft::slow("0.6");
        let mut apply = slow.start(&host, &["apply"]);
        slow.wait_for("-f -");
        kill(pid(&apply), Signal::SIGKILL).unwrap();
        apply.wait().unwrap();
        let tables = || sh("nft list tables");
        assert!(!tables().contains("wanshift"), "nft was not slow");
        let errors = host.refused(&["apply"]);
        assert!(errors.contains("another wanshift is at work"), "{errors}");
        while Lock::take(&host.state(), "a test").is_err() {
            std::thread::sleep(TICK);
        }
        assert!(
            tables().contains("wanshift"),
            "the lock was free before nft had ended"
        );
        host.wanshift(&["apply"]);
        assert!(host.wanshift(&["plan"]).contains("Nothing to write"));
    });
}

#[test]
fn a_write_that_failed_is_told_once_in_plain_words() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let before = dump();
        let broken = OddNft::new("[ \"$1\" = -f ] && { echo out of luck >&2; exit 1; }");
        let apply = broken.start(&host, &["apply"]);
        let output = apply.wait_with_output().unwrap();
        let errors = common::said(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert_eq!(errors.matches("out of luck").count(), 1, "{errors}");
        assert!(
            !errors.contains(['\x1b']) && !errors.contains("wanshift::"),
            "{errors}"
        );
        assert_same(&dump(), &before, "after what could not be done");
    });
}
