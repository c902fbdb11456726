//! From any table to any other.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use wanshift::kernel::nft;
use wanshift::lower::classify::{CircuitRules, ClassRules, Classifier, SiteRules};
use wanshift::model::circuit::MarkMask;
use wanshift::model::class::Match;
use wanshift::model::filter::{ChainRole, Line, MapName, Slot, Table};
use wanshift::model::ids::Ids;
use wanshift::model::node::{NodeKey, Place};
use wanshift::units::Direction;

use super::namespace::inside;
use super::policies::{also, circuit, class, device, matching, renumber, site};
use super::roundtrip::{observed, same};

const CIRCUITS: [&str; 3] = ["internet", "ip", "mpls-2"];
const DEVICES: [&str; 4] = ["wan0", "eth0.7", "wg:1", "mpls0"];
const OTHERS: [&str; 6] = ["wg0", "vrf1", "tun0", "gre:7", "v-1", "x"];
const INSIDE: [&str; 2] = ["lan0", "br.9"];
const NAMES: [&str; 5] = ["a", "b-1", "rest", "class", "tcp"];
const SERVICES: [&str; 6] = [
    "tcp/80",
    "tcp/443",
    "udp/443",
    "tcp/81-90",
    "udp/0-65535",
    "udp/1-9",
];
const PREFIXES: [&str; 9] = [
    "10.0.0.0/24",
    "10.0.1.0/24",
    "10.0.0.7/32",
    "192.0.2.1/32",
    "0.0.0.0/0",
    "fd00::/64",
    "fd00:0:0:1::/64",
    "2001:db8::1/128",
    "::/0",
];

fn some(of: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(of.to_vec(), 0..=most)
}

fn a_match() -> impl Strategy<Value = Match> {
    let dscp = prop::collection::vec(0_u8..64, 0..4);
    (
        some(&PREFIXES, 4),
        some(&PREFIXES, 3),
        some(&SERVICES, 4),
        dscp,
    )
        .prop_map(|(from, to, service, dscp)| matching(&from, &to, &service, &dscp))
}

fn classes() -> impl Strategy<Value = Vec<ClassRules>> {
    let matches = || prop::collection::vec(a_match(), 1..4);
    (
        some(&NAMES, 4).prop_shuffle(),
        prop::collection::vec(matches(), 5),
    )
        .prop_map(|(names, matches)| {
            names
                .into_iter()
                .zip(matches)
                .map(|(name, matches)| class(name, matches))
                .collect()
        })
}

/// Prefixes of a block of addresses; they may overlap within it.
fn prefixes() -> impl Strategy<Value = Vec<(bool, u8, u8)>> {
    prop::collection::vec((any::<bool>(), 0_u8..4, 0_u8..9), 1..5)
}

fn sites() -> impl Strategy<Value = Vec<SiteRules>> {
    let inner = prop_oneof![3 => Just(vec![]), 1 => classes()];
    let blocks = Just(vec![1_u8, 2, 3, 4, 5]).prop_shuffle();
    (
        some(&NAMES, 4),
        blocks,
        prop::collection::vec((prefixes(), inner), 5),
        crowd(),
    )
        .prop_map(|(names, blocks, rest, crowd)| {
            let named = names.into_iter().zip(blocks).zip(rest);
            named
                .map(|((name, block), (prefixes, inner))| {
                    let texts: Vec<String> = prefixes
                        .into_iter()
                        .map(|(six, third, longer)| prefix(six, block, third, longer))
                        .collect();
                    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                    site(name, &texts, inner)
                })
                .chain(crowd)
                .collect()
        })
}

/// A site with so many prefixes of one length, none beside another, that they have a map of their own; mostly there
/// is none.
fn crowd() -> impl Strategy<Value = Option<SiteRules>> {
    let one = (select(vec![24_u8, 30, 32]), 60_u8..70).prop_map(|(length, count)| {
        let prefixes: Vec<String> = (0..count)
            .flat_map(|n| {
                [
                    format!("10.200.{}.0/{length}", 2 * n),
                    format!("fd00:200:{:x}::/64", 2 * n),
                ]
            })
            .collect();
        let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        Some(site("crowd", &prefixes, vec![]))
    });
    prop_oneof![2 => Just(None), 1 => one]
}

fn prefix(six: bool, block: u8, third: u8, longer: u8) -> String {
    let text = match six {
        true => format!("fd00:{block}:{third}::/{}", 32 + 4 * u32::from(longer)),
        false => format!("10.{block}.{third}.0/{}", 16 + u32::from(longer)),
    };
    let net: ipnet::IpNet = text.parse().unwrap();
    net.trunc().to_string()
}

/// Bits of marks, enough for all numbers.
const MASKS: [u32; 4] = [0xffff_0000, 0x0000_ffff, 0x0fff_ff00, 0xffff_ffff];

