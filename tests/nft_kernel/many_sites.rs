//! Sites by the hundred: their prefixes stand in maps by length, and packets find them there all the same.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use wanshift::kernel::nft;
use wanshift::lower::classify::{Classifier, SiteRules};
use wanshift::model::circuit::MarkMask;
use wanshift::model::filter::{Action, Field, Line, MapKind, MapName, Packet, Table, VerdictMap};

use super::namespace::{inside, nft as script, run};
use super::net::{DEPOT, INNER, Net, PROVINS, WITHIN, rules};
use super::policies::{device, ids, site};
use super::roundtrip::{observed, same};

/// Which prefixes of the further sites there are many of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Many {
    None,
    Networks,
    All,
}

/// The sites of the small network, the depot among them, and others beside.
fn with(depot: &[&str], many: Many) -> Classifier {
    let mut rules = rules(MarkMask::UPPER_16);
    let of = |count: u32, name: fn(u32) -> String, prefixes: fn(u32) -> [String; 2]| {
        (0..count).map(move |n| {
            let prefixes = prefixes(n);
            let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
            site(&name(n), &prefixes, vec![])
        })
    };
    let [networks, hosts] = match many {
        Many::None => [3, 3],
        Many::Networks => [70, 3],
        Many::All => [70, 70],
    };
    let sites = of(
        networks,
        |n| format!("network-{n}"),
        |n| [format!("10.90.{n}.0/24"), format!("fd00:90:{n:x}::/64")],
    )
    .chain(of(
        hosts,
        |n| format!("host-{n}"),
        |n| [format!("10.91.0.{n}/32"), format!("fd00:91::{n:x}/128")],
    ));
    let all: &mut Vec<SiteRules> = &mut rules.circuits[1].sites;
    all.extend(sites);
    all.push(site("depot", depot, vec![]));
    rules
}

const DEPOTS: [[&str; 2]; 3] = [
    // Among others, in a map of its own length, among the few of other lengths.
    ["10.77.109.0/24", "fd00:109::/64"],
    ["10.77.109.9/32", "fd00:109::9/128"],
    ["10.77.108.0/22", "fd00:108::/30"],
];

fn names(table: &Table) -> Vec<&str> {
    let names = table.maps.keys().map(MapName::as_str);
    names.filter(|name| name.contains(".sites4")).collect()
}

#[test]
fn prefixes_of_which_there_are_many_stand_in_maps_by_length() {
    let table = |many| {
        let rules = with(&DEPOTS[2], many);
        rules.table(&ids(&rules)).unwrap()
    };
    assert_eq!(
        names(&table(Many::None)),
        ["mpls.sites4", "mpls.sites4/down"]
    );
    let networks = table(Many::Networks);
    assert_eq!(
        names(&networks),
        [
            "mpls.sites4-24",
            "mpls.sites4-24/down",
            "mpls.sites4-but-24",
            "mpls.sites4-but-24/down"
        ]
    );
    let text = nft::render_whole(&table(Many::All));
    for rule in [
        "\tip daddr vmap @mpls.sites4-32\n\t\tip daddr & 255.255.255.0 vmap @mpls.sites4-24\n\
         \t\tip daddr vmap @mpls.sites4-but-32-24\n",
        "\tip6 daddr & ffff:ffff:ffff:ffff:: vmap @mpls.sites6-64\n",
        "\tct direction original ct original ip saddr & 255.255.255.0 vmap @mpls.sites4-24/down\n",
        "\tct direction reply ct reply ip6 saddr vmap @mpls.sites6-128/down\n",
        "\tct state { invalid, untracked } ip saddr & 255.255.255.0 vmap @mpls.sites4-24/down\n",
        "\t\t\t10.90.7.0 : goto mpls.site.network-7,\n",
        "\t\t\tfd00:90:7:: : goto mpls.site.network-7/down,\n",
        "\t\t\t10.77.108.0/22 : goto mpls.site.depot,\n",
    ] {
        assert!(text.contains(rule), "{rule}\nis not in\n{text}");
    }
}

