//! Small traffic both ways, and where each tree counted it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::host::{DOWN, Host};
use crate::lab::namespace::devices_here;
use crate::lab::socket::udp;
use crate::lab::{Namespace, sleep};

/// A host, and an address of its.
pub type End<'a> = (&'a Namespace, IpAddr);

/// A client asks a server over UDP; the answers are as large as the questions.
#[derive(Clone, Copy)]
pub struct Flow<'a> {
    client: End<'a>,
    server: End<'a>,
    port: u16,
    payload: usize,
    dscp: u8,
}

/// So many questions.
const COUNT: usize = 10;
/// What else may pass meanwhile: ARP, neighbour discovery, a tunnel's handshake.
pub const NOISE: u64 = 1000;

impl<'a> Flow<'a> {
    /// With 500 bytes each way, ten times.
    pub fn new(client: End<'a>, server: End<'a>, port: u16) -> Self {
        Self {
            client,
            server,
            port,
            payload: 500,
            dscp: 0,
        }
    }

    /// With so many bytes each way.
    pub fn payload(self, payload: usize) -> Self {
        Self { payload, ..self }
    }

    /// The questions' code point; the answers have none.
    pub fn dscp(self, dscp: u8) -> Self {
        Self { dscp, ..self }
    }

    /// Asks and answers; a first question may be lost where a neighbour or a tunnel is not known yet, so one
    /// goes before that is not counted.
    fn run(self, before_counting: impl FnOnce()) {
        let at = SocketAddr::new(self.server.1, self.port);
        let server = self.server.0.make(|| udp(at, 0));
        let client = self.client.0.make(|| {
            let socket = udp(SocketAddr::new(self.client.1, 0), self.dscp);
            socket.connect(at).unwrap();
            socket
        });
        for socket in [&server, &client] {
            let patience = Some(Duration::from_secs(2));
            socket.set_read_timeout(patience).unwrap();
        }
        let question = vec![0; self.payload];
        let mut buffer = vec![0; self.payload];
        let mut round = || -> std::io::Result<()> {
            client.send(&question)?;
            let (length, from) = server.recv_from(&mut buffer)?;
            server.send_to(&buffer[..length], from)?;
            assert_eq!(client.recv(&mut buffer)?, question.len());
            Ok(())
        };
        let (from, to) = (self.client.1, self.server.1);
        let open = (0..5).any(|_| round().is_ok());
        assert!(open, "{from} does not reach {to}, or not back");
        // What is still on its way is not to be counted.
        sleep(Duration::from_millis(100));
        before_counting();
        for _ in 0..COUNT {
            round().unwrap_or_else(|error| panic!("from {from} to {to}: {error}"));
        }
        sleep(Duration::from_millis(100));
    }
}

/// The trees of a host, as they stand: which class is whose.
pub struct Trees<'a> {
    host: &'a Host,
    /// A line for each device.
    question: String,
    places: BTreeMap<String, (String, String)>,
}

