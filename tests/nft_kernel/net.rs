//! An edge between an inside, a branch, the internet, a tunnel and a device of nobody's, and what it made of
//! each packet that leaves it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use wanshift::kernel::nft;
use wanshift::lower::classify::Classifier;
use wanshift::model::circuit::MarkMask;
use wanshift::model::filter::Table;
use wanshift::model::state::Minor;

use super::namespace::{Host, nft as script, run, sh};
use super::policies::{also, circuit, class, device, matching, site, table};
use super::roundtrip::observed;

/// Two circuits, one of which has a second name.
pub fn rules(mask: MarkMask) -> Classifier {
    let dscp = |points: &[u8]| vec![matching(&[], &[], &[], points)];
    let asked = ["192.0.2.10/32", "2001:db8:9::10/128"];
    let opened = ["198.51.100.1/32", "fd00:20::5/128"];
    let internet = circuit(
        "internet",
        "wan0",
        vec![],
        vec![
            class("gateway", vec![matching(&[], &opened, &["tcp/8443"], &[])]),
            class(
                "web",
                vec![matching(&[], &asked, &["udp/53", "tcp/80"], &[])],
            ),
            class("video", dscp(&[46, 34])),
        ],
    );
    let mpls = circuit(
        "mpls",
        "mpls0",
        vec![
            site("provins", &["10.77.101.0/24", "fd00:101::/64"], vec![]),
            site(
                "inner",
                &["10.77.102.0/24", "fd00:102::/64"],
                vec![class("voice", dscp(&[46]))],
            ),
        ],
        vec![class("calls", dscp(&[46]))],
    );
    Classifier {
        circuits: vec![also(internet, &["wg0"]), mpls],
        inside: vec![device("lan0")],
        mask,
        blocks: Vec::new(),
    }
}

/// An address of each family.
pub type Both = [&'static str; 2];
pub const WITHIN: Both = ["10.77.20.5", "fd00:20::5"];
pub const WEB: Both = ["192.0.2.10", "2001:db8:9::10"];
pub const FAR: Both = ["192.0.2.99", "2001:db8:9::99"];
pub const BEHIND_TUNNEL: Both = ["192.0.2.77", "2001:db8:77::9"];
pub const PROVINS: Both = ["10.77.101.9", "fd00:101::9"];
pub const INNER: Both = ["10.77.102.9", "fd00:102::9"];
/// Behind the circuit, but of no site.
pub const DEPOT: Both = ["10.77.109.9", "fd00:109::9"];
pub const NOBODYS: Both = ["10.66.0.9", "fd00:66::9"];

/// A packet as it left the edge, after all that others do to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    pub by: String,
    /// The place that its priority names; empty where it names none.
    pub up: String,
    /// The place that our bits of its mark name; empty where they name none.
    pub down: String,
    /// Its whole mark.
    pub mark: u32,
    /// Its mark, the bits of others only.
    pub foreign: u32,
    /// Its connection's mark.
    pub connection: u32,
}

pub struct Net {
    pub within: Host,
    pub edge: Host,
    pub beyond: Host,
    pub tunnel: Host,
    pub branch: Host,
    pub nobodys: Host,
    pub table: Table,
    mask: MarkMask,
    up: BTreeMap<String, String>,
    down: BTreeMap<Minor, String>,
}

impl Net {
    pub fn new() -> Self {
        Self::with(MarkMask::UPPER_16)
    }

