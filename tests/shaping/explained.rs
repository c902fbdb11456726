//! What the program says of a connection, and what the kernel does with its packets: asked first, then sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::blocked::example;
use crate::ceilings::with_ipv6;
use crate::host::{DOWN, Host};
use crate::lab::address::*;
use crate::lab::probe::{Listening, open, ping};
use crate::lab::socket::{tcp_connect, tcp_listener, udp};
use crate::lab::{Namespace, ready, sleep};

/// The devices with trees.
const TREES: [&str; 3] = ["wan0", "mpls0", DOWN];
/// Less than this may be a neighbour's question.
const NOISE: u64 = 2_000;

/// An end: where it is, and its address.
type At<'a> = (&'a Namespace, IpAddr);

/// What is sent.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Tcp(u16),
    Udp(u16, u8),
    Echo,
}

impl Sent {
    fn words(self) -> Vec<String> {
        match self {
            Self::Tcp(port) => vec![format!("tcp/{port}")],
            Self::Udp(port, 0) => vec![format!("udp/{port}")],
            Self::Udp(port, dscp) => {
                vec![format!("udp/{port}"), "--dscp".to_owned(), dscp.to_string()]
            }
            Self::Echo => vec!["icmp".to_owned()],
        }
    }

    /// Sends some kilobytes there, and some back.
    fn send(self, from: At<'_>, to: At<'_>) {
        match self {
            Self::Tcp(port) => {
                let at = SocketAddr::new(to.1, port);
                let listener = to.0.make(|| tcp_listener(at, 0));
                let source = SocketAddr::new(from.1, 0);
                let mut client = from.0.make(|| tcp_connect(source, at, 0)).unwrap();
                let (mut server, _) = listener.accept().unwrap();
                for stream in [&client, &server] {
                    stream
                        .set_read_timeout(Some(Duration::from_secs(3)))
                        .unwrap();
                }
                let mut buffer = [7; 4_000];
                client.write_all(&buffer).unwrap();
                server.read_exact(&mut buffer).unwrap();
                server.write_all(&buffer).unwrap();
                client.read_exact(&mut buffer).unwrap();
            }
            Self::Udp(port, dscp) => {
                let at = SocketAddr::new(to.1, port);
                let server = to.0.make(|| udp(at, 0));
                let client = from.0.make(|| {
                    let socket = udp(SocketAddr::new(from.1, 0), dscp);
                    socket.connect(at).unwrap();
                    socket
                });
                for socket in [&server, &client] {
                    socket
                        .set_read_timeout(Some(Duration::from_secs(3)))
                        .unwrap();
                }
                let mut buffer = [0; 600];
                for _ in 0..20 {
                    client.send(&[7; 300]).unwrap();
                    let (_, asker) = server.recv_from(&mut buffer).expect("a question");
                    server.send_to(&[7; 300], asker).unwrap();
                    assert_eq!(client.recv(&mut buffer).expect("an answer"), 300);
                }
            }
            Self::Echo => {
                let answers = ping(from.0, to.1, 80, Duration::from_secs(1));
                assert!(answers.iter().flatten().count() > 70, "{answers:?}");
            }
        }
    }
}

/// The one answer for the one way that this host's routes give.
fn asked(host: &Host, from: IpAddr, to: IpAddr, sent: Sent) -> Value {
    let (from, to) = (from.to_string(), to.to_string());
    let mut verb = vec!["--json".to_owned(), "explain".to_owned(), from, to];
    verb.extend(sent.words());
    let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
    let told: Value = serde_json::from_str(&host.wanshift(&verb)).unwrap();
    assert_eq!(told["notes"], Value::Array(Vec::new()), "{verb:?}");
    let answers = told["answers"].as_array().unwrap();
    let cases = answers[0]["cases"].as_array().unwrap();
    assert_eq!((answers.len(), cases.len()), (1, 1), "{verb:?}: {told:#}");
    cases[0].clone()
}

/// The classes that a case names, by device, and their places.
fn named(case: &Value) -> (BTreeSet<(String, String)>, BTreeSet<String>) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let passages = [&case["requests"], &case["replies"]];
    let met = passages
        .iter()
        .filter_map(|passage| passage["classes"].as_array())
        .flatten();
    met.map(|met| {
        let place = format!("{} {}", text(&met["tree"]), text(&met["place"]));
        ((text(&met["device"]), text(&met["class"])), place)
    })
    .unzip()
}

/// Bytes that each class without others below it has sent, by device and class id.
fn counted(host: &Host) -> BTreeMap<(String, String), u64> {
    let mut sent = BTreeMap::new();
    for device in TREES {
        let verb = ["-s", "class", "show", "dev", device];
        let text = host.lab.edge().run("tc", &verb);
        let mut class = None;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["class", "htb", id, ..] => {
                    class = words.contains(&"leaf").then(|| (*id).to_owned());
                }
                ["Sent", bytes, ..] => {
                    let bytes: u64 = bytes.parse().unwrap();
                    sent.extend(
                        class
                            .take()
                            .map(|class| ((device.to_owned(), class), bytes)),
                    );
                }
                _ => {}
            }
        }
    }
    sent
}

