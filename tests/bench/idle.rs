//! What the daemon takes of the machine while nothing changes.

use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::Bench;
use crate::edge::Edge;
use crate::lab::{now, sleep};
use crate::many::{HOST, policy, steady};
use crate::sheet::{Bar, Figure};

const CLASSES: u32 = 1_000;
const LENGTH: Duration = Duration::from_secs(20);

pub fn run(bench: &mut Bench) {
    let edge = Edge::new(
        bench,
        &format!("{HOST}[daemon]\nsample = \"1s\"\n"),
        &policy(&steady(CLASSES)),
    );
    let daemon = edge.daemon();
    while !edge.said().contains("Done:") {
        sleep(Duration::from_millis(100));
    }
    // The first samples, and what was built up to begin and is given back.
    sleep(Duration::from_secs(5));
    let process = Pid::from_raw(daemon.child.id() as i32);
    let clock = clock_getcpuclockid(process).unwrap();
    let (begin, before) = (now(), used(clock));
    sleep(LENGTH);
    let share = (used(clock) - before) / ((now() - begin) as f64 / 1e9);
    let [resident, most] = ["VmRSS:", "VmHWM:"].map(|field| kilobytes(process, field) * 1_024.0);
    let sheet = &mut bench.sheet;
    sheet.row("CPU, of one core", Figure::percent(share), Bar::AtMost(1.0));
    sheet.row(
        "resident memory",
        Figure::mebibytes(resident),
        Bar::AtMost(32.0),
    );
    sheet.row("resident memory, most", Figure::mebibytes(most), Bar::None);
}

/// CPU time of a process, in seconds.
fn used(clock: ClockId) -> f64 {
    let time = clock_gettime(clock).unwrap();
    time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
}

fn kilobytes(process: Pid, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}