    pub fn with(mask: MarkMask) -> Self {
        let hosts: [Host; 6] = std::array::from_fn(|_| Host::new());
        let [within, edge, beyond, tunnel, branch, nobodys] = hosts;
        let cables = [
            (
                &within,
                "lan0",
                "10.77.20.1/24",
                "fd00:20::1/64",
                WITHIN,
                ["10.77.20.5/24", "fd00:20::5/64"],
            ),
            (
                &beyond,
                "wan0",
                "198.51.100.1/24",
                "2001:db8:1::1/64",
                FAR,
                ["198.51.100.2/24", "2001:db8:1::2/64"],
            ),
            (
                &tunnel,
                "wg0",
                "203.0.113.1/24",
                "2001:db8:2::1/64",
                BEHIND_TUNNEL,
                ["203.0.113.2/24", "2001:db8:2::2/64"],
            ),
            (
                &branch,
                "mpls0",
                "10.99.0.1/24",
                "fd00:99::1/64",
                DEPOT,
                ["10.99.0.2/24", "fd00:99::2/64"],
            ),
            (
                &nobodys,
                "dmz0",
                "10.66.1.1/24",
                "fd00:67::1/64",
                NOBODYS,
                ["10.66.1.2/24", "fd00:67::2/64"],
            ),
        ];
        let add = |what: &str| {
            let nodad = if what.contains("::") { " nodad" } else { "" };
            sh(&format!("ip address add {what}{nodad}"));
        };
        for (host, name, four, six, own, theirs) in cables {
            edge.cable(name, host, "eth0");
            edge.enter();
            add(&format!("{four} dev {name}"));
            add(&format!("{six} dev {name}"));
            host.enter();
            for address in theirs {
                add(&format!("{address} dev eth0"));
            }
            if own != WITHIN {
                add(&format!("{}/32 dev lo", own[0]));
                add(&format!("{}/128 dev lo", own[1]));
            }
            for (edge, family) in [(four, "-4"), (six, "-6")] {
                let (edge, _) = edge.split_once('/').unwrap();
                sh(&format!("ip {family} route add default via {edge}"));
            }
        }
        beyond.enter();
        for address in WEB {
            add(&format!("{address} dev lo"));
        }
        branch.enter();
        for address in [PROVINS, INNER].concat() {
            add(&format!("{address} dev lo"));
        }
        edge.enter();
        for (to, via) in [
            ("10.77.0.0/16", "10.99.0.2"),
            ("fd00:100::/24", "fd00:99::2"),
            ("192.0.2.77", "203.0.113.2"),
            ("2001:db8:77::/48", "2001:db8:2::2"),
            ("10.66.0.0/24", "10.66.1.2"),
            ("fd00:66::/64", "fd00:67::2"),
            ("0.0.0.0/0", "198.51.100.2"),
            ("::/0", "2001:db8:1::2"),
        ] {
            let family = if to.contains(':') { "-6" } else { "-4" };
            sh(&format!("ip {family} route add {to} via {via}"));
        }
        for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{forwarding}"), "1").unwrap();
        }
        script(
            "table ip nat {
               chain post {
                 type nat hook postrouting priority 100;
                 oifname wan0 ip saddr 10.77.20.0/24 masquerade
               }
               chain pre {
                 type nat hook prerouting priority -100;
                 iifname wan0 tcp dport 8443 dnat to 10.77.20.5:443
               }
             }
             table inet seen {
               set packets {
                 typeof oifname . meta mark . meta priority . ct mark
                 size 4096; flags dynamic; counter;
               }
               set stateless {
                 typeof oifname . meta mark . meta priority
                 size 4096; flags dynamic; counter;
               }
               chain after {
                 type filter hook postrouting priority 400;
                 ct state { invalid, untracked } meta l4proto { tcp, udp } update @stateless { oifname . meta mark . meta priority }
                 meta l4proto { tcp, udp } update @packets { oifname . meta mark . meta priority . ct mark }
               }
             }",
        );
        let table = table(&rules(mask));
        nft::apply(None, Some(&table)).unwrap();
        assert!(observed().as_ref() == Some(&table));
        let mut net = Self {
            up: BTreeMap::new(),
            down: BTreeMap::new(),
            within,
            edge,
            beyond,
            tunnel,
            branch,
            nobodys,
            mask,
            table: Table::default(),
        };
        net.rename(table);
        net.settle();
        net
    }

    /// Knows packets by the numbers of that table.
    pub fn rename(&mut self, table: Table) {
        let up = table.class_ids().into_iter();
        self.up = up
            .map(|(key, id)| (id.to_string(), key.to_string()))
            .collect();
        let down = table.minors();
        self.down = down.map(|(key, minor)| (minor, key.to_string())).collect();
        self.table = table;
    }

    /// Waits until addresses are usable and neighbours known, from and to wherever packets are sent.
    fn settle(&self) {
        let passes = |host: &Host, from: Option<&str>, to: &str| {
            let passes = (0..100).any(|_| {
                !self
                    .left(|net| net.datagram(host, from, to, 9, 0))
                    .is_empty()
            });
            assert!(passes, "no way from {from:?} to {to}");
        };
        for to in [FAR, WEB, BEHIND_TUNNEL, PROVINS, INNER, DEPOT, NOBODYS].concat() {
            passes(&self.within, None, to);
        }
        for (host, from) in [
            (&self.beyond, FAR),
            (&self.tunnel, BEHIND_TUNNEL),
            (&self.branch, PROVINS),
            (&self.branch, INNER),
            (&self.branch, DEPOT),
        ] {
            for (from, to) in from.into_iter().zip(WITHIN) {
                passes(host, Some(from), to);
            }
        }
    }

    /// Every kind of packet that left while `traffic` went on.
    pub fn left(&self, traffic: impl FnOnce(&Self)) -> BTreeSet<Left> {
        self.edge.enter();
        sh("nft flush set inet seen packets");
        sh("nft flush set inet seen stateless");
        traffic(self);
        let mut seen = BTreeSet::new();
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.packets();
            if now == seen && !now.is_empty() {
                break;
            }
            seen = now;
        }
        seen
    }

    /// That all packets of `traffic` are those, by device, place upward and place downward.
    pub fn leaves(&self, what: &str, expected: &[[&str; 3]], traffic: impl FnOnce(&Self)) {
        let left = self.left(traffic);
        let left: BTreeSet<[&str; 3]> = left
            .iter()
            .map(|one| [one.by.as_str(), &one.up, &one.down])
            .collect();
        assert_eq!(left, expected.iter().copied().collect(), "{what}");
    }

    fn packets(&self) -> BTreeSet<Left> {
        self.edge.enter();
        let mut packets = BTreeSet::new();
        for set in ["packets", "stateless"] {
            let text = run("nft", &["-nn", "list", "set", "inet", "seen", set]);
            let Some((_, elements)) = text.split_once("elements = {") else {
                continue;
            };
            let elements = elements.split('}').next().unwrap().split(',');
            packets.extend(elements.map(|element| self.packet(element)));
        }
        packets
    }

    fn packet(&self, element: &str) -> Left {
        let words: Vec<&str> = element.split_whitespace().collect();
        let [by, ".", mark, ".", priority, ref rest @ ..] = words[..] else {
            panic!("{element}")
        };
        let connection = match rest {
            [".", connection, ..] => connection,
            _ => "0",
        };
        let number = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        let mark = number(mark);
        let down = match self.mask.number(mark) {
            0 => String::new(),
            minor => Minor::new(minor.try_into().unwrap())
                .and_then(|minor| self.down.get(&minor).cloned())
                .unwrap_or_else(|| format!("unknown {minor:x}")),
        };
        Left {
            by: by.trim_matches('"').to_owned(),
            up: self.up.get(priority).cloned().unwrap_or_default(),
            down,
            mark,
            foreign: mark & self.mask.others(),
            connection: number(connection),
        }
    }

    pub fn socket(&self, host: &Host, source: Option<&str>, like: &str, dscp: u8) -> UdpSocket {
        host.enter();
        let like: IpAddr = like.parse().unwrap();
        let unspecified = if like.is_ipv4() { "0.0.0.0" } else { "::" };
        let source: IpAddr = source.unwrap_or(unspecified).parse().unwrap();
        let socket = UdpSocket::bind((source, 0)).unwrap();
        let field = i32::from(dscp) << 2;
        if like.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4Tos, &field).unwrap();
        } else {
            setsockopt(&socket, sockopt::Ipv6TClass, &field).unwrap();
        }
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        socket
    }

    pub fn datagram(&self, from: &Host, source: Option<&str>, to: &str, port: u16, dscp: u8) {
        let socket = self.socket(from, source, to, dscp);
        socket
            .send_to(b"datagram", SocketAddr::new(to.parse().unwrap(), port))
            .unwrap();
    }

    /// A question with that code point, and an answer without any.
    pub fn exchange(&self, from: (&Host, Option<&str>), to: (&Host, &str), port: u16, dscp: u8) {
        to.0.enter();
        let at = SocketAddr::new(to.1.parse().unwrap(), port);
        let server = UdpSocket::bind(at).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let client = self.socket(from.0, from.1, to.1, dscp);
        client.send_to(b"question", at).unwrap();
        let mut text = [0; 16];
        let (_, asked_by) = server.recv_from(&mut text).unwrap();
        server.send_to(b"answer", asked_by).unwrap();
        client.recv_from(&mut text).unwrap();
    }
}
