//! What `status` and `history` print.

use serde_json::Value;
use wanshift::units::Rate;

use super::common::daemon::Daemon;
use super::common::host::EdgeHost;
use super::common::sh;
use super::{begin, is_shifting, share, with_daemon};

/// `text` with dates, process numbers and places replaced.
fn redacted(text: &str, daemon: &Daemon<'_>) -> String {
    let place = daemon.host().config().display().to_string();
    let text = text
        .replace(&place, "/etc/wanshift")
        .replace(&format!("process {}", daemon.pid()), "process PID");
    let is_date = |word: &str| {
        let shape: String = word
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        ["0000-00-00", "00:00:00"].contains(&shape.as_str())
    };
    text.split_inclusive(' ')
        .flat_map(|part| part.split_inclusive('\n'))
        .map(|part| {
            let word = part.trim_end();
            let rest = &part[word.len()..];
            if is_date(word) {
                let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
                format!("{}{rest}", word.chars().map(shape).collect::<String>())
            } else {
                part.to_owned()
            }
        })
        .collect()
}

#[test]
fn status_is_told_within_80_columns() {
    with_daemon("0s", |host, mut daemon| {
        // Else the devices look for neighbours now and then.
        sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
        host.wanshift(&["phase", "telework", "--confirm-within", "1h"]);
        daemon.wait_for("a sample without traffic", |status| {
            let circuits = status["circuits"].as_array();
            let quiet = |circuit: &Value| circuit["up"]["rate"] == 0.0;
            circuits.is_some_and(|circuits| !circuits.is_empty() && circuits.iter().all(quiet))
                && status["pending"]["seconds_left"].as_u64() < Some(3_600)
        });
        let text = host.wanshift(&["status"]);
        // How much is left depends on when it is asked.
        let told: Vec<String> = text
            .lines()
            .map(|line| match line.split_once("undone in ") {
                Some((left, _)) => format!("{left}undone in ..."),
                None => line.to_owned(),
            })
            .collect();
        insta::assert_snapshot!("status", redacted(&told.join("\n"), &daemon));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    });
}

#[test]
fn history_is_told_with_who_what_and_from_which_files() {
    with_daemon("0s", |host, daemon| {
        host.wanshift(&["phase", "telework"]);
        host.wanshift(&["phase", "nominal", "--confirm-within", "1h"]);
        host.wanshift(&["rollback"]);
        let text = redacted(&host.wanshift(&["history"]), &daemon);
        let hash = super::history(host)[0]["policy"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(hash.len() == 64 && text.contains(&hash[..12]), "{text}");
        insta::assert_snapshot!("history", text.replace(&hash[..12], "HASH"));
        let json = super::history(host);
        assert_eq!(json[0]["state"], "undone");
        assert_eq!(json[0]["because"], "rolled back by root");
        assert_eq!(json[1]["phase_before"], "nominal");
        assert_eq!(json[1]["phase_after"], "telework");
        assert_eq!(json[1]["files"].as_array().unwrap().len(), 3);
        assert!(json[1]["ended"].is_string());
    });
}

/// What a verb says of a host by itself, where no daemon answers.
fn by_itself(host: &EdgeHost) -> (i32, Value) {
    let output = host.run(&["--json", "status"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(status["daemon"].is_null(), "{status}");
    (output.status.code().unwrap(), status)
}

fn problem(status: &Value) -> &str {
    status["problems"][0]["what"].as_str().unwrap_or_default()
}

#[test]
fn a_change_that_was_cut_off_is_told_without_a_daemon() {
    with_daemon("5s", |host, mut daemon| {
        let mut ordered = begin(host, &["phase", "telework"]);
        daemon.wait_for("the ramp", is_shifting);
        daemon.kill();
        ordered.wait().unwrap();
        let (code, status) = by_itself(host);
        assert_eq!((code, &status["healthy"]), (1, &Value::Bool(false)));
        let what = problem(&status);
        assert!(
            what.contains("`phase telework` of ") && what.contains("was cut off"),
            "{what}"
        );
        let block = &status["blocks"][0];
        assert_eq!(block["state"], "holding", "{status}");
        assert_eq!(block["because"], "phase telework, until uplink-upgraded");
        let mpls = &status["circuits"][1];
        assert_eq!(mpls["name"], "mpls");
        let told: Rate = mpls["up"]["share"].as_str().unwrap().parse().unwrap();
        let held = share("mpls0");
        assert!(
            (80_000_001..200_000_000).contains(&held) && told.bits().abs_diff(held) < 1_000_000,
            "{told} where {held} bit/s hold"
        );
        host.wanshift(&["apply"]);
        let (code, status) = by_itself(host);
        assert_eq!((code, &status["phase"]["name"]), (0, &"telework".into()));
    });
}

#[test]
fn what_the_kernel_does_not_hold_is_told_without_a_daemon() {
    with_daemon("0s", |host, daemon| {
        host.wanshift(&["phase", "telework"]);
        assert!(daemon.end().success());
        assert_eq!(by_itself(host).0, 0);
        sh("nft flush ruleset");
        let (code, status) = by_itself(host);
        let what = problem(&status);
        assert!(
            code == 1 && what.contains("nothing blocks what browsing-in-session should"),
            "{what}"
        );
        host.wanshift(&["apply"]);
        sh("tc qdisc del dev wan0 root");
        let (code, status) = by_itself(host);
        let what = problem(&status);
        assert!(
            code == 1 && what.contains("does not hold what it should:"),
            "{what}"
        );
        host.wanshift(&["teardown", "--shaping-only"]);
        assert_eq!(by_itself(host).0, 0);
        sh("nft flush ruleset");
        assert_eq!(by_itself(host).0, 1);
        host.wanshift(&["teardown"]);
        let (code, status) = by_itself(host);
        assert_eq!(
            (code, &status["blocks"][0]["state"]),
            (0, &"taken_out".into())
        );
    });
}

#[test]
fn one_that_nobody_would_undo_is_told_without_a_daemon() {
    with_daemon("0s", |host, daemon| {
        host.wanshift(&["phase", "telework", "--confirm-within", "1h"]);
        assert!(daemon.end().success());
        let (code, status) = by_itself(host);
        let what = problem(&status);
        assert!(
            code == 1 && what.contains("no daemon runs that would undo it"),
            "{what}"
        );
        assert!(status["pending"].is_object(), "{status}");
    });
}
