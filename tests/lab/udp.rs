//! A flow of datagrams at a rate, whatever the network takes of it.

use super::Namespace;
use super::series::{Gauge, Series};
use super::socket::{drops, run_first, set, udp};
use super::time::{SECOND, now, sleep_until};
use nix::libc;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;

/// A datagram flood that is not started yet.
pub struct UdpFlood {
    from: (Namespace, SocketAddr),
    to: (Namespace, SocketAddr),
    rate: u64,
    payload: usize,
    dscp: u8,
    first: bool,
    bundle: usize,
}

/// How many datagrams go in one system call.
const BATCH: usize = 32;

impl UdpFlood {
    /// 100 Mbit/s of payload in datagrams of 1,200 bytes, unless told otherwise.
    pub fn new(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr), port: u16) -> Self {
        Self {
            from: (from.0.clone(), SocketAddr::new(from.1, 0)),
            to: (to.0.clone(), SocketAddr::new(to.1, port)),
            rate: 100_000_000,
            payload: 1200,
            dscp: 0,
            first: false,
            bundle: 1,
        }
    }

    /// The sender is a server with this port: the receiver opens the connection with a datagram of its
    /// own, and what follows are replies, to the address that this came from: it may be a translated one.
    pub fn source_port(mut self, port: u16) -> Self {
        self.from.1.set_port(port);
        self
    }

    /// Bit/s of payload.
    pub fn rate(mut self, rate: u64) -> Self {
        self.rate = rate;
        self
    }

    /// The sender goes before all else on its core, so that it keeps its pace on a loaded machine. For
    /// rates that leave the core time for others.
    pub fn first(mut self) -> Self {
        self.first = true;
        self
    }

    /// Bytes of payload in a datagram.
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes;
        self
    }

    /// So many datagrams travel as one packet, cut up at the end (UDP segmentation offload): they cost
    /// little more than one, and a queue that counts packets holds that many times as much. For a flood
    /// that shall never run dry, however late its sender is.
    pub fn bundled(mut self, datagrams: usize) -> Self {
        self.bundle = datagrams;
        self
    }

    /// The datagrams' DSCP.
    pub fn dscp(mut self, dscp: u8) -> Self {
        self.dscp = dscp;
        self
    }

    /// Sends until it is stopped.
    pub fn start(self) -> Running {
        let (dscp, rate, payload, first) = (self.dscp, self.rate, self.payload, self.first);
        let message = payload * self.bundle;
        let receiver = self.to.0.make(|| udp(self.to.1, 0));
        let target = receiver.local_addr().unwrap();
        let source = self.from.1;
        let sender = self.from.0.make(|| udp(source, dscp));
        let target = if source.port() == 0 {
            target
        } else {
            opened(&receiver, &sender, source)
        };
        sender.connect(target).expect("a route");
        if message > payload {
            set(&sender, libc::SOL_UDP, libc::UDP_SEGMENT, payload as i32);
        }
        let gauge = Gauge::new();
        let of = gauge.clone();
        let receiving = std::thread::spawn(move || receive(&receiver, payload, &of));
        let of = gauge.clone();
        let sending = std::thread::spawn(move || {
            if first {
                run_first();
            }
            send(&sender, rate, message, &of)
        });
        Running {
            gauge,
            sending,
            receiving,
        }
    }
}

/// A datagram flood in progress.
pub struct Running {
    gauge: Gauge,
    sending: JoinHandle<u64>,
    receiving: JoinHandle<(Series, u32)>,
}

impl Running {
    /// Bytes of payload received so far.
    pub fn received(&self) -> u64 {
        self.gauge.received()
    }

    /// Ends the flood.
    pub fn stop(self) -> Report {
        self.gauge.stop();
        let sent = self.sending.join().expect("the sender");
        let (received, dropped) = self.receiving.join().expect("the receiver");
        assert_eq!(dropped, 0, "the receiver itself lost datagrams");
        Report { sent, received }
    }
}

/// What came of a datagram flood.
pub struct Report {
    /// Bytes of payload that the sender's kernel took.
    pub sent: u64,
    /// What arrived.
    pub received: Series,
}

/// The receiver asks; returns as whom the sender heard it.
fn opened(receiver: &UdpSocket, sender: &UdpSocket, source: SocketAddr) -> SocketAddr {
    for _ in 0..100 {
        receiver.send_to(&[0], source).expect("a route back");
        if let Ok((_, from)) = sender.recv_from(&mut [0]) {
            return from;
        }
    }
    panic!("nobody opened the flow from {source}");
}

fn send(socket: &UdpSocket, rate: u64, message: usize, gauge: &Gauge) -> u64 {
    let mut data = vec![0u8; message];
    let mut part = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: message,
    };
    // SAFETY: all zeroes is a valid mmsghdr: no address, no control data.
    let mut one: libc::mmsghdr = unsafe { std::mem::zeroed() };
    one.msg_hdr.msg_iov = &raw mut part;
    one.msg_hdr.msg_iovlen = 1;
    let mut batch = [one; BATCH];
    let start = now();
    let mut sent = 0u64;
    while !gauge.stopped() {
        let due = (u128::from(now() - start) * u128::from(rate) / 8 / u128::from(SECOND)) as u64;
        let messages = (due.saturating_sub(sent) / message as u64).min(BATCH as u64);
        if messages == 0 {
            let next =
                (u128::from(sent + message as u64) * 8 * u128::from(SECOND)).div_ceil(rate.into());
            // Not more often than every 200 µs: waking up costs more than sending a few at once.
            sleep_until((start + next as u64).max(now() + SECOND / 5000));
            continue;
        }
        // SAFETY: the batch holds that many headers, whose one buffer is `data`.
        let taken =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), batch.as_mut_ptr(), messages as u32, 0) };
        // A refusal (a block answers with ICMP, a queue is full) is a loss like any other: what was
        // not sent in time is not sent later.
        sent += if taken > 0 { taken as u64 } else { messages } * message as u64;
    }
    sent
}

fn receive(socket: &UdpSocket, payload: usize, gauge: &Gauge) -> (Series, u32) {
    let mut series = Series::new(gauge.start);
    let mut buffer = vec![0u8; payload];
    while !gauge.stopped() {
        if let Ok(count) = socket.recv(&mut buffer) {
            series.add(count as u64);
            gauge.add(count as u64);
        }
    }
    (series, drops(socket))
}
