//! Real packets: into which class each falls, counted by the HTB of the circuit's device.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use wanshift::kernel::nft;
use wanshift::lower::classify::Classifier;
use wanshift::model::node::NodeKey;
use wanshift::model::state::ClassId;

use super::namespace::{Host, inside, nft as script, run, sh};
use super::policies::{circuit, class, host, matching, site, table};
use super::roundtrip::observed;

fn rules() -> Classifier {
    let voice = || class("voice", vec![matching(&[], &[], &[], &[46])]);
    host(vec![circuit(
        "internet",
        "wan0",
        vec![
            site("provins", &["10.77.101.0/24", "fd00:101::/64"], vec![]),
            site("inner", &["10.77.102.0/24", "fd00:102::/64"], vec![voice()]),
        ],
        vec![
            class(
                "gateway",
                vec![matching(
                    &[],
                    &["198.51.100.1/32", "fd00:20::5/128"],
                    &["tcp/8443"],
                    &[],
                )],
            ),
            class(
                "single",
                vec![matching(
                    &[],
                    &["192.0.2.10/32", "2001:db8:9::10/128"],
                    &["udp/53", "tcp/80"],
                    &[],
                )],
            ),
            class(
                "bulk",
                vec![matching(
                    &["10.77.20.0/24", "fd00:20::/64"],
                    &[],
                    &["udp/5000-5100", "udp/6000"],
                    &[],
                )],
            ),
            class("video", vec![matching(&[], &[], &[], &[46, 34])]),
        ],
    )])
}

/// A host inside, the edge, and all that lies beyond, on one machine with many addresses.
struct Lab {
    within: Host,
    edge: Host,
    beyond: Host,
    classes: BTreeMap<NodeKey, ClassId>,
}

