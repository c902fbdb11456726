//! The figures that a policy does not give: bursts, quanta, limits of queues.

use crate::model::class::Weight;
use crate::model::state::{Device, Leaf, LeafKind, Ticks};
use crate::units::Rate;

/// How long a class may send at once what it saved: long enough that a late timer on a busy machine
/// loses nothing, short enough that all classes of a pool together stay within 10 ms of it.
const BURST_NS: u64 = 8_000_000;
const MS_NS: u64 = 1_000_000;
const SECOND_NS: u128 = 1_000_000_000;
/// How long a queue without any management may hold packets at the ceiling, counted in full packets.
const QUEUE_NS: u64 = 50_000_000;
/// The bounds of that, in packets.
const QUEUE_PACKETS: (u64, u64) = (32, 1024);
/// `fq_codel`'s and `sfq`'s own defaults (kernel: `net/sched/sch_fq_codel.c`, `sch_sfq.c`).
const FQ_CODEL_LIMIT: u32 = 10_240;
const SFQ_LIMIT: u32 = 127;
/// The delay that CoDel lets stand, and for how long a higher one (RFC 8290, section 5.2).
const CODEL_TARGET_US: u64 = 5_000;
const CODEL_INTERVAL_US: u64 = 100_000;

/// The largest packet on the wire, with the link's header.
fn frame(device: &Device) -> u64 {
    u64::from(device.mtu) + u64::from(device.header)
}

/// How long a class may send at once at `rate`: 8 ms, and at the least one full packet.
///
/// In whole milliseconds that make whole bytes, where `rate` has such, as all whole kbit/s have: so `tc`, which takes
/// bytes, and of which some versions count in microseconds and some in ticks, can be told the same
/// ([`burst_bytes`]).
#[must_use]
pub fn burst(rate: Rate, device: &Device) -> Ticks {
    let least = rate.nanoseconds_for(frame(device)).max(BURST_NS);
    let first = least.div_ceil(MS_NS);
    // A whole number of kbit/s makes whole bytes in every eighth millisecond.
    let whole = (first..first.saturating_add(8))
        .find(|ms| (rate.bytes_per_second() % 1_000 * (ms % 1_000)).is_multiple_of(1_000));
    Ticks::from_nanoseconds(whole.map_or(least, |ms| ms.saturating_mul(MS_NS)))
}

/// How many bytes `rate` makes in `burst`; `None` where that is no whole number.
#[must_use]
pub fn burst_bytes(rate: Rate, burst: Ticks) -> Option<u128> {
    let parts = u128::from(rate.bytes_per_second()) * u128::from(burst.nanoseconds());
    parts.is_multiple_of(SECOND_NS).then_some(parts / SECOND_NS)
}

/// Bytes for each turn: the weight times the largest packet that is handed down in one piece.
///
/// Not derived from the rate: below one such packet a turn is overdrawn whatever the weight, and
/// weights of 1 and 3 come out nearly equal.
#[must_use]
pub fn quantum(weight: Weight, device: &Device) -> u32 {
    u32::from(weight.get()).saturating_mul(device.gso_max.max(device.mtu + device.header))
}

/// The queue of a class whose ceiling is `ceil`.
///
/// In the form that the kernel reads back. The figures follow the power of two below the ceiling, so that the steps of a ramp seldom touch them.
#[must_use]
pub fn leaf(kind: LeafKind, ceil: Rate, device: &Device) -> Leaf {
    let rate = Rate::floor(1 << ceil.bits().ilog2());
    let packet_ns = rate.nanoseconds_for(frame(device));
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let leaf = match kind {
        LeafKind::Pfifo => {
            let (least, most) = QUEUE_PACKETS;
            Leaf::Pfifo {
                limit: small((QUEUE_NS / packet_ns.max(1)).clamp(least, most)),
            }
        }
        LeafKind::Sfq => Leaf::Sfq { limit: SFQ_LIMIT },
        LeafKind::FqCodel => {
            // One and a half packets must fit into the target, as in sqm-scripts' `adapt_target_to_slow_link`.
            let target = (packet_ns * 3 / 2 / 1_000).max(CODEL_TARGET_US);
            Leaf::FqCodel {
                limit: FQ_CODEL_LIMIT,
                target_us: small(target),
                interval_us: small(CODEL_INTERVAL_US - CODEL_TARGET_US + target),
            }
        }
        LeafKind::Cake => Leaf::Cake,
    };
    leaf.settled()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::state::Root;

    fn device() -> Device {
        Device {
            index: 1,
            mtu: 1_500,
            header: 14,
            gso_max: 65_536,
            kind: String::new(),
            lower: None,
            master: None,
            up: true,
            priority_map: false,
            root: Root::Ours,
            edge: crate::model::state::Edge::None,
        }
    }

    #[test]
    fn a_burst_is_whole_bytes_and_takes_no_eight_milliseconds_more_than_it_must() {
        let device = device();
        for kbit in [
            1, 8, 63, 64, 800, 1_000, 1_513, 1_514, 1_515, 100_000, 40_000_001,
        ] {
            let rate = Rate::floor(kbit * 1_000);
            let burst = burst(rate, &device);
            let least = rate.nanoseconds_for(1_514).max(BURST_NS);
            assert!(burst.nanoseconds() >= least, "{rate}: {burst:?}");
            assert!(burst.nanoseconds() < least + BURST_NS, "{rate}: {burst:?}");
            assert!(burst_bytes(rate, burst) >= Some(1_514), "{rate}: {burst:?}");
        }
        let odd = Rate::floor(1_234_568);
        assert_eq!(burst_bytes(odd, burst(odd, &device)), None);
        // What is longer than can be said is as long as can be said.
        assert_eq!(burst(Rate::floor(8), &device), Ticks(u32::MAX));
    }

    #[test]
    fn the_kernel_can_hold_every_leaf_to_the_letter() {
        let device = device();
        for power in 3..43 {
            let ceil = Rate::floor(1 << power);
            for kind in [
                LeafKind::Pfifo,
                LeafKind::Sfq,
                LeafKind::FqCodel,
                LeafKind::Cake,
            ] {
                let leaf = leaf(kind, ceil, &device);
                assert_eq!(leaf.settled(), leaf, "{ceil}");
                assert_eq!(leaf.kind(), Some(kind));
            }
        }
    }
}
