//! Who finds that drift was put right is told what it was: which device, class or rule, as it was found and as it is.

use serde_json::{Value, json};

use super::common::daemon::Daemon;
use super::common::host::dump;
use super::common::sh;
use super::{wait_until, with_daemon};

/// Has `tamper` done, and waits until all is as it was before and that is told. Gives what is told of it.
fn repaired(daemon: &mut Daemon<'_>, tamper: &str) -> Value {
    let count = |status: &Value| status["repairs"]["count"].as_u64().unwrap();
    let (before, repairs) = (dump(), count(&daemon.status().unwrap()));
    sh(tamper);
    wait_until("the repair", || dump() == before);
    let status = daemon.wait_for("a repair", |status| count(status) > repairs);
    let repairs = &status["repairs"];
    assert!(repairs["last"].is_string(), "{repairs:#}");
    repairs.clone()
}

/// Each thing that was put back, in a line.
fn lines(repairs: &Value) -> Vec<&str> {
    let changes = repairs["changes"].as_array().unwrap().iter();
    changes
        .map(|change| change["what"].as_str().unwrap())
        .collect()
}

/// The class of `gateway` on a device, as `tc` names it.
fn gateway(device: &str) -> String {
    let map = sh("nft list table inet wanshift");
    let chain = map.split("chain internet.class.gateway {").nth(1).unwrap();
    let minor = chain.split("meta priority set ").nth(1).unwrap();
    let minor = minor.split_whitespace().next().unwrap();
    let minor = minor.split_once(':').unwrap().1;
    let root = sh(&format!("tc qdisc show dev {device} root"));
    format!("{}{minor}", root.split(' ').nth(2).unwrap())
}

/// How people are told: `status`, and the log.
fn people(daemon: &Daemon<'_>, told: &str) {
    let text = daemon.host().wanshift(&["status"]);
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let repair = text.split("Last repair: ").nth(1).unwrap();
    let repair: Vec<&str> = repair.split_whitespace().collect();
    assert!(repair.join(" ").contains(told), "{text}");
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("drift: "));
    assert!(line.is_some_and(|line| line.contains(told)), "{log}");
}

#[test]
fn a_class_of_another_rate_is_named_with_what_it_was_and_is() {
    with_daemon("0s", |_, mut daemon| {
        let class = gateway("wan0");
        let tamper = format!(
            "tc class change dev wan0 classid {class} htb rate 1mbit ceil 2mbit prio 1 quantum 60000"
        );
        let repairs = repaired(&mut daemon, &tamper);
        let changes = repairs["changes"].as_array().unwrap();
        assert_eq!(changes.len(), 1, "{repairs:#}");
        let change = &changes[0];
        assert_eq!(change["device"], "wan0");
        assert_eq!(change["class_id"], *class);
        assert_eq!(change["place"], "internet.class.gateway");
        assert_eq!(
            change["found"],
            json!({ "guarantee": "1mbit", "ceiling": "2mbit" })
        );
        assert_eq!(
            change["restored"],
            json!({ "guarantee": "40mbit", "ceiling": "100mbit" })
        );
        let told = format!(
            "class {class} of wan0 (internet.class.gateway) put back: \
             guarantee 1mbit → 40mbit, ceiling 2mbit → 100mbit"
        );
        assert!(lines(&repairs)[0].starts_with(&told), "{repairs:#}");
        people(&daemon, &told);
    });
}

#[test]
fn a_class_that_was_deleted_or_put_in_is_named() {
    with_daemon("0s", |_, mut daemon| {
        let class = gateway("wanshift-down");
        let tamper = format!("tc class del dev wanshift-down classid {class}");
        let repairs = repaired(&mut daemon, &tamper);
        let told = format!(
            "class {class} of wanshift-down (internet.class.gateway) was gone: made again: \
             guarantee 40mbit, ceiling 100mbit, prio 1"
        );
        assert!(lines(&repairs)[0].starts_with(&told), "{repairs:#}");
        assert_eq!(repairs["changes"][0]["found"], Value::Null);
        people(&daemon, &told);
        let root = class.split_once(':').unwrap().0;
        let tamper = format!(
            "tc class add dev wanshift-down parent {root}: classid {root}:777 htb rate 3mbit ceil 3mbit"
        );
        let repairs = repaired(&mut daemon, &tamper);
        let told = format!(
            "class {root}:777 of wanshift-down was put in: taken out: guarantee 3mbit, ceiling 3mbit"
        );
        assert_eq!(lines(&repairs), [told]);
        assert_eq!(repairs["changes"][0]["restored"], Value::Null);
    });
}