impl Lab {
    fn new() -> Self {
        let (within, edge, beyond) = (Host::new(), Host::new(), Host::new());
        edge.cable("lan0", &within, "eth0");
        edge.cable("wan0", &beyond, "eth0");
        let addresses = |host: &Host, device: &str, addresses: &[&str]| {
            host.enter();
            for address in addresses {
                let nodad = if address.contains(':') { "nodad" } else { "" };
                sh(&format!("ip address add {address} dev {device} {nodad}"));
            }
        };
        addresses(&within, "eth0", &["10.77.20.5/24", "fd00:20::5/64"]);
        addresses(&edge, "lan0", &["10.77.20.1/24", "fd00:20::1/64"]);
        addresses(&edge, "wan0", &["198.51.100.1/24", "2001:db8:1::1/64"]);
        addresses(&beyond, "eth0", &["198.51.100.2/24", "2001:db8:1::2/64"]);
        let others = [
            "192.0.2.10/32",
            "192.0.2.99/32",
            "10.77.101.9/32",
            "10.77.102.9/32",
            "2001:db8:9::10/128",
            "2001:db8:9::99/128",
            "fd00:101::9/128",
            "fd00:102::9/128",
        ];
        addresses(&beyond, "lo", &others);
        for (host, four, six) in [
            (&within, "10.77.20.1", "fd00:20::1"),
            (&edge, "198.51.100.2", "2001:db8:1::2"),
            (&beyond, "198.51.100.1", "2001:db8:1::1"),
        ] {
            host.enter();
            sh(&format!("ip route add default via {four}"));
            sh(&format!("ip -6 route add default via {six}"));
        }
        edge.enter();
        for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{forwarding}"), "1").unwrap();
        }
        script(
            "table ip nat {
               chain post {
                 type nat hook postrouting priority 100;
                 oifname wan0 ip daddr != 10.77.0.0/16 masquerade
               }
               chain pre {
                 type nat hook prerouting priority -100;
                 iifname wan0 tcp dport 8443 dnat to 10.77.20.5:443
               }
             }
             table inet raw {
               chain pre {
                 type filter hook prerouting priority -300;
                 udp dport 7777 notrack
               }
             }",
        );
        let table = table(&rules());
        nft::apply(None, Some(&table)).unwrap();
        assert!(observed().as_ref() == Some(&table));
        let classes = table.class_ids();
        let major = classes.values().next().unwrap().major.get();
        sh(&format!(
            "tc qdisc add dev wan0 root handle {major:x}: htb default 2"
        ));
        for id in classes.values() {
            sh(&format!(
                "tc class add dev wan0 parent {major:x}: classid {id} htb rate 1gbit quantum 60000"
            ));
        }
        let lab = Self {
            within,
            edge,
            beyond,
            classes,
        };
        lab.settle();
        lab
    }

    /// Waits until addresses are usable and neighbours known.
    fn settle(&self) {
        for address in OTHER {
            let passed = || self.counted(|lab| lab.datagram(&lab.within, address, 9, 0));
            let passes = (0..100).any(|_| passed().get("rest") == Some(&1));
            assert!(passes, "no way to {address}");
        }
    }

    /// Packets of each class so far, by what follows the circuit's name.
    fn packets(&self) -> BTreeMap<String, u64> {
        self.edge.enter();
        let text = run("tc", &["-s", "class", "show", "dev", "wan0"]);
        let mut counted = BTreeMap::new();
        let mut words = text.split_whitespace().peekable();
        let mut id = "";
        while let Some(word) = words.next() {
            match word {
                "htb" => id = words.next().unwrap(),
                "bytes" if words.peek().is_some() => {
                    let packets = words.next().unwrap().parse().unwrap();
                    let (key, _) = self
                        .classes
                        .iter()
                        .find(|(_, class)| class.to_string() == id)
                        .unwrap();
                    let key = key.to_string();
                    let (_, place) = key.split_once('.').unwrap_or(("", "circuit"));
                    counted.insert(place.to_owned(), packets);
                }
                _ => {}
            }
        }
        counted
    }

    /// Which classes `traffic` fell into, with the number of packets.
    fn counted(&self, traffic: impl FnOnce(&Self)) -> BTreeMap<String, u64> {
        let before = self.packets();
        traffic(self);
        // On a busy machine an answer takes its time; once the first is there, the others are soon.
        for _ in 0..100 {
            if self.packets() != before {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(60));
        let mut after = self.packets();
        for (place, packets) in &mut after {
            *packets -= before[place];
        }
        after.retain(|_, packets| *packets > 0);
        after
    }

    /// That `traffic` falls into one class only. Control may be heard beside it: neighbours are asked
    /// for at any time.
    fn falls_into(&self, place: &str, what: &str, traffic: impl FnOnce(&Self)) -> u64 {
        let mut counted = self.counted(traffic);
        let packets = counted.remove(place).unwrap_or(0);
        counted.remove("control");
        assert!(
            packets > 0 && counted.is_empty(),
            "{what}: {packets} in {place}, others: {counted:?}"
        );
        packets
    }

    fn datagram(&self, from: &Host, to: &str, port: u16, dscp: u8) {
        from.enter();
        let to = SocketAddr::new(to.parse().unwrap(), port);
        let socket = UdpSocket::bind((unspecified(to.ip()), 0)).unwrap();
        match to {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Tos, &(i32::from(dscp) << 2)),
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6TClass, &(i32::from(dscp) << 2)),
        }
        .unwrap();
        socket.send_to(b"datagram", to).unwrap();
    }

    /// A connection over which `bytes` go to the client; `asked` where the client asks, `at` where the
    /// server is.
    fn connection(
        &self,
        client: &Host,
        source: Option<&str>,
        asked: (&str, u16),
        server: &Host,
        at: (&str, u16),
        bytes: usize,
    ) {
        let address = |(ip, port): (&str, u16)| SocketAddr::new(ip.parse().unwrap(), port);
        server.enter();
        let listener = TcpListener::bind(address(at)).unwrap();
        client.enter();
        let mut client = match source {
            None => TcpStream::connect_timeout(&address(asked), Duration::from_secs(2)).unwrap(),
            Some(source) => connect_from(source, address(asked)),
        };
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"question").unwrap();
        server.read_exact(&mut [0; 8]).unwrap();
        let sender = std::thread::spawn(move || {
            server.write_all(&vec![0; bytes]).unwrap();
        });
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        sender.join().unwrap();
        assert_eq!(answer.len(), bytes);
    }
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, connect, socket,
    };
    use std::os::fd::AsRawFd;
    let source = SocketAddr::new(source.parse().unwrap(), 0);
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    match (source, to) {
        (SocketAddr::V4(source), SocketAddr::V4(to)) => {
            bind(fd.as_raw_fd(), &SockaddrIn::from(source)).unwrap();
            connect(fd.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
        }
        (SocketAddr::V6(source), SocketAddr::V6(to)) => {
            bind(fd.as_raw_fd(), &SockaddrIn6::from(source)).unwrap();
            connect(fd.as_raw_fd(), &SockaddrIn6::from(to)).unwrap();
        }
        _ => panic!("{source} and {to} are of two families"),
    }
    fd.into()
}

