//! Rules of others on the same host: theirs keep working, and ours beside them.

use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use wanshift::kernel::nft;
use wanshift::lower::classify::Classifier;
use wanshift::model::circuit::MarkMask;

use super::namespace::{inside, nft as script, run, sh};
use super::net::{BEHIND_TUNNEL, DEPOT, FAR, INNER, NOBODYS, Net, PROVINS, WEB, WITHIN, rules};
use super::policies::{also, table};

#[test]
fn source_translation_by_a_whole_mark_keeps_working() {
    inside(|| {
        let net = Net::new();
        net.edge.enter();
        script(
            "table inet theirs {
               set seen { type ipv4_addr; size 64; flags dynamic; }
               set seen6 { type ipv6_addr; size 64; flags dynamic; }
               chain pre {
                 type filter hook prerouting priority -150;
                 iifname mpls0 meta mark set 0x1
               }
               chain post {
                 type nat hook postrouting priority 100;
                 meta mark 0x1 oifname { wan0, lan0 } masquerade
               }
               chain after {
                 type filter hook postrouting priority 400;
                 oifname { wan0, lan0 } update @seen { ip saddr }
                 oifname { wan0, lan0 } update @seen6 { ip6 saddr }
               }
             }",
        );
        // A site's packets are its own though their source is translated by then, and so are those of classes.
        for n in 0..2 {
            for (from, up, down) in [
                (PROVINS, "internet.rest", "mpls.site.provins"),
                (INNER, "internet.class.video", "mpls.site.inner.class.voice"),
                (DEPOT, "internet.class.video", "mpls.class.calls"),
            ] {
                let dscp = if from == PROVINS { 0 } else { 46 };
                net.leaves("to the internet", &[["wan0", up, down]], |net| {
                    net.datagram(&net.branch, Some(from[n]), FAR[n], 9, dscp);
                });
                net.leaves("to the inside", &[["lan0", "", down]], |net| {
                    net.datagram(&net.branch, Some(from[n]), WITHIN[n], 9, dscp);
                });
                // Replies come back to the site that asked.
                let expected = [["wan0", up, down], ["mpls0", down, up]];
                net.leaves("and back", &expected, |net| {
                    net.exchange((&net.branch, Some(from[n])), (&net.beyond, FAR[n]), 7, dscp);
                });
            }
        }
        net.edge.enter();
        let seen = run("nft", &["list", "set", "inet", "theirs", "seen"]);
        let seen6 = run("nft", &["list", "set", "inet", "theirs", "seen6"]);
        for host in [PROVINS, INNER] {
            assert!(!seen.contains(host[0]), "{seen}");
            assert!(!seen6.contains(host[1]), "{seen6}");
        }
        assert!(
            seen.contains("198.51.100.1") && seen.contains("10.77.20.1"),
            "{seen}"
        );
        assert!(seen6.contains("2001:db8:1::1"), "{seen6}");
    });
}

#[test]
fn a_server_in_a_site_is_of_the_site_though_asked_by_another_address() {
    inside(|| {
        let net = Net::new();
        net.edge.enter();
        script(
            "table inet theirs {
               chain pre {
                 type nat hook prerouting priority -100;
                 ip daddr 198.51.100.1 udp dport 7 dnat ip to 10.77.101.9
                 ip6 daddr 2001:db8:1::1 udp dport 7 dnat ip6 to fd00:101::9
               }
             }",
        );
        for (asked, server, client) in [
            ("198.51.100.1", PROVINS[0], FAR[0]),
            ("2001:db8:1::1", PROVINS[1], FAR[1]),
        ] {
            let expected = [
                ["mpls0", "mpls.site.provins", "internet.rest"],
                ["wan0", "internet.rest", "mpls.site.provins"],
            ];
            net.leaves("asked from the internet", &expected, |net| {
                net.branch.enter();
                let bound = std::net::UdpSocket::bind((server, 7)).unwrap();
                let timeout = Some(std::time::Duration::from_secs(2));
                bound.set_read_timeout(timeout).unwrap();
                let socket = net.socket(&net.beyond, Some(client), client, 0);
                let to = SocketAddr::new(asked.parse().unwrap(), 7);
                socket.send_to(b"question", to).unwrap();
                let mut text = [0; 16];
                let (_, from) = bound.recv_from(&mut text).unwrap();
                bound.send_to(b"answer", from).unwrap();
                assert_eq!(socket.recv_from(&mut text).unwrap().1, to);
            });
        }
    });
}

