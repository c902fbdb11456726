//! Which class a packet falls into that came over a circuit: counted by the kernel, seen inside.

use std::time::Duration;

use crate::ceilings::with_ipv6;
use crate::host::{ALWAYS, DOWN, Host, Way, near, one_circuit};
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::trace::Packet;
use crate::lab::udp::UdpFlood;
use crate::lab::{measure, quiet_machine, ready};
use crate::landing::{bulk, datagrams, lands, lands_at};

#[test]
fn the_internet_circuit_knows_its_classes() {
    if !ready() {
        return;
    }
    let host = with_ipv6("0s");
    host.wanshift(&["apply"]);
    let lab = &host.lab;
    for (worker, gateway, vpn, web) in
        [(WORKER, GATEWAY, VPN, WEB), (WORKER6, GATEWAY6, VPN6, WEB6)]
    {
        let (worker, web) = ((lab.internet(), worker), (lab.internet(), web));
        let inside = |address| (lab.datacentre(), address);
        let toward = |address| move |packet: &Packet| packet.target == Some(address);
        let arrives = |place: &str, wanted: &dyn Fn(&Packet) -> bool, traffic: &dyn Fn()| {
            lands(&host, DOWN, place, wanted, traffic);
        };
        arrives("internet.class.gateway", &toward(gateway), &|| {
            bulk(Bulk::tcp(worker, inside(gateway), 443));
        });
        arrives("internet.class.gateway", &toward(gateway), &|| {
            datagrams(UdpFlood::new(worker, inside(gateway), 443));
        });
        arrives("internet.class.operations", &toward(vpn), &|| {
            datagrams(UdpFlood::new(worker, inside(vpn), 1194));
        });
        // By the DSCP that it came with, and the rest: another port of the gateway, and what the
        // gateway opened itself.
        arrives("internet.class.video", &|packet| packet.dscp == 46, &|| {
            datagrams(UdpFlood::new(web, inside(gateway), 5002).dscp(46));
        });
        arrives("internet.rest", &toward(gateway), &|| {
            bulk(Bulk::tcp(worker, inside(gateway), 5005));
        });
        arrives("internet.rest", &toward(gateway), &|| {
            bulk(Bulk::tcp(inside(gateway), worker, 443).download());
        });
    }
}

#[test]
fn answers_to_masqueraded_connections_are_in_the_class_of_who_asked() {
    if !ready() {
        return;
    }
    let host = with_ipv6("0s");
    host.wanshift(&["apply"]);
    let lab = &host.lab;
    for (web, desk, operator) in [
        (WEB, SESSION_HOST, OPERATIONS),
        (WEB6, SESSION_HOST6, OPERATIONS6),
    ] {
        let web = (lab.internet(), web);
        let (desk, operator) = ((lab.datacentre(), desk), (lab.datacentre(), operator));
        let toward = |address| move |packet: &Packet| packet.target == Some(address);
        lands(
            &host,
            DOWN,
            "internet.class.operations",
            toward(operator.1),
            || bulk(Bulk::tcp(operator, web, 5000).download()),
        );
        // In fragments, too.
        lands(
            &host,
            DOWN,
            "internet.class.operations",
            toward(operator.1),
            || {
                let flow = UdpFlood::new(web, operator, 5101).source_port(5001);
                datagrams(flow.payload(3000));
            },
        );
        // A class by DSCP is that of the connection: its answers come without.
        lands(
            &host,
            DOWN,
            "internet.class.video",
            |packet| packet.dscp == 0 && packet.target == Some(desk.1),
            || {
                bulk(Bulk::tcp(desk, web, 5003).dscp(46).bleached().download());
            },
        );
        lands(&host, DOWN, "internet.rest", toward(desk.1), || {
            bulk(Bulk::tcp(desk, web, 5004).download());
        });
    }
}