#[test]
fn maps_by_length_are_read_back() {
    inside(|| {
        for many in [Many::None, Many::Networks, Many::All] {
            for depot in &DEPOTS {
                let rules = with(depot, many);
                let table = rules.table(&ids(&rules)).unwrap();
                nft::apply(None, Some(&table)).unwrap();
                same(&observed().unwrap(), &table);
                for flags in [&["-s"][..], &["-n"], &["-nny"]] {
                    let words = [flags, &["list", "table", "inet", "wanshift"]].concat();
                    same(&nft::parse(&run("nft", &words)).unwrap(), &table);
                }
                let text = serde_json::to_string(&table).unwrap();
                same(&serde_json::from_str(&text).unwrap(), &table);
                nft::apply(Some(&table), None).unwrap();
            }
        }
    });
}

/// Where the table, walked, says that a packet to that address goes.
fn told(table: &Table, address: &str) -> Option<String> {
    let (field, value) = match address.parse().unwrap() {
        IpAddr::V4(address) => (Field::Destination4, u32::from(address).into()),
        IpAddr::V6(address) => (Field::Destination6, address.into()),
    };
    let packet = Packet::default().showing(field, value);
    let mut packet = packet.passing(Some(&device("lan0")), Some(&device("mpls0")));
    let class = table.walk("postrouting", &mut packet).class?;
    let mut classes = table.class_ids().into_iter();
    classes.find_map(|(key, id)| (id == class).then(|| key.to_string()))
}

#[test]
fn packets_find_their_site_whatever_the_length_of_its_prefix() {
    inside(|| {
        let mut net = Net::new();
        for (many, depot) in [Many::Networks, Many::All]
            .into_iter()
            .flat_map(|many| DEPOTS.iter().map(move |depot| (many, depot)))
        {
            let rules = with(depot, many);
            let table = rules.table(&ids(&rules)).unwrap();
            net.edge.enter();
            nft::apply(Some(&net.table), Some(&table)).unwrap();
            same(&observed().unwrap(), &table);
            net.rename(table);
            for (addresses, place) in [
                (PROVINS, "mpls.site.provins"),
                (INNER, "mpls.site.inner.rest"),
                (DEPOT, "mpls.site.depot"),
            ] {
                for (address, inside) in addresses.into_iter().zip(WITHIN) {
                    assert_eq!(told(&net.table, address).as_deref(), Some(place));
                    net.leaves("to a site", &[["mpls0", place, ""]], |net| {
                        net.datagram(&net.within, None, address, 9, 0);
                    });
                    net.leaves("from a site", &[["lan0", "", place]], |net| {
                        net.datagram(&net.branch, Some(address), inside, 9, 0);
                    });
                    let both = [["mpls0", place, ""], ["lan0", "", place]];
                    net.leaves("asked and answered", &both, |net| {
                        net.exchange((&net.within, None), (&net.branch, address), 4000, 0);
                    });
                }
            }
        }
    });
}

#[test]
fn what_somebody_did_to_a_map_by_length_is_put_right() {
    inside(|| {
        let rules = with(&DEPOTS[2], Many::All);
        let table = rules.table(&ids(&rules)).unwrap();
        nft::apply(None, Some(&table)).unwrap();
        for command in [
            "delete element inet wanshift mpls.sites4-24 { 10.90.7.0 }",
            "delete element inet wanshift mpls.sites6-64/down { fd00:90:7:: }",
            "add element inet wanshift mpls.sites4-24 { 10.90.200.0 : goto mpls.rest }",
            // No network of that length begins there.
            "add element inet wanshift mpls.sites4-24 { 10.90.200.1 : goto mpls.rest }",
            // A map by length that is asked with a network of another length, or with the address.
            "add rule inet wanshift mpls.traffic ip daddr & 255.255.0.0 vmap @mpls.sites4-24",
            "add rule inet wanshift mpls.traffic ip daddr vmap @mpls.sites4-24",
            "add rule inet wanshift mpls.traffic ip daddr & 255.255.255.0 vmap @mpls.sites4-32",
            "add map inet wanshift mpls.sites4-25 { type ipv4_addr : verdict; flags interval; }",
            "add map inet wanshift mpls.sites4-25 { type ipv4_addr : verdict; }",
        ] {
            script(command);
            let changed = observed().unwrap();
            assert!(changed != table, "{command} is not noticed");
            nft::apply(Some(&changed), Some(&table)).unwrap();
            same(&observed().unwrap(), &table);
        }
    });
}

