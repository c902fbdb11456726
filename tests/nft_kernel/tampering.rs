//! What somebody else does to our table is seen, and put right.

use wanshift::kernel::nft;
use wanshift::model::filter::Table;

use super::namespace::{inside, nft as script, run};
use super::policies::{everything, table};
use super::roundtrip::{observed, same};

/// Tampers by `commands`; expects that it is seen, that the repair is one transaction that leaves the
/// kernel's table as it was, and that nothing is left to do.
fn tamper(commands: &[&str]) {
    let table = table(&everything());
    nft::apply(None, Some(&table)).unwrap();
    let before = run("nft", &["-nn", "-s", "list", "ruleset"]);
    for command in commands {
        script(&command.replace("ip.CLASSES", &classes(&table)));
    }
    let found: Option<Table> = observed();
    assert!(found.as_ref() != Some(&table), "unseen: {commands:?}");
    if let Err(error) = nft::apply(found.as_ref(), Some(&table)) {
        let repair = nft::render(found.as_ref(), Some(&table));
        panic!("{commands:?}: {error}\n{repair}");
    }
    same(&observed().unwrap(), &table);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let after = run("nft", &["-nn", "-s", "list", "ruleset"]);
    assert_eq!(sorted(&before), sorted(&after), "{commands:?}");
    // Whoever wants the tampered state again (an undo) gets it.
    if let Some(found) = found {
        if let Err(error) = nft::apply(Some(&table), Some(&found)) {
            let text = nft::render(Some(&table), Some(&found));
            panic!("{commands:?} again: {error}\n{text}");
        }
        same(&observed().unwrap(), &found);
    }
}

macro_rules! tampering {
    ($($name:ident: $commands:expr;)*) => {$(
        #[test]
        fn $name() {
            inside(|| tamper(&$commands));
        }
    )*};
}