/// How many packets the example's block has rejected.
fn rejected(host: &Host) -> u64 {
    let text = host
        .lab
        .edge()
        .run("nft", &["list", "table", "inet", "wanshift"]);
    let counter = "counter blocked.browsing-in-session {";
    let Some((_, after)) = text.split_once(counter) else {
        return 0;
    };
    let packets = after.split_whitespace().nth(1).unwrap();
    packets.parse().unwrap()
}

/// Asks, sends, and expects the counters that were named to have moved, and no others. `places` is what was expected
/// before anything was asked.
#[track_caller]
fn agrees(host: &Host, from: At<'_>, to: At<'_>, sent: Sent, places: &[&str]) {
    let case = asked(host, from.1, to.1, sent);
    let what = format!("{} → {} {sent:?}", from.1, to.1);
    let (classes, found) = named(&case);
    let places: BTreeSet<String> = places.iter().map(|place| (*place).to_owned()).collect();
    assert_eq!(found, places, "{what}: {case:#}");
    assert_eq!(case["rejected"], Value::Null, "{what}");
    let (before, blocked) = (counted(host), rejected(host));
    sent.send(from, to);
    // What is still queued on a thin line is counted when it leaves.
    sleep(Duration::from_millis(100));
    let grown: BTreeSet<(String, String)> = counted(host)
        .into_iter()
        .filter(|(class, bytes)| bytes - before.get(class).copied().unwrap_or(0) > NOISE)
        .map(|(class, _)| class)
        .collect();
    assert_eq!(grown, classes, "{what}");
    assert_eq!(rejected(host), blocked, "{what}");
}

/// The same of a connection that is rejected: it is, and its block's counter has moved, and no class's.
#[track_caller]
fn refused(host: &Host, from: At<'_>, to: At<'_>, port: u16) {
    let case = asked(host, from.1, to.1, Sent::Tcp(port));
    assert_eq!(case["rejected"]["block"], "browsing-in-session", "{case:#}");
    assert_eq!(case["rejected"]["answer"], "reset");
    let (before, blocked) = (counted(host), rejected(host));
    let opened = open(from, to.1, port);
    assert_eq!(opened, Err(std::io::ErrorKind::ConnectionRefused));
    assert!(rejected(host) > blocked);
    let after = counted(host);
    let grown = after
        .iter()
        .map(|(class, bytes)| bytes - before.get(class).copied().unwrap_or(0));
    assert!(grown.max() < Some(NOISE));
}

