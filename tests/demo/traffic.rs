//! Who sends what in the play, and what of it is seen at the far ends of the two circuits.

use std::time::Duration;

use crate::lab::bulk::{self, Bulk};
use crate::lab::capture::Capture;
use crate::lab::paced::{self, Paced};
use crate::lab::time::{Nanos, SECOND};
use crate::lab::trace::Trace;
use crate::lab::udp::{self, UdpFlood};
use crate::lab::{Lab, address, now, sleep};

/// What one remote desktop takes, on the wire.
const SESSION: u64 = 140_000;
/// Payload of a desktop's datagrams, and what Ethernet, IP and UDP add to it.
const PAYLOAD: u64 = 1200;
const HEADERS: u64 = 42;

const DESKTOPS: u16 = 443;
const BACKUP: u16 = 873;
const FILES: u16 = 445;
const THIN: u16 = 1494;
const HELP_DESK: u16 = 5060;
const DOWNLOADS: u16 = 8080;

/// Remote desktops on their way to people at home: from the gateway's port 443, over UDP, at their pace.
pub fn desktops(lab: &Lab, sessions: u64) -> Desktops {
    let flow = UdpFlood::new(
        (lab.datacentre(), address::GATEWAY),
        (lab.internet(), address::WORKER),
        0,
    )
    .source_port(DESKTOPS)
    .first()
    .payload(PAYLOAD as usize)
    .rate(sessions * SESSION * PAYLOAD / (PAYLOAD + HEADERS));
    Desktops(flow.start())
}

/// What `sessions` want, in Mbit/s.
pub fn wanted(sessions: u64) -> f64 {
    (sessions * SESSION) as f64 / 1e6
}

/// The desktops' flow.
pub struct Desktops(udp::Running);

impl Desktops {
    /// Bytes on the wire that reached people's homes so far.
    pub fn received(&self) -> u64 {
        self.0.received() / PAYLOAD * (PAYLOAD + HEADERS)
    }

    pub fn stop(self) {
        self.0.stop();
    }
}

/// A voice-like flow of the help desk: a datagram each millisecond, each with a number.
pub fn help_desk(lab: &Lab) -> paced::Running {
    Paced::new(
        (lab.datacentre(), address::OPERATIONS),
        (lab.internet(), address::WORKER),
        HELP_DESK,
    )
    .start()
}

/// Senders that take whatever they are given: a backup over the internet circuit; files, and the desks of
/// two thin sites, over the MPLS circuit.
pub fn greedy(lab: &Lab) -> [bulk::Running; 4] {
    let from = (lab.datacentre(), address::SESSION_HOST);
    [
        (lab.internet(), address::WEB, BACKUP, 4),
        (lab.provider(), address::PROVIDER, FILES, 4),
        (lab.provins(), address::PROVINS, THIN, 2),
        (lab.nemours(), address::NEMOURS, THIN, 2),
    ]
    .map(|(host, address, port, connections)| {
        Bulk::tcp(from, (host, address), port)
            .connections(connections)
            .start()
    })
}

/// Receivers that take whatever they are given: session hosts from the internet, a thin site from there through
/// the edge; and a thin site that sends whatever it can.
pub fn takers(lab: &Lab) -> [bulk::Running; 3] {
    let desk = (lab.datacentre(), address::SESSION_HOST);
    let web = (lab.internet(), address::WEB);
    [
        Bulk::tcp(desk, web, DOWNLOADS).connections(4).download(),
        Bulk::tcp((lab.provins(), address::PROVINS), web, DOWNLOADS + 1)
            .connections(2)
            .download(),
        Bulk::tcp((lab.nemours(), address::NEMOURS), desk, THIN).connections(2),
    ]
    .map(Bulk::start)
}

/// Mbit/s of what arrives, headers counted.
pub struct Arrivals {
    pub downloads: f64,
    pub provins: f64,
    pub nemours: f64,
}

/// Watches for a while where what arrives is handed on; `wait` waits.
pub fn arrivals(lab: &Lab, wait: impl Fn(Duration), duration: Duration) -> Arrivals {
    let inside = Capture::start(lab.datacentre(), "edge0");
    let mpls = Capture::start(lab.provider(), "edge0");
    sleep(Duration::from_millis(100));
    let from = now();
    wait(duration);
    let to = now();
    let (inside, mpls) = (inside.stop(), mpls.stop());
    let rate = |trace: Trace| trace.paid_rate(from, to) / 1e6;
    Arrivals {
        downloads: rate(inside.only(|packet| packet.port(DOWNLOADS))),
        provins: rate(mpls.only(|packet| packet.port(DOWNLOADS + 1))),
        nemours: rate(inside.only(|packet| packet.port(THIN))),
    }
}

/// Both far ends, watched.
pub struct Wires {
    internet: Capture,
    mpls: Capture,
}

impl Wires {
    pub fn watch(lab: &Lab) -> Self {
        Self {
            internet: Capture::start(lab.internet(), "edge0"),
            mpls: Capture::start(lab.provider(), "edge0"),
        }
    }

    /// Bytes so far: on the internet circuit, on the MPLS circuit.
    pub fn seen(&self) -> [u64; 2] {
        [self.internet.seen(), self.mpls.seen()]
    }

    pub fn stop(self) -> Seen {
        Seen {
            internet: self.internet.stop(),
            mpls: self.mpls.stop(),
        }
    }
}

/// What both far ends saw.
pub struct Seen {
    internet: Trace,
    mpls: Trace,
}

/// Watches both far ends for a while; `wait` waits.
pub fn measure(lab: &Lab, wait: impl Fn(Duration), duration: Duration) -> Rates {
    let wires = Wires::watch(lab);
    sleep(Duration::from_millis(100));
    let from = now();
    wait(duration);
    let to = now();
    wires.stop().rates(from, to)
}

/// Mbit/s, headers counted.
pub struct Rates {
    pub internet: f64,
    pub desktops: f64,
    pub backup: f64,
    pub mpls: f64,
    pub files: f64,
    pub provins: f64,
    pub nemours: f64,
}

impl Seen {
    pub fn rates(&self, from: Nanos, to: Nanos) -> Rates {
        let rate = |trace: &Trace| trace.rate(from, to) / 1e6;
        let port = |trace: &Trace, port| rate(&trace.only(|packet| packet.port(port)));
        let desk = |desk| rate(&self.mpls.only(|packet| packet.target == Some(desk)));
        Rates {
            internet: rate(&self.internet),
            desktops: port(&self.internet, DESKTOPS),
            backup: port(&self.internet, BACKUP),
            mpls: rate(&self.mpls),
            files: port(&self.mpls, FILES),
            provins: desk(address::PROVINS),
            nemours: desk(address::NEMOURS),
        }
    }

    /// Mbit/s of both circuits together in the fullest second, wherever it begins.
    pub fn busiest_second(&self) -> f64 {
        let both = Trace::merge([&self.internet, &self.mpls]);
        let second = Duration::from_nanos(SECOND);
        both.worst_window(second).bytes as f64 * 8.0 / 1e6
    }
}
