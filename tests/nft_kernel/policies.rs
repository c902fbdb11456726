//! Policies to classify by.

use std::collections::BTreeSet;

use wanshift::lower::classify::{BlockRules, CircuitRules, ClassRules, Classifier, SiteRules};
use wanshift::model::circuit::MarkMask;
use wanshift::model::class::{Dscp, Match, PortRange, Transport};
use wanshift::model::filter::Table;
use wanshift::model::ids::{Ids, Wanted};
use wanshift::model::names::{CircuitName, DeviceName};
use wanshift::model::node::{NodeKey, Place};

pub fn matching(from: &[&str], to: &[&str], service: &[&str], dscp: &[u8]) -> Match {
    let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Match {
        from: prefixes(from),
        to: prefixes(to),
        service: service.iter().map(|text| ports(text)).collect(),
        dscp: dscp
            .iter()
            .map(|point| Dscp::new(*point).unwrap())
            .collect(),
    }
}

fn ports(text: &str) -> PortRange {
    let (transport, ports) = text.split_once('/').unwrap();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    PortRange {
        transport: match transport {
            "tcp" => Transport::Tcp,
            _ => Transport::Udp,
        },
        ports: first.parse().unwrap()..=last.parse().unwrap(),
    }
}

pub fn class(name: &str, matches: Vec<Match>) -> ClassRules {
    ClassRules {
        name: name.parse().unwrap(),
        matches,
    }
}

pub fn site(name: &str, prefixes: &[&str], classes: Vec<ClassRules>) -> SiteRules {
    SiteRules {
        name: name.parse().unwrap(),
        prefixes: prefixes.iter().map(|text| text.parse().unwrap()).collect(),
        classes,
    }
}

pub fn circuit(
    name: &str,
    device: &str,
    sites: Vec<SiteRules>,
    classes: Vec<ClassRules>,
) -> CircuitRules {
    CircuitRules {
        name: name.parse().unwrap(),
        device: device.parse().unwrap(),
        also: vec![],
        tree: device.parse().unwrap(),
        sites,
        classes,
    }
}

/// Those circuits on a host with an inside, and the usual bits.
pub fn host(circuits: Vec<CircuitRules>) -> Classifier {
    Classifier {
        circuits,
        inside: vec![device("lan0"), device("lan1")],
        mask: MarkMask::default(),
        blocks: Vec::new(),
    }
}

pub fn device(name: &str) -> DeviceName {
    name.parse().unwrap()
}

/// The circuit, known by further names.
pub fn also(mut circuit: CircuitRules, names: &[&str]) -> CircuitRules {
    circuit.also = names.iter().map(|name| device(name)).collect();
    circuit
}

/// The example of the documentation.
pub fn cd77() -> Classifier {
    let hdx = &["tcp/443", "udp/443", "tcp/1494", "tcp/2598"];
    host(vec![
        circuit(
            "internet",
            "wan0",
            vec![],
            vec![
                class("gateway", vec![matching(&[], &["192.0.2.10/32"], hdx, &[])]),
                class(
                    "operations",
                    vec![
                        matching(&[], &["192.0.2.20/32"], &["udp/1194"], &[]),
                        matching(&["10.77.9.0/24"], &[], &[], &[]),
                    ],
                ),
                class("video", vec![matching(&[], &[], &[], &[46, 34])]),
            ],
        ),
        circuit(
            "mpls",
            "mpls0",
            vec![
                site("mds-provins", &["10.77.101.0/24"], vec![]),
                site("mds-nemours", &["10.77.102.0/24"], vec![]),
            ],
            vec![],
        ),
    ])
}

