//! A flow that notices everything: small datagrams at an even pace, each with a number and a time.

use super::Namespace;
use super::series::Gauge;
use super::socket::{TICK, drops, receive_stamped, run_first, set, udp};
use super::time::{Nanos, now, real_ahead, sleep, sleep_until};
use nix::libc;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration;

/// A paced flow that is not started yet.
pub struct Paced {
    from: (Namespace, SocketAddr),
    to: (Namespace, SocketAddr),
    interval: Duration,
    payload: usize,
    dscp: u8,
}

impl Paced {
    /// 1,000 datagrams a second of 100 bytes (1.1 Mbit/s with Ethernet) unless told otherwise.
    pub fn new(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr), port: u16) -> Self {
        Self {
            from: (from.0.clone(), SocketAddr::new(from.1, 0)),
            to: (to.0.clone(), SocketAddr::new(to.1, port)),
            interval: Duration::from_millis(1),
            payload: 100,
            dscp: 0,
        }
    }

    /// The pause between two datagrams.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The source port, for flows that look like replies of a server.
    pub fn source_port(mut self, port: u16) -> Self {
        self.from.1.set_port(port);
        self
    }

    /// Bytes of payload in a datagram, at least 16.
    pub fn payload(mut self, bytes: usize) -> Self {
        self.payload = bytes.max(16);
        self
    }

    /// The datagrams' DSCP.
    pub fn dscp(mut self, dscp: u8) -> Self {
        self.dscp = dscp;
        self
    }

    /// Sends until it is stopped.
    pub fn start(self) -> Running {
        let receiver = self.to.0.make(|| udp(self.to.1, 0));
        set(&receiver, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
        let target = receiver.local_addr().unwrap();
        let (source, dscp) = (self.from.1, self.dscp);
        let sender = self.from.0.make(|| udp(source, dscp));
        sender.connect(target).expect("a route");
        let sending = Gauge::new();
        let receiving = sending.clone();
        let until = Gauge::new();
        let end = until.clone();
        let (interval, payload) = (self.interval, self.payload);
        Running {
            sending: std::thread::spawn({
                let gauge = sending.clone();
                move || send(&sender, interval, payload, &gauge)
            }),
            receiving: std::thread::spawn(move || receive(&receiver, &receiving, &end)),
            stop_sending: sending,
            stop_receiving: until,
        }
    }
}

/// A paced flow in progress.
pub struct Running {
    sending: JoinHandle<Vec<Nanos>>,
    receiving: JoinHandle<(Vec<Arrival>, u32)>,
    stop_sending: Gauge,
    stop_receiving: Gauge,
}

impl Running {
    /// Datagrams received so far.
    pub fn received(&self) -> u64 {
        self.stop_sending.received()
    }

    /// Ends the flow, giving what is under way a second to arrive.
    pub fn stop(self) -> Report {
        self.stop_sending.stop();
        let sent = self.sending.join().expect("the paced sender");
        // Until nothing came for 200 ms, or a second is over.
        let (deadline, mut seen) = (now() + 1_000_000_000, u64::MAX);
        while now() < deadline && seen != self.stop_sending.received() {
            seen = self.stop_sending.received();
            sleep(TICK * 4);
        }
        self.stop_receiving.stop();
        let (arrivals, dropped) = self.receiving.join().expect("the paced receiver");
        assert_eq!(dropped, 0, "the paced receiver itself lost datagrams");
        Report { sent, arrivals }
    }
}

/// One datagram that arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its number, from 0.
    pub number: u64,
    /// When it was handed to the network.
    pub sent: Nanos,
    /// When the receiver's kernel had it.
    pub at: Nanos,
}

/// What came of a paced flow.
pub struct Report {
    /// When each datagram was sent, by number.
    pub sent: Vec<Nanos>,
    /// What arrived, in that order.
    pub arrivals: Vec<Arrival>,
}

impl Report {
    /// The same of those that were sent within an interval.
    pub fn between(&self, from: Nanos, to: Nanos) -> Self {
        let within = |moment: &Nanos| (from..to).contains(moment);
        let first = self.sent.partition_point(|moment| *moment < from) as u64;
        Self {
            sent: self.sent.iter().copied().filter(within).collect(),
            arrivals: self
                .arrivals
                .iter()
                .filter(|arrival| within(&arrival.sent))
                .map(|arrival| Arrival {
                    number: arrival.number - first,
                    ..*arrival
                })
                .collect(),
        }
    }

