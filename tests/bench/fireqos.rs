//! A policy applied where nothing is: by wanshift, by FireQOS, and by the script that wanshift renders.

use crate::Bench;
use crate::edge::Edge;
use crate::many::{HOST, fireqos, policy, steady};
use crate::peer::FireQos;
use crate::samples::{in_turn, time};
use crate::sheet::{Bar, Figure};

/// How many classes, how many times.
const SIZES: [(u32, usize); 3] = [(10, 9), (100, 5), (400, 3)];

pub fn run(bench: &mut Bench) {
    for (count, rounds) in SIZES {
        if !of(bench, count, rounds) {
            bench
                .sheet
                .unmeasured("fireqos", "FireQOS is not installed");
            return;
        }
    }
    bench.sheet.remark(
        "Both directions, each class an address: twice as many kernel classes. FireQOS classifies packets \
         by u32, and has no class for control; wanshift classifies connections in nftables, keeps a record \
         of the change, and reads back what it wrote. The script is what `render tc` prints; with its rules, \
         `render nft` before it.",
    );
}

/// Whether FireQOS is there.
fn of(bench: &mut Bench, count: u32, rounds: usize) -> bool {
    let classes = steady(count);
    let edge = Edge::new(bench, HOST, &policy(&classes));
    let host = edge.lab.edge();
    let Some(peer) = FireQos::on(host) else {
        return false;
    };
    let configuration = peer.configuration("fireqos.conf", &fireqos(&classes, 0));
    let script = edge.file("shape.sh", &edge.wanshift(&["render", "tc"]));
    let rules = edge.file("rules.nft", &edge.wanshift(&["render", "nft"]));
    let with_rules = format!("nft -f {rules} && sh {script}");
    let [ours, fireqos, tc, both] = in_turn::<4>(rounds, |which| {
        let seconds = match which {
            0 => time(|| edge.wanshift(&["apply"])).0,
            1 => peer.start(&configuration),
            2 => time(|| host.run("sh", &[&script])).0,
            _ => time(|| host.run("sh", &["-c", &with_rules])).0,
        };
        match which {
            1 => peer.stop(),
            _ => drop(edge.wanshift(&["teardown"])),
        }
        edge.forget();
        seconds
    });
    let sheet = &mut bench.sheet;
    for (who, samples) in [("wanshift apply", &ours), ("fireqos start", &fireqos)] {
        sheet.row(
            &format!("{count} classes, {who}"),
            Figure::seconds(samples.median()),
            Bar::None,
        );
    }
    sheet.row(
        &format!("{count}, against FireQOS"),
        Figure::percent(ours.of(&fireqos).median()),
        Bar::AtMost(100.0),
    );
    for (what, samples) in [("tc -batch", &tc), ("nft -f and tc -batch", &both)] {
        sheet.row(
            &format!("{count}, against {what}"),
            Figure::times(ours.of(samples).median()),
            Bar::None,
        );
    }
    true
}
