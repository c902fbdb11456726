//! What stands around the shaping, on the machine's kernel: what a policy does not reach is said, and the
//! session that an order comes from is spared.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::process::{Command, Output};

use common::host::{EdgeHost, assert_same, dump};
use common::{in_namespace, sh};
use wanshift::kernel::{Host, Kernel};
use wanshift::model::surroundings::{Routes, Surroundings};

const VARIABLE: &str = "SSH_CONNECTION";
/// From beyond `wan0`, to a port that is a class's with next to nothing.
const FAR: &str = "198.51.100.7 50122 192.0.2.1 2222";

/// An edge host that is administrated from beyond `wan0`, over a class that gets `ceiling` in every phase.
fn administrated(ceiling: &str) -> EdgeHost {
    let host = EdgeHost::new("0s");
    sh(
        "ip addr add 192.0.2.1/24 dev wan0; ip addr add 10.77.0.1/24 dev lan0; \
        ip addr add 2001:db8::1/64 dev wan0 nodad; ip link set lo up; \
        ip route add 198.51.100.0/24 via 192.0.2.254; ip -6 route add 2001:db8:7::/48 via 2001:db8::fe",
    );
    let class = format!(
        "[class.hand]\ncircuit = \"internet\"\nmatch = [{{ service = [\"tcp/2222\"] }}]\nceiling = \"{ceiling}\"\n"
    );
    let file = host.config().join("policy.d/05-hand.toml");
    std::fs::write(&file, class).unwrap();
    sh(&format!("chmod go-w {}", file.display()));
    host
}

/// Runs the program from the session that is given, or from none.
fn from(session: Option<&str>, host: &EdgeHost, verb: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wanshift"));
    command.args(host.arguments()).args(verb);
    command.env_remove(VARIABLE);
    if let Some(session) = session {
        command.env(VARIABLE, session);
    }
    command.output().unwrap()
}

fn talk(output: &Output) -> String {
    common::said(&output.stderr)
}

#[test]
fn an_order_that_would_cut_its_own_session_is_refused() {
    in_namespace(|| {
        let host = administrated("32kbit");
        let before = dump();
        for verb in [&["apply"][..], &["phase", "telework"]] {
            for session in [FAR, "2001:db8:7::9 50122 2001:db8::1 2222"] {
                let output = from(Some(session), &host, verb);
                let errors = talk(&output);
                assert_eq!(output.status.code(), Some(1), "{verb:?}: {errors}");
                for word in [
                    "internet.class.hand",
                    "05-hand.toml:1 ",
                    "32kbit",
                    "64kbit",
                    "device wan0",
                    "--force",
                    "console",
                    session.split(' ').next().unwrap(),
                ] {
                    assert!(errors.contains(word), "no {word} in {errors}");
                }
            }
        }
        assert_same(&dump(), &before, "after the refusals");
        // A plan says so, and is no order.
        let plan = from(Some(FAR), &host, &["plan"]);
        assert_eq!(plan.status.code(), Some(0));
        assert!(
            talk(&plan).contains("internet.class.hand"),
            "{}",
            talk(&plan)
        );
        assert!(talk(&plan).contains("--force"), "{}", talk(&plan));

        let forced = from(Some(FAR), &host, &["apply", "--force"]);
        assert_eq!(forced.status.code(), Some(0), "{}", talk(&forced));
        assert!(talk(&forced).contains("internet.class.hand"));
        let forced = from(Some(FAR), &host, &["phase", "telework", "--force"]);
        assert_eq!(forced.status.code(), Some(0), "{}", talk(&forced));
        assert!(sh("tc class show dev wan0").contains("rate 160Mbit"));
    });
}

#[test]
fn a_session_that_goes_on_is_no_reason() {
    in_namespace(|| {
        let host = administrated("32kbit");
        let sessions = [
            // None; what is none; the usual port; from the inside; from where nothing leads.
            None,
            Some(""),
            Some("UNKNOWN 65535 UNKNOWN 65535"),
            Some("198.51.100.7 50122 192.0.2.1 22"),
            Some("10.77.0.9 50122 10.77.0.1 2222"),
            Some("203.0.113.9 50122 192.0.2.1 2222"),
            Some("192.0.2.1 50122 192.0.2.1 2222"),
        ];
        for session in sessions {
            let output = from(session, &host, &["apply"]);
            assert_eq!(
                output.status.code(),
                Some(0),
                "{session:?}: {}",
                talk(&output)
            );
            assert!(!talk(&output).contains("ssh session"), "{}", talk(&output));
        }
    });
}