    /// How many never arrived.
    pub fn lost(&self) -> usize {
        self.missing().len()
    }

    /// The numbers of those that never arrived.
    pub fn missing(&self) -> Vec<u64> {
        let mut here = vec![false; self.sent.len()];
        for arrival in &self.arrivals {
            if let Some(slot) = here.get_mut(arrival.number as usize) {
                *slot = true;
            }
        }
        let numbers = here.iter().zip(0..);
        numbers
            .filter(|(here, _)| !**here)
            .map(|(_, n)| n)
            .collect()
    }

    /// How many arrived after one that was sent later.
    pub fn reordered(&self) -> usize {
        let mut highest = 0;
        let late = self.arrivals.iter().filter(|arrival| {
            let late = arrival.number < highest;
            highest = highest.max(arrival.number);
            late
        });
        late.count()
    }

    /// How many arrived more than once.
    pub fn duplicated(&self) -> usize {
        self.arrivals.len() + self.lost() - self.sent.len()
    }

    /// The longest pause between two arrivals.
    pub fn longest_gap(&self) -> Duration {
        longest(self.arrivals.iter().map(|arrival| arrival.at))
    }

    /// The longest pause that the sender itself made: what a gap has to be judged by.
    pub fn longest_pause(&self) -> Duration {
        longest(self.sent.iter().copied())
    }

    /// One-way delay at a percentile, 100 for the longest.
    pub fn delay(&self, percentile: f64) -> Duration {
        let mut delays: Vec<Nanos> = self
            .arrivals
            .iter()
            .map(|arrival| arrival.at.saturating_sub(arrival.sent))
            .collect();
        assert!(!delays.is_empty(), "nothing of the paced flow arrived");
        delays.sort_unstable();
        let rank = (delays.len() as f64 * percentile / 100.0).ceil() as usize;
        Duration::from_nanos(delays[rank.clamp(1, delays.len()) - 1])
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "{} sent, {} lost, {} reordered, gap {:?} (sender's {:?})",
            self.sent.len(),
            self.lost(),
            self.reordered(),
            self.longest_gap(),
            self.longest_pause(),
        )?;
        if self.arrivals.is_empty() {
            return Ok(());
        }
        write!(
            out,
            ", delay {:?} median, {:?} 99 %, {:?} longest",
            self.delay(50.0),
            self.delay(99.0),
            self.delay(100.0)
        )
    }
}

fn longest(moments: impl Iterator<Item = Nanos> + Clone) -> Duration {
    let pairs = moments.clone().zip(moments.skip(1));
    let gap = pairs.map(|(a, b)| b.saturating_sub(a)).max();
    Duration::from_nanos(gap.unwrap_or_default())
}

fn send(socket: &UdpSocket, interval: Duration, payload: usize, gauge: &Gauge) -> Vec<Nanos> {
    run_first();
    let mut data = vec![0u8; payload];
    let mut sent = Vec::new();
    let mut next = now();
    while !gauge.stopped() {
        sleep_until(next);
        let moment = now();
        data[..8].copy_from_slice(&(sent.len() as u64).to_be_bytes());
        data[8..16].copy_from_slice(&moment.to_be_bytes());
        // One that the host refuses is sent and lost.
        let _ = socket.send(&data);
        sent.push(moment);
        next += interval.as_nanos() as Nanos;
        // Held up, it goes on from here: a clump would measure the clump.
        next = next.max(now());
    }
    sent
}

fn receive(socket: &UdpSocket, gauge: &Gauge, end: &Gauge) -> (Vec<Arrival>, u32) {
    run_first();
    let ahead = real_ahead();
    let mut arrivals = Vec::new();
    let mut data = [0u8; 2048];
    while !end.stopped() {
        let Some((length, real)) = receive_stamped(socket, &mut data) else {
            continue;
        };
        if length < 16 {
            continue;
        }
        let word = |at: usize| u64::from_be_bytes(data[at..at + 8].try_into().unwrap());
        arrivals.push(Arrival {
            number: word(0),
            sent: word(8),
            at: real - ahead,
        });
        gauge.add(1);
    }
    (arrivals, drops(socket))
}
