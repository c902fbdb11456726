//! Counters of classes, in one bare dump a tree.

use std::io;

use super::message::{Messages, RTM_GETTCLASS, TCA_STATS2, TcObject, attributes, u32_at, u64_at};
use super::observe::{lower, upper};
use super::socket::RouteSocket;
use crate::model::state::{ClassId, Major, Minor};

/// `TCA_STATS_BASIC` of `linux/gen_stats.h`.
const BASIC: u16 = 1;
/// `TCA_STATS_QUEUE` of `linux/gen_stats.h`.
const QUEUE: u16 = 3;
/// `TCA_STATS_PKT64` of `linux/gen_stats.h`: packets that 32 bits cannot hold.
const PACKETS64: u16 = 8;

/// What a class has counted since it was made. Of an inner class, what passed below it.
///
/// HTB counts a drop where a leaf refuses a packet; what `fq_codel` and `cake` drop later is in their
/// own counters alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes sent.
    pub bytes: u64,
    /// Packets sent: those handed down in one piece count as the packets that they become.
    pub packets: u64,
    /// Packets dropped; wraps at 2³².
    pub drops: u32,
    /// How often the class had to wait for its ceiling; wraps at 2³².
    pub overlimits: u32,
    /// Bytes that wait.
    pub backlog_bytes: u32,
    /// Packets that wait.
    pub backlog_packets: u32,
}

/// Appends the counters of a tree's classes to `into`, in the kernel's order; clears it first.
///
/// `into` is the caller's so that samples allocate nothing. A dump beside concurrent adding and
/// deleting may miss classes; a counter that is not there is not zero, it is unknown.
///
/// # Errors
/// Where the dump fails.
pub fn read(
    socket: &mut RouteSocket,
    index: u32,
    major: Major,
    into: &mut Vec<(ClassId, Counters)>,
) -> io::Result<()> {
    let root = u32::from(major.get()) << 16;
    let header = |messages: &mut Messages| messages.tc_header(index, 0, root);
    let spare = std::cell::Cell::new(std::mem::take(into));
    let start = || {
        let mut counters = spare.take();
        counters.clear();
        counters
    };
    *into = socket.dump(RTM_GETTCLASS, header, start, |counters, payload| {
        counters.extend(decode(payload, major));
    })?;
    Ok(())
}

/// The counters in a class's message; `None` for a class that is not of the tree.
fn decode(payload: &[u8], major: Major) -> Option<(ClassId, Counters)> {
    let object = TcObject::read(payload)?;
    if upper(object.handle) != major.get() {
        return None;
    }
    let minor = Minor::new(lower(object.handle))?;
    let mut counters = Counters::default();
    let (_, stats) = attributes(object.attributes).find(|(kind, _)| *kind == TCA_STATS2)?;
    for (kind, value) in attributes(stats) {
        match kind {
            BASIC => {
                counters.bytes = u64_at(value, 0)?;
                counters.packets = u64::from(u32_at(value, 8)?);
            }
            QUEUE => {
                counters.backlog_packets = u32_at(value, 0)?;
                counters.backlog_bytes = u32_at(value, 4)?;
                counters.drops = u32_at(value, 8)?;
                counters.overlimits = u32_at(value, 16)?;
            }
            // Follows the basic ones, where 32 bits do not do.
            PACKETS64 => counters.packets = u64_at(value, 0)?,
            _ => {}
        }
    }
    Some((ClassId { major, minor }, counters))
}