/// An address of each family.
type Both = [&'static str; 2];
const SINGLE: Both = ["192.0.2.10", "2001:db8:9::10"];
const OTHER: Both = ["192.0.2.99", "2001:db8:9::99"];
const PROVINS: Both = ["10.77.101.9", "fd00:101::9"];
const INNER: Both = ["10.77.102.9", "fd00:102::9"];
const WITHIN: Both = ["10.77.20.5", "fd00:20::5"];
const EDGE: Both = ["198.51.100.1", "2001:db8:1::1"];

#[test]
fn datagrams_fall_where_the_policy_says() {
    inside(|| {
        let lab = Lab::new();
        let cases: [(Both, u16, u8, &str); 18] = [
            (SINGLE, 5050, 0, "class.bulk"),
            (SINGLE, 53, 0, "class.single"),
            (SINGLE, 54, 0, "rest"),
            (OTHER, 53, 0, "rest"),
            (OTHER, 4999, 0, "rest"),
            (OTHER, 5000, 0, "class.bulk"),
            (OTHER, 5100, 0, "class.bulk"),
            (OTHER, 5101, 0, "rest"),
            (OTHER, 6000, 0, "class.bulk"),
            (OTHER, 9, 46, "class.video"),
            (OTHER, 9, 34, "class.video"),
            (OTHER, 9, 45, "rest"),
            // Classes in order: the first that fits.
            (SINGLE, 53, 46, "class.single"),
            (PROVINS, 9, 0, "site.provins"),
            // A site is outside of every class.
            (PROVINS, 5050, 46, "site.provins"),
            (INNER, 9, 0, "site.inner.rest"),
            (INNER, 9, 46, "site.inner.class.voice"),
            // In no connection: code points or not.
            (OTHER, 7777, 46, "rest"),
        ];
        for (to, port, dscp, place) in cases {
            for to in to {
                let what = format!("forwarded to {to} port {port} dscp {dscp}");
                let packets = lab.falls_into(place, &what, |lab| {
                    lab.datagram(&lab.within, to, port, dscp);
                });
                assert_eq!(packets, 1, "{what}");
            }
        }
        for (to, port, dscp, place) in [
            (SINGLE, 53, 0, "class.single"),
            (OTHER, 5050, 0, "rest"),
            (OTHER, 9, 46, "class.video"),
            (PROVINS, 9, 0, "site.provins"),
        ] {
            for to in to {
                lab.falls_into(place, &format!("own to {to} port {port}"), |lab| {
                    lab.datagram(&lab.edge, to, port, dscp);
                });
            }
        }
    });
}

#[test]
fn connections_fall_where_they_were_opened_to() {
    inside(|| {
        let lab = Lab::new();
        for to in SINGLE {
            lab.falls_into("class.single", "opened from within", |lab| {
                lab.connection(&lab.within, None, (to, 80), &lab.beyond, (to, 80), 100_000);
            });
        }
        // What leaves are the answers, of a translated connection and of one that is not.
        for (asked, at, port) in [(EDGE[0], WITHIN[0], 443), (WITHIN[1], WITHIN[1], 8443)] {
            lab.falls_into("class.gateway", "opened from beyond", |lab| {
                lab.connection(
                    &lab.beyond,
                    None,
                    (asked, 8443),
                    &lab.within,
                    (at, port),
                    100_000,
                );
            });
        }
        for (site, at) in PROVINS.into_iter().zip(WITHIN) {
            lab.falls_into("site.provins", "opened by a site", |lab| {
                let to = (at, 5001);
                lab.connection(&lab.beyond, Some(site), to, &lab.within, to, 100_000);
            });
        }
    });
}

#[test]
fn what_the_host_itself_lives_by_is_control() {
    inside(|| {
        let lab = Lab::new();
        let only_control = |what: &str, traffic: &dyn Fn(&Lab)| {
            let counted = lab.counted(traffic);
            assert!(counted.keys().eq(["control"]), "{what}: {counted:?}");
        };
        for edge in EDGE {
            // Nobody listens there: the answer is an ICMP message of the host itself.
            only_control("icmp", &|lab| lab.datagram(&lab.beyond, edge, 9, 0));
            only_control("ssh", &|lab| {
                lab.connection(&lab.beyond, None, (edge, 22), &lab.edge, (edge, 22), 100);
            });
            only_control("bgp", &|lab| {
                lab.connection(&lab.beyond, None, (edge, 179), &lab.edge, (edge, 179), 100);
            });
        }
        only_control("bfd", &|lab| {
            lab.datagram(&lab.edge, "198.51.100.2", 3784, 48)
        });
        only_control("bfd", &|lab| {
            lab.datagram(&lab.edge, "2001:db8:1::2", 4784, 48)
        });
        only_control("ospf", &|lab| protocol(&lab.edge, 89));
        only_control("vrrp", &|lab| protocol(&lab.edge, 112));

        // A neighbour is asked for before the packet goes.
        lab.edge.enter();
        sh("ip neigh flush dev wan0");
        let counted = lab.counted(|lab| {
            lab.datagram(&lab.within, OTHER[0], 5000, 0);
            lab.datagram(&lab.within, OTHER[1], 5000, 0);
        });
        assert_eq!(counted.get("class.bulk"), Some(&2), "{counted:?}");
        assert!(counted["control"] >= 2 && counted.len() == 2, "{counted:?}");

        // Duplicate address detection has no source.
        only_control("dad", &|lab| {
            lab.edge.enter();
            sh("ip address add 2001:db8:1::77/64 dev wan0");
            std::thread::sleep(Duration::from_millis(1500));
        });

        // The same protocols forwarded are traffic like any other.
        lab.falls_into("rest", "forwarded bfd", |lab| {
            lab.datagram(&lab.within, OTHER[0], 3784, 0);
        });
        lab.falls_into("rest", "forwarded ssh", |lab| {
            let to = (OTHER[1], 22);
            lab.connection(&lab.within, None, to, &lab.beyond, to, 100);
        });
    });
}

/// An empty packet of an IP protocol.
fn protocol(from: &Host, number: u8) {
    from.enter();
    let frame = format!(
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, {number})\
         .sendto(b'hello', ('198.51.100.2', 0))"
    );
    run("python3", &["-c", &frame]);
}

