//! One network namespace: a host of the lab.

use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, JoinHandle};

/// A host. Clones are the same host; it is gone with the last of them.
#[derive(Clone)]
pub struct Namespace {
    label: &'static str,
    handle: Arc<File>,
}

/// Set before there are devices. Without duplicate address detection an address is of use at once;
/// `ip_nonlocal_bind` lets a program bind to any address of the host's prefixes.
const SETTINGS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/default/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv4/ip_nonlocal_bind", "1"),
    ("net/ipv6/ip_nonlocal_bind", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
];

impl Namespace {
    /// A namespace without a name and with only `lo`, which is down.
    pub fn new(label: &'static str) -> Self {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            for (key, value) in SETTINGS {
                fs::write(format!("/proc/sys/{key}"), value)?;
            }
            File::open("/proc/thread-self/ns/net")
        };
        let handle = thread::scope(|scope| scope.spawn(make).join().unwrap())
            .unwrap_or_else(|error| panic!("cannot make a network namespace: {error}"));
        Self {
            label,
            handle: Arc::new(handle),
        }
    }

    /// The host's name in messages.
    pub fn label(&self) -> &'static str {
        self.label
    }

    /// What `nsenter --net=` and iproute2's `netns` accept while this process lives.
    pub fn path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.handle.as_raw_fd()
        )
    }

    /// The kernel's number of the namespace.
    pub fn inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.handle.metadata().unwrap().ino()
    }

    /// A command that will run in here, with a `/sys` of its own. It dies with the thread that
    /// starts it; [`Namespace::spawn`] has one that lives longer.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let descriptor = self.handle.as_raw_fd();
        command.stdin(Stdio::null());
        // SAFETY: between fork and exec the closure only makes system calls, and the descriptor is
        // open as long as the namespace, which the caller holds.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                move_in(descriptor)
            });
        }
        command
    }

    /// Runs a program to its end, whatever comes of it.
    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program)
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{}: {program}: {error}", self.label))
    }

    /// Runs a program, which must succeed, and returns its standard output.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.try_run(program, arguments);
        assert!(
            output.status.success(),
            "{}: {program} {}: {}\n{}{}",
            self.label,
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Feeds lines to `tc -batch`, or any other program that reads its standard input.
    #[track_caller]
    pub fn feed(&self, program: &str, arguments: &[&str], input: &str) -> String {
        use std::io::Write;
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}: {program}: {}\n{}{}",
            self.label,
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The names of the devices, in order.
    pub fn devices(&self) -> Vec<String> {
        self.enter(devices_here)
    }

    /// Starts a command made by [`Namespace::command`]. It is killed when the handle is dropped, or
    /// when this process ends in whatever way.
    pub fn spawn(&self, command: Command) -> Process {
        Process {
            child: spawner_spawn(command).unwrap_or_else(|error| panic!("{}: {error}", self.label)),
        }
    }

    /// Runs a closure in here, in a thread of its own with a `/sys` of its own. `/proc/net` shows
    /// the process's first thread; `/proc/thread-self/net` shows this one.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let work = || {
            move_in(self.handle.as_raw_fd()).expect("entering a namespace of the lab");
            inside()
        };
        thread::scope(|scope| match scope.spawn(work).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Starts a thread in here. It sees this network and the old `/sys`: it is for sockets.
    pub fn thread<T: Send + 'static>(
        &self,
        inside: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = self.clone();
        thread::spawn(move || {
            setns(namespace.handle.as_fd(), CloneFlags::CLONE_NEWNET)
                .expect("entering a namespace of the lab");
            inside()
        })
    }

    /// Makes something, a socket as a rule, in a thread that is in here.
    pub fn make<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(self.handle.as_fd(), CloneFlags::CLONE_NEWNET)
                    .expect("entering a namespace of the lab");
                inside()
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// The devices that the calling thread's `/sys` shows.
pub fn devices_here() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").expect("/sys");
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Takes the calling thread into a network namespace, and gives it the `/sys` of that, as
/// `ip netns exec` does. Only system calls: it is also run between fork and exec.
fn move_in(descriptor: RawFd) -> io::Result<()> {
    let check = |result: libc::c_int| match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: plain system calls; the strings end in NUL and null is allowed where it is given.
    unsafe {
        check(libc::setns(descriptor, libc::CLONE_NEWNET))?;
        check(libc::unshare(libc::CLONE_NEWNS))?;
        check(libc::mount(
            c"".as_ptr(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_SLAVE | libc::MS_REC,
            std::ptr::null(),
        ))?;
        libc::umount2(c"/sys".as_ptr(), libc::MNT_DETACH);
        check(libc::mount(
            c"lab".as_ptr(),
            c"/sys".as_ptr(),
            c"sysfs".as_ptr(),
            0,
            std::ptr::null(),
        ))
    }
}

/// A program running in a namespace.
pub struct Process {
    /// The process, for what std offers: its pipes, its id, its end.
    pub child: Child,
}

impl Process {
    /// Sends a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("a signal to a process of the lab");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended: then there is nothing to kill, and only its status to collect.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// "Die with your parent" means the parent's *thread*. So one thread that lives as long as the
/// process starts all that shall live as long.
fn spawner_spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, result) = mpsc::channel();
    spawner
        .send((command, answer))
        .expect("the spawner runs for ever");
    result.recv().expect("the spawner runs for ever")
}
