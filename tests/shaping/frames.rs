//! Traffic that the packet filter never sees.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::libc;

use crate::lab::time::{nanos, sleep_until};
use crate::lab::{Namespace, now};

/// The Ethernet type for local experiments (IEEE 802): no IP, so control, and without its buckets.
pub const LOCAL_EXPERIMENT: u16 = 0x88b5;
const FRAME: usize = 1000;

/// Frames that are not IP, from the edge itself.
pub struct Frames {
    stop: Arc<AtomicBool>,
    sending: JoinHandle<()>,
}

impl Frames {
    /// Sends so many bit/s until it is stopped.
    pub fn start(from: &Namespace, device: &'static str, rate: u64) -> Self {
        let socket = from.make(|| packet_socket(device));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let pause = Duration::from_nanos(FRAME as u64 * 8 * 1_000_000_000 / rate);
        let sending = std::thread::spawn(move || {
            let mut frame = [0u8; FRAME];
            frame[..12].copy_from_slice(b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01");
            frame[12..14].copy_from_slice(&LOCAL_EXPERIMENT.to_be_bytes());
            let mut next = now();
            while !stopped.load(Ordering::Relaxed) {
                // A full queue refuses: that is a loss like any other.
                // SAFETY: pointer and length are those of the frame.
                unsafe {
                    libc::send(
                        socket.as_raw_fd(),
                        frame.as_ptr().cast(),
                        FRAME,
                        libc::MSG_DONTWAIT,
                    )
                };
                // By the clock: on a busy machine a pause may take several times as long.
                next += nanos(pause);
                sleep_until(next);
            }
        });
        Self { stop, sending }
    }

    /// Ends it.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.join().expect("the frames' sender");
    }
}

fn packet_socket(device: &str) -> OwnedFd {
    let name = std::ffi::CString::new(device).unwrap();
    // SAFETY: plain system calls; all zeroes is a valid sockaddr_ll, whose length is given.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0, "a packet socket");
        let socket = OwnedFd::from_raw_fd(fd);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = libc::if_nametoindex(name.as_ptr()).cast_signed();
        let length = size_of_val(&address) as libc::socklen_t;
        let bound = libc::bind(fd, (&raw const address).cast(), length);
        assert_eq!(bound, 0, "no device {device}");
        socket
    }
}
