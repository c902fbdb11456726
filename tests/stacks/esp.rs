//! IPsec that ends on the edge, by policies or as a device.

use std::net::IpAddr;
use std::time::Duration;

use crate::flow::{Flow, Trees, feeds, ip};
use crate::host::{ALWAYS, DOWN, Host};
use crate::lab::address::*;
use crate::lab::{ready, sleep};

const HOST: &str = "name = \"lab\"\ntimezone = \"UTC\"\ninside = [\"lan0\"]\n\
                    [circuit.mpls]\ndevice = \"mpls0\"\ncapacity = \"100mbit\"\n\
                    [circuit.internet]\ndevice = \"wan0\"\ncapacity = \"100mbit\"\n";
const CLASSES: &str = "[site.provins]\ncircuit = \"mpls\"\ncapacity = \"50mbit\"\n\
                       prefixes = [\"10.77.101.0/24\", \"fd77:77:77:101::/64\"]\n\
                       [class.tunnel]\ncircuit = \"internet\"\n\
                       match = [{ to = [\"198.18.77.1\"] }, { from = [\"198.18.77.1\"] }]\n\
                       [class.web]\ncircuit = \"internet\"\nmatch = [{ service = [\"udp/8080\"] }]\n";
const INNER: &str = "10.79.0.21";
const NULL: &str =
    "enc cipher_null \"\" auth hmac(sha1) 0x0123456789012345678901234567890123456789";

/// The keys of both ways; `more` may bind them to a device.
fn states(more: &str) -> String {
    let ends = [EDGE_WAN, INTERNET];
    let state = |at: usize| {
        let (from, to, spi) = (ends[at], ends[1 - at], at + 1);
        format!(
            "xfrm state add src {from} dst {to} proto esp spi {spi} mode tunnel {more} {NULL}\n"
        )
    };
    state(0) + &state(1)
}

/// A policy of the tunnel from one end to the other.
fn policy(way: &str, selector: &str, from: IpAddr, to: IpAddr, more: &str) -> String {
    format!(
        "xfrm policy add {selector} dir {way} {more} tmpl src {from} dst {to} proto esp mode tunnel\n"
    )
}

#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_what_ipsec_delivers_is_known_by_what_is_within() {
    assert!(ready());
    let host = Host::with(HOST, &format!("{ALWAYS}{CLASSES}"));
    let lab = &host.lab;
    let (edge, internet) = (lab.edge(), lab.internet());
    // What goes into the tunnel must not be translated before.
    let exempt = "insert rule inet lab postrouting rt ipsec exists accept\n";
    edge.feed("nft", &["-f", "-"], exempt);
    let (there, here) = (
        "src 10.77.0.0/16 dst 10.79.0.0/24",
        "src 10.79.0.0/24 dst 10.77.0.0/16",
    );
    let keys = states("");
    let (out, back) = ((EDGE_WAN, INTERNET), (INTERNET, EDGE_WAN));
    let rules = policy("out", there, out.0, out.1, "") + &policy("fwd", here, back.0, back.1, "");
    ip(
        edge,
        &format!("{keys}{rules}route add 10.79.0.0/24 via {INTERNET}\n"),
    );
    let rules = policy("out", here, back.0, back.1, "") + &policy("in", there, out.0, out.1, "");
    let routes =
        format!("route add 10.77.0.0/16 via {EDGE_WAN}\nroute add local 10.79.0.0/24 dev lo\n");
    ip(internet, &format!("{keys}{rules}{routes}"));
    host.wanshift(&["apply"]);

    let trees = Trees::on(&host, &["mpls0", "wan0"]);
    let (web, outer) = ("internet.class.web", "internet.class.tunnel");
    let inner = (internet, INNER.parse::<IpAddr>().unwrap());
    let desk = (lab.datacentre(), SESSION_HOST);
    let both = [("wan0", outer), (DOWN, web)];
    trees.land(Flow::new(desk, inner, 8080), &both);
    trees.land(Flow::new(inner, desk, 8080), &both);
    // From a site of the other circuit into the tunnel: what carries it is the host's own, which is never marked.
    // Only a tunnel with a device is a way out of which the site can pay.
    let site = (lab.provins(), PROVINS);
    let across = [("wan0", outer), (DOWN, web), ("mpls0", "mpls.site.provins")];
    trees.land(Flow::new(site, inner, 8080), &across);

    // The same as a device.
    for (end, below, address) in [
        (edge, "wan0", "10.80.0.1"),
        (internet, "edge0", "10.80.0.2"),
    ] {
        let keys = states("if_id 7");
        let all = "src 0.0.0.0/0 dst 0.0.0.0/0";
        let (from, to) = if below == "wan0" { out } else { back };
        let rules = ["in", "fwd"]
            .map(|way| policy(way, all, to, from, "if_id 7"))
            .concat()
            + &policy("out", all, from, to, "if_id 7");
        ip(
            end,
            &format!(
                "xfrm state flush\nxfrm policy flush\n{keys}{rules}\
                 link add ipsec0 type xfrm dev {below} if_id 7\n\
                 address add {address}/30 dev ipsec0\nlink set ipsec0 up\n"
            ),
        );
    }
    ip(edge, "route replace 10.79.0.0/24 dev ipsec0\n");
    ip(internet, "route replace 10.77.0.0/16 dev ipsec0\n");
    sleep(Duration::from_secs(1));
    let device = "device = \"wan0\"";
    let also = format!("{device}\nalso = [\"ipsec0\"]");
    host.edit("host.toml", device, &also);
    host.wanshift(&["apply"]);
    let trees = Trees::on(&host, &["mpls0", "wan0"]);
    assert!(feeds(&host, "wan0"));
    trees.land(Flow::new(desk, inner, 8080), &both);
    trees.land(Flow::new(inner, desk, 8080), &both);
    let across = [
        ("wan0", outer),
        (DOWN, web),
        ("mpls0", "mpls.site.provins"),
        (DOWN, "mpls.site.provins"),
    ];
    trees.land(Flow::new(site, inner, 8080), &across);
}
