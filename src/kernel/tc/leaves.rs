//! The options of the leaf qdiscs: from the model to bytes, and back.
//!
//! A leaf is made with every option that we mean to hold it to, and is read back as itself only
//! where each of them is as we make it; whatever differs is [`Leaf::Other`], which a plan replaces.
//!
//! What the kernel rounds is rounded in the model, by [`Leaf::settled`]: a leaf that is its own
//! settled form is read back as it was written.

use super::message::{Messages, TCA_KIND, TCA_OPTIONS, attribute, u32_at, u64_at};
use crate::model::state::Leaf;

/// Bytes for each turn among flows: one Ethernet packet, whatever the device's MTU, so that it can
/// be held to.
const FLOW_QUANTUM: u32 = 1_514;

/// `TCA_FQ_CODEL_…` of `linux/pkt_sched.h`.
mod fq_codel {
    pub const TARGET: u16 = 1;
    pub const LIMIT: u16 = 2;
    pub const INTERVAL: u16 = 3;
    pub const ECN: u16 = 4;
    pub const QUANTUM: u16 = 6;
    pub const CE_THRESHOLD: u16 = 7;
    pub const MEMORY_LIMIT: u16 = 9;
    /// The kernel's default (`fq_codel_init`): 32 MiB.
    pub const MEMORY: u32 = 32 << 20;
    pub const MARK: u32 = 1;
}

/// `TCA_CAKE_…` of `linux/pkt_sched.h`.
mod cake {
    pub const BASE_RATE64: u16 = 2;
    pub const DIFFSERV_MODE: u16 = 3;
    pub const FLOW_MODE: u16 = 5;
    /// `CAKE_DIFFSERV_BESTEFFORT`: the classes above have told the kinds of traffic apart.
    pub const BEST_EFFORT: u32 = 3;
    /// `CAKE_FLOW_TRIPLE`: fair between hosts of either side, then between flows.
    pub const TRIPLE: u32 = 7;
    /// The classes above hold the rate.
    pub const UNLIMITED: u64 = 0;
}

/// `struct tc_sfq_qopt_v1` of `linux/pkt_sched.h`.
mod sfq {
    /// Its length.
    pub const LENGTH: usize = 72;
    /// The length of the `struct tc_sfq_qopt` that it begins with.
    pub const V0: usize = 20;
    /// `SFQ_DEFAULT_FLOWS`: at most so many flows wait.
    pub const FLOWS: u32 = 128;
    /// `SFQ_MAX_DEPTH`: at most so many packets of one flow wait.
    pub const DEPTH: u32 = 127;
}

/// Writes kind and options of a leaf.
///
/// # Errors
/// Says why such a leaf cannot be made, where it cannot.
pub fn encode(messages: &mut Messages, leaf: Leaf) -> Result<(), &'static str> {
    if leaf.settled() != leaf {
        return Err("the kernel would round this leaf's options to others");
    }
    let kind: &[u8] = match leaf {
        Leaf::Pfifo { .. } => b"pfifo\0",
        Leaf::Sfq { .. } => b"sfq\0",
        Leaf::FqCodel { .. } => b"fq_codel\0",
        Leaf::Cake => b"cake\0",
        Leaf::Other => return Err("a leaf of an unknown kind cannot be made"),
    };
    messages.attribute(TCA_KIND, kind);
    messages.nest(TCA_OPTIONS, |options| match leaf {
        // `struct tc_fifo_qopt`, and no attributes.
        Leaf::Pfifo { limit } => options.put(&limit.to_ne_bytes()),
        Leaf::Sfq { limit } => put_sfq(options, limit),
        Leaf::FqCodel {
            limit,
            target_us,
            interval_us,
        } => {
            let fields = [
                (fq_codel::TARGET, told(target_us)),
                (fq_codel::LIMIT, limit),
                (fq_codel::INTERVAL, told(interval_us)),
                (fq_codel::ECN, fq_codel::MARK),
                (fq_codel::QUANTUM, FLOW_QUANTUM),
                (fq_codel::MEMORY_LIMIT, fq_codel::MEMORY),
            ];
            for (kind, value) in fields {
                options.attribute(kind, &value.to_ne_bytes());
            }
        }
        Leaf::Cake => {
            options.attribute(cake::BASE_RATE64, &cake::UNLIMITED.to_ne_bytes());
            options.attribute(cake::DIFFSERV_MODE, &cake::BEST_EFFORT.to_ne_bytes());
            options.attribute(cake::FLOW_MODE, &cake::TRIPLE.to_ne_bytes());
        }
        Leaf::Other => {}
    });
    Ok(())
}