fn policy() -> impl Strategy<Value = Classifier> {
    let devices = Just(DEVICES.to_vec()).prop_shuffle();
    let others = Just(OTHERS.to_vec()).prop_shuffle();
    (
        some(&CIRCUITS, 3),
        devices,
        (
            others,
            prop::collection::vec(0_usize..3, 3),
            some(&INSIDE, 2),
        ),
        prop::collection::vec((sites(), classes(), any::<bool>()), 3),
        select(MASKS.to_vec()),
    )
        .prop_map(|(names, devices, (others, counts, inside), rules, mask)| {
            let mut others = others.into_iter();
            let circuits: Vec<CircuitRules> = names
                .into_iter()
                .zip(devices)
                .zip(counts)
                .zip(rules)
                .map(|(((name, device), count), (sites, classes, shared))| {
                    let names: Vec<&str> = others.by_ref().take(count).collect();
                    let mut circuit = also(circuit(name, device, sites, classes), &names);
                    if shared {
                        circuit.tree = self::device("access");
                    }
                    circuit
                })
                .collect();
            Classifier {
                circuits,
                inside: inside.into_iter().map(self::device).collect(),
                mask: MarkMask::new(mask).unwrap(),
                blocks: Vec::new(),
            }
        })
}

/// Which of the slots are missing: none, or one in so many; of classes alone, of marks alone, or of both.
fn missing() -> impl Strategy<Value = Missing> {
    let some = (select(vec![2_u16, 3, 7]), 0_u8..3).prop_map(|(one_in, of)| Some((one_in, of)));
    prop_oneof![2 => Just(None), 1 => some]
}

type Missing = Option<(u16, u8)>;

fn is_missing(missing: Missing, slot: Slot) -> bool {
    let Some((one_in, of)) = missing else {
        return false;
    };
    let meant = match slot {
        Slot::Class(_) => of != 1,
        Slot::Mark(_) => of != 0,
    };
    meant && slot.minor().get().is_multiple_of(one_in)
}

#[test]
fn any_table_becomes_any_other() {
    inside(|| {
        let config = Config {
            cases: 40,
            failure_persistence: None,
            ..Config::default()
        };
        let step = (policy(), missing());
        let steps = prop::collection::vec(step, 2..5);
        TestRunner::new(config)
            .run(&steps, |steps| {
                let mut ids = Ids::default();
                let mut before = None;
                for (rules, missing) in steps {
                    renumber(&mut ids, &rules);
                    let whole = rules.table(&ids).unwrap();
                    let after = whole.without(|slot| is_missing(missing, slot));
                    if let Err(error) = nft::apply(before.as_ref(), Some(&after)) {
                        panic!("{error}\n{}", nft::render(before.as_ref(), Some(&after)));
                    }
                    same(&observed().unwrap(), &after);
                    assert_eq!(nft::render(Some(&after), Some(&after)), "");
                    assert!(nft::parse(&nft::render_whole(&after)).unwrap() == after);
                    before = Some(after);
                }
                nft::apply(before.as_ref(), None).unwrap();
                Ok(())
            })
            .unwrap();
    });
}

/// The slots to which a table can lead, and that nothing in it leads to what is not there.
fn led_to(table: &Table) -> BTreeSet<Slot> {
    let mut led = BTreeSet::new();
    for (name, chain) in &table.chains {
        for line in &chain.lines {
            let Line::Rule(rule) = line else {
                panic!("{line:?}")
            };
            if let Some(to) = rule.action().target() {
                assert!(table.chains.contains_key(to), "{name} → {to}");
            }
            if let Some(map) = rule.action().map() {
                assert!(table.maps.contains_key(map), "{name} → {map}");
            }
        }
        led.extend(chain.slot());
    }
    for verdict in table.maps.values().flat_map(|map| map.elements.values()) {
        let to = verdict.target().unwrap();
        assert!(table.chains.contains_key(to), "{to}");
    }
    led
}

/// That what is marked at all ends with a mark: a chain for what came over a circuit has the rest of it.
fn marked_or_left_out(table: &Table) {
    let arrivals = &table.maps[&MapName::arrivals()];
    for verdict in arrivals.elements.values() {
        let Some(ChainRole::Down(circuit)) = verdict.target().and_then(ChainRole::of) else {
            panic!("{verdict:?}")
        };
        let rest = NodeKey::new(circuit, Place::Rest);
        let rest = ChainRole::Place(rest, Direction::Down).name();
        assert!(table.chains.contains_key(&rest), "{rest}");
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_table_without_classes_leads_to_none_of_them(rules in policy(), n in 1_u16..8, of in 0_u8..3) {
        let mut ids = Ids::default();
        renumber(&mut ids, &rules);
        let whole = rules.table(&ids).unwrap();
        let missing = |slot: Slot| is_missing(Some((n, of)), slot);
        let part = whole.without(missing);
        prop_assert!(led_to(&part).into_iter().all(|slot| !missing(slot)));
        marked_or_left_out(&part);
        prop_assert_eq!(part.without(missing), part.clone());
        prop_assert_eq!(whole.without(|_| false), whole);
    }

    #[test]
    fn a_table_is_stored_and_read(rules in policy()) {
        let mut ids = Ids::default();
        renumber(&mut ids, &rules);
        let table = rules.table(&ids).unwrap();
        let text = serde_json::to_string(&table).unwrap();
        prop_assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), table);
    }
}
