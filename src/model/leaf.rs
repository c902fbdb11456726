//! The queues at the ends of a tree.

use serde::{Deserialize, Serialize};

/// The queueing discipline of a leaf. Its handle's major is its class's minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaf {
    /// First in, first out.
    Pfifo {
        /// At most so many packets.
        limit: u32,
    },
    /// Stochastic fair queueing.
    Sfq {
        /// At most so many packets.
        limit: u32,
    },
    /// Fair queueing with controlled delay.
    FqCodel {
        /// At most so many packets.
        limit: u32,
        /// The delay that is let stand, in microseconds.
        target_us: u32,
        /// How long a higher delay is let stand, in microseconds.
        interval_us: u32,
    },
    /// CAKE, unshaped.
    Cake,
    /// One that is not ours, or not as we would make it.
    Other,
}

/// A kind of leaf that a kernel may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeafKind {
    /// `pfifo`.
    Pfifo,
    /// `sfq`.
    Sfq,
    /// `fq_codel`.
    FqCodel,
    /// `cake`.
    Cake,
}

impl LeafKind {
    /// As the kernel calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pfifo => "pfifo",
            Self::Sfq => "sfq",
            Self::FqCodel => "fq_codel",
            Self::Cake => "cake",
        }
    }
}

impl Leaf {
    /// The most packets that an `sfq` keeps: 127 of each of 128 flows
    /// (`SFQ_MAX_DEPTH`, `SFQ_DEFAULT_FLOWS` of the kernel's `net/sched/sch_sfq.c`).
    pub const SFQ_MOST: u32 = 127 * 128;

    /// The nearest leaf that the kernel can hold to the letter, so that what is read is what was
    /// written: a `pfifo` of at least 1 packet, an `sfq` of 2 to [`Leaf::SFQ_MOST`], an `fq_codel`
    /// of at least 1 packet and of times between 1 µs and a minute, each up to 1 µs longer.
    ///
    /// CoDel counts in units of 1,024 ns (`CODEL_SHIFT` of the kernel's `include/net/codel.h`), so
    /// one microsecond in 42 is no time that it can tell; 5 ms and 100 ms are.
    #[must_use]
    pub fn settled(self) -> Self {
        let time = |us: u32| {
            let units = (u64::from(us.clamp(1, 60_000_000)) * 1_000).div_ceil(1_024);
            u32::try_from(units * 1_024 / 1_000).unwrap_or(u32::MAX)
        };
        match self {
            Self::Pfifo { limit } => Self::Pfifo {
                limit: limit.max(1),
            },
            Self::Sfq { limit } => Self::Sfq {
                limit: limit.clamp(2, Self::SFQ_MOST),
            },
            Self::FqCodel {
                limit,
                target_us,
                interval_us,
            } => Self::FqCodel {
                limit: limit.max(1),
                target_us: time(target_us),
                interval_us: time(interval_us),
            },
            Self::Cake | Self::Other => self,
        }
    }

    /// Its kind; `None` for one that is not ours.
    #[must_use]
    pub const fn kind(self) -> Option<LeafKind> {
        match self {
            Self::Pfifo { .. } => Some(LeafKind::Pfifo),
            Self::Sfq { .. } => Some(LeafKind::Sfq),
            Self::FqCodel { .. } => Some(LeafKind::FqCodel),
            Self::Cake => Some(LeafKind::Cake),
            Self::Other => None,
        }
    }
}
