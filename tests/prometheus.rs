//! What Prometheus is told: that it is well written, that counters never step back, and that alerts and the
//! dashboard speak of what there is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;
#[path = "common/status.rs"]
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::daemon::{Daemon, PATIENCE};
use common::host::EdgeHost;
use common::in_namespace;
use proptest::prelude::*;
use wanshift::api::{Outcome, Stage, Status, Stuck};
use wanshift::metrics::catalogue::{ALL, Kind};
use wanshift::metrics::{Exporter, MAX_SERIES};
use wanshift::model::names::PhaseName;

/// Where a daemon serves by default.
const ADDRESS: &str = "127.0.0.1:9817";
/// How long is waited before it is asked again.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn rendered(status: Status) -> String {
    let mut exporter = Exporter::new("1.2.3");
    exporter.publish(Arc::new(status));
    exporter.render()
}

/// Every series of a text with its value, each once.
fn series(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let twice = found.insert(name.to_owned(), value.parse().unwrap());
        assert_eq!(twice, None, "{name} is there twice");
    }
    found
}

fn family(series: &str) -> &str {
    series.split('{').next().unwrap()
}

/// Runs `promtool` on `input`; `None` where there is none.
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped: no promtool (package prometheus): {error}");
            assert!(std::env::var_os("CI").is_none(), "skipped under CI");
            return None;
        }
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {text}");
    Some(text)
}

#[test]
fn the_text_is_as_prometheus_wants_it() {
    for text in [
        Exporter::new("1.2.3").render(),
        rendered(status::status()),
        rendered(thousands()),
    ] {
        if let Some(said) = promtool(&["check", "metrics"], &text) {
            assert_eq!(said.trim(), "", "{text}");
        }
    }
}

/// Everything that is told, to be read by people as well.
#[test]
fn a_whole_text() {
    insta::assert_snapshot!(rendered(status::status()));
}

#[test]
fn every_metric_is_told_with_its_type_and_help() {
    let text = rendered(status::status());
    let told: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    for metric in ALL {
        let (name, kind) = (metric.name, metric.kind.name());
        assert!(told.contains(format!("{name} {kind}").as_str()), "{name}");
        assert!(
            text.contains(&format!("# HELP {name} {}\n", metric.help)),
            "{name}"
        );
        assert_eq!(
            metric.kind == Kind::Counter,
            name.ends_with("_total"),
            "{name}"
        );
    }
    let families: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(families.len(), ALL.len());
    for name in series(&text).keys() {
        assert!(families.contains(family(name)), "{name} is not in the list");
    }
    assert_eq!(told.len(), ALL.len());
}

#[test]
fn what_never_happened_is_zero_from_the_start() {
    let text = Exporter::new("1.2.3").render();
    let found = series(&text);
    for stage in Stage::ALL {
        let name = format!("wanshift_failures_total{{stage=\"{}\"}}", stage.name());
        assert_eq!(found[&name], 0.0);
    }
    for name in [
        "wanshift_repairs_total",
        "wanshift_healthy",
        "wanshift_confirm_pending",
    ] {
        assert_eq!(found[name], 0.0);
    }
    assert_eq!(found["wanshift_build_info{version=\"1.2.3\"}"], 1.0);
}

#[test]
fn rates_are_in_bytes_and_phases_are_one_of_all() {
    let found = series(&rendered(status::status()));
    let of = |name: &str| found[name];
    let circuit = "{circuit=\"internet\",direction=\"up\"}";
    assert_eq!(
        of(&format!("wanshift_circuit_share_bytes_per_second{circuit}")),
        1_250_000.0
    );
    assert_eq!(
        of(&format!("wanshift_circuit_hot_seconds_total{circuit}")),
        12.5
    );
    assert_eq!(of("wanshift_phase{phase=\"nominal\"}"), 0.0);
    assert_eq!(of("wanshift_phase{phase=\"telework\"}"), 1.0);
    let inner = "{circuit=\"mpls\",class=\"site.provins.class.voice\",direction=\"down\"}";
    assert_eq!(
        of(&format!("wanshift_class_guarantee_bytes_per_second{inner}")),
        250_000.0
    );
    assert_eq!(
        of("wanshift_block_since_timestamp_seconds{block=\"streaming\"}"),
        1_795_316_400.0
    );
    assert_eq!(of("wanshift_confirm_remaining_seconds"), 540.0);
}

