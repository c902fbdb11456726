//! What is written is what is read.

use std::collections::{BTreeMap, BTreeSet};

use wanshift::kernel::nft;
use wanshift::lower::classify::Classifier;
use wanshift::model::circuit::MarkMask;
use wanshift::model::filter::{Slot, Table};
use wanshift::model::node::NodeKey;
use wanshift::model::state::ClassId;

use super::namespace::{inside, nft as script, run};
use super::policies::{cd77, circuit, everything, host, ids, keys, site, table};

pub fn observed() -> Option<Table> {
    nft::read().unwrap()
}

/// That two tables are equal; else says by what change they would be.
pub fn same(left: &Table, right: &Table) {
    assert!(
        left == right,
        "it would take this to make them equal:\n{}",
        nft::render(Some(left), Some(right))
    );
}

#[test]
fn the_example_in_nfts_words() {
    insta::assert_snapshot!("cd77", nft::render_whole(&table(&cd77())));
}

#[test]
fn the_text_of_a_table_reads_as_the_table() {
    let table = table(&everything());
    assert_eq!(nft::parse(&nft::render_whole(&table)).unwrap(), table);
}

#[test]
fn a_table_survives_the_store() {
    let table = table(&everything());
    let text = serde_json::to_string(&table).unwrap();
    assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), table);
}

#[test]
fn what_is_loaded_is_read_back() {
    inside(|| {
        let masked = |bits| Classifier {
            mask: MarkMask::new(bits).unwrap(),
            ..everything()
        };
        for rules in [
            Classifier::default(),
            cd77(),
            everything(),
            masked(0x0000_ffff),
            masked(0x00ff_fff0),
            masked(u32::MAX),
        ] {
            let table = table(&rules);
            assert_eq!(observed(), None);
            nft::apply(None, Some(&table)).unwrap();
            same(&observed().unwrap(), &table);
            // As any administrator or any other version of nft may see it.
            for flags in [&["-s"][..], &["-n"], &["-nn"], &["-y"], &["-nny"]] {
                let words = [flags, &["list", "table", "inet", "wanshift"]].concat();
                same(&nft::parse(&run("nft", &words)).unwrap(), &table);
            }
            assert_eq!(nft::render(Some(&table), observed().as_ref()), "");
            nft::apply(Some(&table), None).unwrap();
        }
        assert_eq!(observed(), None);
    });
}

#[test]
fn numbers_are_learnt_back() {
    inside(|| {
        let rules = everything();
        let ids = ids(&rules);
        nft::apply(None, Some(&table(&rules))).unwrap();
        let observed = observed().unwrap();
        for (key, minor) in observed.minors() {
            assert_eq!(ids.minor(&key), Some(minor), "{key}");
        }
        let down = observed.without(|slot| matches!(slot, Slot::Class(_)));
        let learnt: BTreeSet<NodeKey> = down.minors().map(|(key, _)| key).collect();
        let expected: BTreeSet<NodeKey> = rules.circuits.iter().flat_map(keys).collect();
        assert_eq!(learnt, expected, "of what came alone");
        let learnt = observed.class_ids();
        let expected: BTreeMap<NodeKey, ClassId> = rules
            .circuits
            .iter()
            .flat_map(|circuit| {
                let major = ids.major(&circuit.tree).unwrap();
                let control =
                    NodeKey::new(circuit.name.clone(), wanshift::model::node::Place::Control);
                keys(circuit)
                    .into_iter()
                    .chain([control])
                    .map(move |key| (major, key))
            })
            .map(|(major, key)| {
                let minor = ids.minor(&key).unwrap();
                (key, ClassId { major, minor })
            })
            .collect();
        assert_eq!(learnt, expected);
    });
}

#[test]
fn a_table_that_is_there_is_not_made_anew() {
    inside(|| {
        script("table inet wanshift { chain theirs { accept; }\n}");
        let before = run("nft", &["list", "ruleset"]);
        let error = nft::apply(None, Some(&table(&cd77())))
            .unwrap_err()
            .to_string();
        assert!(error.contains("exists"), "{error}");
        assert_eq!(run("nft", &["list", "ruleset"]), before);
    });
}

#[test]
fn refusals_name_the_line() {
    inside(|| {
        let (one, other) = (table(&cd77()), table(&everything()));
        nft::apply(None, Some(&one)).unwrap();
        script("delete element inet wanshift circuits { \"wan0\" }");
        let error = nft::apply(Some(&other), Some(&one))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("No such file") && error.contains("flush chain inet wanshift forward"),
            "{error}"
        );
    });
}

#[test]
fn a_table_that_is_gone_is_not_made_by_halves() {
    inside(|| {
        let (one, other) = (table(&cd77()), table(&everything()));
        let error = nft::apply(Some(&one), Some(&other))
            .unwrap_err()
            .to_string();
        assert!(error.contains("No such file"), "{error}");
        assert_eq!(observed(), None);
    });
}

#[test]
fn foreign_tables_stay_byte_for_byte() {
    inside(|| {
        script(
            "table inet filter {\n set s { type ipv4_addr; elements = { 10.0.0.1 }\n }
             chain input {\n type filter hook input priority 0; ip saddr @s counter drop\n }\n }
             table ip nat {\n chain post {\n type nat hook postrouting priority 100; oifname wan0 masquerade\n }\n }
             table inet wanshift2 {\n chain leaving {\n type filter hook postrouting priority -150; }\n }",
        );
        let before = run("nft", &["-a", "list", "ruleset"]);
        let (one, other) = (table(&cd77()), table(&everything()));
        nft::apply(None, Some(&one)).unwrap();
        nft::apply(Some(&one), Some(&other)).unwrap();
        nft::apply(Some(&other), Some(&one)).unwrap();
        nft::apply(Some(&one), None).unwrap();
        assert_eq!(run("nft", &["-a", "list", "ruleset"]), before);
    });
}

#[test]
#[allow(clippy::disallowed_methods)] // It is measured and printed; nothing depends on it.
fn ten_thousand_sites() {
    inside(|| {
        let names: Vec<(String, String, String)> = (0..10_000)
            .map(|n| {
                (
                    format!("site-{n}"),
                    format!("10.{}.{}.0/24", n / 256, n % 256),
                    format!("fd00:{n:x}::/64"),
                )
            })
            .collect();
        let sites = names
            .iter()
            .map(|(name, four, six)| site(name, &[four, six], vec![]))
            .collect();
        let rules = host(vec![circuit("mpls", "mpls0", sites, vec![])]);
        let all = table(&rules);
        let timed = |what: &str, work: &dyn Fn()| {
            let start = std::time::Instant::now();
            work();
            let took = start.elapsed();
            println!("10,000 sites: {what} took {took:?}");
        };
        timed("load", &|| nft::apply(None, Some(&all)).unwrap());
        timed("read", &|| assert!(observed().unwrap() == all));
        let mut fewer = rules.clone();
        fewer.circuits[0].sites.truncate(9_990);
        let fewer = fewer.table(&ids(&rules)).unwrap();
        timed("ten fewer", &|| {
            nft::apply(Some(&all), Some(&fewer)).unwrap()
        });
        assert!(observed().unwrap() == fewer);
        timed("ten more", &|| {
            nft::apply(Some(&fewer), Some(&all)).unwrap()
        });
        assert!(observed().unwrap() == all);
        timed("nothing", &|| {
            assert_eq!(nft::render(Some(&all), Some(&all)), "")
        });
    });
}
