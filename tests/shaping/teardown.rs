//! Afterwards all is as it was found.

use std::time::Duration;

use crate::host::Host;
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::snapshot::Snapshot;
use crate::lab::{measure, quiet_machine, ready};

#[test]
fn teardown_leaves_the_edge_as_it_was_found_and_traffic_free() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = Host::cd77("0s");
    let lab = &host.lab;
    let to_the_site = || {
        let flow = Bulk::tcp(
            (lab.datacentre(), SESSION_HOST),
            (lab.provins(), PROVINS),
            8080,
        )
        .start();
        let (from, to) = measure(Duration::from_millis(500), Duration::from_secs(1));
        flow.stop().all.rate(from, to)
    };
    let before = Snapshot::of(lab.edge());
    let foreign = || lab.edge().run("nft", &["-s", "list", "ruleset"]);
    let rules = foreign();
    assert!(rules.contains("table inet lab"), "{rules}");
    host.wanshift(&["apply"]);
    let shaped = to_the_site();
    // One packet of 64 KB more or less is half a megabit of a second.
    assert!(shaped < 5e6, "{shaped:.0}");
    host.wanshift(&["phase", "telework"]);
    host.wanshift(&["teardown"]);
    before.assert_same(&Snapshot::of(lab.edge()));
    assert_eq!(foreign(), rules);
    let free = to_the_site();
    eprintln!("to the site: {shaped:.0} shaped, {free:.0} free");
    assert!(free > 100e6, "{free:.0}");
}
