//! Real packets that came over a circuit: how they are marked as they go on.

use nix::sys::socket::{setsockopt, sockopt};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use wanshift::kernel::nft;
use wanshift::model::circuit::MarkMask;
use wanshift::model::filter::Slot;

use super::namespace::{Host, inside, nft as script, run};
use super::net::{
    BEHIND_TUNNEL, Both, DEPOT, FAR, INNER, NOBODYS, Net, PROVINS, WEB, WITHIN, rules,
};
use super::policies::{class, matching};
use super::roundtrip::observed;

/// A connection opened by `client`, over which the server sends.
fn connection(client: &Host, asked: (&str, u16), server: &Host, at: (&str, u16)) {
    let address = |(ip, port): (&str, u16)| SocketAddr::new(ip.parse().unwrap(), port);
    server.enter();
    let listener = TcpListener::bind(address(at)).unwrap();
    client.enter();
    let mut client = TcpStream::connect_timeout(&address(asked), Duration::from_secs(2)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"question").unwrap();
    server.read_exact(&mut [0; 8]).unwrap();
    server.write_all(&[0; 50_000]).unwrap();
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.len(), 50_000);
}

fn both(of: Both, to: Both) -> impl Iterator<Item = (&'static str, &'static str)> {
    of.into_iter().zip(to)
}

#[test]
fn what_came_over_a_circuit_is_marked_by_where_it_came_from_and_goes() {
    inside(|| {
        let net = Net::new();
        for (from, to) in both(FAR, WITHIN) {
            let expected = [["lan0", "", "internet.rest"]];
            net.leaves("in from the internet", &expected, |net| {
                net.datagram(&net.beyond, Some(from), to, 9, 0);
            });
        }
        for (from, to) in both(BEHIND_TUNNEL, WITHIN) {
            let expected = [["lan0", "", "internet.class.video"]];
            net.leaves("in by the circuit's other name", &expected, |net| {
                net.datagram(&net.tunnel, Some(from), to, 9, 34);
            });
        }
        for (site, place) in [
            (PROVINS, "mpls.site.provins"),
            (INNER, "mpls.site.inner.rest"),
            (DEPOT, "mpls.rest"),
        ] {
            for (from, to) in both(site, WITHIN) {
                net.leaves("in from a branch", &[["lan0", "", place]], |net| {
                    net.datagram(&net.branch, Some(from), to, 9, 0);
                });
            }
        }
        for (site, place) in [
            (PROVINS, "mpls.site.provins"),
            (INNER, "mpls.site.inner.class.voice"),
            (DEPOT, "mpls.class.calls"),
        ] {
            for (from, to) in both(site, WITHIN) {
                net.leaves("in from a branch, ef", &[["lan0", "", place]], |net| {
                    net.datagram(&net.branch, Some(from), to, 9, 46);
                });
            }
        }
    });
}

#[test]
fn what_goes_from_one_circuit_to_another_has_a_class_in_either_tree() {
    inside(|| {
        let net = Net::new();
        for (from, to) in both(PROVINS, WEB) {
            let expected = [["wan0", "internet.class.web", "mpls.site.provins"]];
            net.leaves("branch to internet", &expected, |net| {
                net.datagram(&net.branch, Some(from), to, 53, 0);
            });
        }
        for (from, to) in both(DEPOT, BEHIND_TUNNEL) {
            let expected = [["wg0", "internet.class.video", "mpls.class.calls"]];
            net.leaves("branch to the circuit's other name", &expected, |net| {
                net.datagram(&net.branch, Some(from), to, 9, 46);
            });
        }
        for (from, to) in both(BEHIND_TUNNEL, INNER) {
            let expected = [["mpls0", "mpls.site.inner.rest", "internet.rest"]];
            net.leaves("internet to branch", &expected, |net| {
                net.datagram(&net.tunnel, Some(from), to, 9, 0);
            });
        }
    });
}

#[test]
fn what_goes_elsewhere_or_did_not_come_over_a_circuit_is_not_marked() {
    inside(|| {
        let net = Net::new();
        for (from, to) in both(FAR, NOBODYS) {
            net.leaves("to nobody's device", &[["dmz0", "", ""]], |net| {
                net.datagram(&net.beyond, Some(from), to, 9, 0);
            });
        }
        for (from, to) in both(FAR, BEHIND_TUNNEL) {
            let expected = [["wg0", "internet.rest", ""]];
            net.leaves("back over the same circuit", &expected, |net| {
                net.datagram(&net.beyond, Some(from), to, 9, 0);
            });
        }
        for (from, to) in both(NOBODYS, WITHIN) {
            net.leaves("from nobody's device", &[["lan0", "", ""]], |net| {
                net.datagram(&net.nobodys, Some(from), to, 9, 46);
            });
        }
        for to in BEHIND_TUNNEL {
            let expected = [["wg0", "internet.class.video", ""]];
            net.leaves(
                "from inside by the circuit's other name",
                &expected,
                |net| {
                    net.datagram(&net.within, None, to, 9, 34);
                },
            );
        }
    });
}

