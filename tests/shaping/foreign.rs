//! Other programs' rules, routes, marks and bridges on the edge: there before, during and after.

use std::net::IpAddr;

use crate::host::{DOWN, Host};
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::probe::{Listening, open};
use crate::lab::snapshot::Snapshot;
use crate::lab::{Lab, Namespace, ready, sleep};

/// A container on a bridge of the edge, as docker makes them: an inside segment that is not in `inside`.
pub struct Guest {
    namespace: Namespace,
}

/// Its address.
const GUEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(172, 17, 0, 2));

impl Guest {
    pub fn new(lab: &Lab) -> Self {
        let namespace = Namespace::new("guest");
        let edge = format!(
            "link add docker0 type bridge\naddress add 172.17.0.1/16 dev docker0\n\
             link add guest0 type veth peer name eth0 netns {}\n\
             link set guest0 master docker0\nlink set guest0 up\nlink set docker0 up\n",
            namespace.path()
        );
        lab.edge().feed("ip", &["-batch", "-"], &edge);
        let guest = "link set lo up\naddress add 172.17.0.2/16 dev eth0\nlink set eth0 up\n\
                     route add default via 172.17.0.1\n";
        namespace.feed("ip", &["-batch", "-"], guest);
        // Until the bridge has its link-local address: snapshots shall be of something that stands still.
        for _ in 0..200 {
            let links = lab
                .edge()
                .run("ip", &["-6", "address", "show", "scope", "link"]);
            if links.contains(": docker0") && links.contains(": guest0") {
                return Self { namespace };
            }
            sleep(std::time::Duration::from_millis(20));
        }
        panic!("docker0 stays down");
    }

    /// Where it is.
    pub fn end(&self) -> (&Namespace, IpAddr) {
        (&self.namespace, GUEST)
    }
}

/// A server at the provider that only the foreign policy routing leads to: elsewhere its address is the
/// internet's, where nobody listens.
const ROUTED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 99));

/// Tables as docker and firewalld have them, and marks of somebody's policy routing in the lower bits, kept
/// with the connection. `seen` counts at the very end what the marks are then.
const TABLES: &str = "\
table ip docker {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname != \"docker0\" tcp dport 8088 dnat to 172.17.0.2:80
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname \"wan0\" ip saddr 172.17.0.0/16 masquerade
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state established,related accept
        iifname \"docker0\" oifname != \"docker0\" accept
        ip daddr 172.17.0.2 tcp dport 80 accept
    }
}
table inet firewalld {
    chain marks {
        type filter hook prerouting priority mangle + 10;
        ct state established,related meta mark set ct mark and 0x0000ffff
        iifname \"lan0\" ip saddr 10.77.9.0/24 ct state new meta mark set 0x1
        ct state new ct mark set meta mark
    }
    chain input {
        type filter hook input priority filter + 10; policy accept;
        ct state established,related accept
        iifname \"lo\" accept
    }
    chain seen {
        type filter hook postrouting priority 400;
        oifname \"mpls0\" meta mark and 0x0000ffff == 0x1 counter comment \"routed\"
        oifname \"lan0\" iifname \"docker0\" meta mark and 0xffff0000 != 0 counter comment \"touched\"
        oifname \"docker0\" iifname \"lan0\" meta mark and 0xffff0000 != 0 counter comment \"touched\"
    }
}
";

/// Packets that the rules with that comment counted.
fn seen(lab: &Lab, comment: &str) -> u64 {
    let chain = ["list", "chain", "inet", "firewalld", "seen"];
    let text = lab.edge().run("nft", &chain);
    let rules = text.lines().filter(|line| line.contains(comment));
    rules
        .map(|line| {
            let mut words = line.split_whitespace();
            words.find(|word| *word == "packets").expect("a counter");
            words.next().unwrap().parse::<u64>().unwrap()
        })
        .sum()
}

/// The foreign things themselves, as text.
fn foreign(lab: &Lab) -> Vec<String> {
    let edge = lab.edge();
    let mut found = vec![
        edge.run("ip", &["rule"]),
        edge.run("ip", &["-6", "rule"]),
        edge.run("ip", &["route", "show", "table", "100"]),
        edge.run("ip", &["route"]),
        edge.run("ip", &["-6", "route"]),
        edge.run("bridge", &["link"]),
    ];
    for table in [["ip", "docker"], ["inet", "firewalld"], ["inet", "lab"]] {
        found.push(edge.run("nft", &[&["-s", "list", "table"], &table[..]].concat()));
    }
    found
}

