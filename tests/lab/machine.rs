//! What the machine must offer, and whose turn it is to load it.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Says on standard error that a test was skipped, and why. A continuous integration run (`CI` is
/// set) must skip nothing: there it fails.
pub fn skip(reason: &str) {
    // Not eprintln!, which libtest would keep to itself when the test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
    assert!(std::env::var_os("CI").is_none(), "skipped in CI: {reason}");
}

/// Whether a lab can be built here; where it cannot, the test is skipped and should return.
pub fn ready() -> bool {
    if !nix::unistd::geteuid().is_root() {
        skip("the lab makes network namespaces, which needs root");
        return false;
    }
    for program in ["ip", "tc", "nft"] {
        if !has(program) {
            skip(&format!("the lab needs {program}"));
            return false;
        }
    }
    true
}

/// Whether a program is found on the path.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Whether the kernel under this test has a qdisc of that kind: tried, in a namespace of its own.
pub fn has_qdisc(kind: &str) -> bool {
    let scratch = super::Namespace::new("scratch");
    scratch
        .try_run("tc", &["qdisc", "add", "dev", "lo", "root", kind])
        .status
        .success()
}

/// The right to load the machine: while it is held no other test that asks for it runs, in whatever
/// process. Every test that measures rates or delays takes it, before it builds its lab. [`deep_queues`]
/// come with it.
pub fn quiet_machine() -> Quiet {
    let alone = alone(|| {});
    Quiet {
        _queues: deep_queues(),
        _alone: alone,
    }
}

/// The machine is this test's until it is dropped.
pub struct Quiet {
    // Dropped in this order: the next one finds the queues as they were.
    _queues: DeepQueues,
    _alone: Alone,
}

/// The right to load the machine, and nothing else. `wait` is called where somebody else has it.
pub fn alone(wait: impl FnOnce()) -> Alone {
    let path = std::env::temp_dir().join("wanshift-quiet-machine.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Err((file, Errno::EWOULDBLOCK)) => {
            wait();
            Flock::lock(file, FlockArg::LockExclusive)
        }
        come => come,
    };
    let lock = lock.unwrap_or_else(|(_, error)| panic!("flock: {error}"));
    Alone { _lock: lock }
}

/// Nobody else loads the machine until it is dropped.
pub struct Alone {
    _lock: Flock<File>,
}

/// Has each CPU queue more packets that it has not yet received than the kernel's 1,000: a veth hands its
/// packets to that queue, and where other programs keep the CPU for some milliseconds, what came meanwhile
/// would be lost, as on no cable. It is a setting of the whole machine, hence put back; where the initial
/// network namespace is out of reach it stays as it is.
pub fn deep_queues() -> DeepQueues {
    let backlog = std::fs::read_to_string(BACKLOG).ok();
    if backlog.is_some() {
        let _ = std::fs::write(BACKLOG, "16384");
    }
    DeepQueues { backlog }
}

const BACKLOG: &str = "/proc/sys/net/core/netdev_max_backlog";

/// Queues are deep until it is dropped.
pub struct DeepQueues {
    backlog: Option<String>,
}

impl Drop for DeepQueues {
    fn drop(&mut self) {
        if let Some(backlog) = &self.backlog {
            let _ = std::fs::write(BACKLOG, backlog);
        }
    }
}

/// A machine that has other things to do: two busy threads for each core.
pub struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// Until it is dropped.
    pub fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let stop = Arc::new(AtomicBool::new(false));
        let burn = |stop: Arc<AtomicBool>| {
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = (0..2 * cores)
            .map(|_| std::thread::spawn(burn(stop.clone())))
            .collect();
        Self { stop, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .drain(..)
            .for_each(|thread| drop(thread.join()));
    }
}