/// All that a policy can say, both families.
pub fn everything() -> Classifier {
    let mut all = cd77();
    all.circuits[0].also = vec![device("wg0"), device("vrf1")];
    // Two circuits in one tree.
    all.circuits[1].tree = device("eth0");
    let mut ip = circuit(
        "ip",
        "eth0.7",
        vec![
            site(
                "plain",
                &["fd00:1::/64", "10.1.0.0/16", "10.1.3.0/24"],
                vec![],
            ),
            site(
                "next",
                &["10.2.0.0/15", "10.4.0.0/16", "10.5.0.1/32"],
                vec![],
            ),
            site(
                "inner",
                &["fd00:2::/64", "fd00:3::1/128"],
                vec![
                    class("voice", vec![matching(&[], &[], &[], &[46])]),
                    class("web", vec![matching(&[], &[], &["tcp/80", "tcp/443"], &[])]),
                ],
            ),
        ],
        vec![
            class(
                "mixed",
                vec![
                    matching(
                        &["10.0.0.0/24", "10.0.1.0/24", "fd00::/8"],
                        &["172.16.0.1/32", "2001:db8::/32", "2001:db9::1/128"],
                        &["tcp/1000-2000", "tcp/1500-3000", "udp/53"],
                        &[0, 1, 46],
                    ),
                    // In neither family can this be.
                    matching(&["fd00::/8"], &["10.0.0.0/8"], &[], &[]),
                ],
            ),
            class(
                "wide",
                vec![
                    matching(&["0.0.0.0/0"], &[], &["tcp/1-65535"], &[]),
                    matching(&["::/0"], &["::/0"], &["udp/0-65535"], &[]),
                    matching(&[], &["0.0.0.0/0"], &[], &[10]),
                ],
            ),
            class("any", vec![matching(&[], &[], &[], &[])]),
        ],
    );
    ip.tree = device("eth0");
    all.circuits.push(also(ip, &["tun0"]));
    // Names as long as they may be, and prefixes up to the ends of all addresses.
    let long = "a23456789-123456789-123456789-12";
    all.circuits.push(circuit(
        long,
        "a:b@c-d_e.12345",
        vec![
            site(
                long,
                &["0.0.0.0/1", "::/1"],
                vec![class(long, vec![matching(&[], &[], &[], &[46])])],
            ),
            site("high", &["128.0.0.0/1", "8000::/1"], vec![]),
        ],
        vec![class(
            long,
            vec![matching(
                &["255.255.255.255/32", "0.0.0.0/32"],
                &[],
                &[],
                &[],
            )],
        )],
    ));
    all.circuits.push(circuit(
        "all",
        "all",
        vec![site("all", &["0.0.0.0/0", "::/0"], vec![])],
        vec![],
    ));
    all.blocks = blocks();
    all
}

/// A block of what is opened from some addresses to others, for some services.
pub fn block(name: &str, what: Match, devices: &[&str], except: Vec<Match>) -> BlockRules {
    BlockRules {
        name: name.parse().unwrap(),
        what,
        devices: devices.iter().map(|name| device(name)).collect(),
        except,
        drains: false,
    }
}

/// Blocks of every kind.
pub fn blocks() -> Vec<BlockRules> {
    let hosts = &["10.77.20.0/24", "fd00:20::/64"][..];
    let apps = &["203.0.113.80/32", "203.0.113.96/28", "2001:db8::80/128"][..];
    let browsing = &["tcp/80", "tcp/443", "udp/443"][..];
    vec![
        block(
            "browsing-in-session",
            matching(hosts, &[], browsing, &[]),
            &["wan0", "wg-0"],
            vec![
                matching(&[], apps, &[], &[]),
                matching(&["10.77.20.9/32"], &[], &[], &[]),
            ],
        ),
        block("up", matching(&[], &[], &[], &[]), &["wan0"], vec![]),
        block("classes", matching(&[], apps, &[], &[]), &[], vec![]),
        block(
            "rest",
            matching(&[], &[], &["tcp/1-65535"], &[]),
            &[],
            vec![],
        ),
        BlockRules {
            drains: true,
            ..block(
                "drained",
                matching(hosts, apps, &["udp/0-65535", "tcp/1000-2000"], &[]),
                &["wan0"],
                vec![matching(hosts, &["203.0.113.96/28"], &[], &[])],
            )
        },
    ]
}

/// The places that a policy has, and its devices, numbered.
pub fn ids(rules: &Classifier) -> Ids {
    let mut ids = Ids::default();
    renumber(&mut ids, rules);
    ids
}

pub fn renumber(ids: &mut Ids, rules: &Classifier) {
    let circuits = rules.circuits.iter();
    ids.assign(Wanted {
        keys: circuits.clone().flat_map(keys).collect(),
        devices: circuits.map(|circuit| circuit.tree.clone()).collect(),
        pools: BTreeSet::new(),
        mask: rules.mask,
    })
    .unwrap();
}

pub fn keys(circuit: &CircuitRules) -> Vec<NodeKey> {
    let mut places = vec![Place::Circuit, Place::Rest];
    for class in &circuit.classes {
        places.push(Place::Class(class.name.clone()));
    }
    for site in &circuit.sites {
        places.push(Place::Site(site.name.clone()));
        if !site.classes.is_empty() {
            places.push(Place::SiteRest(site.name.clone()));
        }
        for class in &site.classes {
            places.push(Place::SiteClass(site.name.clone(), class.name.clone()));
        }
    }
    let name: &CircuitName = &circuit.name;
    places
        .into_iter()
        .map(|place| NodeKey::new(name.clone(), place))
        .collect()
}

pub fn table(rules: &Classifier) -> Table {
    rules.table(&ids(rules)).unwrap()
}