#[test]
fn enough_is_enough() {
    in_namespace(|| {
        let host = administrated("64kbit");
        let output = from(Some(FAR), &host, &["apply"]);
        assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    });
}

#[test]
fn a_session_that_sudo_hides_is_found_all_the_same() {
    in_namespace(|| {
        let host = administrated("32kbit");
        let program = env!("CARGO_BIN_EXE_wanshift");
        let line = format!(
            "env -u {VARIABLE} {program} {} apply; exit $?",
            host.arguments().join(" ")
        );
        let output = Command::new("sh")
            .args(["-c", &line])
            .env(VARIABLE, FAR)
            .output()
            .unwrap();
        let errors = talk(&output);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("internet.class.hand"), "{errors}");
    });
}

#[test]
fn what_is_cut_off_is_not_finished_into_a_cut_either() {
    in_namespace(|| {
        let host = administrated("64kbit");
        host.edit(
            "policy.d/20-telework.toml",
            "ramp = \"0s\"",
            "ramp = \"20s\"\nclass.hand = { ceiling = \"32kbit\" }",
        );
        assert!(from(Some(FAR), &host, &["apply"]).status.success());
        let mut ramp = Command::new(env!("CARGO_BIN_EXE_wanshift"));
        let mut ramp = ramp
            .args(host.arguments())
            .args(["phase", "telework"])
            .env_remove(VARIABLE)
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(800));
        ramp.kill().unwrap();
        ramp.wait().unwrap();
        let before = dump();
        let errors = talk(&from(Some(FAR), &host, &["apply"]));
        assert!(errors.contains("internet.class.hand"), "{errors}");
        assert_same(&dump(), &before, "after the refusal");
    });
}

/// Runs a command line that not every kernel can carry out; says so where this one cannot.
fn can(line: &str) -> bool {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let can = output.status.success();
    if !can {
        eprintln!("not on this kernel: {line}: {}", talk(&output));
    }
    can
}

const FLOWTABLE: &str = "nft 'add table inet fw; add flowtable inet fw fast \
                         { hook ingress priority 0; devices = { lan0, wan0 }; }'";

/// The routes by the device of that name.
fn by<'a>(around: &'a Surroundings, device: &str) -> Option<&'a Routes> {
    let (index, _) = around.device(&device.parse().unwrap()).unwrap();
    around.routes.get(&index)
}

#[test]
fn routes_are_read_of_both_families_and_all_tables() {
    in_namespace(|| {
        let _host = administrated("64kbit");
        let vrf = can("ip link add vrf1 type vrf table 1077 && ip link set vrf1 up");
        sh("ip link add br0 type bridge && ip link set br0 up");
        if vrf {
            sh("ip link set br0 master vrf1; ip route add default dev vrf1 table 8");
        }
        sh("ip addr add 172.17.0.1/16 dev br0; \
            ip route add 10.5.0.0/16 nexthop via 192.0.2.253 nexthop via 10.77.0.7; \
            ip route add 10.6.0.0/16 via 192.0.2.253 table 9; \
            ip route add blackhole 10.7.0.0/16; ip route add 224.0.0.0/4 dev lan0; \
            ip -6 route add default via 2001:db8::fe table 1000");
        let mut host = Host::open().unwrap();
        let around = host.surroundings().unwrap();
        let wan = by(&around, "wan0").unwrap();
        assert_eq!(wan.near.to_string(), "192.0.2.0/24, 2001:db8::/64");
        assert_eq!(
            wan.far.to_string(),
            "::/0, 10.5.0.0/16, 10.6.0.0/16 and more"
        );
        let lan = by(&around, "lan0").unwrap();
        assert_eq!(lan.near.to_string(), "10.77.0.0/24");
        assert_eq!(lan.far.to_string(), "10.5.0.0/16");
        assert_eq!(
            by(&around, "br0").unwrap().near.to_string(),
            "172.17.0.0/16"
        );
        for device in ["mpls0", "far-wan0", "lo"] {
            assert_eq!(by(&around, device), None, "{device}");
        }
        assert_eq!(around.flowtables, Some(Vec::new()));

        let mut way = |from: &str, to: &str| {
            let way = host
                .way(from.parse().unwrap(), to.parse().unwrap())
                .unwrap();
            way.map(|device| device.to_string())
        };
        assert_eq!(way("192.0.2.1", "198.51.100.7").as_deref(), Some("wan0"));
        // An address that is not here any more, and one of the other family.
        assert_eq!(way("192.0.2.99", "198.51.100.7").as_deref(), Some("wan0"));
        assert_eq!(way("2001:db8::1", "10.77.0.9").as_deref(), Some("lan0"));
        assert_eq!(way("2001:db8::1", "2001:db8:7::9").as_deref(), Some("wan0"));
        assert_eq!(way("192.0.2.1", "203.0.113.9"), None);
        assert_eq!(way("192.0.2.1", "10.7.0.1"), None);
        assert_eq!(way("192.0.2.1", "192.0.2.1"), None);
        assert_eq!(way("2001:db8::1", "2001:db9::1"), None);
        // As policy routing has it.
        sh(
            "ip rule add from 192.0.2.1 table 9; ip route add 198.51.100.0/24 via 10.77.0.7 table 9",
        );
        assert_eq!(way("192.0.2.1", "198.51.100.7").as_deref(), Some("lan0"));
    });
}

