//! HTB's options: from the model to the bytes of `linux/pkt_sched.h`, and back.
//!
//! Rates are exact in both directions: the kernel keeps bytes per second in 64 bits. Bursts are
//! exact: it keeps nanoseconds, and takes and gives units of 64. No rate tables are sent, since the
//! link layer is always named (`TC_LINKLAYER_ETHERNET`, `TC_LINKLAYER_ATM`): 96 bytes a class
//! instead of 2,152.

use super::message::{Messages, TCA_KIND, TCA_OPTIONS, attribute, u16_at, u32_at, u64_at};
use crate::model::circuit::{LinkLayer, Overhead};
use crate::model::class::Priority;
use crate::model::state::{Minor, Role, TcClass, Ticks};
use crate::units::Rate;

/// The kind, as the kernel calls it.
pub const KIND: &[u8] = b"htb";

/// `TCA_HTB_PARMS`: `struct tc_htb_opt`.
const PARMS: u16 = 1;
/// `TCA_HTB_INIT`: `struct tc_htb_glob`.
const INIT: u16 = 2;
/// `TCA_HTB_RATE64`: bytes per second that 32 bits cannot hold.
const RATE64: u16 = 6;
/// `TCA_HTB_CEIL64`: likewise.
const CEIL64: u16 = 7;

/// `TC_HTB_PROTOVER`: the only version that there is.
const VERSION: u32 = 3;
/// Only for classes without a quantum, of which there are none.
const RATE_TO_QUANTUM: u32 = 10;
/// `TC_LINKLAYER_ETHERNET`.
const ETHERNET: u8 = 1;
/// `TC_LINKLAYER_ATM`.
const ATM: u8 = 2;
/// `TC_LINKLAYER_MASK`.
const LINK_LAYER_MASK: u8 = 0x0f;
/// What a class that is to have children is given: with them it counts for nothing, without a quantum
/// the kernel would derive one, and complain.
pub const INNER_QUANTUM: u32 = 1_514;

/// Writes kind and options of a root qdisc.
pub fn encode_root(messages: &mut Messages, default: Minor) {
    messages.attribute(TCA_KIND, b"htb\0");
    messages.nest(TCA_OPTIONS, |options| {
        options.nest(INIT, |init| {
            for field in [VERSION, RATE_TO_QUANTUM, u32::from(default.get()), 0, 0] {
                init.put(&field.to_ne_bytes());
            }
        });
    });
}

/// The default class of a root qdisc, from its options; `None` where it is none that we would name.
#[must_use]
pub fn decode_root(options: &[u8]) -> Option<Minor> {
    let default = u32_at(attribute(options, INIT)?, 8)?;
    Minor::new(u16::try_from(default).ok()?)
}

/// Writes kind and options of a class.
pub fn encode_class(messages: &mut Messages, class: &TcClass) {
    let (priority, quantum) = match &class.role {
        Role::Inner => (Priority::FIRST, INNER_QUANTUM),
        Role::Leaf {
            priority, quantum, ..
        } => (*priority, *quantum),
    };
    messages.attribute(TCA_KIND, b"htb\0");
    messages.nest(TCA_OPTIONS, |options| {
        options.nest(PARMS, |parms| {
            put_rate(parms, class.rate, class);
            put_rate(parms, class.ceil, class);
            let level = 0; // Only ever told by the kernel.
            let tail = [
                class.burst.0,
                class.cburst.0,
                quantum,
                level,
                u32::from(priority.get()),
            ];
            for field in tail {
                parms.put(&field.to_ne_bytes());
            }
        });
        for (kind, rate) in [(RATE64, class.rate), (CEIL64, class.ceil)] {
            if u32::try_from(rate.bytes_per_second()).is_err() {
                options.attribute(kind, &rate.bytes_per_second().to_ne_bytes());
            }
        }
    });
}

/// `struct tc_ratespec`.
fn put_rate(messages: &mut Messages, rate: Rate, class: &TcClass) {
    let link_layer = match class.link_layer {
        LinkLayer::Ethernet => ETHERNET,
        LinkLayer::Atm => ATM,
    };
    let low = u32::try_from(rate.bytes_per_second()).unwrap_or(u32::MAX);
    messages.put(&[0, link_layer]); // The logarithm of a table's cell: there is no table.
    messages.put(&class.overhead.0.to_ne_bytes());
    messages.put(&[0; 4]); // The table's alignment, and the least size of a packet.
    messages.put(&low.to_ne_bytes());
}

/// A class from its options, under the parent that its message names. Its leaf is for whoever knows
/// the qdiscs to fill in.
///
/// `None` where the options are not HTB's.
#[must_use]
pub fn decode_class(parent: Option<Minor>, options: &[u8]) -> Option<TcClass> {
    let parms = attribute(options, PARMS)?;
    let wide = |kind, low: u32| {
        attribute(options, kind)
            .and_then(|value| u64_at(value, 0))
            .unwrap_or(u64::from(low))
    };
    let rate = Rate::from_bytes_per_second(wide(RATE64, u32_at(parms, 8)?));
    let ceil = Rate::from_bytes_per_second(wide(CEIL64, u32_at(parms, 20)?));
    let link_layer = match parms.get(1)? & LINK_LAYER_MASK {
        ATM => LinkLayer::Atm,
        _ => LinkLayer::Ethernet,
    };
    // A class with children stands at a level above 0 (`htb_change_class`).
    let role = if u32_at(parms, 36)? > 0 {
        Role::Inner
    } else {
        Role::Leaf {
            priority: Priority::try_from(u8::try_from(u32_at(parms, 40)?).ok()?).ok()?,
            quantum: u32_at(parms, 32)?,
            leaf: None,
        }
    };
    Some(TcClass {
        parent,
        rate,
        ceil,
        burst: Ticks(u32_at(parms, 24)?),
        cburst: Ticks(u32_at(parms, 28)?),
        overhead: Overhead(u16_at(parms, 2)?),
        link_layer,
        role,
    })
}

/// What HTB would take in silence and not do.
///
/// # Errors
/// Says what is wrong.
pub fn check_class(class: &TcClass) -> Result<(), &'static str> {
    if class.ceil < class.rate {
        return Err("a class's ceil may not be below its rate");
    }
    if class.burst.0 == 0 || class.cburst.0 == 0 {
        return Err("a class without a burst never sends");
    }
    match &class.role {
        // The kernel keeps it in an `int`.
        Role::Leaf { quantum, .. } if *quantum == 0 || i32::try_from(*quantum).is_err() => {
            Err("a class's quantum is between 1 and 2147483647 bytes")
        }
        Role::Leaf { .. } | Role::Inner => Ok(()),
    }
}
