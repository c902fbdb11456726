//! What a daemon measures against what was sent: how long a circuit was full, at what rate, and what was dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::daemon::Daemon;
use crate::host::{Host, near};
use crate::lab::address::*;
use crate::lab::time::SECOND;
use crate::lab::udp::UdpFlood;
use crate::lab::{now, quiet_machine, ready, sleep};

type Series = BTreeMap<String, f64>;

/// The value of a circuit's series in one direction.
#[track_caller]
fn of(series: &Series, name: &str, circuit: &str, direction: &str) -> f64 {
    let name =
        format!("wanshift_circuit_{name}{{circuit=\"{circuit}\",direction=\"{direction}\"}}");
    *series
        .get(&name)
        .unwrap_or_else(|| panic!("no {name}: {series:#?}"))
}

#[track_caller]
fn drops(series: &Series, class: &str) -> f64 {
    let name = format!(
        "wanshift_class_drops_total{{circuit=\"internet\",class=\"{class}\",direction=\"up\"}}"
    );
    *series
        .get(&name)
        .unwrap_or_else(|| panic!("no {name}: {series:#?}"))
}

/// The rate that `status` tells of a circuit, in bit/s.
fn told(status: &Value, circuit: &str, direction: &str) -> Option<f64> {
    let mut circuits = status["circuits"].as_array()?.iter();
    let found = circuits.find(|found| found["name"] == circuit)?;
    found[direction]["rate"].as_f64()
}

#[test]
fn a_full_circuit_is_told_for_as_long_as_it_is_full() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = Host::cd77("0s");
    let lab = &host.lab;
    let mut daemon = Daemon::start(&host, "nominal");
    daemon.wait_for("a rate", |status| told(status, "internet", "up").is_some());
    let before = daemon.series();
    // The gateway more than there is, and the rest of the circuit more than the guarantee that it is left with.
    let gateway = (lab.datacentre(), GATEWAY);
    let desktops = UdpFlood::new(gateway, (lab.internet(), WORKER), 8443).source_port(443);
    let rest = UdpFlood::new(gateway, (lab.internet(), WEB), 9000);
    let begin = now();
    let floods = [(desktops, 130_000_000), (rest, 20_000_000)]
        .map(|(flood, rate)| flood.rate(rate).bundled(8).start());
    // Of the last sample, not on the edge of a flood.
    let mut rates = Vec::new();
    while now() < begin + 5 * SECOND {
        sleep(Duration::from_millis(250));
        if now() > begin + 5 * SECOND / 2 {
            rates.extend(
                daemon
                    .status()
                    .and_then(|status| told(&status, "internet", "up")),
            );
        }
    }
    let lasted = (now() - begin) as f64 / SECOND as f64;
    floods.into_iter().for_each(|flood| drop(flood.stop()));
    sleep(Duration::from_millis(2_500));
    let after = daemon.series();

    let grown = |name: &str, circuit: &str, direction: &str| {
        of(&after, name, circuit, direction) - of(&before, name, circuit, direction)
    };
    for name in ["hot_seconds_total", "saturated_seconds_total"] {
        let hot = grown(name, "internet", "up");
        eprintln!("{name}: {hot} of {lasted}");
        // A sample at either end is only in part of the flood.
        assert!(
            hot >= lasted - 2.5 && hot <= lasted + 2.5,
            "{name}: {hot} of {lasted}"
        );
        for (circuit, direction) in [("internet", "down"), ("mpls", "up"), ("mpls", "down")] {
            assert_eq!(
                grown(name, circuit, direction),
                0.0,
                "{name} {circuit} {direction}"
            );
        }
    }
    assert!(!rates.is_empty());
    for rate in rates {
        near("the rate that status tells", rate, 100e6, 5.0);
    }
    let carried = grown("bytes_total", "internet", "up");
    assert!(carried > 100e6 / 8.0 * (lasted - 1.0), "{carried}");
    for class in ["class.gateway", "rest"] {
        let dropped = drops(&after, class) - drops(&before, class);
        assert!(dropped > 100.0, "{class}: {dropped}");
    }
    for idle in ["class.operations", "class.video"] {
        assert_eq!(drops(&after, idle), drops(&before, idle), "{idle}");
    }
}

/// Every counter is there still, and none is less than it was.
#[track_caller]
fn goes_on(when: &str, before: &Series, after: &Series) {
    for (name, value) in before {
        let family = name.split('{').next().unwrap();
        if family.ends_with("_total") {
            let now = after
                .get(name)
                .unwrap_or_else(|| panic!("{when}: {name} is gone"));
            assert!(now >= value, "{when}: {name} went from {value} to {now}");
        }
    }
}

#[test]
fn counters_never_step_back() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = Host::cd77("0s");
    let lab = &host.lab;
    let mut daemon = Daemon::start(&host, "nominal");
    let desk = (lab.datacentre(), SESSION_HOST);
    let floods = [
        UdpFlood::new(desk, (lab.provider(), PROVIDER), 9000),
        UdpFlood::new((lab.datacentre(), GATEWAY), (lab.internet(), WEB), 9000),
    ];
    let floods = floods.map(|flood| flood.rate(20_000_000).bundled(8).start());
    let next = |daemon: &Daemon<'_>| {
        sleep(Duration::from_millis(2_200));
        daemon.series()
    };
    let mut last = next(&daemon);
    let mut step = |when: &str, daemon: &Daemon<'_>| {
        let series = next(daemon);
        goes_on(when, &last, &series);
        last = series;
    };
    for phase in ["telework", "nominal", "telework"] {
        host.wanshift(&["phase", phase]);
        if phase == "telework" {
            for _ in 0..3 {
                let refused = crate::lab::probe::open(desk, WEB, 443);
                assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
            }
        }
        step(phase, &daemon);
    }
    assert!(
        last_rejected(&daemon) >= 6.0,
        "{} packets rejected",
        last_rejected(&daemon)
    );
    lab.edge()
        .run("nft", &["delete", "table", "inet", "wanshift"]);
    step("a flush", &daemon);
    lab.edge()
        .run("tc", &["qdisc", "del", "dev", "wan0", "root"]);
    step("a root qdisc taken away", &daemon);
    lab.edge().run("ip", &["link", "del", "wanshift-down"]);
    step("the IFB taken away", &daemon);
    daemon.wait_for("health", |status| status["healthy"] == true);
    step("the end", &daemon);
    let carried = of(&daemon.series(), "bytes_total", "internet", "up");
    assert!(carried > 10e6, "{carried}");
    floods.into_iter().for_each(|flood| drop(flood.stop()));
}

fn last_rejected(daemon: &Daemon<'_>) -> f64 {
    let name = "wanshift_block_rejected_packets_total{block=\"browsing-in-session\"}";
    daemon.series()[name]
}