tampering! {
    a_block_taken_away: ["flush chain inet wanshift forward"];
    a_block_evaded: ["insert rule inet wanshift forward ip saddr 10.77.20.7 accept"];
    a_block_passed: [
        "flush chain inet wanshift block.rest/reject",
        "add rule inet wanshift block.rest/reject counter name blocked.rest accept",
    ];
    a_block_that_drops: [
        "flush chain inet wanshift block.rest/reject",
        "add rule inet wanshift block.rest/reject meta l4proto tcp counter name blocked.rest reject with icmpx port-unreachable",
    ];
    a_block_that_counts_too_much: [
        "flush chain inet wanshift block.rest/reject",
        "add rule inet wanshift block.rest/reject counter name blocked.rest meta l4proto tcp reject with tcp reset",
        "add rule inet wanshift block.rest/reject counter name blocked.rest reject with icmpx admin-prohibited",
    ];
    a_counter_like_a_blocks: ["add counter inet wanshift blocked.none"];
    a_counter_with_something_else: ["add counter inet wanshift blocked.none { comment \"theirs\"; }"];
    the_entry_of_blocks_elsewhere: [
        "flush chain inet wanshift forward",
        "delete chain inet wanshift forward",
        "add chain inet wanshift forward { type filter hook forward priority 5; policy accept; }",
    ];
    a_rule_added: ["add rule inet wanshift ip.traffic tcp dport 22 drop"];
    a_rule_inserted: ["insert rule inet wanshift ip.rest accept"];
    a_rule_that_could_be_ours: ["insert rule inet wanshift ip.traffic ip dscp ef goto ip.class.any"];
    a_rule_without_effect: ["add rule inet wanshift leaving counter"];
    a_chain_flushed: ["flush chain inet wanshift ip.traffic"];
    a_chain_of_classes_flushed: ["flush chain inet wanshift ip.CLASSES"];
    a_rule_added_to_classes: ["insert rule inet wanshift ip.CLASSES ip saddr 10.0.0.0/8 goto ip.rest"];
    the_base_chain_flushed: ["flush chain inet wanshift leaving"];
    a_class_replaced: [
        "flush chain inet wanshift ip.class.any",
        "add rule inet wanshift ip.class.any meta priority set 7a00:11",
    ];
    a_foreign_class: [
        "flush chain inet wanshift ip.class.any",
        "add rule inet wanshift ip.class.any meta priority set 1:1",
    ];
    a_limit_replaced: [
        "flush chain inet wanshift ip.hand",
        "add rule inet wanshift ip.hand limit rate 65 kbytes/second burst 64 kbytes goto ip.control",
        "add rule inet wanshift ip.hand goto ip.traffic",
    ];
    a_note_lost: [
        "flush chain inet wanshift ip.up",
        "add rule inet wanshift ip.up goto ip.traffic",
    ];
    an_element_removed: ["delete element inet wanshift ip.sites4 { 10.1.0.0/16 }"];
    an_element_added: ["add element inet wanshift ip.sites4 { 10.200.0.0/16 : drop }"];
    an_element_elsewhere: [
        "delete element inet wanshift ip.sites6 { fd00:1::/64 }",
        "add element inet wanshift ip.sites6 { fd00:1::/64 : goto ip.rest }",
    ];
    an_element_split: [
        "delete element inet wanshift ip.sites4 { 10.1.0.0/16 }",
        "add element inet wanshift ip.sites4 { 10.1.0.0/17 : goto ip.site.plain, 10.1.128.0/17 : goto ip.site.plain }",
    ];
    a_device_removed: ["delete element inet wanshift circuits { \"wan0\" }"];
    a_device_added: ["add element inet wanshift circuits { \"eth9\" : goto ip.up }"];
    a_whole_mark_written: [
        "flush chain inet wanshift ip.class.any/down",
        "add rule inet wanshift ip.class.any/down meta mark set 0x00150000",
    ];
    another_class_marked: [
        "flush chain inet wanshift ip.class.any/down",
        "add rule inet wanshift ip.class.any/down meta mark set meta mark & 0x0000ffff | 0x00150000",
    ];
    a_mark_under_another_mask: [
        "flush chain inet wanshift ip.class.any/down",
        "add rule inet wanshift ip.class.any/down meta mark set meta mark & 0x000fffff | 0x00100000",
    ];
    bits_of_others_written: [
        "flush chain inet wanshift ip.class.any/down",
        "add rule inet wanshift ip.class.any/down meta mark set meta mark | 0x00150001",
    ];
    bits_of_a_mark_turned: [
        "insert rule inet wanshift ip.class.any/down meta mark set meta mark ^ 0x00150000",
    ];
    a_mark_of_no_class: [
        "flush chain inet wanshift ip.class.any/down",
        "add rule inet wanshift ip.class.any/down meta mark set meta mark & 0x0000ffff | 0xffff0000",
    ];
    a_mark_restored_from_the_connection: [
        "insert rule inet wanshift leaving meta mark set ct mark",
    ];
    a_mark_restored_at_the_end: ["add rule inet wanshift ip/down meta mark set ct mark and 0x00ff0000"];
    other_bits_cleared: [
        "add rule inet wanshift leaving meta mark & 0x0000ff00 != 0x0 meta mark set meta mark & 0xffff00ff",
    ];
    marks_compared_otherwise: [
        "insert rule inet wanshift leaving meta mark & 0xffff0000 == { 0x00150000, 0x00160000, 0x00990000 } return",
        "insert rule inet wanshift leaving meta mark & 0xf0f00000 == 0x00100000 return",
        "insert rule inet wanshift leaving meta mark 0x10-0x20 return",
        "insert rule inet wanshift leaving meta mark & 0xff00 == 0x1200 return",
        "insert rule inet wanshift leaving meta mark != { 0x1, 0x2 } return",
        "insert rule inet wanshift leaving ct mark & 0xffff0000 != 0x00150000 return",
        "insert rule inet wanshift leaving ct mark 7 ct direction reply return",
        "insert rule inet wanshift leaving ct label 7 ct direction reply return",
    ];
    something_else_remembered: [
        "insert rule inet wanshift remember ip dscp cs1 ct label set 72",
        "insert rule inet wanshift remember ip dscp ef ct label set 7",
        "insert rule inet wanshift remember ip dscp ef ct mark set 0x006e0000",
    ];
    a_set_of_labels_asked_for: [
        "insert rule inet wanshift ip/down ct direction reply ct label { 98, 110 } return",
    ];
    the_hosts_own_forgotten: ["flush chain inet wanshift ip.arrived"];
    an_origin_removed: ["delete element inet wanshift origins { \"wan0\" }"];
    a_departure_added: ["add element inet wanshift departures { \"eth9\" : jump unmark }"];
    marks_written_early: [
        "flush chain inet wanshift marking",
        "delete chain inet wanshift marking",
        "add chain inet wanshift marking { type filter hook postrouting priority -150; }",
        "add rule inet wanshift marking iifname . oifname vmap @arrivals",
    ];
    nothing_remembered: ["flush chain inet wanshift remember"];
    a_pair_of_devices_removed: ["delete element inet wanshift arrivals { \"wan0\" . \"lan0\" }"];
    a_pair_of_devices_added: [
        "add element inet wanshift arrivals { \"lan0\" . \"wan0\" : jump ip/down }",
    ];
    a_pair_of_devices_elsewhere: [
        "delete element inet wanshift arrivals { \"wan0\" . \"lan0\" }",
        "add element inet wanshift arrivals { \"wan0\" . \"lan0\" : goto internet/down }",
    ];
    a_pair_of_devices_accepted: [
        "delete element inet wanshift arrivals { \"wan0\" . \"lan0\" }",
        "add element inet wanshift arrivals { \"wan0\" . \"lan0\" : accept }",
    ];
    arrivals_of_another_kind: [
        "flush chain inet wanshift marking",
        "delete map inet wanshift arrivals",
        "add map inet wanshift arrivals { type ifname : verdict; }",
        "add element inet wanshift arrivals { \"wan0\" : jump ip/down }",
        "add rule inet wanshift marking iifname vmap @arrivals",
    ];
    arrivals_looked_up_the_wrong_way_round: [
        "add rule inet wanshift marking oifname . iifname vmap @arrivals",
    ];
    a_site_by_source_removed: ["delete element inet wanshift ip.sites4/down { 10.1.0.0/16 }"];
    sites_looked_up_the_wrong_way_round: [
        "flush chain inet wanshift ip/down",
        "add rule inet wanshift ip/down ip daddr vmap @ip.sites4/down",
    ];
    a_chain_from_a_circuit_flushed: ["flush chain inet wanshift ip/down"];
    a_map_flushed: ["flush map inet wanshift ip.sites4"];
    a_map_of_another_kind: [
        "flush chain inet wanshift ip.traffic",
        "delete map inet wanshift ip.sites4",
        "add map inet wanshift ip.sites4 { type ipv4_addr : verdict; size 100; flags timeout; }",
        "add element inet wanshift ip.sites4 { 10.1.2.3 timeout 1h : goto ip.rest }",
        "add rule inet wanshift ip.traffic ip daddr vmap @ip.sites4",
    ];
    a_chain_added: ["add chain inet wanshift extra"];
    a_hooked_chain_added: [
        "table inet wanshift {\nchain extra {\ntype filter hook forward priority 0; policy drop;\nip saddr 10.0.0.1 accept\n}\n}",
    ];
    a_chain_added_and_used: [
        "add chain inet wanshift extra",
        "add rule inet wanshift extra counter drop",
        "insert rule inet wanshift ip.traffic jump extra",
        "add element inet wanshift ip.sites4 { 10.201.0.0/16 : goto extra }",
    ];
    a_set_added_and_used: [
        "add set inet wanshift bad { type ipv4_addr; flags interval; }",
        "add element inet wanshift bad { 10.0.0.0/8 }",
        "insert rule inet wanshift ip.traffic ip saddr @bad drop",
    ];
    a_counter_added_and_used: [
        "add counter inet wanshift seen",
        "insert rule inet wanshift ip.traffic counter name seen",
    ];
    a_foreign_map_to_a_foreign_chain: [
        "add chain inet wanshift extra",
        "add map inet wanshift extras { type ipv4_addr : verdict; }",
        "add element inet wanshift extras { 10.0.0.1 : jump extra }",
        "insert rule inet wanshift ip.traffic ip saddr vmap @extras",
    ];
    the_policy_changed: [
        "add chain inet wanshift leaving { type filter hook postrouting priority -150; policy drop; }",
    ];
    the_hook_changed: [
        "flush chain inet wanshift leaving",
        "delete chain inet wanshift leaving",
        "add chain inet wanshift leaving { type filter hook postrouting priority 150; }",
        "add rule inet wanshift leaving oifname vmap @circuits",
    ];
    the_table_made_dormant: ["add table inet wanshift { flags dormant; }"];
    the_table_deleted: ["delete table inet wanshift"];
    everything_flushed: ["flush ruleset"];
}

