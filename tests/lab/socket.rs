//! Sockets with what std does not set: a source before connecting, DSCP, buffers, time stamps.

use super::time::{Nanos, SECOND};
use nix::libc;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, listen, socket};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// How often a waiting thread looks whether it shall stop.
pub const TICK: Duration = Duration::from_millis(50);

fn open(kind: SockType, address: SocketAddr, dscp: u8) -> OwnedFd {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    let traffic_class = libc::c_int::from(dscp) << 2;
    if address.is_ipv4() {
        set(&fd, libc::IPPROTO_IP, libc::IP_TOS, traffic_class);
    } else {
        set(&fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, traffic_class);
        set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1);
    }
    set(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1);
    address_call(libc::bind, &fd, address)
        .unwrap_or_else(|error| panic!("bind to {address}: {error}"));
    fd
}

/// Sets an option that is one integer.
pub fn set(fd: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) {
    // SAFETY: the pointer and the length are those of `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    let error = io::Error::last_os_error();
    assert!(result == 0, "socket option {level}/{name}: {error}");
}

/// A listener whose connections carry that DSCP.
pub fn tcp_listener(address: SocketAddr, dscp: u8) -> TcpListener {
    let fd = open(SockType::Stream, address, dscp);
    let backlog = Backlog::new(128).unwrap();
    listen(&fd, backlog).expect("listen");
    TcpListener::from(fd)
}

/// A connection from a source of one's choice; port 0 is any.
pub fn tcp_connect(from: SocketAddr, to: SocketAddr, dscp: u8) -> io::Result<TcpStream> {
    let fd = open(SockType::Stream, from, dscp);
    // For a connect that nobody answers; 5 s is far beyond what any test's queue holds.
    let stream = TcpStream::from(fd);
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    connect_to(&stream, to)?;
    stream.set_write_timeout(Some(TICK))?;
    stream.set_read_timeout(Some(TICK))?;
    Ok(stream)
}

/// Connects a socket of whatever kind.
pub fn connect_to(socket: &impl AsRawFd, to: SocketAddr) -> io::Result<()> {
    address_call(libc::connect, socket, to)
}

type AddressCall = unsafe extern "C" fn(i32, *const libc::sockaddr, libc::socklen_t) -> i32;

/// `bind` or `connect`: std has neither for a socket that is already there.
fn address_call(call: AddressCall, socket: &impl AsRawFd, address: SocketAddr) -> io::Result<()> {
    // SAFETY: all zeroes is valid for these structures of plain integers; pointer and length given to
    // the call are those of the one that was filled.
    let result = unsafe {
        match address {
            SocketAddr::V4(v4) => {
                let mut raw: libc::sockaddr_in = std::mem::zeroed();
                raw.sin_family = libc::AF_INET as u16;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                call(
                    socket.as_raw_fd(),
                    (&raw const raw).cast(),
                    size_of_val(&raw) as u32,
                )
            }
            SocketAddr::V6(v6) => {
                let mut raw: libc::sockaddr_in6 = std::mem::zeroed();
                raw.sin6_family = libc::AF_INET6 as u16;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                raw.sin6_scope_id = v6.scope_id();
                call(
                    socket.as_raw_fd(),
                    (&raw const raw).cast(),
                    size_of_val(&raw) as u32,
                )
            }
        }
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A datagram socket with buffers that a test does not fill.
pub fn udp(address: SocketAddr, dscp: u8) -> UdpSocket {
    let fd = open(SockType::Datagram, address, dscp);
    set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 32 << 20);
    set(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 8 << 20);
    let socket = UdpSocket::from(fd);
    socket.set_read_timeout(Some(TICK)).expect("a time-out");
    socket
}

/// How many packets the socket itself threw away: a test that sees any measured its own receiver.
pub fn drops(socket: &impl AsRawFd) -> u32 {
    // SO_MEMINFO: nine counters, the last of them the drops.
    let mut counters = [0u32; 9];
    let mut length = size_of_val(&counters) as libc::socklen_t;
    // SAFETY: pointer and length are those of the array.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut counters).cast(),
            &raw mut length,
        )
    };
    assert!(result == 0, "SO_MEMINFO");
    counters[8]
}

/// Takes the calling thread before all ordinary ones, so that bulk traffic on the same cores does not
/// shift what it measures. Where that is not allowed it stays an ordinary one.
pub fn run_first() {
    let priority = libc::sched_param { sched_priority: 20 };
    // SAFETY: a plain system call on a valid structure; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
}

/// Receives a datagram and the kernel's time of it, of CLOCK_REALTIME; `None` when none came within
/// the socket's time-out. SO_TIMESTAMPNS must be set.
pub fn receive_stamped(socket: &UdpSocket, data: &mut [u8]) -> Option<(usize, Nanos)> {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut part = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    // SAFETY: all zeroes is a valid msghdr; its pointers are those of buffers that outlive the call,
    // with their lengths; the control message is read by the macros that know its layout.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>();
        let length = libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0);
        if length < 0 {
            return None;
        }
        let first = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(
            !first.is_null() && (*first).cmsg_type == libc::SCM_TIMESTAMPNS,
            "a datagram without its time"
        );
        let time = libc::CMSG_DATA(first)
            .cast::<libc::timespec>()
            .read_unaligned();
        let stamp = time.tv_sec as Nanos * SECOND + time.tv_nsec as Nanos;
        Some((length as usize, stamp))
    }
}
