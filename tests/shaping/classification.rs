//! Which class a packet of the real network falls into: counted by the kernel, seen on the wire.

use std::net::IpAddr;

use crate::ceilings::with_ipv6;
use crate::host::Host;
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::probe::reaches;
use crate::lab::trace::Packet;
use crate::lab::udp::UdpFlood;
use crate::lab::{Namespace, ready};
use crate::landing::{ask, bulk, datagrams, lands};

#[test]
fn the_internet_circuit_knows_its_classes() {
    if !ready() {
        return;
    }
    let host = with_ipv6("0s");
    host.wanshift(&["apply"]);
    let lab = &host.lab;
    for (worker, gateway, vpn, web, desk, operator, masked) in [
        (
            WORKER,
            GATEWAY,
            VPN,
            WEB,
            SESSION_HOST,
            OPERATIONS,
            EDGE_WAN,
        ),
        (
            WORKER6,
            GATEWAY6,
            VPN6,
            WEB6,
            SESSION_HOST6,
            OPERATIONS6,
            EDGE_WAN6,
        ),
    ] {
        let (worker, web) = ((lab.internet(), worker), (lab.internet(), web));
        let inside = |address| (lab.datacentre(), address);
        // Opened from outside: the class is that of the replies.
        lands(
            &host,
            "wan0",
            "internet.class.gateway",
            |packet| packet.source == Some(gateway),
            || {
                bulk(Bulk::tcp(worker, inside(gateway), 443).download());
            },
        );
        lands(
            &host,
            "wan0",
            "internet.class.gateway",
            |packet| packet.source_port == 443,
            || {
                ask(worker, inside(gateway), 443);
            },
        );
        lands(
            &host,
            "wan0",
            "internet.class.operations",
            |packet| packet.source_port == 1194,
            || {
                ask(worker, inside(vpn), 1194);
            },
        );
        // By an inside address that the wire no longer shows; in fragments, too.
        lands(
            &host,
            "wan0",
            "internet.class.operations",
            |packet| packet.source == Some(masked),
            || {
                bulk(Bulk::tcp(inside(operator), web, 5000));
            },
        );
        lands(
            &host,
            "wan0",
            "internet.class.operations",
            |packet| packet.source == Some(masked),
            || {
                datagrams(UdpFlood::new(inside(operator), web, 5001).payload(3000));
            },
        );
        // By DSCP, and the rest.
        lands(
            &host,
            "wan0",
            "internet.class.video",
            |packet| packet.dscp == 46,
            || {
                datagrams(UdpFlood::new(inside(desk), web, 5002).dscp(46));
            },
        );
        lands(
            &host,
            "wan0",
            "internet.class.video",
            |packet| packet.dscp == 34,
            || {
                bulk(Bulk::tcp(inside(desk), web, 5003).dscp(34));
            },
        );
        lands(
            &host,
            "wan0",
            "internet.rest",
            |packet| packet.source == Some(masked),
            || {
                bulk(Bulk::tcp(inside(desk), web, 5004));
            },
        );
        // Neither another port of the gateway, nor what the gateway opens itself.
        lands(
            &host,
            "wan0",
            "internet.rest",
            |packet| packet.source == Some(gateway),
            || {
                bulk(Bulk::tcp(worker, inside(gateway), 5005).download());
            },
        );
        lands(
            &host,
            "wan0",
            "internet.rest",
            |packet| packet.target_port == 443,
            || {
                bulk(Bulk::tcp(inside(gateway), worker, 443));
            },
        );
    }
}

#[test]
fn sites_are_known_toward_them_and_through_the_edge() {
    if !ready() {
        return;
    }
    let host = with_ipv6("0s");
    host.wanshift(&["apply"]);
    let lab = &host.lab;
    for (desk, web, sites) in [
        (SESSION_HOST, WEB, [PROVINS, NEMOURS]),
        (SESSION_HOST6, WEB6, [PROVINS6, NEMOURS6]),
    ] {
        let desk = (lab.datacentre(), desk);
        let web = (lab.internet(), web);
        let of_sites = [
            (lab.provins(), sites[0], "mpls.site.mds-provins"),
            (lab.nemours(), sites[1], "mpls.site.mds-nemours"),
        ];
        for (site, address, place) in of_sites {
            let here = (site, address);
            let toward = |packet: &Packet| packet.target == Some(address);
            lands(&host, "mpls0", place, toward, || {
                bulk(Bulk::tcp(desk, here, 8080))
            });
            // What a site fetches: opened from there, from the datacentre and from the internet.
            lands(&host, "mpls0", place, toward, || {
                bulk(Bulk::tcp(here, desk, 8081).download())
            });
            lands(&host, "mpls0", place, toward, || {
                bulk(Bulk::tcp(here, web, 8082).download())
            });
            // A site's own class does not matter on the other circuit: there it is like any other.
            lands(
                &host,
                "wan0",
                "internet.rest",
                |packet| packet.port(8083),
                || {
                    bulk(Bulk::tcp(here, web, 8083));
                },
            );
        }
    }
    lands(
        &host,
        "mpls0",
        "mpls.rest",
        |packet| packet.target == Some(PROVIDER),
        || {
            datagrams(UdpFlood::new(
                desk4(&host),
                (lab.provider(), PROVIDER),
                8084,
            ));
        },
    );
}

fn desk4(host: &Host) -> (&Namespace, IpAddr) {
    (host.lab.datacentre(), SESSION_HOST)
}

#[test]
fn what_the_host_says_to_its_neighbours_is_control() {
    if !ready() {
        return;
    }
    let host = with_ipv6("0s");
    host.wanshift(&["apply"]);
    let lab = &host.lab;
    for (device, place, next) in [
        ("mpls0", "mpls.control", [PROVIDER, PROVIDER6]),
        ("wan0", "internet.control", [INTERNET, INTERNET6]),
    ] {
        for next in next {
            lands(
                &host,
                device,
                place,
                |packet| packet.target == Some(next),
                || {
                    for _ in 0..30 {
                        assert!(reaches(lab.edge(), next), "{next}");
                    }
                },
            );
        }
    }
    // Somebody else's echo requests are like any other traffic of theirs.
    lands(
        &host,
        "wan0",
        "internet.rest",
        |packet| packet.protocol == 1,
        || {
            for _ in 0..30 {
                assert!(reaches(lab.datacentre(), WEB));
            }
        },
    );
}
