//! A circuit in a VRF: what arrives over it has the VRF's name, what leaves the device's.

use std::time::Duration;

use crate::flow::{Flow, Trees, feeds, ip};
use crate::host::{ALWAYS, DOWN, Host};
use crate::lab::address::*;
use crate::lab::probe::ping;
use crate::lab::ready;

const HOST: &str = "name = \"lab\"\ntimezone = \"UTC\"\ninside = [\"lan0\"]\n\
                    [circuit.mpls]\ndevice = \"mpls0\"\nalso = [\"vrf1\"]\ncapacity = \"100mbit\"\n\
                    [circuit.internet]\ndevice = \"wan0\"\ncapacity = \"100mbit\"\n";
const CLASSES: &str = "[site.provins]\ncircuit = \"mpls\"\ncapacity = \"50mbit\"\n\
                       prefixes = [\"10.77.101.0/24\", \"fd77:77:77:101::/64\"]\n\
                       [class.web]\ncircuit = \"internet\"\nmatch = [{ service = [\"udp/8080\"] }]\n";

/// The provider's routes are in a table of their own, with ways out of it to the inside and the internet.
/// Entering the VRF costs the device its IPv6 addresses.
const VRF: &str = "\
link add vrf1 type vrf table 100
link set vrf1 up
link set mpls0 master vrf1
address replace fd77:77:77:ff::1/64 dev mpls0 nodad
route add 10.77.101.0/24 via 10.77.255.2 dev mpls0 onlink table 100
route add fd77:77:77:101::/64 via fd77:77:77:ff::2 dev mpls0 onlink table 100
route add 10.77.20.0/24 via 10.77.0.2 dev lan0 onlink table 100
route add fd77:77:77:20::/64 via fd77:77:77::2 dev lan0 onlink table 100
route add default via 198.18.77.1 dev wan0 onlink table 100
route add default via 2001:db8:77::1 dev wan0 onlink table 100
route replace 10.77.101.0/24 via 10.77.255.2 dev mpls0 onlink
route replace fd77:77:77:101::/64 via fd77:77:77:ff::2 dev mpls0 onlink
";

#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_a_circuit_in_a_vrf_is_known_by_the_vrfs_name() {
    assert!(ready());
    let host = Host::with(HOST, &format!("{ALWAYS}{CLASSES}"));
    let lab = &host.lab;
    ip(lab.edge(), VRF);
    crate::lab::sleep(Duration::from_secs(2));
    host.wanshift(&["apply"]);
    assert!(feeds(&host, "mpls0") && feeds(&host, "wan0") && feeds(&host, "lan0"));
    assert!(!feeds(&host, "vrf1"), "nothing leaves by the VRF itself");

    let trees = Trees::on(&host, &["mpls0", "wan0"]);
    let (site, web) = ("mpls.site.provins", "internet.class.web");
    for (desk, provins, server) in [
        (SESSION_HOST, PROVINS, WEB),
        (SESSION_HOST6, PROVINS6, WEB6),
    ] {
        let (desk, provins) = ((lab.datacentre(), desk), (lab.provins(), provins));
        let server = (lab.internet(), server);
        let both = [("mpls0", site), (DOWN, site)];
        trees.land(Flow::new(provins, desk, 7001), &both);
        trees.land(Flow::new(desk, provins, 7002), &both);
        let across = [("mpls0", site), (DOWN, site), ("wan0", web), (DOWN, web)];
        trees.land(Flow::new(provins, server, 8080), &across);
    }
    // The host's own addresses are local in the VRF alone.
    for own in [EDGE_MPLS, EDGE_MPLS6] {
        let counted = || {
            let counters = host.counters("mpls0");
            [counters["mpls.control"], counters["mpls.rest"]]
        };
        let before = counted();
        let answers = ping(lab.provider(), own, 20, Duration::from_secs(1));
        assert!(answers.iter().all(Option::is_some), "{own}: {answers:?}");
        let [control, rest] = counted();
        let (control, rest) = (control - before[0], rest - before[1]);
        assert!(control >= 1000 && rest < 500, "{own}: {control}, {rest}");
    }
}
