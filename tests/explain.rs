//! What `wanshift explain` answers, on files alone and on a host.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::path::Path;

use common::daemon::Daemon;
use common::host::EdgeHost;
use common::{in_namespace, service, sh};
use serde_json::Value;
use wanshift::cli::{Output, run};
use wanshift::kernel::{Kernel, KernelError};

/// Runs the verb where there is no kernel to ask and no state.
fn ask(words: &[&str]) -> (u8, String, String) {
    let empty = tempfile::tempdir().unwrap();
    let state = empty.path().join("state");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/cd77");
    let socket = empty.path().join("socket");
    let places = ["--config", config.to_str().unwrap(), "--state"];
    let more = [
        state.to_str().unwrap(),
        "--socket",
        socket.to_str().unwrap(),
    ];
    let all = ["wanshift"].into_iter().chain(places).chain(more);
    let all = all.chain(words.iter().copied()).map(Into::into);
    let mut none = || -> Result<Box<dyn Kernel>, KernelError> {
        Err(KernelError::Socket(
            std::io::ErrorKind::PermissionDenied.into(),
        ))
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(all, &mut none, &mut Output::new(&mut out, &mut err));
    assert!(!state.exists(), "it wrote");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    // What goes on in the next line is one line.
    (code, text(out), text(err).replace("\n    ", " "))
}

#[track_caller]
fn told(words: &[&str]) -> String {
    let (code, out, err) = ask(words);
    assert_eq!(code, 0, "{err}");
    for line in out.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    format!("{out}--\n{err}")
}

fn json(words: &[&str]) -> Value {
    let (code, out, err) = ask(&[&["--json", "explain"], words].concat());
    assert_eq!(code, 0, "{err}");
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["schema_version"], 1);
    value
}

#[test]
fn a_rejected_connection_is_told_with_its_block_and_what_lifts_it() {
    insta::assert_snapshot!(told(&[
        "explain",
        "session-hosts",
        "203.0.113.7",
        "https",
        "--phase",
        "telework",
        "--circuit",
        "internet",
    ]));
}

#[test]
fn an_exception_is_told_with_its_line() {
    insta::assert_snapshot!(told(&[
        "explain",
        "@session-hosts",
        "203.0.113.80",
        "tcp/443",
        "--phase",
        "telework",
        "--circuit",
        "internet",
    ]));
}

#[test]
fn a_class_is_told_with_the_match_that_decides() {
    insta::assert_snapshot!(told(&[
        "explain",
        "10.77.9.5",
        "198.51.100.7",
        "udp/3478",
        "--dscp",
        "ef",
        "--circuit",
        "internet",
    ]));
}

#[test]
fn a_site_is_behind_its_circuit_whoever_asks() {
    insta::assert_snapshot!(told(&[
        "explain",
        "mds-provins",
        "session-hosts",
        "icmp",
        "--circuit",
        "mpls"
    ]));
}

#[test]
fn ports_that_meet_different_things_are_told_apart() {
    let told = json(&[
        "198.51.100.7",
        "192.0.2.20",
        "openvpn",
        "--circuit",
        "internet",
    ]);
    let answers = told["answers"].as_array().unwrap();
    let place = |index: usize| &answers[index]["cases"][0]["requests"]["classes"][0]["place"];
    assert_eq!(answers[0]["services"], serde_json::json!(["udp/1194"]));
    assert_eq!(*place(0), "internet.class.operations");
    assert_eq!(answers[1]["services"], serde_json::json!(["tcp/1194"]));
    assert_eq!(*place(1), "internet.rest");
    // What a range is told for begins anew at each port from which the rules say something else.
    let told = json(&[
        "198.51.100.7",
        "192.0.2.10",
        "tcp/400-2600",
        "--circuit",
        "internet",
    ]);
    let services = |index: usize| told["answers"][index]["services"].clone();
    assert_eq!(
        services(0),
        serde_json::json!([
            "tcp/400-442",
            "tcp/444-1493",
            "tcp/1495-2597",
            "tcp/2599-2600"
        ])
    );
    assert_eq!(
        services(1),
        serde_json::json!(["tcp/443", "tcp/1494", "tcp/2598"])
    );
}

#[test]
fn without_routes_every_circuit_is_told() {
    let told = json(&["10.77.20.11", "203.0.113.7", "tcp/8080"]);
    let cases = told["answers"][0]["cases"].as_array().unwrap();
    let circuits: Vec<&Value> = cases.iter().map(|case| &case["circuits"][0]).collect();
    assert_eq!(circuits, ["internet", "mpls"]);
    assert!(
        told["notes"][0]
            .as_str()
            .unwrap()
            .contains("no routes are asked")
    );
}

#[test]
fn a_phase_that_requires_a_condition_is_told_as_if_that_were_true() {
    let told = json(&[
        "10.77.20.11",
        "203.0.113.7",
        "https",
        "--phase",
        "upgraded",
        "--circuit",
        "internet",
    ]);
    assert_eq!(told["phase"], "upgraded");
    assert!(told["notes"].to_string().contains("told as if it were"));
    let share = &told["answers"][0]["cases"][0]["requests"]["classes"][0]["levels"][0];
    assert_eq!(share["guarantee"], "800mbit");
}

