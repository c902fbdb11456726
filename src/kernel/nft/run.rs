//! Runs `nft`, so that it ends well however we end.
//!
//! - Its script is a file in memory that is whole before it starts: from a pipe, an `nft` whose giver was
//!   killed would take the half that it got for all there is, and commit it.
//! - It is in a process group of its own: Ctrl-C at a terminal is sent to a whole group, and is ours to
//!   answer.
//! - It inherits the lock of the state directory, as all that is started under that does, which so stays
//!   taken until an `nft` that has lost us has ended. That it be killed when we are (`PR_SET_PDEATHSIG`)
//!   would not do: the kernel gives locks back before it sends that signal.
//! - It is not waited for without end.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;

/// How long `nft` may take. 10,000 chains take it half a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// `MFD_NOEXEC_SEAL` of the kernel's `include/uapi/linux/memfd.h`: since 6.3, and from then on a host may
/// insist on it (`vm.memfd_noexec`).
const NOEXEC_SEAL: u32 = 8;

/// Where `nft` may be: a caller's `PATH` is not asked.
const DIRECTORIES: [&str; 5] = [
    "/usr/sbin",
    "/sbin",
    "/usr/local/sbin",
    "/usr/bin",
    "/run/current-system/sw/bin",
];

/// Why nothing is known from `nft`. To be read after its name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum RunError {
    /// It never ran.
    #[error("{0}")]
    NotStarted(String),
    /// It ran, and was given up or lost sight of: what it was told to do may have happened.
    #[error("{0}")]
    Lost(String),
}

/// What `nft` left.
#[derive(Debug)]
pub(super) struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its results.
    pub stdout: Vec<u8>,
    /// Its complaints.
    pub stderr: Vec<u8>,
}

/// Runs `nft` with `input`.
pub(super) fn nft(arguments: &[&str], input: &str) -> Result<Output, RunError> {
    run(&program()?, arguments, input, PATIENCE)
}

fn program() -> Result<PathBuf, RunError> {
    DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join("nft"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            RunError::NotStarted(format!(
                "is not installed (looked in {}): install the package nftables",
                DIRECTORIES.join(", ")
            ))
        })
}

fn run(
    program: &Path,
    arguments: &[&str],
    input: &str,
    patience: Duration,
) -> Result<Output, RunError> {
    let failed = |what: &str| {
        let start = format!("{what} {}", program.display());
        move |error: io::Error| RunError::NotStarted(format!("{start}: {error}"))
    };
    let script = in_memory(input).map_err(failed("cannot be given its input from"))?;
    let mut complaints = in_memory("").map_err(failed("cannot be listened to from"))?;
    let stderr = complaints
        .try_clone()
        .map_err(failed("cannot be listened to from"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .process_group(0)
        .stdin(script)
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(failed("cannot be started from"))?;
    let stdout = wait(&mut child, patience)?;
    let status = child.wait().map_err(lost)?;
    let mut stderr = Vec::new();
    complaints
        .rewind()
        .and_then(|()| complaints.read_to_end(&mut stderr))
        .map_err(lost)?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

fn lost(error: io::Error) -> RunError {
    RunError::Lost(format!("was lost: {error}"))
}

/// Reads what `child` prints until it closes its output, which it does by ending.
fn wait(child: &mut Child, patience: Duration) -> Result<Vec<u8>, RunError> {
    let Some(mut pipe) = child.stdout.take() else {
        return Ok(Vec::new());
    };
    let (done, printed) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut text = Vec::new();
            let outcome = pipe.read_to_end(&mut text).map(|_| text);
            // Nobody listens any more only where it was given up.
            let _ = done.send(outcome);
        });
        match printed.recv_timeout(patience) {
            Ok(outcome) => outcome.map_err(lost),
            Err(RecvTimeoutError::Disconnected) => {
                Err(lost(io::Error::other("its output was not read")))
            }
            Err(RecvTimeoutError::Timeout) => {
                // Not waited for yet, so that the number is still its own; with all that it started, so
                // that nobody keeps the pipe and the lock.
                let group = Pid::from_raw(child.id().cast_signed());
                let _ = killpg(group, Signal::SIGKILL);
                let _ = child.wait();
                Err(RunError::Lost(format!(
                    "did not end within {} s and was killed",
                    patience.as_secs()
                )))
            }
        }
    })
}

/// A file in memory that holds `text` and is read from its beginning.
fn in_memory(text: &str) -> io::Result<File> {
    let close = MFdFlags::MFD_CLOEXEC;
    let sealed = close | MFdFlags::from_bits_retain(NOEXEC_SEAL);
    let descriptor = match memfd_create("wanshift", sealed) {
        Err(Errno::EINVAL) => memfd_create("wanshift", close)?,
        other => other?,
    };
    let mut file = File::from(descriptor);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &str, patience: Duration) -> Result<Output, RunError> {
        run(Path::new("/bin/sh"), &["-c", script], input, patience)
    }

    #[test]
    fn input_goes_in_and_all_that_is_said_comes_out() {
        let large = "x".repeat(1 << 20);
        let output = shell("cat; echo no >&2; exit 3", &large, PATIENCE).unwrap();
        assert_eq!(output.stdout, large.as_bytes());
        assert_eq!(output.stderr, b"no\n");
        assert_eq!(output.status.code(), Some(3));
        // As nft opens it, by name.
        let output = shell("cat /dev/stdin", "abc", PATIENCE).unwrap();
        assert_eq!(output.stdout, b"abc");
    }

    #[test]
    fn it_is_in_a_process_group_of_its_own() {
        // The fifth field after the name, which is in parentheses.
        let output = shell("cut -d' ' -f1,5 /proc/self/stat; echo $$", "", PATIENCE).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words: Vec<i32> = text
            .split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect();
        assert_eq!(words[1], words[2], "its group is not its own");
        assert_ne!(words[1], nix::unistd::getpgrp().as_raw());
    }

    #[test]
    fn one_that_hangs_is_killed_with_all_that_it_started() {
        let error = shell("sleep 30 & sleep 30", "", Duration::from_millis(200)).unwrap_err();
        assert_eq!(
            error,
            RunError::Lost("did not end within 0 s and was killed".to_owned())
        );
    }

    #[test]
    fn one_that_is_not_there_was_not_started() {
        let error = run(Path::new("/nowhere/nft"), &[], "", PATIENCE).unwrap_err();
        assert!(matches!(error, RunError::NotStarted(_)), "{error}");
    }
}
