//! Small questions that want an answer: ping, and the keepalive of a routing session.

use super::Namespace;
use super::series::Gauge;
use super::socket::{connect_to, run_first, tcp_connect, tcp_listener, udp};
use super::time::{Nanos, nanos, now, sleep_until};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

/// Sends echo requests, one after the other, and returns the time each took, `None` where no answer
/// came within `patience`.
pub fn ping(from: &Namespace, to: IpAddr, count: u16, patience: Duration) -> Vec<Option<Duration>> {
    from.make(|| {
        run_first();
        let fd = icmp_socket(to, patience);
        (0..count)
            .map(|number| echo(&fd, to, number, patience))
            .collect()
    })
}

/// Whether one of three echo requests is answered within a second each.
pub fn reaches(from: &Namespace, to: IpAddr) -> bool {
    (0..3).any(|_| ping(from, to, 1, Duration::from_secs(1))[0].is_some())
}

/// Opens a TCP connection: how long that took, or what became of it. A reset is
/// `ConnectionRefused`, an ICMP "prohibited" `HostUnreachable` or `PermissionDenied`, silence
/// `WouldBlock` (or, in the middle of it, `TimedOut`) after five seconds. Somebody must listen there,
/// see [`Listening`].
pub fn open(
    from: (&Namespace, IpAddr),
    to: IpAddr,
    port: u16,
) -> Result<Duration, std::io::ErrorKind> {
    from.0.make(|| {
        let start = now();
        tcp_connect(SocketAddr::new(from.1, 0), SocketAddr::new(to, port), 0)
            .map(|_| Duration::from_nanos(now() - start))
            .map_err(|error| error.kind())
    })
}

/// A port that accepts connections and says nothing.
pub struct Listening {
    _listener: std::net::TcpListener,
}

impl Listening {
    /// The kernel accepts up to 128, without any help of ours.
    pub fn start(at: (&Namespace, IpAddr), port: u16) -> Self {
        let address = SocketAddr::new(at.1, port);
        Self {
            _listener: at.0.make(|| tcp_listener(address, 0)),
        }
    }
}

// A raw socket, since a datagram one depends on a sysctl. It is connected, so that it hears only the
// one asked; it hears everybody's answers of those, hence the identifier.
fn icmp_socket(to: IpAddr, patience: Duration) -> OwnedFd {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).expect("a raw socket");
    let to = SocketAddr::new(to, 0);
    connect_to(&fd, to).expect("a route");
    let time = nix::sys::time::TimeVal::from(libc::timeval {
        tv_sec: patience.as_secs() as i64,
        tv_usec: i64::from(patience.subsec_micros()),
    });
    nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::ReceiveTimeout, &time).unwrap();
    fd
}

fn echo(fd: &OwnedFd, to: IpAddr, number: u16, patience: Duration) -> Option<Duration> {
    let (request, reply, header) = match to {
        IpAddr::V4(_) => (8u8, 0u8, 20),
        IpAddr::V6(_) => (128, 129, 0),
    };
    let identifier = (fd.as_raw_fd() as u16).wrapping_mul(257) ^ std::process::id() as u16;
    let mut packet = [0u8; 16];
    packet[0] = request;
    packet[4..6].copy_from_slice(&identifier.to_be_bytes());
    packet[6..8].copy_from_slice(&number.to_be_bytes());
    // For ICMPv6 the kernel fills it in.
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    let start = now();
    send(fd.as_raw_fd(), &packet, MsgFlags::empty()).ok()?;
    let mut answer = [0u8; 256];
    while now() < start + nanos(patience) {
        let Ok(length) = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty()) else {
            continue;
        };
        let answer = &answer[header.min(length)..length];
        if answer.len() >= 8 && answer[0] == reply && answer[4..8] == packet[4..8] {
            return Some(Duration::from_nanos(now() - start));
        }
    }
    None
}

fn checksum(packet: &[u8; 16]) -> u16 {
    let words = packet
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
    let sum: u32 = words.sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// A session that lives by hearing the other side: BFD in the figures of most networks, a datagram
/// every 300 ms, given up after three in a row went unanswered.
pub struct Keepalive {
    gauge: Gauge,
    asking: JoinHandle<Vec<bool>>,
    answering: JoinHandle<()>,
}

/// The keepalive's pause, and how long an answer may take.
pub const KEEPALIVE: Duration = Duration::from_millis(300);

impl Keepalive {
    /// Begins the session, on BFD's port 3784.
    pub fn start(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr)) -> Self {
        let target = SocketAddr::new(to.1, 3784);
        let answerer = to.0.make(|| udp(target, 48));
        let asker = from.0.make(|| udp(SocketAddr::new(from.1, 0), 48));
        asker.connect(target).expect("a route");
        let gauge = Gauge::new();
        let of = gauge.clone();
        let answering = std::thread::spawn(move || answer(&answerer, &of));
        let of = gauge.clone();
        let asking = std::thread::spawn(move || ask(&asker, &of));
        Self {
            gauge,
            asking,
            answering,
        }
    }

    /// Ends the session; says of each question whether it was answered in time.
    pub fn stop(self) -> Heard {
        self.gauge.stop();
        let answered = self.asking.join().expect("the keepalive");
        self.answering.join().expect("the keepalive's other side");
        Heard { answered }
    }
}

/// What a keepalive heard.
#[derive(Debug)]
pub struct Heard {
    /// Of each question, whether it was answered in time.
    pub answered: Vec<bool>,
}

impl Heard {
    /// Whether the session went down: three in a row unanswered.
    pub fn down(&self) -> bool {
        self.answered.windows(3).any(|three| three == [false; 3])
    }

    /// How many questions went unanswered.
    pub fn missed(&self) -> usize {
        self.answered.iter().filter(|answered| !**answered).count()
    }
}

fn ask(socket: &UdpSocket, gauge: &Gauge) -> Vec<bool> {
    run_first();
    let mut answered = Vec::new();
    let mut next: Nanos = now();
    while !gauge.stopped() {
        let number = (answered.len() as u64).to_be_bytes();
        let _ = socket.send(&number);
        next += nanos(KEEPALIVE);
        let mut heard = false;
        let mut buffer = [0u8; 64];
        while !heard && now() < next {
            heard = socket
                .recv(&mut buffer)
                .is_ok_and(|length| buffer[..length] == number);
        }
        answered.push(heard);
        sleep_until(next);
    }
    answered
}

fn answer(socket: &UdpSocket, gauge: &Gauge) {
    run_first();
    let mut buffer = [0u8; 64];
    while !gauge.stopped() {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
}
