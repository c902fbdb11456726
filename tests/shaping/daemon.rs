//! A daemon on the lab's edge: what has been told to it, what it tells, and its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::host::{Host, PROGRAM};
use crate::lab::namespace::Process;
use crate::lab::sleep;

/// How long is waited for anything that is not judged by its time.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Where it serves metrics.
const METRICS: &str = "127.0.0.1:9817";

/// A daemon that runs. It is killed where it is dropped.
pub struct Daemon<'a> {
    host: &'a Host,
    process: Process,
}

impl<'a> Daemon<'a> {
    /// Starts one on the edge, and waits until `phase` holds.
    pub fn start(host: &'a Host, phase: &str) -> Self {
        let mut command = host.lab.edge().command(PROGRAM);
        let mut log = File::options();
        let log = log.create(true).append(true);
        let log = log.open(host.file("log")).unwrap();
        command.args(host.arguments(&["run"]));
        command.stdout(Stdio::null()).stderr(Stdio::from(log));
        let mut daemon = Self {
            host,
            process: host.lab.edge().spawn(command),
        };
        daemon.wait_for_phase(phase);
        daemon
    }

    /// How things are; none where it does not answer.
    pub fn status(&self) -> Option<Value> {
        let output = self.host.try_wanshift(&["--json", "status"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status["daemon"].is_object().then_some(status)
    }

    /// Waits until `is` is true of how things are, and gives that.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        let mut last = None;
        loop {
            if let Some(status) = self.status() {
                if is(&status) {
                    return status;
                }
                last = Some(status);
            }
            let gone = self.process.child.try_wait().unwrap();
            assert!(gone.is_none(), "{what}: it ended: {gone:?}\n{}", self.log());
            assert!(
                began.elapsed() < PATIENCE,
                "{what} did not come: {last:#?}\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until that phase holds and no change is on its way.
    #[track_caller]
    pub fn wait_for_phase(&mut self, phase: &str) -> Value {
        self.wait_for(phase, |status| {
            status["phase"]["name"] == phase && status["phase"]["shifting"].is_null()
        })
    }

    /// What all daemons of this host logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.host.file("log")).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it politely, and gives how it ended.
    pub fn end(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.process.child.wait().unwrap()
    }

    /// Kills it as a crash does.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.process.child.wait().unwrap();
    }

    /// What Prometheus gets, as it is written.
    pub fn scrape(&self) -> String {
        scrape(self.host)
    }

    /// Every series that Prometheus gets, with its value.
    pub fn series(&self) -> BTreeMap<String, f64> {
        let text = self.scrape();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().unwrap()))
            })
            .collect()
    }
}

/// What Prometheus gets from the edge.
pub fn scrape(host: &Host) -> String {
    use std::io::{Read, Write};
    let mut stream = host
        .lab
        .edge()
        .make(|| std::net::TcpStream::connect(METRICS).unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = format!("GET /metrics HTTP/1.1\r\nHost: {METRICS}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    text.to_owned()
}