#[test]
fn sites_are_known_from_which_packets_come() {
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
        for (site, address, place) in [
            (lab.provins(), sites[0], "mpls.site.mds-provins"),
            (lab.nemours(), sites[1], "mpls.site.mds-nemours"),
        ] {
            let here = (site, address);
            let from_here = |packet: &Packet| packet.source == Some(address);
            lands(&host, DOWN, place, from_here, || {
                bulk(Bulk::tcp(here, desk, 8081));
            });
            lands(&host, DOWN, place, from_here, || {
                bulk(Bulk::tcp(desk, here, 8080).download());
            });
            // On to the internet, where no address shows whose it was.
            let leaving = |packet: &Packet| packet.target_port == 8083;
            lands_at(&host, DOWN, lab.internet(), place, leaving, || {
                datagrams(UdpFlood::new(here, web, 8083));
            });
        }
    }
    let provider = (lab.provider(), PROVIDER);
    lands(
        &host,
        DOWN,
        "mpls.rest",
        |packet| packet.source == Some(PROVIDER),
        || {
            let desk = (lab.datacentre(), SESSION_HOST);
            datagrams(UdpFlood::new(provider, desk, 8084));
        },
    );
}

/// The edge's own address stands for a gateway inside: the class is that of the address that was asked.
#[test]
fn a_translated_gateway_is_known_by_the_address_that_was_asked() {
    if !ready() {
        return;
    }
    let class = format!(
        "[class.gateway]\ncircuit = \"internet\"\n\
         match = [{{ to = [\"{EDGE_WAN}\", \"{EDGE_WAN6}\"], service = [\"tcp/443\"] }}]\n"
    );
    let host = Host::with(&one_circuit("100mbit", ""), &format!("{ALWAYS}{class}"));
    let lab = &host.lab;
    lab.edge().feed(
        "nft",
        &["-f", "-"],
        &format!(
            "table inet lab-dnat {{ chain prerouting {{
                type nat hook prerouting priority dstnat;
                iifname \"wan0\" ip daddr {EDGE_WAN} tcp dport 443 dnat ip to {SESSION_HOST}
                iifname \"wan0\" ip6 daddr {EDGE_WAN6} tcp dport 443 dnat ip6 to {SESSION_HOST6}
            }}; }}"
        ),
    );
    host.wanshift(&["apply"]);
    for (worker, asked, server) in [
        (WORKER, EDGE_WAN, SESSION_HOST),
        (WORKER6, EDGE_WAN6, SESSION_HOST6),
    ] {
        let (worker, inside) = ((lab.internet(), worker), (lab.datacentre(), server));
        let flow = || Bulk::tcp(worker, inside, 443).asked_at(asked);
        let place = "internet.class.gateway";
        lands(
            &host,
            DOWN,
            place,
            |packet| packet.target == Some(server),
            || bulk(flow()),
        );
        lands(
            &host,
            "wan0",
            place,
            |packet| packet.source == Some(asked),
            || bulk(flow().download()),
        );
    }
}

#[test]
fn all_fragments_are_in_the_class_of_the_first() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let class = "[class.large]\ncircuit = \"internet\"\nceiling = \"2mbit\"\n\
                 match = [{ service = [\"udp/7000\"] }]\n";
    let host = Host::with(&one_circuit("100mbit", ""), &format!("{ALWAYS}{class}"));
    host.wanshift(&["apply"]);
    let lab = &host.lab;
    for way in [Way::Up, Way::Down] {
        let device = if way == Way::Up { "wan0" } else { DOWN };
        for family in [[GATEWAY, WEB], [GATEWAY6, WEB6]] {
            let ends = [(lab.datacentre(), family[0]), (lab.internet(), family[1])];
            let [from, to] = if way == Way::Up {
                ends
            } else {
                [ends[1], ends[0]]
            };
            let ours = |packet: &Packet| packet.source == Some(from.1);
            let large = || UdpFlood::new(from, to, 7000).payload(4000);
            lands(&host, device, "internet.class.large", ours, || {
                datagrams(large());
            });
            let wire = way.wire(lab);
            let flow = large().rate(6_000_000).start();
            let (start, end) = measure(Duration::from_millis(500), Duration::from_secs(3));
            flow.stop();
            let wire = wire.stop().only(ours);
            let largest = wire.packets.iter().map(|packet| packet.bytes).max();
            assert!(largest <= Some(1514), "not in fragments: {largest:?}");
            let what = format!("{way:?} from {}", from.1);
            near(&what, wire.paid_rate(start, end), 2e6, 2.0);
            // What is left in the queue must not count for the next.
            crate::lab::sleep(Duration::from_millis(500));
        }
    }
}