#[test]
fn what_is_in_no_connection_is_of_its_site_too() {
    inside(|| {
        let net = Net::new();
        net.edge.enter();
        script(
            "table inet theirs {
               chain pre {
                 type filter hook prerouting priority -300;
                 udp dport 7777 notrack
               }
             }",
        );
        for n in 0..2 {
            for (from, down) in [
                (PROVINS, "mpls.site.provins"),
                (INNER, "mpls.site.inner.rest"),
                (DEPOT, "mpls.rest"),
            ] {
                net.leaves("untracked", &[["lan0", "", down]], |net| {
                    net.datagram(&net.branch, Some(from[n]), WITHIN[n], 7777, 46);
                });
            }
        }
    });
}

/// Somebody chooses the way of connections by a mark that is saved and restored whole, and compared whole.
#[test]
fn routing_by_whole_marks_that_connections_save_keeps_working() {
    inside(|| {
        let net = Net::new();
        net.edge.enter();
        for family in ["-4", "-6"] {
            sh(&format!("ip {family} rule add fwmark 0x1 lookup 77"));
        }
        sh("ip -4 route add default via 203.0.113.2 table 77");
        sh("ip -6 route add default via 2001:db8:2::2 table 77");
        sh("ip -4 route add 10.77.20.0/24 dev lan0 table 77");
        sh("ip -6 route add fd00:20::/64 dev lan0 table 77");
        script(
            "table inet theirs {
               chain pre {
                 type filter hook prerouting priority -150;
                 meta mark set ct mark
                 meta mark 0x0 iifname lan0 udp dport { 7, 9 } meta mark set 0x1
                 ct mark set meta mark
               }
               chain post {
                 type filter hook postrouting priority 0;
                 ct mark set meta mark
               }
             }",
        );
        // The far end is reached by the other name of the circuit, for it is marked so.
        net.tunnel.enter();
        for address in FAR {
            let (length, nodad) = match address.contains(':') {
                true => (128, " nodad"),
                false => (32, ""),
            };
            sh(&format!("ip address add {address}/{length} dev lo{nodad}"));
        }
        for to in FAR {
            let expected = [
                ["wg0", "internet.class.video", ""],
                ["lan0", "", "internet.class.video"],
            ];
            net.leaves("by mark", &expected, |net| {
                net.exchange((&net.within, None), (&net.tunnel, to), 7, 46);
            });
            // Every packet of the connection goes the same way, with the mark that is theirs alone.
            let left = net.left(|net| {
                let socket = net.socket(&net.within, None, to, 46);
                for _ in 0..3 {
                    let _ = socket.send_to(b"datagram", SocketAddr::new(to.parse().unwrap(), 9));
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            });
            assert!(!left.is_empty());
            for one in left {
                assert_eq!((one.by.as_str(), one.mark, one.connection), ("wg0", 1, 1));
            }
        }
    });
}

#[test]
fn bits_of_ours_stay_where_they_lead_nowhere() {
    inside(|| {
        let net = Net::new();
        net.edge.cable("dmz1", &net.nobodys, "eth1");
        net.edge.enter();
        sh("ip address add 10.67.1.1/24 dev dmz1");
        sh("ip route add 10.67.0.0/24 via 10.67.1.2");
        net.nobodys.enter();
        sh("ip address add 10.67.1.2/24 dev eth1");
        sh("ip address add 10.67.0.9/32 dev lo");
        net.edge.enter();
        script(
            "table inet theirs {
               chain pre {
                 type filter hook prerouting priority -150;
                 meta l4proto udp meta mark set meta mark & 0xff00ffff | 0x00040000
               }
             }",
        );
        for (from, to, host, by, mark) in [
            (NOBODYS[0], "10.67.0.9", &net.nobodys, "dmz1", 0x4_0000),
            (WITHIN[0], NOBODYS[0], &net.within, "dmz0", 0x4_0000),
            (NOBODYS[1], WITHIN[1], &net.nobodys, "lan0", 0),
            (WITHIN[0], FAR[0], &net.within, "wan0", 0),
        ] {
            let left = net.left(|net| {
                if by == "dmz1" {
                    // From the edge itself: its own address is on both devices' far ends.
                    let socket = net.socket(&net.edge, None, to, 0);
                    setsockopt(&socket, sockopt::Mark, &0x4_0000).unwrap();
                    socket.send_to(b"datagram", (to, 9)).unwrap();
                } else {
                    net.datagram(host, Some(from), to, 9, 0);
                }
            });
            let left: Vec<_> = left.iter().map(|one| (one.by.as_str(), one.mark)).collect();
            assert_eq!(left, [(by, mark)], "from {from} to {to}");
        }
    });
}