/// The same table with all sites in one map of ranges, as it was before there were maps by length.
fn in_one_map(mut table: Table) -> Table {
    let maps = std::mem::take(&mut table.maps);
    for (name, map) in maps {
        let (name, kind) = (
            whole(&name),
            match map.kind {
                MapKind::Networks4(_) => MapKind::Address4,
                MapKind::Networks6(_) => MapKind::Address6,
                kind
                @ (MapKind::Device | MapKind::Pair | MapKind::Address4 | MapKind::Address6) => kind,
            },
        );
        let elements = &mut table
            .maps
            .entry(name)
            .or_insert(VerdictMap {
                kind,
                elements: Default::default(),
            })
            .elements;
        elements.extend(map.elements);
    }
    for chain in table.chains.values_mut() {
        for line in &mut chain.lines {
            if let Line::Rule(rule) = line
                && let Action::Lookup(key, map) = rule.action().clone()
            {
                *rule = rule.clone().doing(Action::Lookup(key, whole(&map)));
            }
        }
        chain.lines.dedup();
        // What is asked for the depot alone has become what is asked for all.
        let lines = std::mem::take(&mut chain.lines);
        for line in lines {
            if !chain.lines.contains(&line) {
                chain.lines.push(line);
            }
        }
    }
    table
}

fn whole(name: &MapName) -> MapName {
    let (whole, down) = match name.as_str().strip_suffix("/down") {
        Some(name) => (name, "/down"),
        None => (name.as_str(), ""),
    };
    match whole.split_once(".sites") {
        Some((circuit, which)) => MapName::new(&format!("{circuit}.sites{}{down}", &which[..1])),
        None => name.clone(),
    }
}

/// From a host that ran an older version, from few sites to many and back: packets find their site all the while.
#[test]
fn no_packet_misses_its_site_while_the_maps_change() {
    inside(|| {
        let mut net = Net::new();
        let all = ids(&with(&DEPOTS[1], Many::All));
        let tables: Vec<Table> = [Many::None, Many::Networks, Many::All]
            .into_iter()
            .map(|many| with(&DEPOTS[1], many).table(&all).unwrap())
            .collect();
        let old = in_one_map(tables[2].clone());
        assert_eq!(names(&old), ["mpls.sites4", "mpls.sites4/down"]);
        let changes = tables[2].changes_to(&old);
        // Nothing is another way for any site: only how the circuit asks.
        assert!(
            changes
                .keys()
                .all(|key| key.as_ref().is_some_and(|key| key.to_string() == "mpls"))
        );
        let [none, networks, every] = &tables[..] else {
            panic!("three tables");
        };
        net.edge.enter();
        nft::apply(Some(&net.table), Some(&old)).unwrap();
        same(&observed().unwrap(), &old);
        let first = net.table.clone();
        net.rename(old.clone());
        let sockets: Vec<_> = [
            (&net.within, None, PROVINS[0]),
            (&net.within, None, DEPOT[1]),
            (&net.branch, Some(DEPOT[0]), WITHIN[0]),
            (&net.branch, Some(PROVINS[1]), WITHIN[1]),
        ]
        .into_iter()
        .map(|(from, source, to)| {
            let socket = net.socket(from, source, to, 0);
            socket
                .connect((to.parse::<std::net::IpAddr>().unwrap(), 9))
                .unwrap();
            socket
        })
        .collect();
        let expected = [
            ["mpls0", "mpls.site.provins", ""],
            ["mpls0", "mpls.site.depot", ""],
            ["lan0", "", "mpls.site.depot"],
            ["lan0", "", "mpls.site.provins"],
        ];
        let stop = AtomicBool::new(false);
        net.leaves("while maps change", &expected, |net| {
            net.edge.enter();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        for socket in &sockets {
                            // An unreachable port is told at times: no matter.
                            let _ = socket.send(b"datagram");
                        }
                    }
                });
                let mut before = &old;
                for after in [every, none, every, networks, none, networks, every, &old] {
                    nft::apply(Some(before), Some(after)).unwrap();
                    before = after;
                }
                stop.store(true, Ordering::Relaxed);
            });
        });
        nft::apply(Some(&old), Some(&first)).unwrap();
    });
}