impl<'a> Trees<'a> {
    /// Those on `devices` and the one for what arrives, as the program has just made them. Each program that is run
    /// takes its time in emulation: what does not change is asked once.
    pub fn on(host: &'a Host, devices: &[&str]) -> Self {
        let edge = host.lab.edge();
        let rules = edge.run("nft", &["list", "table", "inet", "wanshift"]);
        let arrive = edge.run("tc", &["qdisc", "show", "dev", DOWN, "root"]);
        let arrive = arrive.split_whitespace().nth(2).expect("a root qdisc");
        let mut places = BTreeMap::new();
        let mut chain = "";
        for line in rules.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("chain ") {
                chain = name.trim_end_matches(" {");
            } else if let Some(class) = line.strip_prefix("meta priority set ") {
                let (_, minor) = class.split_once(':').unwrap();
                // A circuit's tree is at its device, or at the one that it shares.
                places.insert(class.to_owned(), (String::new(), chain.to_owned()));
                let there = (DOWN.to_owned(), chain.to_owned());
                places.insert(format!("{arrive}{minor}"), there);
            }
        }
        let devices = devices.iter().chain([&DOWN]);
        let question = devices.map(|device| format!("class show dev {device}\n"));
        let mut trees = Self {
            host,
            question: question.collect(),
            places,
        };
        for device in trees.question.clone().lines() {
            let device = device.rsplit(' ').next().unwrap();
            for class in trees.classes(device).keys() {
                if let Some((known, _)) = trees.places.get_mut(class) {
                    device.clone_into(known);
                }
            }
        }
        trees
    }

    /// Bytes that each class of a device has sent.
    fn classes(&self, device: &str) -> BTreeMap<String, u64> {
        self.ask(&format!("class show dev {device}\n"))
    }

    fn ask(&self, question: &str) -> BTreeMap<String, u64> {
        let edge = self.host.lab.edge();
        let text = edge.feed("tc", &["-s", "-batch", "-"], question);
        let mut sent = BTreeMap::new();
        let mut class = "";
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("class") => class = words.nth(1).unwrap(),
                Some("Sent") => {
                    let bytes = words.next().unwrap().parse().unwrap();
                    sent.insert(class.to_owned(), bytes);
                }
                _ => {}
            }
        }
        sent
    }

    /// Bytes that each place has sent, by device.
    pub fn counters(&self) -> BTreeMap<(String, String), u64> {
        let sent = self.ask(&self.question).into_iter();
        sent.filter_map(|(class, bytes)| Some((self.places.get(&class)?.clone(), bytes)))
            .collect()
    }

    /// Runs a flow, and expects of each place that it counted one way of the flow, once for each time that it is
    /// named, and that no other counted any of it.
    #[track_caller]
    pub fn land(&self, flow: Flow<'_>, expected: &[(&str, &str)]) {
        let mut before = BTreeMap::new();
        flow.run(|| before = self.counters());
        let mut after = self.counters();
        for (place, bytes) in &mut after {
            *bytes -= before.get(place).copied().unwrap_or(0);
        }
        after.retain(|_, bytes| *bytes >= NOISE);
        let what = format!("{} to {}: {after:?}", flow.client.1, flow.server.1);
        let mut wanted: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (device, place) in expected {
            let place = ((*device).to_owned(), (*place).to_owned());
            *wanted.entry(place).or_default() += 1;
        }
        let counted: Vec<_> = after.keys().collect();
        assert_eq!(counted, wanted.keys().collect::<Vec<_>>(), "{what}");
        let payload = (COUNT * flow.payload) as u64;
        for (place, ways) in wanted {
            // Headers, twice where a tunnel carries it, are less than half of the payload.
            let bounds = payload * ways..payload * ways * 3 / 2;
            assert!(bounds.contains(&after[&place]), "{place:?}: {what}");
        }
    }
}

/// Feeds lines to `ip` in a host.
#[track_caller]
pub fn ip(host: &Namespace, lines: &str) {
    host.feed("ip", &["-batch", "-"], lines);
}

/// Waits for the devices of a host to be up, with the link-local addresses that they get a little later: both are
/// in what a test compares.
pub fn come_up(host: &Namespace) {
    let up = || {
        let devices = devices_here();
        let named = |name: &&String| *name != "lo";
        let state = |name: &String| {
            std::fs::read_to_string(format!("/sys/class/net/{name}/operstate")).unwrap()
        };
        let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        let local = addresses.lines().filter(|line| line.starts_with("fe80"));
        local.count() + 1 == devices.len()
            && devices
                .iter()
                .filter(named)
                .all(|name| state(name).trim() == "up")
    };
    let waited = host.enter(|| {
        (0..200).any(|_| {
            sleep(Duration::from_millis(100));
            up()
        })
    });
    assert!(waited, "the devices of {} stay down", host.label());
}

/// That nothing is left to do.
#[track_caller]
pub fn settled(host: &Host) {
    let plan = host.wanshift(&["--json", "plan"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["ops"], 0, "{plan:#}");
}

/// Whether a device leads to the tree for what arrives.
pub fn feeds(host: &Host, device: &str) -> bool {
    let edge = host.lab.edge();
    let filters = edge.run("tc", &["filter", "show", "dev", device, "egress"]);
    filters.contains(DOWN)
}