/// Makes a tunnel to the host beyond.
fn overlay(net: &Net) {
    for (host, local, remote, own) in [
        (&net.edge, "198.51.100.1", "198.51.100.2", "10.88.0.1/24"),
        (&net.beyond, "198.51.100.2", "198.51.100.1", "10.88.0.2/24"),
    ] {
        host.enter();
        sh(&format!(
            "ip link add vx0 type vxlan id 7 dstport 4789 local {local} remote {remote}"
        ));
        sh(&format!("ip address add {own} dev vx0"));
        sh("ip link set vx0 up");
    }
    net.beyond.enter();
    sh("ip address add 10.77.103.9/32 dev lo");
    sh("ip route replace 10.77.20.0/24 via 10.88.0.1");
    net.edge.enter();
    sh("ip route add 10.77.103.0/24 via 10.88.0.2");
}

/// What carries a tunnel's packets shows the tunnel as the device that it came in by.
#[test]
fn what_the_host_itself_sends_is_never_marked() {
    inside(|| {
        for notrack in [false, true] {
            for name in ["further", "own"] {
                let mut net = Net::new();
                let mut rules: Classifier = rules(MarkMask::UPPER_16);
                let mpls = rules.circuits[1].clone();
                rules.circuits[1] = also(mpls, &["vx0"]);
                if name == "own" {
                    // The tunnel is the circuit's one device.
                    rules.circuits[1].device = "vx0".parse().unwrap();
                    rules.circuits[1].also = vec!["mpls0".parse().unwrap()];
                }
                let other = table(&rules);
                net.edge.enter();
                nft::apply(Some(&net.table), Some(&other)).unwrap();
                net.rename(other);
                overlay(&net);
                if notrack {
                    net.edge.enter();
                    script(
                        "table inet theirs {
                           chain out {
                             type filter hook output priority -300;
                             udp dport 4789 notrack
                           }
                         }",
                    );
                }
                let passes = |expected: &dyn Fn(&str) -> bool, what: &str, send: &dyn Fn(&Net)| {
                    let left = net.left(send);
                    let by: Vec<&str> = left.iter().map(|one| one.by.as_str()).collect();
                    for device in ["vx0", "wan0"] {
                        assert!(by.contains(&device), "{what}: {left:?}");
                    }
                    for one in left {
                        assert!(expected(&one.down), "{what}: {one:?}");
                    }
                };
                passes(&str::is_empty, "from inside", &|net| {
                    net.datagram(&net.within, None, "10.77.103.9", 9, 46);
                });
                passes(&str::is_empty, "the host's own", &|net| {
                    net.datagram(&net.edge, None, "10.77.103.9", 9, 46);
                });
                // What really came over the tunnel is marked.
                let left = net.left(|net| {
                    net.datagram(&net.beyond, Some("10.77.103.9"), WITHIN[0], 9, 46);
                });
                assert!(
                    left.iter()
                        .any(|one| one.by == "lan0" && one.down == "mpls.class.calls"),
                    "{left:?}"
                );
            }
        }
    });
}

#[test]
fn only_connections_of_circuits_remember() {
    inside(|| {
        let net = Net::new();
        // Nobody's device goes on to the inside, and the inside to nobody's: no circuit is part of it.
        let labels = |net: &Net| {
            net.edge.enter();
            script(
                "table inet looking {
                   set known { type ipv4_addr; size 64; flags dynamic; }
                   chain after {
                     type filter hook postrouting priority 401;
                     ct direction original ct label 110 update @known { ip daddr }
                   }
                 }",
            );
            net.datagram(&net.nobodys, Some(NOBODYS[0]), WITHIN[0], 9, 46);
            net.datagram(&net.within, None, NOBODYS[0], 9, 46);
            net.datagram(&net.within, None, WEB[0], 9, 46);
            net.datagram(&net.branch, Some(DEPOT[0]), NOBODYS[0], 9, 46);
            net.datagram(&net.within, None, BEHIND_TUNNEL[0], 9, 0);
            std::thread::sleep(std::time::Duration::from_millis(300));
            net.edge.enter();
            run("nft", &["list", "set", "inet", "looking", "known"])
        };
        let seen = labels(&net);
        assert!(seen.contains(WEB[0]) && seen.contains(NOBODYS[0]), "{seen}");
        assert!(
            !seen.contains(WITHIN[0]) && !seen.contains(BEHIND_TUNNEL[0]),
            "{seen}"
        );
    });
}
