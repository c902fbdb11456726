//! From a decision to a plan: engine, lowering and diff, by the number of classes.

use crate::Bench;
use crate::decision::Decision;
use crate::samples::{in_turn, thinking_time};
use crate::sheet::{Bar, Figure};

const SIZES: [usize; 3] = [100, 1_000, 10_000];
const ROUNDS: usize = 31;

pub fn run(bench: &mut Bench) {
    let mut decisions = SIZES.map(Decision::new);
    let times = in_turn::<6>(ROUNDS, |which| {
        let decision = &mut decisions[which % SIZES.len()];
        let (seconds, ops) = if which < SIZES.len() {
            thinking_time(|| decision.step())
        } else {
            thinking_time(|| decision.plan())
        };
        assert_eq!(ops, 1, "one class has changed");
        seconds
    });
    let sheet = &mut bench.sheet;
    for (what, times) in [
        ("rates alone (a ramp's step)", &times[..3]),
        ("all anew (a policy's change)", &times[3..]),
    ] {
        sheet.row(
            &format!("1,000 classes, {what}"),
            Figure::ms(times[1].median()),
            Bar::None,
        );
        sheet.row(
            &format!("10,000 classes, {what}"),
            Figure::ms(times[2].median()),
            Bar::AtMost(10.0),
        );
        sheet.spread(
            Figure::ms(times[2].quantile(0.25)),
            Figure::ms(times[2].quantile(0.75)),
            ROUNDS,
        );
        sheet.row(
            "growth from 1,000 to 10,000 (n log n: 13.3 x)",
            Figure::times(times[2].of(&times[1]).median()),
            Bar::AtMost(10.0 * 4.0 / 3.0),
        );
    }
}
