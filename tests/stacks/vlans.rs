//! Two circuits that are VLANs of one access device, and share its tree.

use std::time::Duration;

use crate::flow::{End, Flow, NOISE, Trees, come_up, feeds, ip, settled};
use crate::host::{DOWN, Host};
use crate::lab::address::*;
use crate::lab::snapshot::Snapshot;
use crate::lab::udp::{Running, UdpFlood};
use crate::lab::{Namespace, now, ready, sleep};

const HOST: &str = "name = \"lab\"\ntimezone = \"UTC\"\ninside = [\"lan0\"]\n\
                    [circuit.mpls]\ndevice = \"eth0.10\"\n[circuit.internet]\ndevice = \"eth0.20\"\n\
                    [pool.access]\ncircuits = [\"mpls\", \"internet\"]\ncapacity = \"4mbit\"\ndevice = \"eth0\"\n";
const POLICY: &str = "[policy]\nstart = \"always\"\n[phase.always]\n\
                      split.access = { mpls = \"1mbit\", internet = \"3mbit\" }\n\
                      [site.provins]\ncircuit = \"mpls\"\ncapacity = \"4mbit\"\n\
                      prefixes = [\"10.77.101.0/24\", \"fd77:77:77:101::/64\"]\n\
                      [class.web]\ncircuit = \"internet\"\nmatch = [{ service = [\"udp/8080\"] }]\n";
const FOLLOW: &str = "follow.access = \"demand\"\n\
                      floor.access = { mpls = \"500kbit\", internet = \"500kbit\" }\n";

/// What is at the other end of the access device: who splits it into its VLANs, and who is behind each.
struct Access {
    carrier: Namespace,
    branch: Namespace,
    world: Namespace,
}

impl Access {
    fn new(edge: &Namespace) -> Self {
        let access = Self {
            carrier: Namespace::new("carrier"),
            branch: Namespace::new("branch"),
            world: Namespace::new("world"),
        };
        let Self {
            carrier,
            branch,
            world,
        } = &access;
        ip(
            edge,
            &format!(
                "link add eth0 type veth peer name trunk0 netns {}\n\
                 link add link eth0 name eth0.10 type vlan id 10\n\
                 link add link eth0 name eth0.20 type vlan id 20\n\
                 address add 10.78.0.1/30 dev eth0\n\
                 address add 10.78.10.1/30 dev eth0.10\n\
                 address add fd78:10::1/64 dev eth0.10 nodad\n\
                 address add 10.78.20.1/30 dev eth0.20\n\
                 address add fd78:20::1/64 dev eth0.20 nodad\n\
                 link set eth0 up\nlink set eth0.10 up\nlink set eth0.20 up\n\
                 route replace 10.77.101.0/24 via 10.78.10.2\n\
                 route replace fd77:77:77:101::/64 via fd78:10::2 metric 1\n\
                 route replace 203.0.113.0/24 via 10.78.20.2\n\
                 route replace 2001:db8:203::/64 via fd78:20::2\n",
                carrier.path()
            ),
        );
        ip(
            carrier,
            &format!(
                "address add 10.78.0.2/30 dev trunk0\nlink set trunk0 up\n\
                 link add link trunk0 name edge0 netns {} type vlan id 10\n\
                 link add link trunk0 name edge0 netns {} type vlan id 20\n",
                branch.path(),
                world.path()
            ),
        );
        for (host, vlan, prefixes) in [
            (branch, 10, ["10.77.101.0/24", "fd77:77:77:101::/64"]),
            (world, 20, ["203.0.113.0/24", "2001:db8:203::/64"]),
        ] {
            let [prefix, prefix6] = prefixes;
            ip(
                host,
                &format!(
                    "link set lo up\n\
                     address add 10.78.{vlan}.2/30 dev edge0\n\
                     address add fd78:{vlan}::2/64 dev edge0 nodad\n\
                     link set edge0 up\n\
                     route add local {prefix} dev lo\n\
                     route add local {prefix6} dev lo\n\
                     route add default via 10.78.{vlan}.1\n\
                     route add default via fd78:{vlan}::1\n"
                ),
            );
        }
        come_up(edge);
        access
    }
}

/// Of each class of a device: its id and its parent's, in tc's words.
fn parents(host: &Host, device: &str) -> Vec<(String, String)> {
    let text = host.lab.edge().run("tc", &["class", "show", "dev", device]);
    let class = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let parent = if words[3] == "root" { "root" } else { words[4] };
        (words[2].to_owned(), parent.to_owned())
    };
    let classes = text.lines().filter(|line| line.starts_with("class htb"));
    classes.map(class).collect()
}

fn flood(host: &Host, to: End<'_>) -> Running {
    let from = (host.lab.datacentre(), GATEWAY);
    UdpFlood::new(from, to, 9000).rate(6_000_000).start()
}

