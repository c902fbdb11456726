//! The program, run as its unit runs it: a user of its own, with one capability.

use std::fmt::Write;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Output};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CloneFlags, unshare};

use super::host::EdgeHost;
use super::sh;

/// The service's user and group, in tests: nobody else has it.
pub const SERVICE: u32 = 64_321;

/// Gives this thread, and what it starts, a user database in which the service's user is.
pub fn make_user() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let mut users: String = std::fs::read_to_string("/etc/passwd")
        .unwrap()
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("wanshift:"))
        .collect();
    writeln!(users, "wanshift:x:{SERVICE}:{SERVICE}::/:/usr/sbin/nologin").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), users).unwrap();
    // What is bound stays, as long as the namespace, when its name goes.
    sh(&format!(
        "chmod 644 {0} && mount --make-rprivate / && mount --bind {0} /etc/passwd",
        file.path().display()
    ));
}

/// A command line for `program` with the user and the capability of the unit, which `make_user` need not
/// know.
pub fn as_service(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={SERVICE}"),
        &format!("--regid={SERVICE}"),
        "--clear-groups",
        "--inh-caps=-all,+net_admin",
        "--ambient-caps=-all,+net_admin",
        "--bounding-set=-all,+net_admin",
        "--no-new-privs",
        program,
    ]);
    command
}

/// Gives the state directory of `host` to the service, as systemd does, and lets it read the policy.
pub fn give_state(host: &EdgeHost) {
    give(&host.state());
    sh(&format!(
        "chmod 755 {}",
        host.config().parent().unwrap().display()
    ));
}

/// A directory of the service's.
pub fn give(directory: &Path) {
    let directory = directory.display();
    sh(&format!(
        "mkdir -p -m 700 {directory} && chown -R {SERVICE}:{SERVICE} {directory}"
    ));
}

/// Runs the program as the service does.
pub fn run(host: &EdgeHost, verb: &[&str]) -> Output {
    let mut command = as_service(env!("CARGO_BIN_EXE_wanshift"));
    command.args(host.arguments()).args(verb).output().unwrap()
}

/// Runs the program as the service does, which must succeed, and gives what it prints.
pub fn wanshift(host: &EdgeHost, verb: &[&str]) -> String {
    let output = run(host, verb);
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "wanshift {verb:?} as the service: {}\n{text}{errors}",
        output.status
    );
    text
}

/// A command line for the program as the service, behind the program `before`, with a socket for metrics that somebody
/// else opened; may make the daemon's sockets.
pub fn with_socket(host: &EdgeHost, metrics: &TcpListener, before: &[&str]) -> Command {
    give(host.socket().parent().unwrap());
    fcntl(metrics, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let number = metrics.as_raw_fd();
    let script =
        format!("exec 3<&{number}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http exec \"$@\"");
    let mut command = as_service(before.first().copied().unwrap_or("bash"));
    command.args(before.iter().skip(1));
    if !before.is_empty() {
        command.arg("bash");
    }
    command.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_wanshift")]);
    command
}