#[test]
fn a_tree_or_an_ifb_that_was_deleted_is_named_once_with_all_that_went_with_it() {
    with_daemon("0s", |_, mut daemon| {
        let classes = |device: &str| {
            let classes = sh(&format!("tc class show dev {device}"));
            classes.lines().count()
        };
        let (up, down) = (classes("wan0"), classes("wanshift-down"));
        let repairs = repaired(&mut daemon, "tc qdisc del dev wan0 root");
        let told = format!("root qdisc of wan0 was gone: made again with its {up} classes");
        assert_eq!(lines(&repairs), [told.as_str()]);
        people(&daemon, &told);

        let repairs = repaired(&mut daemon, "ip link del wanshift-down");
        let told = format!(
            "device wanshift-down was gone: made again with its {down} classes, \
             and the 3 filters that lead there"
        );
        assert_eq!(lines(&repairs), [told]);
        let repairs = repaired(&mut daemon, "ip link set wanshift-down down");
        assert_eq!(
            lines(&repairs),
            ["device wanshift-down was down: set up again"]
        );
        let repairs = repaired(&mut daemon, "tc filter del dev lan0 egress");
        assert_eq!(
            lines(&repairs),
            ["filter on lan0 to wanshift-down was gone: put back"]
        );
    });
}

#[test]
fn a_table_that_was_flushed_or_deleted_is_named_and_so_are_its_blocks() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        for tamper in ["nft flush ruleset", "nft delete table inet wanshift"] {
            let repairs = repaired(&mut daemon, tamper);
            assert_eq!(
                lines(&repairs),
                [
                    "table inet wanshift was gone: made again",
                    "block browsing-in-session did not hold: it holds again"
                ],
                "{tamper}"
            );
            people(&daemon, "table inet wanshift was gone: made again");
        }
        let repairs = repaired(&mut daemon, "nft flush table inet wanshift");
        let all = lines(&repairs);
        assert!(all.len() > 5, "{repairs:#}");
        let rules = all
            .iter()
            .find(|line| line.starts_with("rules for internet.class.gateway "));
        assert!(
            rules.is_some_and(|line| line.contains(" gone ")),
            "{repairs:#}"
        );
        // The log has the first ones, and how many more there were.
        let log = daemon.log();
        let last = log.rsplit("somebody else changed").next().unwrap();
        let drift = last.lines().filter(|line| line.contains("drift: "));
        let drift: Vec<&str> = drift.collect();
        let more = format!("drift: and {} more", all.len() - 5);
        assert!(drift.len() == 6 && drift[5].ends_with(&more), "{log}");
    });
}

#[test]
fn a_rule_that_somebody_put_in_is_named() {
    with_daemon("0s", |_, mut daemon| {
        let tamper = "nft insert rule inet wanshift internet.class.gateway udp dport 53 accept";
        let repairs = repaired(&mut daemon, tamper);
        let all = lines(&repairs);
        assert_eq!(all.len(), 1, "{repairs:#}");
        assert!(
            all[0].starts_with("rules for internet.class.gateway put back: ")
                && all[0].contains("a rule was put in and is taken out: ")
                && all[0].contains("53"),
            "{repairs:#}"
        );
        people(&daemon, "rules for internet.class.gateway put back: ");
    });
}

#[test]
fn what_was_changed_while_no_daemon_ran_is_logged_at_its_start() {
    with_daemon("0s", |host, daemon| {
        let before = dump();
        assert!(daemon.end().success());
        let class = gateway("wan0");
        sh(&format!(
            "tc class change dev wan0 classid {class} htb rate 1mbit ceil 2mbit"
        ));
        let daemon = Daemon::start(host);
        wait_until("the repair", || dump() == before);
        let told = format!(
            "brought: class {class} of wan0 (internet.class.gateway) put back: guarantee 1mbit → 40mbit"
        );
        wait_until("the log", || daemon.log().contains(&told));
    });
}

#[test]
fn blocks_that_stay_without_shaping_are_named_too() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        host.wanshift(&["teardown", "--shaping-only"]);
        let repairs = repaired(&mut daemon, "nft flush ruleset");
        assert_eq!(repairs["count"], 1, "{repairs:#}");
        assert_eq!(
            lines(&repairs),
            [
                "table inet wanshift was gone: made again",
                "block browsing-in-session did not hold: it holds again"
            ]
        );
        people(&daemon, "table inet wanshift was gone: made again");
    });
}
