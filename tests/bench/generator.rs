//! Small packets as fast as they go: whole frames, made beforehand, handed to a device many at a time.
//!
//! Where packets are received on the CPU that sends them, the whole way of a packet through the hosts of
//! the lab is walked within the call that sends it. The sender goes before all others on its CPU, so that
//! the time it takes is the time the packets take, also on a machine that has other things to do.

use std::fs::File;
use std::io::Error;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::libc;

use crate::lab::Namespace;
use crate::lab::socket::{run_first, set};
use crate::lab::time::{Nanos, now};

/// How many frames go in one call.
const BATCH: usize = 64;
// Not in libc.
const PACKET_QDISC_BYPASS: libc::c_int = 20;

/// Who sends packets to whom.
pub struct Flow {
    pub source: Ipv4Addr,
    pub target: Ipv4Addr,
}

/// Frames that stand ready to be sent by a device, and the counter of what arrives at another.
pub struct Generator {
    socket: OwnedFd,
    frames: Vec<[u8; 60]>,
    next: usize,
    arrived: File,
}

impl Generator {
    /// From `edge0` of `from` by way of the edge's device, to `edge0` of `to`.
    pub fn new(
        from: &Namespace,
        edge: (&Namespace, &str),
        to: &Namespace,
        flows: impl Iterator<Item = Flow>,
    ) -> Self {
        let (source, target) = (
            hardware_address(from, "edge0"),
            hardware_address(edge.0, edge.1),
        );
        let counter = "/sys/class/net/edge0/statistics/rx_packets";
        Self {
            socket: from.make(|| socket("edge0")),
            frames: flows.map(|flow| frame(&flow, source, target)).collect(),
            next: 0,
            arrived: to.enter(|| File::open(counter).unwrap()),
        }
    }

    fn arrived(&self) -> u64 {
        let mut text = [0; 32];
        let length = self.arrived.read_at(&mut text, 0).unwrap();
        let text = std::str::from_utf8(&text[..length]).unwrap();
        text.trim().parse().unwrap()
    }

    /// Sends for a while; returns how many packets arrived a second. To be called in a thread that may
    /// go before all others.
    pub fn run(&mut self, length: Nanos) -> f64 {
        let before = self.arrived();
        let begin = now();
        let mut end = begin;
        while end < begin + length {
            for _ in 0..8 {
                self.send();
            }
            end = now();
        }
        (self.arrived() - before) as f64 * 1e9 / (end - begin) as f64
    }

    fn send(&mut self) {
        if self.next + BATCH > self.frames.len() {
            self.next = 0;
        }
        let frames = &mut self.frames[self.next..self.next + BATCH];
        // SAFETY: all zeroes is valid for these structures; the pointers are those of frames that outlive
        // the call.
        unsafe {
            let mut parts: [libc::iovec; BATCH] = std::mem::zeroed();
            let mut messages: [libc::mmsghdr; BATCH] = std::mem::zeroed();
            for ((frame, part), message) in frames.iter_mut().zip(&mut parts).zip(&mut messages) {
                part.iov_base = frame.as_mut_ptr().cast();
                part.iov_len = frame.len();
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
            }
            let (fd, count) = (self.socket.as_raw_fd(), BATCH as u32);
            let sent = libc::sendmmsg(fd, messages.as_mut_ptr(), count, 0);
            assert!(sent > 0, "sendmmsg: {}", Error::last_os_error());
        }
        self.next += BATCH;
    }
}

/// Runs on one CPU before all others, in a thread that ends with it.
pub fn first_on_one_cpu<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let thread = || {
        let here = nix::unistd::Pid::from_raw(0);
        let allowed = nix::sched::sched_getaffinity(here).unwrap();
        let is_set = |cpu: &usize| allowed.is_set(*cpu).unwrap_or_default();
        let last = (0..nix::sched::CpuSet::count()).rfind(is_set).unwrap();
        let mut one = nix::sched::CpuSet::new();
        one.set(last).unwrap();
        nix::sched::sched_setaffinity(here, &one).unwrap();
        run_first();
        work()
    };
    std::thread::scope(|scope| scope.spawn(thread).join().unwrap())
}

/// Has packets received on the CPU that sends them.
pub fn receive_where_sent(namespace: &Namespace) {
    namespace.enter(|| {
        for device in crate::lab::namespace::devices_here() {
            let file = format!("/sys/class/net/{device}/queues/rx-0/rps_cpus");
            if device != "lo" {
                std::fs::write(file, "0").unwrap();
            }
        }
    });
}

fn hardware_address(namespace: &Namespace, device: &str) -> [u8; 6] {
    let file = format!("/sys/class/net/{device}/address");
    let text = namespace.enter(|| std::fs::read_to_string(file).unwrap());
    let mut bytes = text
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap());
    std::array::from_fn(|_| bytes.next().unwrap())
}

fn socket(device: &str) -> OwnedFd {
    let name = std::ffi::CString::new(device).unwrap();
    // SAFETY: plain system calls; pointer and length are those of the structure, of which all zeroes is
    // a valid one. Protocol 0: nothing is received.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0, "a packet socket: {}", Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(fd);
        set(&socket, libc::SOL_PACKET, PACKET_QDISC_BYPASS, 1);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let length = size_of_val(&address) as libc::socklen_t;
        let done = libc::bind(fd, (&raw const address).cast(), length);
        assert!(done == 0, "bind to {device}: {}", Error::last_os_error());
        socket
    }
}

/// An Ethernet frame of the least length, with UDP over IPv4.
fn frame(flow: &Flow, source: [u8; 6], target: [u8; 6]) -> [u8; 60] {
    const LENGTH: u16 = 46;
    let mut frame = [0; 60];
    frame[..6].copy_from_slice(&target);
    frame[6..12].copy_from_slice(&source);
    frame[12..14].copy_from_slice(&[8, 0]);
    let header = &mut frame[14..34];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&LENGTH.to_be_bytes());
    header[8..10].copy_from_slice(&[64, 17]);
    header[12..16].copy_from_slice(&flow.source.octets());
    header[16..20].copy_from_slice(&flow.target.octets());
    let words = header.chunks(2);
    let sum: u32 = words
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    // Ports; a checksum of 0 is none.
    frame[34..38].copy_from_slice(&[0x23, 0x28, 0x23, 0x29]);
    frame[38..40].copy_from_slice(&(LENGTH - 20).to_be_bytes());
    frame
}
