//! What others change in the kernel behind the daemon's back.

use std::path::Path;

use serde_json::Value;

use super::common::daemon::Daemon;
use super::common::host::{EdgeHost, assert_same, dump};
use super::common::sh;
use super::{begin, is_shifting, rejects, wait_until, with_daemon};

/// In telework, has `tamper` done, and waits until all is as it was before and one more repair was counted.
fn is_put_right(tamper: &'static str) {
    with_daemon("0s", move |host, mut daemon| {
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        let before = dump();
        sh(tamper);
        wait_until("the repair", || dump() == before);
        let status = daemon.wait_for("a repair", |status| {
            status["repairs"]["count"].as_u64() > Some(0) && status["healthy"] == true
        });
        assert_eq!(status["phase"]["name"], "telework");
        assert_same(&dump(), &before, tamper);
    });
}

/// The number of a class by its rate on a device, as `tc` names it.
fn class(device: &str, rate: &str) -> String {
    let classes = sh(&format!("tc class show dev {device}"));
    let line = classes
        .lines()
        .find(|line| line.contains(&format!(" rate {rate} ")));
    line.unwrap().split(' ').nth(2).unwrap().to_owned()
}

#[test]
fn a_flush_of_the_rules_is_put_right_each_time() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        let before = dump();
        for _ in 0..5 {
            sh("nft flush ruleset");
            wait_until("the block", rejects);
            wait_until("the repair", || dump() == before);
        }
        let status = daemon.wait_for_phase("telework");
        assert!(status["repairs"]["count"].as_u64() >= Some(5), "{status}");
    });
}

#[test]
fn a_flush_on_the_way_is_put_right_on_the_way() {
    with_daemon("3s", |host, mut daemon| {
        let ordered = begin(host, &["phase", "telework"]);
        daemon.wait_for("the ramp", is_shifting);
        assert!(rejects());
        sh("nft flush ruleset");
        wait_until("the block", rejects);
        let status = daemon.status().unwrap();
        assert!(status["phase"]["shifting"].is_object(), "{status}");
        assert!(ordered.wait_with_output().unwrap().status.success());
        assert!(rejects());
    });
}

/// `systemctl reload nftables` on Debian is just that.
#[test]
fn a_reload_of_debians_rules_is_put_right_and_those_stay() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        let file = host.config().with_file_name("nftables.conf");
        std::fs::write(
            &file,
            "#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0;\n\t}\n}\n",
        )
        .unwrap();
        let reload = |file: &Path| sh(&format!("nft -f {}", file.display()));
        reload(&file);
        wait_until("the block", rejects);
        let held = sh("nft -s list ruleset");
        assert!(held.contains("table inet filter"), "{held}");
        reload(&file);
        wait_until("the block", rejects);
        daemon.wait_for("health", |status| status["healthy"] == true);
    });
}

#[test]
fn a_class_of_another_rate_is_put_right() {
    with_daemon("0s", |_, mut daemon| {
        let before = dump();
        let id = class("wan0", "40Mbit");
        sh(&format!(
            "tc class change dev wan0 classid {id} htb rate 1mbit ceil 2mbit"
        ));
        wait_until("the repair", || dump() == before);
        let status = daemon.wait_for("a repair", |status| status["repairs"]["count"] == 1);
        let what = status["repairs"]["what"].as_str().unwrap();
        assert!(what.contains("somebody else"), "{what}");
    });
}

#[test]
fn a_class_that_is_deleted_comes_back() {
    with_daemon("0s", |_, mut daemon| {
        let before = dump();
        let id = class("wan0", "40Mbit");
        sh(&format!("tc class del dev wan0 classid {id}"));
        wait_until("the repair", || dump() == before);
        daemon.wait_for("health", |status| status["healthy"] == true);
    });
}

#[test]
fn a_tree_that_is_deleted_comes_back() {
    is_put_right("tc qdisc del dev wan0 root");
}

#[test]
fn an_ifb_that_is_deleted_comes_back() {
    is_put_right("ip link del wanshift-down");
}

#[test]
fn an_ifb_that_is_set_down_comes_up() {
    is_put_right("ip link set wanshift-down down");
}

#[test]
fn a_filter_that_is_deleted_comes_back() {
    is_put_right("tc filter del dev lan0 egress");
}

