//! What an administrator rearranges on a host that is shaped: circuits between pools, devices beside them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use common::host::{EdgeHost, assert_same, dump};
use common::{in_namespace, sh};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn read(host: &EdgeHost, file: &str) -> String {
    std::fs::read_to_string(host.config().join(file)).unwrap()
}

fn write(host: &EdgeHost, file: &str, text: &str) {
    std::fs::write(host.config().join(file), text).unwrap();
}

/// The circuits of the first policy share a line now: what they have changes its place in the tree for what arrives.
#[test]
fn circuits_are_put_below_a_pool_and_taken_out_again() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let (host_file, shift) = (
            read(&host, "host.toml"),
            read(&host, "policy.d/20-telework.toml"),
        );
        host.wanshift(&["apply"]);
        let pooled = dump();
        let alone = host_file.split("[pool.access]").next().unwrap();
        let alone = alone
            .replace(
                "device = \"mpls0\"",
                "device = \"mpls0\"\ncapacity = \"200mbit\"",
            )
            .replace(
                "device = \"wan0\"",
                "device = \"wan0\"\ncapacity = \"100mbit\"",
            );
        write(&host, "host.toml", &alone);
        write(
            &host,
            "policy.d/20-telework.toml",
            "[policy]\nstart = \"nominal\"\n[phase.nominal]\n",
        );
        for (step, held) in [("alone", None), ("below the pool again", Some(&pooled))] {
            if held.is_some() {
                write(&host, "host.toml", &host_file);
                write(&host, "policy.d/20-telework.toml", &shift);
            }
            host.wanshift(&["apply"]);
            assert_eq!(
                json(&host.wanshift(&["--json", "plan"]))["ops"],
                0,
                "{step}"
            );
            let tree = sh("tc class show dev wanshift-down");
            assert_eq!(tree.contains("300Mbit"), held.is_some(), "{tree}");
            if let Some(held) = held {
                assert_same(&dump(), held, step);
            }
        }
    });
}

/// A bridge and its port are one way out; a device that may come is no reason to refuse; one on top of a circuit is.
#[test]
fn inside_devices_are_taken_as_they_stand() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        sh("ip link add br0 up type bridge; ip link set lan0 master br0");
        let is_fed = |device: &str| {
            sh(&format!("tc filter show dev {device} egress")).contains("wanshift-down")
        };
        host.edit("host.toml", "[\"lan0\"]", "[\"br0\", \"lan0\", \"tun0\"]");
        let output = host.run(&["apply"]);
        let talk = common::said(&output.stderr);
        assert!(output.status.success(), "{talk}");
        assert!(talk.contains("no inside device `tun0`"), "{talk}");
        assert!(is_fed("br0") && !is_fed("lan0"));
        sh("ip link set lan0 nomaster; ip link del br0");
        host.wanshift(&["apply"]);
        assert!(is_fed("lan0"));
    });
}

/// What leaves by a device on top of a circuit's meets the circuit's tree, where only the circuit's own names have classes.
#[test]
fn what_stands_on_a_circuits_device_is_the_circuits_or_refused() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        sh("ip link add guest0 link wan0 type macvlan && ip link set guest0 up");
        host.edit("host.toml", "[\"lan0\"]", "[\"lan0\", \"guest0\"]");
        let before = dump();
        let errors = host.refused(&["apply"]);
        assert!(
            errors.contains("`guest0` stands on `wan0`") && errors.contains("circuit `internet`"),
            "{errors}"
        );
        assert_same(&dump(), &before, "after the refusal");
        host.edit("host.toml", "[\"lan0\", \"guest0\"]", "[\"lan0\"]");
        host.edit(
            "host.toml",
            "device = \"wan0\"",
            "device = \"wan0\"\nalso = [\"guest0\"]",
        );
        host.wanshift(&["apply"]);
    });
}