#[test]
fn the_kernel_does_what_was_explained() {
    if !ready() {
        return;
    }
    let host = with_ipv6("0s");
    host.edit(
        "policy.d/10-classes.toml",
        "[site.mds-nemours]",
        "[site.mds-provins.class.desktop]\nmatch = [{ service = [\"tcp/3389\"] }, { dscp = [\"cs5\"] }]\n\
         guarantee = \"1mbit\"\n[site.mds-nemours]",
    );
    host.wanshift(&["apply"]);
    let lab = &host.lab;
    let both = |place: &str| [format!("up {place}"), format!("down {place}")];
    for (worker, gateway, vpn, web, desk, operator, provins, nemours) in [
        (
            WORKER,
            GATEWAY,
            VPN,
            WEB,
            SESSION_HOST,
            OPERATIONS,
            PROVINS,
            NEMOURS,
        ),
        (
            WORKER6,
            GATEWAY6,
            VPN6,
            WEB6,
            SESSION_HOST6,
            OPERATIONS6,
            PROVINS6,
            NEMOURS6,
        ),
    ] {
        let out = |address| (lab.internet(), address);
        let inside = |address| (lab.datacentre(), address);
        let provins = (lab.provins(), provins);
        let nemours = (lab.nemours(), nemours);
        let class = |name: &str| both(&format!("internet.class.{name}"));
        let rest = || both("internet.rest");
        let site = |name: &str| both(&format!("mpls.site.{name}"));
        let inner = || both("mpls.site.mds-provins.class.desktop");
        let through = |one: [String; 2], other: [String; 2]| [one, other].concat();
        let cases: Vec<(At<'_>, At<'_>, Sent, Vec<String>)> = vec![
            (
                out(worker),
                inside(gateway),
                Sent::Tcp(443),
                class("gateway").into(),
            ),
            (out(worker), inside(gateway), Sent::Tcp(5001), rest().into()),
            (inside(gateway), out(worker), Sent::Tcp(443), rest().into()),
            (
                out(worker),
                inside(vpn),
                Sent::Udp(1194, 0),
                class("operations").into(),
            ),
            (
                inside(operator),
                out(web),
                Sent::Udp(5002, 0),
                class("operations").into(),
            ),
            (
                inside(operator),
                out(web),
                Sent::Udp(5003, 46),
                class("operations").into(),
            ),
            (
                inside(desk),
                out(web),
                Sent::Udp(5004, 46),
                class("video").into(),
            ),
            (inside(desk), out(web), Sent::Udp(5005, 10), rest().into()),
            (inside(desk), out(web), Sent::Tcp(22), rest().into()),
            (inside(desk), out(web), Sent::Echo, rest().into()),
            (
                inside(desk),
                nemours,
                Sent::Tcp(22),
                site("mds-nemours").into(),
            ),
            (
                nemours,
                inside(desk),
                Sent::Udp(5006, 46),
                site("mds-nemours").into(),
            ),
            (inside(desk), provins, Sent::Tcp(3389), inner().into()),
            (provins, inside(desk), Sent::Udp(5007, 40), inner().into()),
            (
                provins,
                inside(desk),
                Sent::Udp(5008, 0),
                site("mds-provins.rest").into(),
            ),
            (
                provins,
                out(web),
                Sent::Tcp(5009),
                through(site("mds-provins.rest"), rest()),
            ),
            (
                nemours,
                out(web),
                Sent::Udp(5010, 46),
                through(site("mds-nemours"), class("video")),
            ),
        ];
        for (from, to, sent, places) in cases {
            let places: Vec<&str> = places.iter().map(String::as_str).collect();
            agrees(&host, from, to, sent, &places);
        }
    }
    // What the host itself is an end of: its replies and what it asks are control, as far as that goes.
    for (edge, next, worker, web) in [
        (EDGE_WAN, INTERNET, WORKER, WEB),
        (EDGE_WAN6, INTERNET6, WORKER6, WEB6),
    ] {
        let edge = (lab.edge(), edge);
        let out = |address| (lab.internet(), address);
        agrees(&host, edge, out(next), Sent::Echo, &["up internet.control"]);
        agrees(
            &host,
            edge,
            out(web),
            Sent::Tcp(22),
            &["up internet.control"],
        );
        agrees(
            &host,
            out(worker),
            edge,
            Sent::Tcp(22),
            &["up internet.control"],
        );
        agrees(
            &host,
            edge,
            out(web),
            Sent::Udp(5011, 0),
            &["up internet.rest"],
        );
        agrees(
            &host,
            out(worker),
            edge,
            Sent::Udp(5012, 46),
            &["up internet.rest"],
        );
    }
}

#[test]
fn the_kernel_rejects_what_was_explained_as_rejected() {
    if !ready() {
        return;
    }
    let host = example("0s");
    let lab = &host.lab;
    host.wanshift(&["apply"]);
    let families = [
        (SESSION_HOST, OPERATIONS, WEB, SHORTCUTS),
        (SESSION_HOST6, OPERATIONS6, WEB6, SHORTCUTS6),
    ];
    for (desk, _, web, _) in families {
        let case = asked(&host, desk, web, Sent::Tcp(443));
        assert_eq!(
            case["not_held"][0]["block"], "browsing-in-session",
            "{case:#}"
        );
        let because = &case["not_held"][0]["because"][1]["what"];
        assert_eq!(*because, "not in phase.nominal");
        let rest = ["up internet.rest", "down internet.rest"];
        let (desk, web) = ((lab.datacentre(), desk), (lab.internet(), web));
        agrees(&host, desk, web, Sent::Tcp(443), &rest);
    }
    host.wanshift(&["phase", "telework"]);
    for (desk, operator, web, shortcuts) in families {
        let _server = Listening::start((lab.internet(), web), 80);
        let inside = |address| (lab.datacentre(), address);
        let out = |address| (lab.internet(), address);
        refused(&host, inside(desk), out(web), 80);
        let rest = ["up internet.rest", "down internet.rest"];
        let case = asked(&host, desk, shortcuts, Sent::Tcp(443));
        assert_eq!(
            case["excepted"][0]["block"], "browsing-in-session",
            "{case:#}"
        );
        agrees(&host, inside(desk), out(shortcuts), Sent::Tcp(443), &rest);
        agrees(&host, inside(desk), out(web), Sent::Tcp(8080), &rest);
        // Opened from outside, it does not leave over the circuit; and others than session hosts may.
        let case = asked(&host, web, desk, Sent::Tcp(443));
        assert_eq!(case["rejected"], Value::Null, "{case:#}");
        if operator.is_ipv4() {
            let operations = [
                "up internet.class.operations",
                "down internet.class.operations",
            ];
            agrees(
                &host,
                inside(operator),
                out(web),
                Sent::Tcp(443),
                &operations,
            );
        }
    }
    host.wanshift(&["event", "uplink-upgraded"]);
    host.wanshift(&["apply"]);
    let case = asked(&host, SESSION_HOST, WEB, Sent::Tcp(443));
    assert_eq!(
        case["not_held"][0]["because"][1]["what"],
        "lifted by uplink-upgraded"
    );
}
