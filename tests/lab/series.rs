//! What a receiver counted, in slots of 100 ms.

use super::time::{Nanos, SECOND, now};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The width of a slot.
pub const SLOT: Nanos = SECOND / 10;

/// Bytes received in each slot since `start`.
#[derive(Debug, Clone)]
pub struct Series {
    /// When the first slot begins.
    pub start: Nanos,
    /// Bytes of payload in each slot.
    pub bytes: Vec<u64>,
}

impl Series {
    /// Nothing yet.
    pub fn new(start: Nanos) -> Self {
        let bytes = Vec::new();
        Self { start, bytes }
    }

    /// Counts what just arrived.
    pub fn add(&mut self, bytes: u64) {
        let slot = (now().saturating_sub(self.start) / SLOT) as usize;
        if self.bytes.len() <= slot {
            self.bytes.resize(slot + 1, 0);
        }
        self.bytes[slot] += bytes;
    }

    /// Adds another of the same start.
    pub fn merge(&mut self, other: &Self) {
        self.bytes
            .resize(self.bytes.len().max(other.bytes.len()), 0);
        for (sum, bytes) in self.bytes.iter_mut().zip(&other.bytes) {
            *sum += bytes;
        }
    }

    /// Everything.
    pub fn total(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// Bit/s of payload over the slots that lie wholly within an interval.
    pub fn rate(&self, from: Nanos, to: Nanos) -> f64 {
        let first = from.saturating_sub(self.start).div_ceil(SLOT) as usize;
        let end = (to.saturating_sub(self.start) / SLOT) as usize;
        assert!(first < end, "an interval that holds no whole slot");
        let slots = self.bytes.iter().skip(first).take(end - first);
        let bits = slots.sum::<u64>() as f64 * 8.0;
        bits * SECOND as f64 / ((end - first) as f64 * SLOT as f64)
    }
}

/// How a flow in progress is watched and stopped.
#[derive(Clone)]
pub struct Gauge {
    /// When the flow was started.
    pub start: Nanos,
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
}

impl Gauge {
    /// A flow that starts now.
    pub fn new() -> Self {
        Self {
            start: now(),
            stop: Arc::default(),
            received: Arc::default(),
        }
    }

    /// Whether the flow shall end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks the flow to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Counts what the receiver got.
    pub fn add(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of payload received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}
