//! kill -9 after any op and after any batch, on the machine's kernel: the next `apply` ends where a clean
//! run ends, and what the crash left conserves.
//!
//! The process that is killed is this test binary again, with a kernel that kills it at a given write:
//! the product has no hook for that.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::collections::BTreeSet;
use std::io::{stderr, stdout};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use common::host::{EdgeHost, assert_same, dump};
use common::{in_namespace, sh};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wanshift::cli::{self, Output};
use wanshift::kernel::{Host, Kernel, KernelError, OpError, Scope};
use wanshift::model::names::DeviceName;
use wanshift::model::state::{LeafKind, Observed};
use wanshift::plan::op::Op;
use wanshift::plan::{PoolBound, breaches};

const ARGUMENTS: &str = "WANSHIFT_TEST_ARGUMENTS";
const AFTER: &str = "WANSHIFT_TEST_KILL_AFTER";
const EVERY: &str = "WANSHIFT_TEST_KILL_EVERY";

/// The machine's kernel, and a process that dies after so many writes.
struct Deadly {
    host: Host,
    left: usize,
    each_op: bool,
}

impl Deadly {
    fn count(&mut self) {
        if self.left == 0 {
            kill(Pid::this(), Signal::SIGKILL).unwrap();
            loop {
                std::thread::park();
            }
        }
        self.left -= 1;
    }
}

impl Kernel for Deadly {
    fn observe(&mut self, scope: Scope) -> Result<Observed, KernelError> {
        self.host.observe(scope)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        if !self.each_op {
            self.count();
            return self.host.apply(ops);
        }
        ops.iter()
            .map(|op| {
                self.count();
                self.host.apply(std::slice::from_ref(op)).remove(0)
            })
            .collect()
    }

    fn leaves(&mut self) -> Result<BTreeSet<LeafKind>, KernelError> {
        self.host.leaves()
    }
}

/// What the killed process runs; no test by itself.
#[test]
#[ignore = "run by the tests of this file, in a process of its own"]
fn dies() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let number = |name| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let (left, each_op) = (number(AFTER), number(EVERY) == 1);
    let mut open = || {
        let host = Host::open()?;
        Ok(Box::new(Deadly {
            host,
            left,
            each_op,
        }) as Box<dyn Kernel>)
    };
    let arguments = std::iter::once("wanshift")
        .chain(arguments.split('\n'))
        .map(Into::into);
    let (mut out, mut err) = (stdout(), stderr());
    std::process::exit(cli::run(arguments, &mut open, &mut Output::new(&mut out, &mut err)).into());
}

/// Runs a verb that dies before write `after`; whether it died.
fn dies_at(host: &EdgeHost, verb: &[&str], after: usize, each_op: bool) -> bool {
    let mut arguments = host.arguments();
    arguments.extend(verb.iter().map(|&word| word.to_owned()));
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "dies",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ARGUMENTS, arguments.join("\n"))
        .env(AFTER, after.to_string())
        .env(EVERY, if each_op { "1" } else { "0" })
        .output()
        .unwrap();
    let text = common::said(&output.stderr);
    match output.status.signal() {
        Some(9) => true,
        Some(signal) => panic!("died of signal {signal}: {text}"),
        None => {
            assert!(output.status.success(), "{text}");
            false
        }
    }
}

fn assert_conserves(when: &str) {
    let state = Host::open().unwrap().observe(Scope::All).unwrap().state;
    let devices = ["mpls0", "wan0"].map(|name| name.parse::<DeviceName>().unwrap());
    let pools = [PoolBound {
        devices: BTreeSet::from(devices),
        room: "300mbit".parse().unwrap(),
    }];
    assert_eq!(breaches(&state, &pools), [], "{when}");
    // No capacity has moved, or what it is taken from is blocked: on the way there and back.
    let mut tops = state.trees.get(&"mpls0".parse().unwrap()).into_iter();
    let moved = tops.any(|tree| {
        let mut tops = tree.classes.values().filter(|class| class.parent.is_none());
        tops.any(|top| top.rate != "200mbit".parse().unwrap())
    });
    let blocks = state.table.map(|table| table.blocks()).unwrap_or_default();
    assert!(!moved || blocks.len() == 1, "{when}: {blocks:?}");
}

/// Kills `verb` at every write in turn, each time from the same beginning, and lets `apply` finish it.
fn at_every_write(verb: &[&str], each_op: bool, begin: impl Fn(&EdgeHost)) {
    let host = EdgeHost::new("300ms");
    begin(&host);
    host.wanshift(verb);
    let clean = dump();
    let mut survived = false;
    for after in 0..1_000 {
        begin(&host);
        if !dies_at(&host, verb, after, each_op) {
            assert!(after > 2, "nothing was ever killed");
            survived = true;
            break;
        }
        assert_conserves(&format!("killed before write {after}"));
        host.wanshift(&["apply"]);
        assert_same(&dump(), &clean, &format!("killed before write {after}"));
        assert!(host.wanshift(&["plan"]).contains("Nothing to write"));
    }
    assert!(survived, "it never came to an end");
}

fn from_nothing(host: &EdgeHost) {
    host.wanshift(&["teardown"]);
    sh(&format!("rm -rf {}", host.state().display()));
}

fn from_nominal(host: &EdgeHost) {
    host.wanshift(&["phase", "nominal"]);
}

fn from_telework(host: &EdgeHost) {
    host.wanshift(&["phase", "telework"]);
}

#[test]
fn the_first_apply_killed_after_any_op() {
    in_namespace(|| at_every_write(&["apply"], true, from_nothing));
}

#[test]
fn the_first_apply_killed_after_any_batch() {
    in_namespace(|| at_every_write(&["apply"], false, from_nothing));
}

#[test]
fn a_ramp_killed_after_any_op() {
    in_namespace(|| at_every_write(&["phase", "telework"], true, from_nominal));
}

#[test]
fn the_way_back_killed_after_any_batch() {
    in_namespace(|| at_every_write(&["phase", "nominal"], false, from_telework));
}
