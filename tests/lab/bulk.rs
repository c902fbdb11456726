//! Many TCP connections that send as much as the network takes.

use super::Namespace;
use super::series::{Gauge, Series};
use super::socket::{TICK, tcp_connect, tcp_listener};
use nix::libc;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;

/// A bulk transfer that is not started yet.
pub struct Bulk {
    client: Namespace,
    source: IpAddr,
    server: Namespace,
    target: SocketAddr,
    connections: usize,
    download: bool,
    dscp: u8,
    bleached: bool,
    asked: Option<IpAddr>,
}

impl Bulk {
    /// `client` opens connections to `server` on a port and, unless told otherwise, sends. Port 0 is
    /// any free one.
    pub fn tcp(client: (&Namespace, IpAddr), server: (&Namespace, IpAddr), port: u16) -> Self {
        Self {
            client: client.0.clone(),
            source: client.1,
            server: server.0.clone(),
            target: SocketAddr::new(server.1, port),
            connections: 1,
            download: false,
            dscp: 0,
            bleached: false,
            asked: None,
        }
    }

    /// The server sends.
    pub fn download(mut self) -> Self {
        self.download = true;
        self
    }

    /// How many connections.
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// The DSCP of both sides' packets.
    pub fn dscp(mut self, dscp: u8) -> Self {
        self.dscp = dscp;
        self
    }

    /// The server's packets have no DSCP, as where a provider takes it off.
    pub fn bleached(mut self) -> Self {
        self.bleached = true;
        self
    }

    /// The client asks at another address, which somebody on the way translates to the server's.
    pub fn asked_at(mut self, address: IpAddr) -> Self {
        self.asked = Some(address);
        self
    }

    /// Opens the connections, which must succeed, and lets them run until they are stopped.
    pub fn start(self) -> Running {
        let (source, dscp) = (SocketAddr::new(self.source, 0), self.dscp);
        let of_server = if self.bleached { 0 } else { dscp };
        let listener: TcpListener = self.server.make(|| tcp_listener(self.target, of_server));
        let mut target = listener.local_addr().unwrap();
        if let Some(asked) = self.asked {
            target.set_ip(asked);
        }
        let gauge = Gauge::new();
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for _ in 0..self.connections {
            let client = self.client.make(|| {
                tcp_connect(source, target, dscp)
                    .unwrap_or_else(|error| panic!("{source} to {target}: {error}"))
            });
            let (server, _) = listener.accept().expect("the connection was answered");
            server.set_read_timeout(Some(TICK)).unwrap();
            server.set_write_timeout(Some(TICK)).unwrap();
            let (sender, receiver) = if self.download {
                (server, client)
            } else {
                (client, server)
            };
            let of = gauge.clone();
            senders.push(std::thread::spawn(move || send(sender, &of)));
            let of = gauge.clone();
            receivers.push(std::thread::spawn(move || receive(&receiver, &of)));
        }
        Running {
            gauge,
            senders,
            receivers,
        }
    }
}

/// A bulk transfer in progress.
pub struct Running {
    gauge: Gauge,
    senders: Vec<JoinHandle<()>>,
    receivers: Vec<JoinHandle<Series>>,
}

impl Running {
    /// Bytes of payload received so far.
    pub fn received(&self) -> u64 {
        self.gauge.received()
    }

    /// Ends the transfer; what was under way in queues is discarded.
    pub fn stop(self) -> Report {
        self.gauge.stop();
        for sender in self.senders {
            sender.join().expect("a sender");
        }
        let connections: Vec<Series> = self
            .receivers
            .into_iter()
            .map(|receiver| receiver.join().expect("a receiver"))
            .collect();
        let mut all = Series::new(self.gauge.start);
        connections.iter().for_each(|one| all.merge(one));
        Report { all, connections }
    }
}

/// What a bulk transfer's receivers counted.
pub struct Report {
    /// All connections together.
    pub all: Series,
    /// Each connection.
    pub connections: Vec<Series>,
}

fn send(mut stream: TcpStream, gauge: &Gauge) {
    let block = [0u8; 128 * 1024];
    while !gauge.stopped() {
        match stream.write(&block) {
            Ok(_) => {}
            Err(error) if waits(error.kind()) => {}
            // The other side, a block or an admission ended the connection: that is a result, too.
            Err(_) => break,
        }
    }
    // Closing with data queued would go on sending into the next measurement: reset instead.
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: pointer and length are those of the structure.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as libc::socklen_t,
        );
    }
}

fn receive(stream: &TcpStream, gauge: &Gauge) -> Series {
    let mut series = Series::new(gauge.start);
    while !gauge.stopped() {
        // MSG_TRUNC discards the bytes in the kernel: no copy, and the cores are left to the sender.
        // SAFETY: with MSG_TRUNC nothing is written to the buffer of a TCP socket.
        let count = unsafe {
            libc::recv(
                stream.as_raw_fd(),
                std::ptr::null_mut(),
                1 << 20,
                libc::MSG_TRUNC,
            )
        };
        match count {
            0 => break,
            1.. => {
                series.add(count as u64);
                gauge.add(count as u64);
            }
            _ if waits(std::io::Error::last_os_error().kind()) => {}
            _ => break,
        }
    }
    series
}

fn waits(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
