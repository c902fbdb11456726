//! Counters that never step back, made of the kernel's, which do: what was carried since the daemon
//! began, at what rate, and how long the circuits were full.
//!
//! The kernel's counters fall to nothing where a class is made again, and those of drops wrap. A counter that a
//! dump did not bring is unknown, not zero: the next one that comes covers the time since the last.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::counters::{Counters, QueueCounters};
use crate::model::names::CircuitName;
use crate::model::node::{NodeKey, Place};
use crate::units::{Direction, Moment, PerDirection, Rate};

/// A circuit is hot from so many hundredths of its share on.
pub const HOT_PERCENT: u128 = 95;
/// A counter of 32 bits that falls by more than this has wrapped; by less, its queue was made again. No queue
/// drops a quarter of 2³² packets between two samples.
const WRAPPED: u32 = u32::MAX - (u32::MAX >> 2);

/// What was read of one place in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The place.
    pub place: NodeKey,
    /// The direction.
    pub direction: Direction,
    /// What it is given at this moment: a circuit's share, a class's guarantee.
    pub given: Rate,
    /// What its class counted; none where the dump did not bring it.
    pub class: Option<Counters>,
    /// What its queue counted, always from the same source: the leaf's own counters, or the class's where the
    /// leaf's are not read. None for a place that has no queue, and where the dump did not bring it.
    pub queue: Option<QueueCounters>,
}

/// What passed at one place in one direction since the meter first saw it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Passed {
    /// Bytes sent.
    pub bytes: u64,
    /// Packets sent.
    pub packets: u64,
    /// Packets dropped.
    pub drops: u64,
    /// Bytes that wait, when that was last known.
    pub backlog_bytes: u64,
    /// What was carried in the last sample, in bit/s; none where that is not known.
    pub rate: Option<f64>,
}

/// How long a circuit was full in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heat {
    /// How long the samples were in which it carried [`HOT_PERCENT`] of its share or more.
    pub hot: Duration,
    /// How long those of them were in which its queues dropped packets or grew.
    pub saturated: Duration,
}

/// Counts on over the samples of one run of the daemon.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    lines: BTreeMap<NodeKey, PerDirection<Option<Gauge>>>,
    heat: BTreeMap<CircuitName, PerDirection<Heat>>,
    last: Option<Moment>,
}

/// What is kept of one place in one direction.
#[derive(Debug, Clone, Copy, Default)]
struct Gauge {
    passed: Passed,
    class: Option<LastClass>,
    queue: Option<QueueCounters>,
}

/// A class's counters when they were last read.
#[derive(Debug, Clone, Copy)]
struct LastClass {
    at: Moment,
    given: Rate,
    counters: Counters,
}

/// What a circuit did in one sample.
#[derive(Debug, Clone, Copy, Default)]
struct Sampled {
    /// For how long it was hot.
    hot: Option<Duration>,
    drops: u64,
    backlog_before: u64,
    backlog: u64,
}

impl Meter {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what was read at `at`. A sample that is not later than the last one is passed over.
    ///
    /// What a counter shows when it is first seen was counted before, by whomever: counting begins there.
    ///
    /// A circuit is judged by the smaller of the shares at the two ends of a sample. A full circuit whose share
    /// changes carries something between the two: by the larger one it would look cool for as long as a
    /// ramp lasts. The price is that one sample beside a cut may be called hot that was only well filled.
    pub fn sample(&mut self, at: Moment, seen: &[Seen]) {
        if self.last.is_some_and(|last| at <= last) {
            return;
        }
        self.last = Some(at);
        for gauges in self.lines.values_mut() {
            for gauge in [&mut gauges.up, &mut gauges.down].into_iter().flatten() {
                gauge.passed.rate = None;
            }
        }
        let mut sampled: BTreeMap<&CircuitName, PerDirection<Sampled>> = BTreeMap::new();
        for line in seen {
            let circuit = sampled.entry(&line.place.circuit).or_default();
            let sampled = circuit.get_mut(line.direction);
            let gauges = match self.lines.get_mut(&line.place) {
                Some(gauges) => gauges,
                None => self.lines.entry(line.place.clone()).or_default(),
            };
            let gauge = gauges.get_mut(line.direction).get_or_insert_default();
            let hot = line.class.and_then(|class| gauge.class(at, line, class));
            if line.place.place == Place::Circuit {
                sampled.hot = hot;
            }
            if let Some(queue) = line.queue {
                gauge.queue(queue, sampled);
            }
        }
        for (circuit, sampled) in sampled {
            let heat = self.heat.entry(circuit.clone()).or_default();
            heat.up.add(sampled.up);
            heat.down.add(sampled.down);
        }
    }