#[test]
fn a_copy_over_ssh_does_not_flood_control() {
    inside(|| {
        let lab = Lab::new();
        let counted = lab.counted(|lab| {
            let at = (EDGE[0], 22);
            lab.connection(&lab.beyond, None, at, &lab.edge, at, 20_000_000);
        });
        assert!(counted.contains_key("rest"), "{counted:?}");
        // What keeps the line alive has a bucket of its own.
        let counted = lab.counted(|lab| lab.datagram(&lab.edge, "198.51.100.2", 3784, 48));
        assert!(counted.keys().eq(["control"]), "{counted:?}");
    });
}

#[test]
fn no_packet_falls_between_two_tables() {
    inside(|| {
        let lab = Lab::new();
        let one = rules();
        let mut other = one.clone();
        // The very chain that the packets pass is emptied and filled, and their class's rules move.
        other.circuits[0].classes.remove(0);
        other.circuits[0].classes.insert(
            0,
            class("new", vec![matching(&["10.9.9.9/32"], &[], &[], &[])]),
        );
        other.circuits[0].sites.remove(1);
        let mut all = one.clone();
        all.circuits[0]
            .classes
            .extend(other.circuits[0].classes.clone());
        let ids = super::policies::ids(&all);
        let (one, other) = (one.table(&ids).unwrap(), other.table(&ids).unwrap());

        let stop = std::sync::atomic::AtomicBool::new(false);
        let counted = lab.counted(|lab| {
            lab.within.enter();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect("192.0.2.99:5050").unwrap();
            lab.edge.enter();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        // An unreachable port is told at times: no matter.
                        let _ = socket.send(b"datagram");
                    }
                });
                for _ in 0..25 {
                    nft::apply(Some(&one), Some(&other)).unwrap();
                    nft::apply(Some(&other), Some(&one)).unwrap();
                }
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            });
        });
        let bulk = counted.get("class.bulk").copied().unwrap_or(0);
        println!("{bulk} packets during 50 changes of the table");
        assert!(bulk > 1000 && !counted.contains_key("rest"), "{counted:?}");
    });
}

#[test]
fn connections_are_tracked_from_the_first_load() {
    inside(|| {
        let host = Host::new();
        host.enter();
        let tracked = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"x", "127.0.0.1:9").unwrap();
            std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")
                .map_or(0, |count| count.trim().parse::<u32>().unwrap())
        };
        assert_eq!(tracked(), 0);
        let table = table(&rules());
        nft::apply(None, Some(&table)).unwrap();
        assert!(tracked() > 0);
        // Even where no class is there yet but control.
        nft::apply(Some(&table), None).unwrap();
        let early = table.without(|slot| slot.minor() != wanshift::model::state::Minor::CONTROL);
        nft::apply(None, Some(&early)).unwrap();
        let before = tracked();
        assert!(tracked() > before);
    });
}