/// Quantum, perturbation (never: it reorders), limit, divisor (the kernel's 1024), flows; then depth
/// and, all 0, what makes RED of it.
fn put_sfq(options: &mut Messages, limit: u32) {
    for field in [FLOW_QUANTUM, 0, limit, 0, sfq::FLOWS, sfq::DEPTH] {
        options.put(&field.to_ne_bytes());
    }
    options.put(&[0; sfq::LENGTH - sfq::V0 - 4]);
}

/// What must be told to a CoDel so that it tells `us` again: it keeps times in units of 1,024 ns
/// and rounds down both on the way in and on the way out (`codel_params`, `codel_time_to_us`).
fn told(us: u32) -> u32 {
    let units = (u64::from(us) * 1_000).div_ceil(1_024);
    u32::try_from((units * 1_024).div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// Kind and options of a leaf in the words of `tc`, on lines that `tc -batch` joins: they make of it what [`encode`] does. `None` for one that cannot be
/// made.
#[must_use]
pub fn words(leaf: Leaf) -> Option<String> {
    Some(match leaf {
        Leaf::Pfifo { limit } => format!("pfifo limit {limit}"),
        Leaf::Sfq { limit } => format!(
            "sfq limit {limit} quantum {FLOW_QUANTUM} flows {} depth {}",
            sfq::FLOWS,
            sfq::DEPTH
        ),
        Leaf::FqCodel {
            limit,
            target_us,
            interval_us,
        } => format!(
            "fq_codel limit {limit} target {}us interval {}us quantum {FLOW_QUANTUM} \\\n    memory_limit {}b ecn",
            told(target_us),
            told(interval_us),
            fq_codel::MEMORY
        ),
        Leaf::Cake => "cake unlimited besteffort triple-isolate".to_owned(),
        Leaf::Other => return None,
    })
}

/// The leaf that a kind and its options are; [`Leaf::Other`] for one that we would not make so.
#[must_use]
pub fn decode(kind: &[u8], options: &[u8]) -> Leaf {
    let leaf = match kind {
        b"pfifo" => u32_at(options, 0).map(|limit| Leaf::Pfifo { limit }),
        b"sfq" => decode_sfq(options),
        b"fq_codel" => decode_fq_codel(options),
        b"cake" => decode_cake(options),
        _ => None,
    };
    leaf.unwrap_or(Leaf::Other)
}

fn decode_sfq(options: &[u8]) -> Option<Leaf> {
    let field = |at: usize| u32_at(options, at * 4);
    let limit = field(2)?;
    let ours = field(0)? == FLOW_QUANTUM
        && field(1)? == 0
        // The kernel keeps no more flows than packets.
        && field(4)? == sfq::FLOWS.min(limit)
        && field(5)? == sfq::DEPTH
        && field(6)? == 0
        && field(8)? == 0;
    ours.then_some(Leaf::Sfq { limit })
}

fn decode_fq_codel(options: &[u8]) -> Option<Leaf> {
    let field = |kind| attribute(options, kind).and_then(|value| u32_at(value, 0));
    let ours = field(fq_codel::ECN)? == fq_codel::MARK
        && field(fq_codel::QUANTUM)? == FLOW_QUANTUM
        && field(fq_codel::MEMORY_LIMIT)? == fq_codel::MEMORY
        && field(fq_codel::CE_THRESHOLD).is_none();
    ours.then_some(Leaf::FqCodel {
        limit: field(fq_codel::LIMIT)?,
        target_us: field(fq_codel::TARGET)?,
        interval_us: field(fq_codel::INTERVAL)?,
    })
}

fn decode_cake(options: &[u8]) -> Option<Leaf> {
    let field = |kind| attribute(options, kind).and_then(|value| u32_at(value, 0));
    let rate = attribute(options, cake::BASE_RATE64).and_then(|value| u64_at(value, 0))?;
    let ours = rate == cake::UNLIMITED
        && field(cake::DIFFSERV_MODE)? == cake::BEST_EFFORT
        && field(cake::FLOW_MODE)? == cake::TRIPLE;
    ours.then_some(Leaf::Cake)
}
