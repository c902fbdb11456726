//! A change of every guarantee while bulk fills the line: by wanshift, by FireQOS, and by a tree that is
//! deleted and made again.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::Bench;
use crate::edge::Edge;
use crate::lab::address::{SESSION_HOST, WEB};
use crate::lab::bulk::Bulk;
use crate::lab::capture::Capture;
use crate::lab::paced::{Paced, Report};
use crate::lab::{Nanos, now, sleep};
use crate::many::{AFTER, Class, HOST, LINE, even, fireqos, policy};
use crate::peer::FireQos;
use crate::samples::{Samples, time};
use crate::sheet::{Bar, Figure};

/// Beside those of the bulk and of the paced flow.
const QUIET: u32 = 98;
/// There and back, three times.
const CHANGES: usize = 6;
/// Those by FireQOS, which takes seconds for one.
const FEW: usize = 2;
const BULK: u16 = 8080;
const PACED: u16 = 9_001;
/// What the fullest 10 ms may hold, as times the line: these, 10 ms that lie in its bucket at the most, and
/// a packet in one piece.
const FULLEST: f64 = 2.0 + 65_550.0 * 8.0 / (LINE / 100.0);

/// Who changes the rates; before the change is 0, after it 1.
enum By<'a> {
    Wanshift(&'a Edge),
    FireQos(FireQos, [PathBuf; 2]),
    Rebuild(&'a Edge, [String; 2]),
}

pub fn run(bench: &mut Bench) {
    let classes = classes();
    measure(bench, "wanshift phase", |edge| {
        edge.wanshift(&["apply"]);
        Some(By::Wanshift(edge))
    });
    let there = measure(bench, "fireqos start", |edge| {
        let peer = FireQos::on(edge.lab.edge())?;
        let files = [0, 1].map(|which| {
            let text = fireqos(&classes, which);
            peer.configuration(&format!("{which}.conf"), &text)
        });
        peer.start(&files[0]);
        Some(By::FireQos(peer, files))
    });
    if !there {
        bench.sheet.unmeasured("live", "FireQOS is not installed");
    }
    measure(bench, "tc -batch", |edge| {
        edge.wanshift(&["apply"]);
        let files = ["always", AFTER].map(|phase| {
            let script = edge.wanshift(&["render", "tc", "--phase", phase]);
            edge.file(&format!("{phase}.tc"), &rebuilt(&script))
        });
        Some(By::Rebuild(edge, files))
    });
    bench.sheet.remark(
        "FireQOS is told `start` again, which interrupts less than its `restart`. `tc -batch` deletes the \
         trees and makes them again, in one run; the rules stay. Gaps are beyond the pause that the sender \
         made meanwhile. 10 ms may carry what the line's bucket holds, 10 ms at the most, and one packet \
         of 64 KB.",
    );
}

fn classes() -> Vec<Class> {
    let to = "203.0.113.0/24".to_owned();
    let mut classes = even(QUIET, 40_000);
    classes.push(Class {
        to: to.clone(),
        service: Some(("udp", PACED)),
        guarantee: [2_000, 3_000],
    });
    classes.push(Class {
        to,
        service: Some(("tcp", BULK)),
        guarantee: [5_000, 8_000],
    });
    classes
}

/// The trees of a rendered script, deleted before they are made.
fn rebuilt(script: &str) -> String {
    let (_, batch) = script.split_once("<<'END'\n").unwrap();
    let joined = batch.replace("\\\n", " ");
    let mut text = String::new();
    for device in ["wan0", "wanshift-down"] {
        writeln!(text, "qdisc del dev {device} root").unwrap();
        let of_device = format!(" dev {device} ");
        let lines = joined.lines().filter(|line| line.contains(&of_device));
        lines.for_each(|line| writeln!(text, "{line}").unwrap());
    }
    text
}

/// Whether `prepare` could.
fn measure(
    bench: &mut Bench,
    name: &str,
    prepare: impl for<'a> FnOnce(&'a Edge) -> Option<By<'a>>,
) -> bool {
    let edge = Edge::new(bench, HOST, &policy(&classes()));
    let Some(by) = prepare(&edge) else {
        return false;
    };
    let lab = &edge.lab;
    let (desk, web) = ((lab.datacentre(), SESSION_HOST), (lab.internet(), WEB));
    let bulk = Bulk::tcp(desk, web, BULK).connections(4).start();
    sleep(Duration::from_millis(1_500));
    let wire = Capture::start(lab.internet(), "edge0");
    let paced = Paced::new(desk, web, PACED).start();
    sleep(Duration::from_millis(500));
    let mut took = Samples::default();
    let begin = now();
    let changes = by.changes();
    for change in 1..=changes {
        took.add(by.change(change % 2));
        sleep(Duration::from_millis(300));
    }
    let end = now();
    let paced = paced.stop().between(begin, end);
    let wire = wire.stop();
    bulk.stop();
    let bulk = wire
        .only(|packet| packet.target_port == BULK)
        .between(begin, end);
    let peak = bulk.worst_window(Duration::from_millis(10)).bytes as f64 * 800.0;
    let gap = longest_gap(&paced);
    // The others are there to compare with.
    let bar = |bar: f64| match by {
        By::Wanshift(_) => Bar::AtMost(bar),
        By::FireQos(..) | By::Rebuild(..) => Bar::None,
    };
    let sheet = &mut bench.sheet;
    sheet.row(
        &format!("{name}: one change of all"),
        Figure::seconds(took.median()),
        Bar::None,
    );
    sheet.row(
        &format!("{name}: datagrams lost in {changes} changes"),
        Figure::count(paced.lost() as f64),
        bar(0.0),
    );
    sheet.row(
        &format!("{name}: longest gap of the flow"),
        Figure::ms(gap as f64 / 1e9),
        bar(10.0),
    );
    sheet.row(
        &format!("{name}: bulk's fullest 10 ms, to the line"),
        Figure::times(peak / LINE),
        bar(FULLEST),
    );
    true
}

/// The longest time between two arrivals beyond the longest pause that the sender made between these.
fn longest_gap(flow: &Report) -> Nanos {
    let gaps = flow.arrivals.windows(2).map(|two| {
        let numbers = two[0].number as usize..=two[1].number as usize;
        let sent = flow.sent.get(numbers).unwrap_or_default();
        let pauses = sent.windows(2).map(|two| two[1] - two[0]);
        let pause = pauses.max().unwrap_or_default();
        two[1].at.saturating_sub(two[0].at + pause)
    });
    gaps.max().unwrap_or_default()
}

impl By<'_> {
    const fn changes(&self) -> usize {
        match self {
            Self::FireQos(..) => FEW,
            Self::Wanshift(_) | Self::Rebuild(..) => CHANGES,
        }
    }

    /// Changes the rates to those before or after; returns how many seconds it took.
    fn change(&self, to: usize) -> f64 {
        match self {
            Self::Wanshift(edge) => time(|| edge.wanshift(&["phase", ["always", AFTER][to]])).0,
            Self::FireQos(peer, files) => peer.start(&files[to]),
            Self::Rebuild(edge, files) => {
                let tc = || edge.lab.edge().run("tc", &["-batch", &files[to]]);
                time(tc).0
            }
        }
    }
}