/// What passes the access device, in bit/s, while all of `to` are sent more than the pool.
fn passes(host: &Host, access: &Access, to: &[End<'_>]) -> f64 {
    let floods: Vec<Running> = to.iter().map(|to| flood(host, *to)).collect();
    sleep(Duration::from_secs(1));
    let count = "/sys/class/net/trunk0/statistics/rx_bytes";
    let counted = || {
        let bytes = access.carrier.enter(|| std::fs::read_to_string(count));
        let bytes: f64 = bytes.unwrap().trim().parse().unwrap();
        (bytes, now())
    };
    let (before, from) = counted();
    sleep(Duration::from_secs(2));
    let (after, to) = counted();
    floods.into_iter().for_each(|flood| drop(flood.stop()));
    // What is left in the queues must not count for the next.
    sleep(Duration::from_millis(500));
    let rate = (after - before) * 8e9 / (to - from) as f64;
    eprintln!("{rate:.0} bit/s on the access device");
    rate
}

#[test]
#[ignore = "run by scripts/test on a stock kernel"]
fn stock_vlans_of_one_device_share_its_tree() {
    assert!(ready());
    let host = Host::with(HOST, POLICY);
    let lab = &host.lab;
    let edge = lab.edge();
    let access = Access::new(edge);
    let before = Snapshot::of(edge);
    host.wanshift(&["apply"]);
    settled(&host);

    // Pool, circuits, classes; control below the pool. On the VLANs only what leads to the other tree.
    let classes = parents(&host, "eth0");
    let pool = classes.iter().find(|(_, parent)| parent == "root").unwrap();
    let below: Vec<&String> = classes
        .iter()
        .filter(|(_, parent)| *parent == pool.0)
        .map(|(class, _)| class)
        .collect();
    assert_eq!(below.len(), 3, "two circuits and control: {classes:?}");
    assert!(below.iter().any(|class| class.ends_with(":2")), "{below:?}");
    for vlan in ["eth0.10", "eth0.20"] {
        let root = edge.run("tc", &["qdisc", "show", "dev", vlan, "root"]);
        assert!(root.contains("noqueue"), "{vlan}: {root}");
        assert_eq!(parents(&host, vlan), []);
        assert!(feeds(&host, vlan), "{vlan}");
    }
    assert!(!feeds(&host, "eth0") && feeds(&host, "lan0"));

    let trees = Trees::on(&host, &["eth0"]);
    let (site, web) = ("mpls.site.provins", "internet.class.web");
    for (desk, branch, server) in [
        (SESSION_HOST, PROVINS, WEB),
        (SESSION_HOST6, PROVINS6, WEB6),
    ] {
        let desk = (lab.datacentre(), desk);
        let (branch, server) = ((&access.branch, branch), (&access.world, server));
        let to_site = Flow::new(desk, branch, 7001);
        trees.land(to_site, &[("eth0", site), (DOWN, site)]);
        let to_web = Flow::new(desk, server, 8080);
        trees.land(to_web, &[("eth0", web), (DOWN, web)]);
        let other = Flow::new(desk, server, 8081);
        let rest = "internet.rest";
        trees.land(other, &[("eth0", rest), (DOWN, rest)]);
        // From the one VLAN to the other it pays in both trees, either way.
        let across = Flow::new(branch, server, 8080);
        let both = [("eth0", web), (DOWN, site), ("eth0", site), (DOWN, web)];
        trees.land(across, &both);
    }

    // Who is asked for by ARP: within a VLAN, and beside them.
    for (vlan, next) in [("eth0.10", "10.78.10.2"), ("eth0", "10.78.0.2")] {
        let control = || host.counters("eth0")["mpls.control"];
        edge.run("ip", &["neighbour", "flush", "dev", vlan]);
        let counted = control();
        let asked = edge.make(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"?", (next, 9)).unwrap()
        });
        assert_eq!(asked, 1);
        sleep(Duration::from_millis(200));
        let grown = control() - counted;
        // 42 bytes of ARP; what it was for is no control on a VLAN, and on the device below nobody's.
        let least = if vlan == "eth0" { 85 } else { 42 };
        assert!((least..NOISE).contains(&grown), "{vlan}: {grown}");
    }

    let (to_site, to_web) = ((&access.branch, PROVINS), (&access.world, WEB));
    let most = |what: &str, rate: f64, expected: f64| {
        assert!(rate <= expected * 1.1, "{what}: {rate:.0}");
    };
    most("a fixed split", passes(&host, &access, &[to_site]), 1e6);
    let all = passes(&host, &access, &[to_site, to_web]);
    most("the pool", all, 4e6);
    let follow = format!("[phase.always]\n{FOLLOW}");
    host.edit("policy.d/policy.toml", "[phase.always]\n", &follow);
    host.wanshift(&["apply"]);
    let lent = passes(&host, &access, &[to_site]);
    assert!(lent > 2e6, "nothing is lent: {lent:.0}");
    most("the pool, lent", lent, 4e6);
    let all = passes(&host, &access, &[to_site, to_web]);
    most("the pool that follows demand", all, 4e6);

    host.wanshift(&["teardown"]);
    before.assert_same(&Snapshot::of(edge));
}
