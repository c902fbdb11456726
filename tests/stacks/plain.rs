//! Nothing special: what the other tests stand on, and what only packets show.

use crate::flow::{Flow, Trees};
use crate::host::{ALWAYS, DOWN, Host, one_circuit};
use crate::lab::address::*;
use crate::lab::ready;

const CLASSES: &str = "[class.large]\ncircuit = \"internet\"\nmatch = [{ service = [\"udp/7000\"] }]\n\
                       [class.video]\ncircuit = \"internet\"\nmatch = [{ dscp = [\"ef\"] }]\n";

#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_fragments_and_code_points_are_known_both_ways() {
    assert!(ready());
    let host = Host::with(&one_circuit("100mbit", ""), &format!("{ALWAYS}{CLASSES}"));
    host.wanshift(&["apply"]);
    let trees = Trees::on(&host, &["wan0"]);
    let lab = &host.lab;
    for (inside, web) in [(GATEWAY, WEB), (GATEWAY6, WEB6)] {
        let (inside, web) = ((lab.datacentre(), inside), (lab.internet(), web));
        let both = |place| [("wan0", place), (DOWN, place)];
        let large = Flow::new(inside, web, 7000).payload(4000);
        trees.land(large, &both("internet.class.large"));
        let video = Flow::new(inside, web, 7001).dscp(46);
        trees.land(video, &both("internet.class.video"));
    }
    // One that is translated.
    let (inside, web) = ((lab.datacentre(), SESSION_HOST), (lab.internet(), WEB));
    let video = Flow::new(inside, web, 7001).dscp(46);
    let both = [
        ("wan0", "internet.class.video"),
        (DOWN, "internet.class.video"),
    ];
    trees.land(video, &both);
    for (worker, gateway) in [(WORKER, GATEWAY), (WORKER6, GATEWAY6)] {
        let video = Flow::new((lab.internet(), worker), (lab.datacentre(), gateway), 7001);
        trees.land(video.dscp(46), &both);
    }
}
