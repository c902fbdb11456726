//! A tunnel that ends on the edge: what it carries is known by the connection within.

use std::net::IpAddr;
use std::time::Duration;

use crate::flow::{Flow, Trees, feeds, ip};
use crate::host::{ALWAYS, DOWN, Host};
use crate::lab::address::*;
use crate::lab::machine::has;
use crate::lab::{Namespace, ready, sleep};

/// The tunnel is the internet circuit's.
const HOST: &str = "name = \"lab\"\ntimezone = \"UTC\"\ninside = [\"lan0\"]\n\
                    [circuit.mpls]\ndevice = \"mpls0\"\ncapacity = \"100mbit\"\n\
                    [circuit.internet]\ndevice = \"wan0\"\ncapacity = \"100mbit\"\nalso = [\"wg0\"]\n";
const CLASSES: &str = "[site.provins]\ncircuit = \"mpls\"\ncapacity = \"50mbit\"\n\
                       prefixes = [\"10.77.101.0/24\", \"fd77:77:77:101::/64\"]\n\
                       [class.tunnel]\ncircuit = \"internet\"\nmatch = [{ service = [\"udp/51820\"] }]\n\
                       [class.web]\ncircuit = \"internet\"\nmatch = [{ service = [\"udp/8080\"] }]\n";
/// The tunnel is a way to a site of the other circuit.
const BRANCH: &str = "[site.branch]\ncircuit = \"mpls\"\ncapacity = \"50mbit\"\n\
                      prefixes = [\"10.79.0.0/24\", \"fd79::/64\"]\n";
const PEER: [&str; 2] = ["10.79.0.21", "fd79::21"];

fn keys(at: &Namespace) -> [String; 2] {
    let private = at.run("wg", &["genkey"]);
    let public = at.feed("wg", &["pubkey"], &private);
    [private, public.trim().to_owned()]
}

/// Lays the tunnel over `wan0`, to a host that has nothing else: its end was made in the internet, where
/// its encrypted packets still come and go.
fn tunnel(host: &Host) -> Namespace {
    let lab = &host.lab;
    let peer = Namespace::new("peer");
    let ends = [(lab.edge(), EDGE_WAN), (lab.internet(), INTERNET)];
    let keys = ends.map(|(end, _)| keys(end));
    for (at, (end, _)) in ends.iter().enumerate() {
        let (theirs, to) = (&keys[1 - at][1], ends[1 - at].1);
        ip(end, "link add wg0 type wireguard\n");
        let endpoint = format!("{to}:51820");
        let mut words = vec!["set", "wg0", "listen-port", "51820"];
        words.extend(["private-key", "/dev/stdin", "peer", theirs]);
        words.extend(["endpoint", &endpoint, "allowed-ips", "0.0.0.0/0,::/0"]);
        end.feed("wg", &words, &keys[at][0]);
    }
    ip(
        lab.edge(),
        "address add 10.79.0.1/24 dev wg0\naddress add fd79::1/64 dev wg0 nodad\nlink set wg0 up\n",
    );
    ip(
        lab.internet(),
        &format!(
            "link set wg0 netns {}\n\
             route add 10.79.0.0/24 via {EDGE_WAN}\nroute add fd79::/64 via {EDGE_WAN6}\n",
            peer.path()
        ),
    );
    let [four, six] = PEER;
    ip(
        &peer,
        &format!(
            "link set lo up\naddress add {four}/24 dev wg0\naddress add {six}/64 dev wg0 nodad\n\
             link set wg0 up\nroute add default dev wg0\nroute add ::/0 dev wg0\n"
        ),
    );
    sleep(Duration::from_secs(1));
    peer
}

#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_what_a_tunnel_carries_is_known_by_what_is_within() {
    assert!(ready());
    assert!(has("wg"), "apt-get install wireguard-tools");
    let host = Host::with(HOST, &format!("{ALWAYS}{CLASSES}"));
    let lab = &host.lab;
    let peer = tunnel(&host);
    let (site, web, outer) = (
        "mpls.site.provins",
        "internet.class.web",
        "internet.class.tunnel",
    );
    let families = [
        (SESSION_HOST, PROVINS, WEB, PEER[0]),
        (SESSION_HOST6, PROVINS6, WEB6, PEER[1]),
    ];
    let end = |address: &str| (&peer, address.parse::<IpAddr>().unwrap());

    host.wanshift(&["apply"]);
    let trees = Trees::on(&host, &["mpls0", "wan0"]);
    assert!(feeds(&host, "wg0") && feeds(&host, "wan0"));
    for (desk, provins, _, inner) in families {
        let desk = (lab.datacentre(), desk);
        let inner = end(inner);
        // Upward it is what carries the tunnel that leaves by the circuit, downward what is within.
        let both = [("wan0", outer), (DOWN, web)];
        trees.land(Flow::new(inner, desk, 8080), &both);
        trees.land(Flow::new(desk, inner, 8080), &both);
        let across = [("wan0", outer), (DOWN, web), ("mpls0", site), (DOWN, site)];
        let site = (lab.provins(), provins);
        trees.land(Flow::new(site, inner, 8080), &across);
    }

    // The same tunnel over the same device, as a way to a site of the other circuit.
    let also = "also = [\"wg0\"]";
    host.edit("host.toml", also, "");
    let mpls = "device = \"mpls0\"";
    host.edit("host.toml", mpls, &format!("{mpls}\n{also}"));
    let policy = format!("{ALWAYS}{CLASSES}{BRANCH}");
    host.write("policy.d/policy.toml", &policy);
    host.wanshift(&["apply"]);
    let trees = Trees::on(&host, &["mpls0", "wan0"]);
    let branch = "mpls.site.branch";
    for (desk, _, server, inner) in families {
        let desk = (lab.datacentre(), desk);
        let (server, inner) = ((lab.internet(), server), end(inner));
        // What carries it came from nowhere, though the tunnel is what it comes in by.
        let both = [("wan0", outer), (DOWN, branch)];
        trees.land(Flow::new(desk, inner, 8080), &both);
        // Out of the internet into the tunnel, and back.
        let across = [("wan0", outer), (DOWN, web), ("wan0", web), (DOWN, branch)];
        trees.land(Flow::new(inner, server, 8080), &across);
    }
}