#[test]
fn words_that_mean_nothing_are_refused_with_what_was_meant() {
    for (words, expected) in [
        (
            ["sesion-hosts", "203.0.113.7", "https"],
            "did you mean `session-hosts`?",
        ),
        (["10.1.0.300", "203.0.113.7", "https"], "is no address"),
        (["10.1.0.3", "203.0.113.7", "htps"], "did you mean `http"),
        (["10.1.0.3", "203.0.113.7", "tcp/99999"], "is no port"),
        (["10.1.0.3", "2001:db8::7", "https"], "not of one family"),
    ] {
        let (code, out, err) = ask(&[&["explain"], &words[..]].concat());
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains(expected), "{err}");
    }
    let base = ["explain", "10.1.0.3", "203.0.113.7", "https"];
    for (flag, value, expected) in [
        ("--dscp", "eff", "did you mean `ef`?"),
        ("--circuit", "wan", "there is no circuit `wan`"),
        ("--phase", "telewok", "there is no phase `telewok`"),
    ] {
        let (code, _, err) = ask(&[&base[..], &[flag, value]].concat());
        assert_eq!(code, 1);
        assert!(err.contains(expected), "{err}");
    }
    let (code, _, err) = ask(&[
        "explain",
        "mds-provins",
        "mds-nemours",
        "icmp",
        "--circuit",
        "internet",
    ]);
    assert_eq!(code, 1, "{err}");
}

/// The addresses and routes of an edge host.
fn routes() {
    sh(
        "ip addr add 10.77.0.1/24 dev lan0; ip addr add 10.77.255.1/24 dev mpls0; ip addr add 198.18.77.2/24 dev wan0; \
        ip route add 10.77.20.0/24 via 10.77.0.2; ip route add 10.77.101.0/24 via 10.77.255.2; \
        ip route add default via 198.18.77.1; echo 1 > /proc/sys/net/ipv4/ip_forward",
    );
}

fn on(host: &EdgeHost, words: &[&str]) -> Value {
    serde_json::from_str(&host.wanshift(&[&["--json", "explain"], words].concat())).unwrap()
}

#[test]
fn the_routes_of_the_host_say_which_circuit_and_the_kernel_what_is_given() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        routes();
        host.wanshift(&["apply"]);
        let told = on(&host, &["10.77.20.11", "203.0.113.7", "https"]);
        assert_eq!(told["notes"], serde_json::json!([]));
        assert_eq!(told["phase"], "nominal");
        let case = &told["answers"][0]["cases"][0];
        assert_eq!(case["requests"]["arrival"], "lan0");
        assert_eq!(case["requests"]["departure"], "wan0");
        assert_eq!(case["circuits"], serde_json::json!(["internet"]));
        let told = on(&host, &["10.77.101.7", "203.0.113.7", "https"]);
        let circuits = &told["answers"][0]["cases"][0]["circuits"];
        assert_eq!(*circuits, serde_json::json!(["mpls", "internet"]));
        // To the host itself, and what crosses no circuit.
        let told = on(&host, &["203.0.113.7", "198.18.77.2", "ssh"]);
        let case = &told["answers"][0]["cases"][0];
        assert_eq!(case["requests"], Value::Null);
        assert_eq!(case["replies"]["classes"][0]["place"], "internet.control");
        assert_eq!(case["replies"]["classes"][0]["beyond"], "internet.rest");
        let text = host.wanshift(&["explain", "10.77.20.11", "10.77.0.7", "icmp"]);
        assert!(text.contains("It crosses no circuit"), "{text}");
        // What somebody made of a class is what is told; and that rules are not what they should be is noted.
        let class = on(&host, &["10.77.20.11", "203.0.113.7", "tcp/8080"]);
        let class = &class["answers"][0]["cases"][0]["requests"]["classes"][0]["class"];
        let class = class.as_str().unwrap();
        sh(&format!(
            "tc class change dev wan0 parent $(tc class show dev wan0 | grep ' {class} ' | \
             sed 's/.*parent \\([^ ]*\\) .*/\\1/') classid {class} htb rate 1mbit ceil 7mbit prio 7 quantum 60000"
        ));
        sh("nft add chain inet wanshift theirs");
        let told = on(&host, &["10.77.20.11", "203.0.113.7", "tcp/8080"]);
        let levels = &told["answers"][0]["cases"][0]["requests"]["classes"][0]["levels"];
        assert_eq!(levels[1]["ceiling"], "7mbit");
        assert!(
            told["notes"]
                .to_string()
                .contains("does not hold what the files say")
        );
    });
}

#[test]
fn whoever_may_not_read_the_store_is_told_by_the_daemon() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        routes();
        let mut daemon = Daemon::start(&host);
        host.wanshift(&["phase", "telework"]);
        daemon.wait_for_phase("telework");
        let directory = host.config().parent().unwrap().to_owned();
        sh(&format!("chmod 755 {0} {0}/run", directory.display()));
        let words = ["--json", "explain", "10.77.20.11", "203.0.113.7", "https"];
        let command = |socket: bool| {
            let mut command = std::process::Command::new("setpriv");
            let user = service::SERVICE.to_string();
            command.args([
                "--reuid",
                &user,
                "--regid",
                &user,
                "--clear-groups",
                "--inh-caps=-all",
                "--bounding-set=-all",
            ]);
            command
                .arg(env!("CARGO_BIN_EXE_wanshift"))
                .args(host.arguments());
            if !socket {
                command.args(["--socket", "/nonexistent"]);
            }
            let output = command.args(words).output().unwrap();
            let errors = common::said(&output.stderr);
            assert!(output.status.success(), "{errors}");
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let told = command(true);
        assert_eq!(told["phase"], "telework");
        assert_eq!(told["phase_known"], "holds, by the daemon");
        let case = &told["answers"][0]["cases"][0];
        assert_eq!(case["rejected"]["block"], "browsing-in-session");
        assert_eq!(case["requests"]["departure"], "wan0");
        drop(daemon);
    });
}
