//! Whatever ends the play, nothing of it stays: this process makes what would stay, has another one play, and
//! clears away once that and all that it started are gone.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::lab::machine;
use crate::sheet::Page;

/// Names the play's directory to the process that plays.
pub const DIRECTORY: &str = "WANSHIFT_DEMO_DIRECTORY";

/// Has this program run once more, in the directory that it is told of, and gives what it ends with.
pub fn watch(page: &Page) -> ExitCode {
    let _alone = machine::alone(|| {
        page.line("Another measurement runs on this machine: waiting for its end.")
    });
    // From here on a signal ends the play, and not this process, which has to put things back.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT]).unwrap();
    // What the play started, and did not wait for, becomes a child of this process.
    // SAFETY: a plain system call without pointers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    let _queues = machine::deep_queues();
    let directory = tempfile::Builder::new()
        .prefix("wanshift-demo.")
        .tempdir()
        .unwrap();
    let player = Pid::from_raw(play(directory.path()).cast_signed());
    let asked = Arc::new(AtomicI32::new(0));
    let told = asked.clone();
    std::thread::spawn(move || {
        for signal in &mut signals {
            told.store(signal, Ordering::SeqCst);
            let _ = kill(player, Signal::SIGKILL);
        }
    });
    let ended = until_all_are_gone(player);
    drop(directory);
    match (asked.load(Ordering::SeqCst), ended.code()) {
        (0, Some(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        (0, None) => {
            eprintln!("\ndemo: the play was killed ({ended}); all of it is cleared away");
            ExitCode::FAILURE
        }
        (signal, _) => {
            page.clear();
            eprintln!("\ninterrupted; all of it is cleared away");
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
        }
    }
}

/// Starts the process that plays. It is in a group of its own: of a Ctrl-C only this process hears, which then
/// ends all in order.
fn play(directory: &Path) -> u32 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(std::env::args_os().skip(1))
        .env(DIRECTORY, directory)
        .process_group(0);
    // SAFETY: a plain system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    command.spawn().unwrap().id()
}

/// Waits for the player and whatever it leaves; gives how the player ended. What the player started asks to die
/// with it, but one that was just being started has not asked yet.
fn until_all_are_gone(player: Pid) -> ExitStatus {
    let mut ended = ExitStatus::default();
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == player => {
                ended = ExitStatus::from_raw(code << 8);
                let _ = killpg(player, Signal::SIGKILL);
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == player => {
                ended = ExitStatus::from_raw(signal as i32);
                let _ = killpg(player, Signal::SIGKILL);
            }
            Err(Errno::ECHILD) => return ended,
            Ok(_) | Err(_) => {}
        }
    }
}
