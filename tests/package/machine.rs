//! A Debian with systemd that is thrown away, on the lab's edge: its files are this machine's, what it writes
//! stays in memory, and its network is the edge's.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::lab::namespace::Process;
use crate::lab::time::nanos;
use crate::lab::{Lab, machine, now, skip, sleep};

/// How long is waited for anything. Nothing is judged by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether one can be booted here; where it cannot, the test is skipped and should return.
pub fn ready() -> bool {
    for program in ["dpkg", "unshare", "nsenter", "pivot_root", "setpriv"] {
        if !machine::has(program) {
            skip(&format!("the package is tried with {program}"));
            return false;
        }
    }
    if !Path::new("/lib/systemd/systemd").exists() {
        skip("the package is tried under systemd, which is not installed");
        return false;
    }
    for kind in ["overlay", "cgroup2"] {
        let _ = Command::new("modprobe").args(["-q", kind]).output();
        let known = fs::read_to_string("/proc/filesystems").unwrap();
        if !known.split_whitespace().any(|word| word == kind) {
            skip(&format!("this kernel has no file system {kind}"));
            return false;
        }
    }
    true
}

/// The machine. It is gone when it is dropped.
pub struct Machine {
    /// What boots it.
    power: Process,
    /// The process that is its first.
    first: String,
    directory: TempDir,
}

impl Machine {
    /// Makes one on the edge, and boots it.
    pub fn new(lab: &Lab) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("wanshift-package-")
            .tempdir()
            .unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/package/boot.sh");
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut command = lab.edge().command("unshare");
        command
            .args(["--mount", "--", "bash"])
            .arg(script)
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut machine = Self {
            power: lab.edge().spawn(command),
            first: String::new(),
            directory,
        };
        machine.boot();
        machine
    }

    /// Boots it, where it is off.
    pub fn boot(&mut self) {
        let power = self.power.child.stdin.as_mut().unwrap();
        power.write_all(b"on\n").unwrap();
        self.wait_for("its boot", |machine| {
            let maker = child_of(&machine.power.child.id().to_string());
            machine.first = maker.and_then(|maker| child_of(&maker)).unwrap_or_default();
            machine.path("/run/systemd/private").exists()
                && matches!(
                    machine.told("systemctl is-system-running").trim(),
                    "running" | "degraded"
                )
        });
        let failed = self.told("systemctl --failed --plain --no-legend");
        assert_eq!(failed, "", "failed at boot\n{}", self.journal());
    }

    /// Cuts its power.
    pub fn cut_off(&mut self) {
        let first = self.first.parse().unwrap();
        kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
        self.wait_for("its end", |machine| {
            child_of(&machine.power.child.id().to_string()).is_none()
        });
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let began = now();
        while !is(self) {
            let ended = self.power.child.try_wait().unwrap();
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap();
            assert!(ended.is_none(), "{what}: it ended: {ended:?}\n{}", log());
            assert!(
                now() - began < nanos(PATIENCE),
                "{what} did not come\n{}{}",
                log(),
                self.journal()
            );
            sleep(Duration::from_millis(50));
        }
    }

    /// Where a file of the machine is seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first))
    }

    /// Runs a command line as root, whatever comes of it.
    pub fn try_run(&self, line: &str) -> Output {
        Command::new("timeout")
            .args(["120", "nsenter", "--target", &self.first])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"])
            .args(["--root", "--wd", "--", "env", "-i"])
            .args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"])
            .args(["DEBIAN_FRONTEND=noninteractive", "HOME=/root"])
            .args(["sh", "-c", line])
            .output()
            .unwrap()
    }

    /// What a command line prints, however it ends.
    pub fn told(&self, line: &str) -> String {
        String::from_utf8_lossy(&self.try_run(line).stdout).into_owned()
    }

    /// Runs a command line as root, which must succeed; gives what it prints, errors behind it.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{line}: {}\n{text}\n{}",
            output.status,
            self.journal()
        );
        text
    }

    /// What its services said.
    pub fn journal(&self) -> String {
        self.told("journalctl --no-pager --lines=40 --output=cat")
    }

    /// Every file that was written since the machine was made, and differs from what this machine has there.
    pub fn written(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        self.look(&self.path("/upper"), "", &mut found);
        found
    }

    fn look(&self, directory: &Path, inside: &str, found: &mut BTreeMap<String, String>) {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{inside}/{}", entry.file_name().to_string_lossy());
            let below = self.path("/lower").join(&name[1..]);
            // What vanishes meanwhile is not there.
            let Ok(facts) = entry.path().symlink_metadata() else {
                continue;
            };
            let (kind, lower) = (facts.file_type(), below.symlink_metadata().ok());
            let here = if kind.is_dir() {
                self.look(&entry.path(), &name, found);
                "directory".to_owned()
            } else if kind.is_char_device() && facts.rdev() == 0 {
                "taken away".to_owned()
            } else if kind.is_symlink() {
                format!("link to {}", fs::read_link(entry.path()).unwrap().display())
            } else {
                use std::hash::{DefaultHasher, Hash, Hasher};
                let mut hasher = DefaultHasher::new();
                let bytes = fs::read(entry.path()).unwrap_or_default();
                bytes.hash(&mut hasher);
                format!("file of {} bytes, {:x}", bytes.len(), hasher.finish())
            };
            let same = lower.is_some_and(|lower| {
                (lower.mode(), lower.uid(), lower.gid()) == (facts.mode(), facts.uid(), facts.gid())
                    && (kind.is_dir()
                        || kind.is_file() && fs::read(below).ok() == fs::read(entry.path()).ok())
            });
            if !same {
                let owner = format!("{:o} {}:{}", facts.mode(), facts.uid(), facts.gid());
                found.insert(name, format!("{owner} {here}"));
            }
        }
    }
}

/// A child of a process.
fn child_of(process: &str) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.ok()?;
    children.split_whitespace().next().map(str::to_owned)
}

impl Drop for Machine {
    fn drop(&mut self) {
        // All its processes end with the first; then the groups that systemd sorted them into are empty.
        let _ = self.power.child.kill();
        let _ = self.power.child.wait();
        let name = self.directory.path().file_name().unwrap();
        let script = "mount -t cgroup2 cgroup2 \"$1\" && for try in $(seq 50); do \
             find \"$1/$2\" -depth -type d -exec rmdir {} + 2>/dev/null; \
             [ -e \"$1/$2\" ] || exit 0; sleep 0.1; done; exit 1";
        let gone = Command::new("unshare")
            .args(["--mount", "bash", "-c", script, "bash"])
            .arg(self.directory.path())
            .arg(name)
            .status();
        if !gone.is_ok_and(|status| status.success()) {
            eprintln!("the control group {} stays", name.display());
        }
    }
}
