//! Samples of counters: ours, `tc -s class show`, and a dump that nobody reads.

use std::process::{Command, Stdio};

use wanshift::kernel::{Host, Kernel};
use wanshift::model::state::Major;

use crate::Bench;
use crate::bare::Bare;
use crate::classes::{Classes, DEVICE, host};
use crate::samples::{in_turn, time};
use crate::sheet::{Bar, Figure};

const ROUNDS: usize = 21;

pub fn run(bench: &mut Bench) {
    for count in [1_000, 10_000] {
        of(bench, count);
    }
}

fn of(bench: &mut Bench, count: u16) {
    let namespace = host();
    let [ours, bare, tc] = namespace.enter(|| {
        let classes = Classes::make(count);
        let (mut kernel, mut bare) = (Host::open().unwrap(), Bare::open());
        let major = Major::new(Major::FIRST).unwrap();
        let mut counters = Vec::new();
        in_turn::<3>(ROUNDS, |which| match which {
            0 => {
                let (seconds, read) =
                    time(|| kernel.counters(&classes.device, major, &mut counters));
                read.unwrap();
                assert_eq!(counters.len(), usize::from(count) + 1);
                seconds
            }
            1 => time(|| bare.dump_classes(classes.index)).0,
            _ => {
                let (seconds, status) = time(|| {
                    Command::new("tc")
                        .args(["-s", "class", "show", "dev", DEVICE])
                        .stdout(Stdio::null())
                        .status()
                });
                assert!(status.unwrap().success());
                seconds
            }
        })
    });
    let sheet = &mut bench.sheet;
    sheet.row(
        &format!("{count} classes, read and decoded"),
        Figure::ms(ours.median()),
        Bar::None,
    );
    sheet.row(
        &format!("{count}, against tc -s class show"),
        Figure::percent(ours.of(&tc).median()),
        Bar::AtMost(50.0),
    );
    sheet.row(
        &format!("{count}, against a bare dump"),
        Figure::times(ours.of(&bare).median()),
        Bar::AtMost(1.2),
    );
}
