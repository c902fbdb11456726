//! What each kind of leaf makes a packet wait that shares its class with bulk.

use std::time::Duration;

use crate::Bench;
use crate::edge::{ALWAYS, Edge};
use crate::lab::address::{GATEWAY, SESSION_HOST, WEB};
use crate::lab::bulk::Bulk;
use crate::lab::machine::has_qdisc;
use crate::lab::paced::Paced;
use crate::lab::{now, sleep};
use crate::sheet::{Bar, Figure};

const KINDS: [&str; 4] = ["pfifo", "sfq", "fq_codel", "cake"];
const POLICY: &str = "[class.mixed]\ncircuit = \"internet\"\nguarantee = \"18mbit\"\n\
                      match = [{ to = [\"203.0.113.0/24\"] }]\n";

pub fn run(bench: &mut Bench) {
    let length = Duration::from_secs(if bench.emulated { 10 } else { 5 });
    for kind in KINDS {
        if !has_qdisc(kind) {
            bench.sheet.remark(&format!("{kind}: this kernel has none"));
            continue;
        }
        let host = format!(
            "name = \"edge\"\ninside = [\"lan0\"]\n[circuit.internet]\ndevice = \"wan0\"\n\
             capacity = \"20mbit\"\nleaf = \"{kind}\"\n"
        );
        let edge = Edge::new(bench, &host, &format!("{ALWAYS}{POLICY}"));
        edge.wanshift(&["apply"]);
        let lab = &edge.lab;
        let (desk, web) = ((lab.datacentre(), SESSION_HOST), (lab.internet(), WEB));
        let bulk = Bulk::tcp(desk, web, 8080).connections(4).start();
        sleep(Duration::from_secs(2));
        // From another address, so that it is a flow like any other.
        let paced = Paced::new((lab.datacentre(), GATEWAY), web, 9_001).start();
        sleep(Duration::from_millis(500));
        let begin = now();
        sleep(length);
        let end = now();
        let report = paced.stop().between(begin, end);
        let bulk = bulk.stop().all.rate(begin, end) / 1e6;
        let sheet = &mut bench.sheet;
        for (what, percentile) in [("median", 50.0), ("99 %", 99.0)] {
            let delay = report.delay(percentile).as_secs_f64();
            sheet.row(&format!("{kind}, {what}"), Figure::ms(delay), Bar::None);
        }
        let lost = report.lost();
        sheet.remark(&format!(
            "{lost} of {} datagrams lost, bulk at {bulk:.1} Mbit/s of 20",
            report.sent.len()
        ));
    }
    if bench.emulated {
        bench.sheet.remark(
            "An emulated machine: the delays are the lengths of queues, and say nothing of speed.",
        );
    }
}
