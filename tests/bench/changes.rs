//! Changes of class: ours, `tc -batch`, and messages that stand ready.

use std::fmt::Write;

use wanshift::kernel::tc::answer::Reply;
use wanshift::kernel::tc::apply::change_classes;
use wanshift::kernel::tc::socket::RouteSocket;
use wanshift::kernel::{Host, Kernel};
use wanshift::model::state::{ClassId, TcClass};
use wanshift::plan::op::Op;

use crate::Bench;
use crate::bare::{Bare, class_changes};
use crate::classes::{Classes, DEVICE, host};
use crate::samples::{in_turn, time};
use crate::sheet::{Bar, Figure};

const ROUNDS: usize = 15;
/// What the classes are changed to, in turn, so that each change is one.
const RATES: [u64; 2] = [1_000_000, 3_000_000];

pub fn run(bench: &mut Bench) {
    for count in [1_000, 10_000] {
        of(bench, count);
    }
}

fn of(bench: &mut Bench, count: u16) {
    let namespace = host();
    let (made_in, [packed, ops, bare, tc]) = namespace.enter(|| {
        let classes = Classes::make(count);
        let states = RATES.map(|bits| classes.with_rate(bits));
        let batches = [0, 1].map(|to: usize| batch(&states[to]));
        let files = batches.map(|text| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, text).unwrap();
            file
        });
        let changes = [0, 1].map(|to: usize| class_ops(&classes, &states[1 - to], &states[to]));
        let raw = [0, 1].map(|to: usize| class_changes(classes.index, &states[to]));
        let (mut socket, mut kernel, mut bare) = (
            RouteSocket::open().unwrap(),
            Host::open().unwrap(),
            Bare::open(),
        );
        let mut to = 0;
        let samples = in_turn::<4>(ROUNDS, |which| {
            to = 1 - to;
            let (seconds, ()) = match which {
                0 => time(|| {
                    let pairs = states[to].iter().map(|(id, class)| (*id, class));
                    let replies = change_classes(&mut socket, classes.index, pairs);
                    assert!(replies.iter().all(|reply| *reply == Reply::Done));
                }),
                1 => time(|| {
                    let results = kernel.apply(&changes[to]);
                    assert!(results.iter().all(Result::is_ok));
                }),
                2 => time(|| bare.send(&raw[to])),
                _ => time(|| {
                    let path = files[to].path().to_str().unwrap();
                    let mut tc = std::process::Command::new("tc");
                    assert!(tc.args(["-batch", path]).status().unwrap().success());
                }),
            };
            seconds
        });
        (classes.made_in, samples)
    });
    let sheet = &mut bench.sheet;
    sheet.row(
        &format!("{count} classes made, once"),
        Figure::ms(made_in),
        Bar::None,
    );
    sheet.row(
        &format!("{count} changed, packed"),
        Figure::ms(packed.median()),
        Bar::None,
    );
    for (what, samples) in [("packed", &packed), ("as ops of a plan", &ops)] {
        sheet.row(
            &format!("{count} {what}, against tc -batch"),
            Figure::percent(samples.of(&tc).median()),
            Bar::AtMost(10.0),
        );
        sheet.row(
            &format!("{count} {what}, against bare messages"),
            Figure::times(samples.of(&bare).median()),
            Bar::AtMost(1.5),
        );
    }
}

fn class_ops(classes: &Classes, from: &[(ClassId, TcClass)], to: &[(ClassId, TcClass)]) -> Vec<Op> {
    from.iter()
        .zip(to)
        .map(|((id, from), (_, to))| Op::ChangeClass {
            device: classes.device.clone(),
            id: *id,
            from: from.clone(),
            to: to.clone(),
        })
        .collect()
}

/// The same as `tc -batch` wants it.
fn batch(classes: &[(ClassId, TcClass)]) -> String {
    let mut text = String::new();
    for (id, class) in classes {
        let major = id.major.get();
        let parent = class.parent.map_or(0, |parent| parent.get());
        let minor = id.minor.get();
        // What waits for 8 ms of the rate, in bytes.
        let burst = |bits: u64| bits / 8 * 8 / 1_000;
        writeln!(
            text,
            "class change dev {DEVICE} parent {major:x}:{parent:x} classid {major:x}:{minor:x} htb \
             rate {rate}bit ceil {ceil}bit burst {burst}b cburst {cburst}b prio 4 quantum 65550",
            rate = class.rate.bits(),
            ceil = class.ceil.bits(),
            burst = burst(class.rate.bits()),
            cburst = burst(class.ceil.bits()),
        )
        .unwrap();
    }
    text
}