#[test]
fn bits_of_ours_that_a_packet_brings_are_cleared_and_others_stay() {
    inside(|| {
        for mask in [0xffff_0000, 0x0000_ffff, 0x0fff_ff00] {
            let mask = MarkMask::new(mask).unwrap();
            let net = Net::with(mask);
            for to in [WITHIN, FAR].concat() {
                let left = net.left(|net| {
                    let socket = net.socket(&net.edge, None, to, 0);
                    setsockopt(&socket, sockopt::Mark, &0x5a5a_a5a5).unwrap();
                    let to = SocketAddr::new(to.parse().unwrap(), 9);
                    socket.send_to(b"datagram", to).unwrap();
                });
                assert!(!left.is_empty());
                for one in left {
                    assert_eq!(one.down, "", "{one:?}");
                    assert_eq!(one.foreign, 0x5a5a_a5a5 & mask.others(), "{one:?}");
                }
            }
            // Somebody marks, and restores from the connection, with all bits.
            net.edge.enter();
            script(
                "table inet theirs {
                   chain pre {
                     type filter hook prerouting priority -150;
                     udp dport 6001 meta mark set 0x7b7bb7b7 ct mark set 0xf0f00f0f
                   }
                 }",
            );
            for (from, to) in both(PROVINS, WITHIN) {
                let left = net.left(|net| {
                    net.datagram(&net.branch, Some(from), to, 6001, 46);
                });
                assert!(!left.is_empty());
                for one in left {
                    assert_eq!(one.down, "mpls.site.provins", "{one:?}");
                    assert_eq!(one.foreign, 0x7b7b_b7b7 & mask.others(), "{one:?}");
                    assert_eq!(one.connection, 0xf0f0_0f0f, "{one:?}");
                }
            }
        }
    });
}

#[test]
fn a_reply_has_the_class_of_its_request() {
    inside(|| {
        let net = Net::new();
        for to in FAR {
            let expected = [
                ["wan0", "internet.class.video", ""],
                ["lan0", "", "internet.class.video"],
            ];
            net.leaves("asked from inside", &expected, |net| {
                net.exchange((&net.within, None), (&net.beyond, to), 7, 46);
            });
            let expected = [["wan0", "internet.rest", ""], ["lan0", "", "internet.rest"]];
            net.leaves("asked from inside for nothing special", &expected, |net| {
                net.exchange((&net.within, None), (&net.beyond, to), 7, 45);
            });
        }
        // What the replies leave by is upward, and bleached as well.
        for (from, to) in both(FAR, WITHIN) {
            let expected = [
                ["lan0", "", "internet.class.video"],
                ["wan0", "internet.class.video", ""],
            ];
            net.leaves("asked from the internet", &expected, |net| {
                net.exchange((&net.beyond, Some(from)), (&net.within, to), 7, 34);
            });
        }
        // One connection, of classes on two circuits at once.
        for (from, to) in both(DEPOT, FAR) {
            let expected = [
                ["wan0", "internet.class.video", "mpls.class.calls"],
                ["mpls0", "mpls.class.calls", "internet.class.video"],
            ];
            net.leaves("asked from circuit to circuit", &expected, |net| {
                net.exchange((&net.branch, Some(from)), (&net.beyond, to), 7, 46);
            });
        }
        // The one of the two circuits goes by this code point, the other does not.
        for (from, to) in both(INNER, FAR) {
            let expected = [
                ["wan0", "internet.class.video", "mpls.site.inner.rest"],
                ["mpls0", "mpls.site.inner.rest", "internet.class.video"],
            ];
            net.leaves("asked by a site", &expected, |net| {
                net.exchange((&net.branch, Some(from)), (&net.beyond, to), 7, 34);
            });
        }
    });
}

#[test]
fn connections_are_known_by_how_they_were_opened() {
    inside(|| {
        // A net for each: a connection may still send after both its ends were closed.
        for to in WEB {
            let net = Net::new();
            let expected = [
                ["wan0", "internet.class.web", ""],
                ["lan0", "", "internet.class.web"],
            ];
            net.leaves("from inside, one family masqueraded", &expected, |net| {
                connection(&net.within, (to, 80), &net.beyond, (to, 80));
            });
        }
        let expected = [
            ["lan0", "", "internet.class.gateway"],
            ["wan0", "internet.class.gateway", ""],
        ];
        for (asked, at, port) in [
            ("198.51.100.1", WITHIN[0], 443),
            (WITHIN[1], WITHIN[1], 8443),
        ] {
            let net = Net::new();
            net.leaves("from outside, one family translated", &expected, |net| {
                connection(&net.beyond, (asked, 8443), &net.within, (at, port));
            });
        }
    });
}

