//! From a decision to a plan: engine, lowering and diff, by the number of classes.

use crate::Bench;
use crate::decision::Decision;
use crate::samples::{in_turn, time};
use crate::sheet::{Bar, Figure};

const SIZES: [usize; 3] = [100, 1_000, 10_000];
const ROUNDS: usize = 31;

pub fn run(bench: &mut Bench) {
    let decisions = SIZES.map(Decision::new);
    let times = in_turn::<3>(ROUNDS, |size| {
        let (seconds, ops) = time(|| decisions[size].plan());
        assert_eq!(ops, 1, "one class has changed");
        seconds
    });
    let sheet = &mut bench.sheet;
    sheet.row("100 classes", Figure::ms(times[0].median()), Bar::None);
    sheet.row("1,000 classes", Figure::ms(times[1].median()), Bar::None);
    sheet.row(
        "10,000 classes",
        Figure::ms(times[2].median()),
        Bar::AtMost(10.0),
    );
    sheet.spread(
        Figure::ms(times[2].quantile(0.25)),
        Figure::ms(times[2].quantile(0.75)),
        ROUNDS,
    );
    // Ten times as many, and the logarithm grows by a third.
    let growth = times[2].of(&times[1]).median();
    sheet.row(
        "growth from 1,000 to 10,000 (n log n: 13.3 x)",
        Figure::times(growth),
        Bar::AtMost(10.0 * 4.0 / 3.0),
    );
}