/// The lower 16 bits of the marks of connections to the routed server.
fn connection_marks(lab: &Lab) -> Vec<u32> {
    let server = ROUTED.to_string();
    let text = lab.edge().run("conntrack", &["-L", "-d", &server]);
    let words = text.split_whitespace();
    let marks = words.filter_map(|word| word.strip_prefix("mark="));
    marks
        .map(|mark| mark.parse::<u32>().unwrap() & 0xffff)
        .collect()
}

#[test]
fn foreign_rules_routes_marks_and_bridges_are_left_alone() {
    if !ready() {
        return;
    }
    let host = Host::cd77("0s");
    let lab = &host.lab;
    let guest = Guest::new(lab);
    lab.edge().feed("nft", &["-f", "-"], TABLES);
    lab.edge().feed(
        "ip",
        &["-batch", "-"],
        "rule add fwmark 0x1 table 100\nroute add default via 10.77.255.2 dev mpls0 table 100\n\
         route add 10.77.9.0/24 via 10.77.0.2 dev lan0 table 100\n",
    );
    lab.provider().run(
        "ip",
        &["route", "add", "local", "203.0.113.99/32", "dev", "lo"],
    );
    let _listening = [
        Listening::start((lab.provider(), ROUTED), 7777),
        Listening::start(guest.end(), 80),
    ];

    let works = |when: &str| {
        let operator = (lab.datacentre(), OPERATIONS);
        let routed = seen(lab, "routed");
        let answer = open(operator, ROUTED, 7777);
        assert!(answer.is_ok(), "{when}: not by its mark: {answer:?}");
        assert!(seen(lab, "routed") > routed, "{when}: without its mark");
        let marks = connection_marks(lab);
        assert!(!marks.is_empty(), "{when}: no connection");
        assert!(marks.iter().all(|mark| *mark == 1), "{when}: {marks:?}");
        // Who has no mark goes where nobody listens; a container is found under the edge's address.
        let desk = (lab.datacentre(), SESSION_HOST);
        assert!(open(desk, ROUTED, 7777).is_err(), "{when}");
        let answer = open((lab.internet(), INTERNET), EDGE_WAN, 8088);
        assert!(answer.is_ok(), "{when}: the container: {answer:?}");
    };
    works("before");
    let (before, theirs) = (Snapshot::of(lab.edge()), foreign(lab));
    let there = |when: &str| {
        for (before, now) in theirs.iter().zip(foreign(lab)) {
            assert_eq!(*before, now, "{when}");
        }
    };
    let unchanged = |when: &str| {
        there(when);
        works(when);
    };

    host.wanshift(&["apply"]);
    unchanged("applied");
    host.wanshift(&["phase", "telework"]);
    unchanged("in telework");
    between_segments(&host, &guest);
    host.wanshift(&["phase", "nominal"]);
    unchanged("in nominal");
    lab.edge().run("ip", &["link", "delete", "dev", DOWN]);
    // What comes over a circuit to `inside` waits for that device, so only what is there is asked.
    there("without the device for what arrives");
    host.wanshift(&["apply"]);
    unchanged("repaired");
    host.wanshift(&["teardown"]);
    before.assert_same(&Snapshot::of(lab.edge()));
    unchanged("after teardown");
}

/// What passes between the container and the datacentre is in no class of ours, and not marked.
fn between_segments(host: &Host, guest: &Guest) {
    let lab = &host.lab;
    let all = || -> u64 {
        let devices = [DOWN, "mpls0", "wan0"];
        let places = devices.map(|device| host.counters(device).into_values().sum::<u64>());
        places.iter().sum()
    };
    let desk = (lab.datacentre(), SESSION_HOST);
    for (from, to) in [(guest.end(), desk), (desk, guest.end())] {
        let before = all();
        let flow = Bulk::tcp(from, to, 5000).start();
        sleep(std::time::Duration::from_millis(500));
        let carried = flow.stop().all.total();
        let grown = all() - before;
        eprintln!(
            "{} to {}: {carried} bytes, {grown} in classes",
            from.1, to.1
        );
        assert!(carried > 10_000_000, "{carried} bytes: held by something");
        // Neighbours find each other meanwhile.
        assert!(grown < 2000, "{grown} of {carried} bytes were in classes");
    }
    assert_eq!(seen(lab, "touched"), 0, "packets have marks of ours");
}