#[test]
fn what_goes_around_the_shaping_is_said() {
    in_namespace(|| {
        let host = administrated("64kbit");
        let told = |verb: &[&str]| talk(&from(None, &host, verb));
        for verb in [&["plan"][..], &["check"]] {
            let notes = told(verb);
            assert!(
                !notes.contains("routed to") && !notes.contains("flowtable"),
                "{notes}"
            );
        }
        sh(
            "ip link add br0 type bridge && ip link set br0 up && ip addr add 172.17.0.1/16 dev br0",
        );
        let mut words = vec!["172.17.0.0/16", "`br0`"];
        if can(FLOWTABLE) {
            words.extend(["`fast`", "`inet fw`", "lan0, wan0"]);
        }
        for verb in [
            &["plan"][..],
            &["check"],
            &["apply"],
            &["phase", "telework"],
        ] {
            let notes = told(verb);
            for word in &words {
                assert!(notes.contains(*word), "{verb:?}: no {word} in {notes}");
            }
        }
        let plan = from(None, &host, &["--json", "plan"]);
        let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
        let notes = plan["notes"].as_array().unwrap();
        assert!(
            notes
                .iter()
                .any(|note| note.as_str().unwrap().contains("`br0`"))
        );

        host.edit(
            "host.toml",
            "inside = [\"lan0\"]",
            "inside = [\"lan0\", \"br0\"]",
        );
        can("nft delete table inet fw");
        for verb in [&["plan"][..], &["check"]] {
            let notes = told(verb);
            assert!(
                !notes.contains("routed to") && !notes.contains("flowtable"),
                "{notes}"
            );
        }
        // On another host, `check` is about the files alone.
        host.edit(
            "host.toml",
            "inside = [\"lan0\", \"br0\"]",
            "inside = [\"lan0\"]",
        );
        assert!(told(&["check"]).contains("`br0`"));
        sh("ip link del mpls0");
        let notes = told(&["check"]);
        assert!(!notes.contains("`br0`"), "{notes}");
    });
}

#[test]
fn a_check_without_privilege_leaves_out_what_it_may_not_see() {
    in_namespace(|| {
        let host = administrated("64kbit");
        sh(
            "ip link add br0 type bridge && ip link set br0 up && ip addr add 172.17.0.1/16 dev br0",
        );
        can(FLOWTABLE);
        let config = host.config();
        sh(&format!(
            "chmod -R a+rX {} {}",
            config.display(),
            config.parent().unwrap().display()
        ));
        // The program stays where it is: only what it may is taken away.
        let program = env!("CARGO_BIN_EXE_wanshift");
        let line = format!(
            "setpriv --bounding-set -all --inh-caps -all --reuid 65534 --clear-groups \
             sh -c 'cd / && exec {program} check {}' 2>&1",
            config.display()
        );
        let notes = sh(&line);
        assert!(
            notes.contains("`br0`") && !notes.contains("`fast`"),
            "{notes}"
        );
        assert!(notes.contains("good."), "{notes}");
    });
}
