//! Counters of classes, in one bare dump a tree, and of their queues, in one for all trees.

use std::io;

use super::message::{
    Messages, RTM_GETQDISC, RTM_GETTCLASS, TCA_STATS2, TcObject, attributes, u32_at, u64_at,
};
use super::observe::{lower, upper};
use super::socket::RouteSocket;
pub use crate::model::counters::{Counters, QueueCounters};
use crate::model::state::{ClassId, Major, Minor};

/// `TCA_STATS_BASIC` of `linux/gen_stats.h`.
const BASIC: u16 = 1;
/// `TCA_STATS_QUEUE` of `linux/gen_stats.h`.
const QUEUE: u16 = 3;
/// `TCA_STATS_PKT64` of `linux/gen_stats.h`: packets that 32 bits cannot hold.
const PACKETS64: u16 = 8;

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

/// Appends what the queues at the classes of these trees counted to `into`, in the kernel's order; clears it
/// first. A tree is a device's index and the major of its handle.
///
/// One dump for all: the kernel tells of every queue of every device, whichever is asked for. What `fq_codel`
/// and `cake` drop once a packet is in is counted here alone.
///
/// # Errors
/// Where the dump fails.
pub fn read_queues(
    socket: &mut RouteSocket,
    trees: &[(u32, Major)],
    into: &mut Vec<(ClassId, QueueCounters)>,
) -> io::Result<()> {
    let header = |messages: &mut Messages| messages.tc_header(0, 0, 0);
    let spare = std::cell::Cell::new(std::mem::take(into));
    let start = || {
        let mut counters = spare.take();
        counters.clear();
        counters
    };
    *into = socket.dump(RTM_GETQDISC, header, start, |counters, payload| {
        counters.extend(decode_queue(payload, trees));
    })?;
    Ok(())
}

/// The counters in a queue's message; `None` for one that stands at no class of these trees.
fn decode_queue(payload: &[u8], trees: &[(u32, Major)]) -> Option<(ClassId, QueueCounters)> {
    let object = TcObject::read(payload)?;
    let major = Major::new(upper(object.parent))?;
    let minor = Minor::new(lower(object.parent))?;
    if !trees.contains(&(object.index, major)) {
        return None;
    }
    let (_, stats) = attributes(object.attributes).find(|(kind, _)| *kind == TCA_STATS2)?;
    let (_, queue) = attributes(stats).find(|(kind, _)| *kind == QUEUE)?;
    let counters = QueueCounters {
        backlog_bytes: u32_at(queue, 4)?,
        drops: u32_at(queue, 8)?,
    };
    Some((ClassId { major, minor }, counters))
}
