//! A daemon on an edge host, as a process of its own in the thread's network namespace.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use wanshift::clock::{Clock, SystemClock};

use super::host::EdgeHost;
use super::sh;

/// How long is waited for anything. These machines are slow now and then; nothing is judged by it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon that runs. It is killed where it is dropped.
pub struct Daemon<'a> {
    host: &'a EdgeHost,
    child: Child,
    log: PathBuf,
}

impl<'a> Daemon<'a> {
    /// Starts one, and waits until it answers.
    pub fn start(host: &'a EdgeHost) -> Self {
        Self::start_as(host, Command::new(env!("CARGO_BIN_EXE_wanshift")), &[])
    }

    /// Starts one by `command`, with more arguments, and waits until it answers.
    pub fn start_as(host: &'a EdgeHost, command: Command, arguments: &[&str]) -> Self {
        let mut daemon = Self::spawn(host, command, arguments);
        daemon.wait_for("an answer", |_| true);
        daemon
    }

    /// Starts one by `command`, with more arguments.
    pub fn spawn(host: &'a EdgeHost, mut command: Command, arguments: &[&str]) -> Self {
        sh("ip link set lo up");
        let log = host.config().with_file_name("log");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = command
            .args(host.arguments())
            .arg("run")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { host, child, log }
    }

    /// How things are; none where it does not answer.
    pub fn status(&self) -> Option<Value> {
        let output = self.host.run(&["--json", "status"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status["daemon"].is_object().then_some(status)
    }

    /// Waits until `is` is true of how things are, and gives that.
    pub fn wait_for(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = SystemClock.now();
        let mut last = None;
        loop {
            if let Some(status) = self.status() {
                if is(&status) {
                    return status;
                }
                last = Some(status);
            }
            let gone = self.child.try_wait().unwrap();
            assert!(
                gone.is_none(),
                "{what}: the daemon ended: {gone:?}\n{}",
                self.log()
            );
            assert!(
                SystemClock.now().since(began) < PATIENCE,
                "{what} did not come: {last:#?}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until that phase holds and no change is on its way.
    pub fn wait_for_phase(&mut self, phase: &str) -> Value {
        self.wait_for(phase, |status| {
            status["phase"]["name"] == phase && status["phase"]["shifting"].is_null()
        })
    }

    /// What it logged so far, of all its runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Where it runs.
    pub const fn host(&self) -> &'a EdgeHost {
        self.host
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends it politely, and gives how it ended.
    pub fn end(mut self) -> std::process::ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap()
    }

    /// Waits until it has ended by itself, and gives how.
    pub fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
