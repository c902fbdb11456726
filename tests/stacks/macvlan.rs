//! A virtual MAC on a circuit's device: a packet leaves by both, and is shaped once.

use std::time::Duration;

use crate::flow::{Flow, Trees, feeds, ip};
use crate::host::{ALWAYS, DOWN, Host};
use crate::lab::address::*;
use crate::lab::ready;

const HOST: &str = "name = \"lab\"\ntimezone = \"UTC\"\ninside = [\"lan0\"]\n\
                    [circuit.mpls]\ndevice = \"mpls0\"\ncapacity = \"100mbit\"\n\
                    [circuit.internet]\ndevice = \"wan0\"\nalso = [\"vmac0\"]\ncapacity = \"100mbit\"\n";
const CLASSES: &str = "[site.provins]\ncircuit = \"mpls\"\ncapacity = \"50mbit\"\n\
                       prefixes = [\"10.77.101.0/24\", \"fd77:77:77:101::/64\"]\n\
                       [class.web]\ncircuit = \"internet\"\nmatch = [{ service = [\"udp/8080\"] }]\n";
const EDGE: &str = "\
link add link wan0 name vmac0 type macvlan mode bridge
address add 198.18.78.2/30 dev vmac0
address add 2001:db8:78::2/64 dev vmac0 nodad
link set vmac0 up
route add 203.0.113.0/24 via 198.18.78.1 dev vmac0
route add 2001:db8:203::/64 via 2001:db8:78::1 dev vmac0
";
const INTERNET: &str = "\
address add 198.18.78.1/30 dev edge0
address add 2001:db8:78::1/64 dev edge0 nodad
route replace 192.0.2.0/24 via 198.18.78.2
route replace 2001:db8:2::/48 via 2001:db8:78::2
route add 10.77.101.0/24 via 198.18.78.2
route add fd77:77:77:101::/64 via 2001:db8:78::2
";

#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_what_leaves_by_a_virtual_mac_is_shaped_once() {
    assert!(ready());
    let host = Host::with(HOST, &format!("{ALWAYS}{CLASSES}"));
    let lab = &host.lab;
    ip(lab.edge(), EDGE);
    ip(lab.internet(), INTERNET);
    crate::lab::sleep(Duration::from_secs(2));
    host.wanshift(&["apply"]);
    assert!(feeds(&host, "wan0"));
    assert!(!feeds(&host, "vmac0"), "it stands on wan0");

    let trees = Trees::on(&host, &["mpls0", "wan0"]);
    let (site, web) = ("mpls.site.provins", "internet.class.web");
    for (gateway, provins, server) in [(GATEWAY, PROVINS, WEB), (GATEWAY6, PROVINS6, WEB6)] {
        let gateway = (lab.datacentre(), gateway);
        let provins = (lab.provins(), provins);
        let server = (lab.internet(), server);
        let both = [("wan0", web), (DOWN, web)];
        trees.land(Flow::new(gateway, server, 8080), &both);
        let across = [("mpls0", site), (DOWN, site), ("wan0", web), (DOWN, web)];
        trees.land(Flow::new(provins, server, 8080), &across);
    }
}