#[test]
fn a_device_that_is_made_again_is_shaped_again() {
    with_daemon("0s", |_, mut daemon| {
        let before = sh("tc class show dev wan0");
        sh(
            "ip link del wan0; ip link add wan0 type veth peer name far-wan0; \
             ip link set wan0 up; ip link set far-wan0 up",
        );
        wait_until("its tree", || {
            sh("tc class show dev wan0").lines().count() == before.lines().count()
        });
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        wait_until("the same", || {
            sorted(&sh("tc class show dev wan0")) == sorted(&before)
        });
        daemon.wait_for("health", |status| status["healthy"] == true);
    });
}

#[test]
fn what_is_not_ours_stays() {
    with_daemon("0s", |host, mut daemon| {
        sh(
            "nft add table ip theirs; nft add chain ip theirs c; nft add rule ip theirs c counter; \
            tc qdisc add dev far-wan0 root handle 77: tbf rate 50mbit burst 32k latency 50ms; \
            tc qdisc add dev far-lan0 clsact; ip rule add fwmark 7 table 100",
        );
        let theirs = || {
            sh(
                "nft -s list table ip theirs; tc qdisc show dev far-wan0; tc qdisc show dev far-lan0; ip rule",
            )
        };
        let before = theirs();
        host.wanshift(&["phase", "telework"]);
        sh("tc qdisc del dev wan0 root");
        daemon.wait_for("a repair", |status| {
            status["repairs"]["count"].as_u64() > Some(0)
        });
        assert_eq!(theirs(), before);
        host.wanshift(&["teardown"]);
        assert_eq!(theirs(), before);
    });
}

/// A counter of Prometheus may not go down: it would count as all that was ever rejected, again.
#[test]
fn counters_do_not_step_back_after_a_flush() {
    with_daemon("0s", |host, mut daemon| {
        host.wanshift(&["phase", "telework"]);
        sh(
            "ip addr add 198.51.100.1/24 dev wan0; ip addr add 10.77.20.1/24 dev lan0; sysctl -qw net.ipv4.ip_forward=1; \
            ip neigh replace 198.51.100.9 lladdr 02:00:00:00:00:01 dev wan0",
        );
        let bytes = |status: &Value| -> u64 {
            let classes = status["classes"].as_array().unwrap();
            let lines = classes
                .iter()
                .map(|class| class["up"]["bytes"].as_u64().unwrap());
            lines.sum()
        };
        for _ in 0..10 {
            let _ = std::net::UdpSocket::bind("198.51.100.1:0")
                .unwrap()
                .send_to(&[0; 100], "198.51.100.9:9");
        }
        let status = daemon.wait_for("bytes", |status| bytes(status) > 0);
        let counted = bytes(&status);
        sh("nft flush ruleset; tc qdisc del dev wan0 root");
        let status = daemon.wait_for("a repair", |status| {
            status["repairs"]["count"].as_u64() > Some(0)
        });
        assert!(bytes(&status) >= counted);
        let last = status["sampling"]["last"].clone();
        let status = daemon.wait_for("a sample", |status| status["sampling"]["last"] != last);
        assert!(bytes(&status) >= counted, "{} < {counted}", bytes(&status));
    });
}

/// What it spent so far, in ticks of a hundredth of a second.
fn spent(daemon: &Daemon<'_>) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields = stat.rsplit(") ").next().unwrap();
    let fields = fields.split(' ').skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn what_goes_on_beside_us_neither_keeps_it_busy_nor_has_it_write() {
    with_daemon("0s", |_, mut daemon| {
        let before = dump();
        let repairs = daemon.status().unwrap()["repairs"]["count"].clone();
        let began = spent(&daemon);
        let lines: String = (0..300)
            .map(|at| format!("add table ip t{at}\nadd chain ip t{at} c\ndelete table ip t{at}\n"))
            .collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
        for at in 0..20 {
            sh(&format!(
                "nft -f {} && ip link add veth{at} type veth peer name vpeer{at} && ip link del veth{at}",
                file.path().display()
            ));
        }
        // A look takes some hundredths of a second at most, and they are 0.3 s apart: to look after each of these
        // 6,000 tables would take minutes.
        let ticks = spent(&daemon) - began;
        assert!(ticks < 1_500, "{ticks} hundredths of a second");
        let status = daemon.wait_for("health", |status| status["healthy"] == true);
        assert_eq!(status["repairs"]["count"], repairs);
        assert_same(&dump(), &before, "after the churn");
        let _: &EdgeHost = daemon.host();
    });
}