#[test]
fn the_way_back_is_overdue_where_time_is_over_or_it_failed() {
    let overdue = |change: &dyn Fn(&mut Status)| {
        let mut status = status::status();
        change(&mut status);
        series(&rendered(status))["wanshift_way_back_overdue"]
    };
    assert_eq!(overdue(&|_| {}), 0.0);
    assert_eq!(
        overdue(&|status| status.pending.as_mut().unwrap().seconds_left = 0),
        1.0
    );
    let stuck = |status: &mut Status| {
        status.pending = None;
        status.stuck = Some(Stuck {
            change: 7,
            what: "apply".to_owned(),
            since: status::AT.parse().unwrap(),
        });
    };
    assert_eq!(overdue(&stuck), 1.0);
}

#[test]
fn a_policy_that_does_not_load_and_a_change_taken_back_are_told() {
    let mut status = status::status();
    status.problems = vec![status::problem(Stage::Policy)];
    status.healthy = false;
    status.last_change.as_mut().unwrap().outcome = Outcome::Undone;
    let found = series(&rendered(status));
    assert_eq!(found["wanshift_policy_load_success"], 0.0);
    assert_eq!(found["wanshift_problems{stage=\"policy\"}"], 1.0);
    assert_eq!(found["wanshift_last_change_success"], 0.0);
    assert_eq!(found["wanshift_healthy"], 0.0);
}

/// A status with far more classes than are shown.
fn thousands() -> Status {
    let mut status = status::status();
    for number in 0..1_000 {
        let site = format!("mpls.site.s{number}");
        status
            .classes
            .push(status::class(&format!("{site}.class.voice")));
        status.classes.push(status::class(&site));
    }
    status.classes.push(status::class("mpls.rest"));
    status
}

#[test]
fn thousands_of_classes_are_told_up_to_a_limit() {
    let classes = thousands().classes.len();
    let text = rendered(thousands());
    let found = series(&text);
    assert!(
        found.len() <= MAX_SERIES && found.len() > MAX_SERIES - 12,
        "{}",
        found.len()
    );
    let shown = found
        .keys()
        .filter(|name| name.contains("class=\""))
        .count();
    let told = |name: &str| found[name];
    assert_eq!(
        told("wanshift_class_series_omitted") + shown as f64,
        (classes * 12) as f64
    );
    assert!(shown as f64 <= told("wanshift_class_series_limit"));
    // What lies right below a circuit comes first.
    assert!(text.contains("class=\"rest\",direction=\"up\""));
    assert!(text.contains("class=\"site.s0\","));
    assert!(!text.contains("class=\"site.s0.class.voice\""));
}

#[test]
fn a_block_that_counts_anew_goes_on() {
    let mut exporter = Exporter::new("1");
    let mut rejected = |shown: u64| {
        let mut status = status::status();
        status.blocks[0].rejected_packets = shown;
        exporter.publish(Arc::new(status));
        series(&exporter.render())["wanshift_block_rejected_packets_total{block=\"streaming\"}"]
    };
    assert_eq!([42, 50, 3, 10].map(&mut rejected), [42.0, 50.0, 53.0, 60.0]);
}