    /// What passed at `place`; none where it was never seen.
    #[must_use]
    pub fn passed(&self, place: &NodeKey, direction: Direction) -> Option<Passed> {
        let gauge = self.lines.get(place)?.get(direction)?;
        Some(gauge.passed)
    }

    /// How long a circuit was full; never, for one that was not seen.
    #[must_use]
    pub fn heat(&self, circuit: &CircuitName, direction: Direction) -> Heat {
        let heat = self.heat.get(circuit);
        heat.map_or_else(Heat::default, |heat| heat.get(direction))
    }
}

impl Heat {
    fn add(&mut self, sampled: Sampled) {
        if let Some(length) = sampled.hot {
            self.hot = self.hot.saturating_add(length);
            if sampled.drops > 0 || sampled.backlog > sampled.backlog_before {
                self.saturated = self.saturated.saturating_add(length);
            }
        }
    }
}

impl Gauge {
    /// Counts on; gives the length of the sample where that was hot.
    fn class(&mut self, at: Moment, line: &Seen, counters: Counters) -> Option<Duration> {
        let now = LastClass {
            at,
            given: line.given,
            counters,
        };
        let before = self.class.replace(now)?;
        let old = before.counters;
        // Either alone tells: a class made again may have sent more bytes in fewer packets by now.
        let again = counters.bytes < old.bytes || counters.packets < old.packets;
        let (bytes, packets) = if again {
            (counters.bytes, counters.packets)
        } else {
            (counters.bytes - old.bytes, counters.packets - old.packets)
        };
        self.passed.bytes = self.passed.bytes.saturating_add(bytes);
        self.passed.packets = self.passed.packets.saturating_add(packets);
        let length = at.since(before.at);
        self.passed.rate = Some(bits(bytes) / length.as_secs_f64());
        // bytes · 8 / seconds ≥ given · 95 / 100, in whole numbers.
        let carried = u128::from(bytes) * 8 * 1_000_000_000 * 100;
        let given = u128::from(before.given.min(line.given).bits()) * HOT_PERCENT;
        (carried >= given.saturating_mul(length.as_nanos())).then_some(length)
    }

    /// Counts on, for the circuit as well.
    fn queue(&mut self, queue: QueueCounters, circuit: &mut Sampled) {
        self.passed.backlog_bytes = u64::from(queue.backlog_bytes);
        let Some(old) = self.queue.replace(queue) else {
            return;
        };
        let drops = if queue.drops >= old.drops {
            queue.drops - old.drops
        } else if old.drops - queue.drops > WRAPPED {
            queue.drops.wrapping_sub(old.drops)
        } else {
            queue.drops
        };
        self.passed.drops = self.passed.drops.saturating_add(u64::from(drops));
        circuit.drops = circuit.drops.saturating_add(u64::from(drops));
        circuit.backlog_before += u64::from(old.backlog_bytes);
        circuit.backlog += u64::from(queue.backlog_bytes);
    }
}

