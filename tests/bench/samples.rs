//! What was measured several times: interleaved runs, the median of them, how far they lie apart.

use nix::time::{ClockId, clock_gettime};

use crate::lab::now;

/// Figures of one thing.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// One more.
    pub fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The figure below which that part of all lie.
    pub fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1) as f64;
        sorted[(last * part).round() as usize]
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Each figure as a part of the one of the same round.
    pub fn of(&self, other: &Self) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self(pairs.map(|(one, other)| one / other).collect())
    }
}

/// How long something takes, in seconds.
pub fn time<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begin = now();
    let result = work();
    ((now() - begin) as f64 / 1e9, result)
}

/// How long something that does nothing but think keeps the CPU, in seconds: others that have it meanwhile
/// do not count.
pub fn thinking_time<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let read = || {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
    };
    let begin = read();
    let result = work();
    (read() - begin, result)
}

/// Does everything in turn, in each round beginning with another, and times it. What loads the machine
/// meanwhile loads all alike.
pub fn in_turn<const N: usize>(rounds: usize, mut run: impl FnMut(usize) -> f64) -> [Samples; N] {
    let mut samples = std::array::from_fn(|_| Samples::default());
    for round in 0..rounds {
        let mut of_round = [0.0; N];
        for at in 0..N {
            let which = (round + at) % N;
            of_round[which] = run(which);
        }
        // By round, so that ratios are of what was measured side by side.
        for (samples, figure) in samples.iter_mut().zip(of_round) {
            samples.add(figure);
        }
    }
    samples
}