#[test]
fn to_delete_what_is_gone_is_no_failure() {
    inside(|| {
        let table = table(&everything());
        nft::apply(Some(&table), None).unwrap();
        assert_eq!(observed(), None);
    });
}

#[test]
fn counters_are_no_change() {
    inside(|| {
        let table = table(&everything());
        nft::apply(None, Some(&table)).unwrap();
        script(
            "flush chain inet wanshift ip.site.plain\n\
             flush chain inet wanshift ip.site.next\n\
             add rule inet wanshift ip.site.next counter meta priority set 7a6b:3fdc\n",
        );
        script(&format!(
            "add rule inet wanshift ip.site.plain counter meta priority set {}\n\
             flush chain inet wanshift ip.site.next\n\
             add rule inet wanshift ip.site.next meta priority set {}\n",
            class(&table, "ip.site.plain"),
            class(&table, "ip.site.next"),
        ));
        same(&observed().unwrap(), &table);
    });
}

/// The chain of classes of the circuit `ip`.
fn classes(table: &Table) -> String {
    let mut names = table.chains.keys().map(|name| name.as_str());
    names
        .find(|name| name.starts_with("ip.classes."))
        .unwrap()
        .to_owned()
}

fn class(table: &Table, place: &str) -> String {
    table.class_ids()[&place.parse().unwrap()].to_string()
}
