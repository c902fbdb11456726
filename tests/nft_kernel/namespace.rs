//! Network namespaces that vanish with the test, whatever becomes of it: nothing but an open file and
//! the thread holds them.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

/// Runs `test` on a thread in a network namespace of its own; what it spawns is in there too.
///
/// Without the right to make one the test is skipped, aloud, and fails where `CI` is set.
pub fn inside(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            test();
            None
        }
        Err(error) => Some(error),
    });
    match thread.join() {
        Ok(None) => {}
        Ok(Some(error)) => skip(error),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn skip(error: Errno) {
    let why = format!("skipped: no network namespace can be made here: {error}");
    eprintln!("{why}");
    assert!(std::env::var_os("CI").is_none(), "{why}");
}

/// Runs a program in the present namespace and gives back what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    feed(program, arguments, "")
}

/// Runs a line of words.
pub fn sh(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    run(words[0], &words[1..])
}

/// Runs a program with `input`.
pub fn feed(program: &str, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Feeds `nft` with a script.
pub fn nft(script: &str) -> String {
    feed("nft", &["-f", "-"], &format!("{script}\n"))
}

/// A host of a small network: a namespace that the test's thread steps into.
pub struct Host(File);

impl Host {
    /// A new one. The thread is in it afterwards.
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        sh("ip link set lo up");
        Self(File::open("/proc/thread-self/ns/net").unwrap())
    }

    /// Does something there; the thread stays.
    pub fn enter(&self) -> &Self {
        setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
        self
    }

    /// Lays a cable from `device` here to `other_device` there.
    pub fn cable(&self, device: &str, other: &Self, other_device: &str) {
        self.enter();
        let there = format!("/proc/{}/fd/{}", std::process::id(), other.0.as_raw_fd());
        run(
            "ip",
            &[
                "link",
                "add",
                device,
                "type",
                "veth",
                "peer",
                "name",
                other_device,
                "netns",
                &there,
            ],
        );
        for (host, device) in [(self, device), (other, other_device)] {
            host.enter();
            run("ip", &["link", "set", device, "up"]);
        }
    }
}
