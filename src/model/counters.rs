//! What the kernel counts, as it shows it.

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

/// What a queue has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueCounters {
    /// Packets dropped; wraps at 2³².
    pub drops: u32,
    /// Bytes that wait.
    pub backlog_bytes: u32,
}

impl From<Counters> for QueueCounters {
    /// As far as the class knows of its queue.
    fn from(class: Counters) -> Self {
        Self {
            drops: class.drops,
            backlog_bytes: class.backlog_bytes,
        }
    }
}