#[test]
fn what_a_policy_no_longer_names_is_no_longer_told_and_counts_on_when_it_returns() {
    let mut exporter = Exporter::new("1");
    let name = "wanshift_block_rejected_packets_total{block=\"streaming\"}";
    exporter.publish(Arc::new(status::status()));
    let mut without = status::status();
    without.blocks.clear();
    exporter.publish(Arc::new(without));
    assert!(!series(&exporter.render()).contains_key(name));
    let mut again = status::status();
    again.blocks[0].rejected_packets = 1;
    exporter.publish(Arc::new(again));
    assert_eq!(series(&exporter.render())[name], 43.0);
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut exporter = Exporter::new("1");
    let first = exporter.publish(Arc::new(status::status()));
    let text = first.metrics();
    let mut later = status::status();
    later.repairs.count = 99;
    exporter.publish(Arc::new(later));
    assert_eq!(first.metrics(), text);
    assert_ne!(exporter.render(), text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn counters_never_step_back(
        shown in prop::collection::vec(
            (prop::array::uniform6(0..1_000_u64), 0.0..50.0_f64, any::<bool>(), 0..2_usize),
            1..12,
        )
    ) {
        let mut exporter = Exporter::new("1");
        let mut highest: BTreeMap<String, f64> = BTreeMap::new();
        let counters: BTreeSet<&str> = ALL
            .iter()
            .filter(|metric| metric.kind == Kind::Counter)
            .map(|metric| metric.name)
            .collect();
        for (counts, seconds, gone, phase) in shown {
            let mut status = status::status();
            let up = &mut status.circuits[0].up;
            (up.bytes, up.hot_seconds, up.saturated_seconds) = (counts[0], seconds, seconds / 2.0);
            let line = status.classes[1].up.as_mut().unwrap();
            (line.bytes, line.packets, line.drops) = (counts[1], counts[2], counts[3]);
            status.blocks[0].rejected_packets = counts[4];
            status.repairs.count = counts[5];
            status.failures.insert(Stage::Sample, counts[0]);
            let phases: Vec<PhaseName> = status.phases.clone();
            status.phase.as_mut().unwrap().name = phases[phase].clone();
            if gone {
                status.circuits.remove(0);
                status.classes.remove(1);
                status.blocks.clear();
            }
            exporter.publish(Arc::new(status));
            for (name, value) in series(&exporter.render()) {
                if counters.contains(family(&name)) {
                    let before = highest.entry(name.clone()).or_default();
                    prop_assert!(value >= *before, "{name}: {before} to {value}");
                    *before = value;
                }
            }
        }
        prop_assert!(highest.len() >= 30);
    }
}

/// All words of a text that may name one of our metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("wanshift_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_and_dashboard_speak_of_what_there_is() {
    let text = rendered(status::status());
    let there: BTreeSet<String> = series(&text)
        .keys()
        .map(|name| family(name).to_owned())
        .collect();
    let rules = std::fs::read_to_string(file("dist/prometheus/wanshift.rules.yml")).unwrap();
    let dashboard = std::fs::read_to_string(file("dist/grafana/wanshift.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
    for (what, text, least) in [("rules", &rules, 10), ("dashboard", &dashboard, 30)] {
        let named = named(text);
        assert!(named.len() >= least, "{what}: {named:?}");
        let missing: Vec<&String> = named.difference(&there).collect();
        assert!(missing.is_empty(), "{what}: {missing:?}");
    }
}

/// Asks a daemon on this host, by its default address, and gives what follows the head of the answer.
fn asked(path: &str) -> String {
    let mut stream = TcpStream::connect(ADDRESS).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The same with a daemon that shapes three devices of this kernel.
#[test]
fn a_real_scrape_has_all_that_alerts_and_dashboard_speak_of() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        let sampled = daemon.wait_for("a sample", |status| status["sampling"]["last"].is_string());
        let mut text = asked("/metrics");
        let mut patience = PATIENCE;
        while !text.contains("\nwanshift_class_bytes_total{") {
            assert!(!patience.is_zero(), "{text}\n{}", daemon.log());
            std::thread::sleep(PAUSE);
            patience = patience.saturating_sub(PAUSE);
            text = asked("/metrics");
        }
        if let Some(said) = promtool(&["check", "metrics"], &text) {
            assert_eq!(said.trim(), "", "{text}");
        }
        let found = series(&text);
        let there: BTreeSet<String> = found.keys().map(|name| family(name).to_owned()).collect();
        for file_name in [
            "dist/prometheus/wanshift.rules.yml",
            "dist/grafana/wanshift.json",
        ] {
            let named = named(&std::fs::read_to_string(file(file_name)).unwrap());
            let missing: Vec<&String> = named.difference(&there).collect();
            assert!(missing.is_empty(), "{file_name}: {missing:?}");
        }
        assert_eq!(found["wanshift_phase{phase=\"nominal\"}"], 1.0);
        assert_eq!(found["wanshift_policy_load_success"], 1.0);
        for circuit in sampled["circuits"].as_array().unwrap() {
            let name = circuit["name"].as_str().unwrap();
            let present = format!("wanshift_circuit_device_present{{circuit=\"{name}\"}}");
            assert_eq!(found[&present], 1.0);
        }
        let status: serde_json::Value = serde_json::from_str(&asked("/status")).unwrap();
        assert_eq!(
            status["circuits"][0]["name"],
            sampled["circuits"][0]["name"]
        );
    });
}

fn tests_of_rules() -> Vec<PathBuf> {
    let directory = std::fs::read_dir(file("dist/prometheus/tests")).unwrap();
    directory.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn alerts_fire_stay_silent_and_survive_a_missed_scrape() {
    let rules = file("dist/prometheus/wanshift.rules.yml");
    if promtool(&["check", "rules", rules.to_str().unwrap()], "").is_none() {
        return;
    }
    let tests = tests_of_rules();
    let mut arguments = vec!["test", "rules"];
    arguments.extend(tests.iter().map(|path| path.to_str().unwrap()));
    promtool(&arguments, "");
}

#[test]
fn each_alert_has_its_three_tests() {
    let rules = std::fs::read_to_string(file("dist/prometheus/wanshift.rules.yml")).unwrap();
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 8);
    let tests: String = tests_of_rules()
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for alert in alerts {
        for what in ["fires", "is silent", "survives a missed scrape"] {
            assert!(
                tests.contains(&format!("\"{alert} {what}")),
                "{alert}: none {what}"
            );
        }
    }
}
