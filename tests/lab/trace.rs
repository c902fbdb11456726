//! What was seen on the wire, and the questions a test asks of it.

use super::time::{Nanos, SECOND, nanos};
use std::net::IpAddr;
use std::time::Duration;

/// One packet, as it passed a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// When.
    pub at: Nanos,
    /// Its bytes as the line, and HTB, count them: Ethernet header included, without checksum and
    /// preamble; of a GSO packet the sum of its segments, each with its headers.
    pub bytes: u64,
    /// Into how many packets it is cut, 1 for most.
    pub segments: u32,
    /// The Ethernet type.
    pub ether_type: u16,
    /// The IP protocol, 0 for none.
    pub protocol: u8,
    /// The IP packet's DSCP.
    pub dscp: u8,
    /// Where it comes from, by address.
    pub source: Option<IpAddr>,
    /// Where it goes, by address.
    pub target: Option<IpAddr>,
    /// TCP's or UDP's source port, 0 for none.
    pub source_port: u16,
    /// TCP's or UDP's destination port, 0 for none.
    pub target_port: u16,
}

impl Packet {
    /// Whether either port is this one: both ways of a service.
    pub fn port(&self, port: u16) -> bool {
        self.source_port == port || self.target_port == port
    }

    /// Whether either address is this one.
    pub fn address(&self, address: IpAddr) -> bool {
        self.source == Some(address) || self.target == Some(address)
    }
}

/// Packets in order of time.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The packets.
    pub packets: Vec<Packet>,
}

/// The stretch of a trace that holds the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Its bytes.
    pub bytes: u64,
    /// When it begins.
    pub start: Nanos,
}

impl Trace {
    /// The traces of several devices as one.
    pub fn merge<'a>(traces: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut packets: Vec<Packet> = traces
            .into_iter()
            .flat_map(|trace| trace.packets.iter().copied())
            .collect();
        packets.sort_by_key(|packet| packet.at);
        Self { packets }
    }

    /// Those packets that are wanted.
    pub fn only(&self, wanted: impl Fn(&Packet) -> bool) -> Self {
        let packets = self.packets.iter().copied();
        Self {
            packets: packets.filter(wanted).collect(),
        }
    }

    /// Those of an interval.
    pub fn between(&self, from: Nanos, to: Nanos) -> Self {
        self.only(|packet| (from..to).contains(&packet.at))
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.packets.iter().map(|packet| packet.bytes).sum()
    }

    /// Bit/s on the wire within an interval.
    pub fn rate(&self, from: Nanos, to: Nanos) -> f64 {
        let bytes = self.between(from, to).bytes();
        bytes as f64 * 8.0 * SECOND as f64 / (to - from) as f64
    }

    /// Bit/s of an interval, from one packet to the last: each is paid for by the pause after it. Where 64 KB
    /// go at once on a thin line, an interval cut just anywhere holds one too many, or one too few.
    pub fn paid_rate(&self, from: Nanos, to: Nanos) -> f64 {
        let trace = self.between(from, to);
        let (Some(first), Some(last)) = (trace.packets.first(), trace.packets.last()) else {
            return 0.0;
        };
        let time = (last.at - first.at) as f64 / 1e9;
        (trace.bytes() - last.bytes) as f64 * 8.0 / time
    }

    /// The fullest window of that length, wherever it begins.
    pub fn worst_window(&self, length: Duration) -> Window {
        let length = nanos(length);
        let mut worst = Window::default();
        let (mut bytes, mut end) = (0, 0);
        // A fullest window begins with a packet: moving its start up to one loses nothing.
        for first in &self.packets {
            while let Some(next) = self.packets.get(end).filter(|p| p.at < first.at + length) {
                bytes += next.bytes;
                end += 1;
            }
            if bytes > worst.bytes {
                let start = first.at;
                worst = Window { bytes, start };
            }
            bytes -= first.bytes;
        }
        worst
    }

    /// The longest time without a packet.
    pub fn longest_gap(&self) -> Duration {
        let pairs = self.packets.windows(2);
        let gap = pairs.map(|two| two[1].at - two[0].at).max();
        Duration::from_nanos(gap.unwrap_or_default())
    }
}