/// So many bytes in bits. What a sample holds is far below 2⁵³, up to which this is exact.
fn bits(bytes: u64) -> f64 {
    bytes as f64 * 8.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn circuit() -> NodeKey {
        "mpls".parse().unwrap()
    }

    fn class() -> NodeKey {
        "mpls.class.voice".parse().unwrap()
    }

    fn mbit(number: u64) -> Rate {
        Rate::from_bits(number * 1_000_000).unwrap()
    }

    fn at(seconds: f64) -> Moment {
        Moment(Duration::from_secs_f64(seconds))
    }

    fn counters(bytes: u64) -> Counters {
        Counters {
            bytes,
            packets: bytes / 1_000,
            ..Counters::default()
        }
    }

    /// The circuit with so many bytes, and its one class with such a queue.
    fn seen(share: Rate, bytes: Option<u64>, queue: Option<(u32, u32)>) -> [Seen; 2] {
        let queue = queue.map(|(drops, backlog_bytes)| QueueCounters {
            drops,
            backlog_bytes,
        });
        [
            Seen {
                place: circuit(),
                direction: Direction::Up,
                given: share,
                class: bytes.map(counters),
                queue: None,
            },
            Seen {
                place: class(),
                direction: Direction::Up,
                given: share,
                class: bytes.map(counters),
                queue,
            },
        ]
    }

    fn passed(meter: &Meter) -> Passed {
        meter.passed(&circuit(), Direction::Up).unwrap()
    }

    fn heat(meter: &Meter) -> (f64, f64) {
        let heat = meter.heat(&circuit().circuit, Direction::Up);
        (heat.hot.as_secs_f64(), heat.saturated.as_secs_f64())
    }

    #[test]
    fn counting_begins_where_a_counter_is_first_seen() {
        let mut meter = Meter::new();
        meter.sample(at(1.0), &seen(mbit(8), Some(5_000_000), Some((7, 0))));
        assert_eq!((passed(&meter).bytes, passed(&meter).rate), (0, None));
        meter.sample(at(3.0), &seen(mbit(8), Some(5_500_000), Some((9, 300))));
        assert_eq!(passed(&meter).bytes, 500_000);
        assert_eq!(passed(&meter).packets, 500);
        assert_eq!(passed(&meter).rate, Some(2_000_000.0));
        let voice = meter.passed(&class(), Direction::Up).unwrap();
        assert_eq!((voice.drops, voice.backlog_bytes), (2, 300));
        assert_eq!(meter.passed(&class(), Direction::Down), None);
    }

    #[test]
    fn a_class_made_again_counts_from_nothing() {
        let mut meter = Meter::new();
        meter.sample(at(1.0), &seen(mbit(8), Some(5_000_000), Some((70, 0))));
        meter.sample(at(2.0), &seen(mbit(8), Some(40_000), Some((3, 0))));
        assert_eq!(passed(&meter).bytes, 40_000);
        assert_eq!(meter.passed(&class(), Direction::Up).unwrap().drops, 3);
    }

    #[test]
    fn drops_wrap() {
        let mut meter = Meter::new();
        meter.sample(at(1.0), &seen(mbit(8), Some(0), Some((u32::MAX - 4, 0))));
        meter.sample(at(2.0), &seen(mbit(8), Some(0), Some((5, 0))));
        assert_eq!(meter.passed(&class(), Direction::Up).unwrap().drops, 10);
    }

    #[test]
    fn hot_is_from_95_percent_on_and_saturated_where_queues_grew_too() {
        for (bytes, queue, hot, saturated) in [
            (949_999, (9, 9), 0.0, 0.0),
            (950_000, (0, 0), 1.0, 0.0),
            (950_000, (1, 0), 1.0, 1.0),
            (950_000, (0, 1), 1.0, 1.0),
        ] {
            let mut meter = Meter::new();
            meter.sample(at(1.0), &seen(mbit(8), Some(0), Some((0, 0))));
            meter.sample(at(2.0), &seen(mbit(8), Some(bytes), Some(queue)));
            assert_eq!(heat(&meter), (hot, saturated), "{bytes} {queue:?}");
        }
    }

    #[test]
    fn a_queue_that_stands_or_shrinks_does_not_saturate() {
        let mut meter = Meter::new();
        meter.sample(at(1.0), &seen(mbit(8), Some(0), Some((4, 900))));
        meter.sample(at(2.0), &seen(mbit(8), Some(1_000_000), Some((4, 900))));
        meter.sample(at(3.0), &seen(mbit(8), Some(2_000_000), Some((4, 300))));
        assert_eq!(heat(&meter), (2.0, 0.0));
    }

    #[test]
    fn a_late_sample_counts_what_it_lasted() {
        let mut meter = Meter::new();
        meter.sample(at(1.0), &seen(mbit(8), Some(0), Some((0, 0))));
        meter.sample(at(5.5), &seen(mbit(8), Some(4_500_000), Some((1, 0))));
        assert_eq!(heat(&meter), (4.5, 4.5));
        meter.sample(at(5.5), &seen(mbit(8), Some(9_500_000), Some((2, 0))));
        assert_eq!(heat(&meter), (4.5, 4.5), "no later than the last one");
    }

    #[test]
    fn a_full_circuit_stays_hot_while_its_share_changes() {
        // Half of the second at 8 mbit, half at 16: either way 1.5 MB passed.
        for (before, after) in [(8, 16), (16, 8)] {
            let mut meter = Meter::new();
            meter.sample(at(1.0), &seen(mbit(before), Some(0), Some((0, 0))));
            meter.sample(at(2.0), &seen(mbit(after), Some(1_500_000), Some((0, 0))));
            assert_eq!(heat(&meter), (1.0, 0.0), "{before} to {after}");
        }
    }

    #[test]
    fn what_a_dump_did_not_bring_is_unknown() {
        let mut meter = Meter::new();
        meter.sample(at(1.0), &seen(mbit(8), Some(0), Some((0, 0))));
        meter.sample(at(2.0), &seen(mbit(8), None, None));
        assert_eq!((passed(&meter).bytes, passed(&meter).rate), (0, None));
        meter.sample(at(3.0), &seen(mbit(8), Some(2_000_000), Some((0, 0))));
        assert_eq!(passed(&meter).bytes, 2_000_000);
        assert_eq!(passed(&meter).rate, Some(8_000_000.0));
        assert_eq!(heat(&meter), (2.0, 0.0), "both seconds");
        meter.sample(at(4.0), &[]);
        assert_eq!(
            (passed(&meter).bytes, passed(&meter).rate),
            (2_000_000, None)
        );
    }

    proptest! {
        #[test]
        fn nothing_steps_back_and_heat_is_bounded(
            samples in prop::collection::vec(
                (
                    0..3_000_u64,
                    1..20_u64,
                    prop::option::of(prop_oneof![0..3_000_000_u64, Just(0), any::<u64>()]),
                    prop::option::of((any::<u32>(), 0..5_000_u32)),
                ),
                1..40,
            )
        ) {
            let mut meter = Meter::new();
            let (mut now, mut before, mut cool) = (0, Passed::default(), Heat::default());
            let mut drops = 0;
            for (later, share, bytes, queue) in samples {
                now += later;
                let moment = Moment(Duration::from_millis(now));
                meter.sample(moment, &seen(mbit(share), bytes, queue));
                let after = meter.passed(&circuit(), Direction::Up).unwrap_or_default();
                prop_assert!(after.bytes >= before.bytes && after.packets >= before.packets);
                let dropped = meter.passed(&class(), Direction::Up).unwrap_or_default().drops;
                prop_assert!(dropped >= drops);
                prop_assert!(after.rate.is_none_or(|rate| rate.is_finite() && rate >= 0.0));
                let heat = meter.heat(&circuit().circuit, Direction::Up);
                prop_assert!(heat.hot >= cool.hot && heat.saturated >= cool.saturated);
                prop_assert!(heat.saturated <= heat.hot);
                prop_assert!(heat.hot <= moment.0);
                (before, cool, drops) = (after, heat, dropped);
            }
        }

        /// A counter that only grows is counted exactly, whatever samples were missed.
        #[test]
        fn what_grows_is_counted_exactly(steps in prop::collection::vec((any::<bool>(), 0..1_000_000_u64), 1..30)) {
            let mut meter = Meter::new();
            let (mut total, mut second) = (0, 1.0);
            meter.sample(at(second), &seen(mbit(8), Some(77), None));
            for (missed, more) in steps {
                total += more;
                second += 1.0;
                let bytes = (!missed).then_some(77 + total);
                meter.sample(at(second), &seen(mbit(8), bytes, None));
                if !missed {
                    prop_assert_eq!(passed(&meter).bytes, total);
                }
            }
        }
    }
}