#[test]
fn every_fragment_has_the_class_of_the_whole() {
    inside(|| {
        let net = Net::new();
        net.edge.enter();
        script(
            "table netdev wire {
               set marks { type mark; size 64; flags dynamic; }
               chain lan {
                 type filter hook egress device lan0 priority 0;
                 ip frag-off & 0x3fff != 0 counter update @marks { meta mark }
                 exthdr frag exists counter update @marks { meta mark }
               }
             }",
        );
        let video = "internet.class.video".parse().unwrap();
        let (_, minor) = net.table.minors().find(|(key, _)| *key == video).unwrap();
        let mark = format!("{:#010x}", u32::from(minor.get()) << 16);
        for (from, to) in both(FAR, WITHIN) {
            let expected = [["lan0", "", "internet.class.video"]];
            net.leaves("4000 bytes", &expected, |net| {
                let socket = net.socket(&net.beyond, Some(from), to, 34);
                socket.send_to(&[0; 4000], (to, 9)).unwrap();
            });
        }
        let text = run("nft", &["-nn", "list", "table", "netdev", "wire"]);
        assert_eq!(text.matches("counter packets 3 ").count(), 2, "{text}");
        assert!(text.contains(&format!("elements = {{ {mark} }}")), "{text}");
    });
}

#[test]
fn rules_of_others_that_go_by_marks_stay_and_work() {
    inside(|| {
        let net = Net::new();
        net.edge.enter();
        script(
            "table ip theirs {
               chain pre {
                 type filter hook prerouting priority -100;
                 udp dport 6001 meta mark set meta mark | 0x00000001
               }
               chain forward {
                 type filter hook forward priority 0;
                 meta mark & 0x0000ffff == 0x00000001 ct mark set ct mark | 0x00000004
                 meta mark 0x00000002 drop
               }
               chain after {
                 type filter hook postrouting priority 200;
                 meta mark & 0x00000001 == 0x00000001 meta mark set meta mark | 0x00000008
               }
             }",
        );
        let before = run("nft", &["-a", "list", "table", "ip", "theirs"]);
        let left = net.left(|net| {
            net.datagram(&net.beyond, Some(FAR[0]), WITHIN[0], 6001, 46);
        });
        let one = left.first().unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(one.down, "internet.class.video");
        assert_eq!(one.foreign, 0x9);
        assert_eq!(one.connection, 4);
        nft::apply(Some(&net.table), None).unwrap();
        nft::apply(None, Some(&net.table)).unwrap();
        let after = run("nft", &["-a", "list", "table", "ip", "theirs"]);
        assert_eq!(before, after);
    });
}

#[test]
fn without_the_tree_for_what_arrives_nothing_is_marked() {
    inside(|| {
        let net = Net::new();
        net.edge.enter();
        let up_only = net.table.without(|slot| matches!(slot, Slot::Mark(_)));
        nft::apply(Some(&net.table), Some(&up_only)).unwrap();
        assert!(observed().as_ref() == Some(&up_only));
        let expected = [["wan0", "internet.class.web", ""]];
        net.leaves("without", &expected, |net| {
            net.datagram(&net.branch, Some(PROVINS[0]), WEB[0], 53, 0);
        });
        nft::apply(Some(&up_only), Some(&net.table)).unwrap();
        let expected = [["wan0", "internet.class.web", "mpls.site.provins"]];
        net.leaves("with", &expected, |net| {
            net.datagram(&net.branch, Some(PROVINS[0]), WEB[0], 53, 0);
        });
    });
}

#[test]
fn no_arrival_falls_between_two_tables() {
    inside(|| {
        let net = Net::new();
        let one = rules(MarkMask::UPPER_16);
        let mut other = one.clone();
        // The very chain that the packets pass asks for other ranges before, and a site comes and goes.
        let ranges = ["10.9.0.0/24", "10.9.2.0/24", "10.9.5.0/25"];
        other.circuits[1]
            .classes
            .insert(0, class("new", vec![matching(&ranges, &[], &[], &[])]));
        other.circuits[1].sites.remove(1);
        let mut all = one.clone();
        all.circuits[1].classes = other.circuits[1].classes.clone();
        let ids = super::policies::ids(&all);
        let (one, other) = (one.table(&ids).unwrap(), other.table(&ids).unwrap());
        nft::apply(Some(&net.table), Some(&one)).unwrap();

        let stop = std::sync::atomic::AtomicBool::new(false);
        let left = net.left(|net| {
            let socket = net.socket(&net.branch, Some(DEPOT[0]), WITHIN[0], 46);
            socket.connect((WITHIN[0], 9)).unwrap();
            net.edge.enter();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        // An unreachable port is told at times: no matter.
                        let _ = socket.send(b"datagram");
                    }
                });
                for _ in 0..15 {
                    nft::apply(Some(&one), Some(&other)).unwrap();
                    nft::apply(Some(&other), Some(&one)).unwrap();
                }
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            });
        });
        let (key, mark) = ("mpls.class.calls".parse().unwrap(), 16);
        let (_, minor) = one.minors().find(|(place, _)| *place == key).unwrap();
        println!("{left:?}");
        // Numbers are those of another set of places than the net knows by name.
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left.first().unwrap().mark >> mark, u32::from(minor.get()));
    });
}
