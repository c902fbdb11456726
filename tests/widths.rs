//! What verbs say fits a terminal of 80 columns, whatever they are asked.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::daemon::Daemon;
use common::host::EdgeHost;
use common::{in_namespace, sh};
use tempfile::TempDir;

const WIDTH: usize = 80;
/// The names of `policies/cd77`, which a policy may have as long as 32 characters.
const NAMES: [&str; 15] = [
    "hq-melun",
    "internet",
    "mpls",
    "access",
    "gateway",
    "operations",
    "video",
    "session-hosts",
    "hdx",
    "mds-provins",
    "mds-nemours",
    "nominal",
    "telework",
    "browsing-in-session",
    "uplink-upgraded",
];

/// A name of 32 characters that begins as `name` does.
fn long(name: &str) -> String {
    format!("{name}-abcdefghijklmnopqrstuvwxyz0123456789")[..32].to_owned()
}

/// `text` with each whole word that is a name of [`NAMES`] made as `made` makes it.
fn renamed(text: &str, made: impl Fn(&str) -> String) -> String {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        if NAMES.contains(&word) {
            out.push_str(&made(word));
        } else {
            out.push_str(word);
        }
        let next = tail.chars().next();
        out.extend(next);
        rest = &tail[next.map_or(0, char::len_utf8)..];
    }
    out
}

/// A host with a copy of a policy and devices of the names that it wants.
fn host(policy: &str, devices: &[&str]) -> (EdgeHost, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let host = EdgeHost::found(directory.path());
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("policies")
        .join(policy);
    let config = host.config();
    sh(&format!(
        "cp -r {} {to} && chmod -R u+w,go-w {to}",
        from.display(),
        to = config.display()
    ));
    for device in devices {
        sh(&format!(
            "ip link add {device} type veth peer name x-{device} && ip link set {device} up && \
             ip link set x-{device} up"
        ));
    }
    (host, directory)
}

/// Where a line is too wide, and may not be: a path is as long as it is, a word that has no space cannot be broken, and
/// what is drawn of a policy file is the user's own.
fn too_wide(line: &str) -> bool {
    let drawn = |line: &str| {
        let line = line.trim_start().trim_start_matches(char::is_numeric);
        line.trim_start().starts_with(['│', '·', '╭'])
    };
    line.chars().count() > WIDTH && line.trim().contains(' ') && !drawn(line)
}

fn assert_fits(verb: &[&str], output: &Output, shortened: impl Fn(&str) -> String) {
    for stream in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(stream.clone()).unwrap();
        for line in text.lines() {
            assert!(
                !too_wide(&shortened(line)),
                "wanshift {verb:?}: {line}\n{text}"
            );
        }
    }
}

fn as_it_is(line: &str) -> String {
    line.to_owned()
}

/// Names that are long are the user's own, and so is the room that a table leaves for them.
fn with_short_names(line: &str) -> String {
    let line = NAMES.iter().fold(line.to_owned(), |line, name| {
        line.replace(&long(name), name)
    });
    let indent = line.len() - line.trim_start().len();
    let words: Vec<&str> = line.split_whitespace().collect();
    format!("{}{}", " ".repeat(indent), words.join(" "))
}

/// Runs verb after verb, those that succeed and those that are refused.
fn all(host: &EdgeHost, verbs: &[&[&str]], shortened: impl Fn(&str) -> String) {
    for verb in verbs {
        assert_fits(verb, &host.run(verb), &shortened);
    }
}

/// What may be ordered of any policy.
const ANY: [&[&str]; 23] = [
    &["check"],
    &["status"],
    &["status", "--classes"],
    &["history"],
    &["plan"],
    &["apply"],
    &["apply"],
    &["condition"],
    &["event", "nothing-like-it"],
    &["phase", "nothing-like-it"],
    &["condition", "reset", "nothing-like-it"],
    &["explain", "10.0.0.1", "192.0.2.1", "tcp/443"],
    &["explain", "nobody", "192.0.2.1", "tcp/443"],
    &["rollback", "70"],
    &["plan", "--rollback"],
    &["plan", "--rollback", "70"],
    &["confirm"],
    &["apply", "--confirm-within", "10m"],
    &["status"],
    &["status", "--classes"],
    &["history"],
    &["teardown", "--shaping-only"],
    &["teardown"],
];

/// The story of `policies/cd77`.
const STORY: [&[&str]; 13] = [
    &["plan", "--phase", "telework"],
    &["phase", "telework"],
    &["explain", "@session-hosts", "203.0.113.7", "https"],
    &[
        "explain",
        "session-hosts",
        "203.0.113.80",
        "https",
        "--circuit",
        "internet",
    ],
    &["explain", "mds-provins", "192.0.2.10", "hdx"],
    &["status"],
    &["event", "uplink-upgraded"],
    &["condition"],
    &["status"],
    &["plan", "--phase", "upgraded"],
    &["phase", "nominal"],
    &["condition", "reset", "uplink-upgraded"],
    &["history"],
];

#[test]
fn each_verb_fits_on_cd77() {
    in_namespace(|| {
        let (host, _kept) = host("cd77", &["lan0", "mpls0", "wan0"]);
        host.edit(
            "policy.d/20-telework.toml",
            "ramp = \"10s\"",
            "ramp = \"300ms\"",
        );
        all(&host, &[&["plan"], &["apply"]], as_it_is);
        let plan = String::from_utf8(host.run(&["plan", "--phase", "telework"]).stdout).unwrap();
        for told in [
            "40mbit → 160mbit",
            "100mbit → 220mbit",
            "20-telework.toml:10 class.gateway",
        ] {
            assert!(plan.contains(told), "{plan}");
        }
        all(&host, &STORY, as_it_is);
        all(&host, &ANY, as_it_is);
        host.edit("policy.d/10-classes.toml", "\"40mbit\"", "\"40mbps\"");
        all(
            &host,
            &[
                &["check"],
                &["plan"],
                &["apply"],
                &["explain", "a", "b", "c"],
            ],
            as_it_is,
        );
    });
}

#[test]
fn each_verb_fits_on_cd44_and_cd76() {
    in_namespace(|| {
        let (host, _kept) = host("cd44", &["lan0", "fibre0", "fibre0.10", "fibre0.20"]);
        all(&host, &ANY, as_it_is);
    });
    in_namespace(|| {
        let (host, _kept) = host("cd76", &["lan0", "mpls0", "wan0"]);
        all(&host, &ANY, as_it_is);
    });
}

#[test]
fn each_verb_fits_where_names_are_long() {
    in_namespace(|| {
        let (host, _kept) = host("cd77", &["lan0", "mpls0", "wan0"]);
        for file in [
            "host.toml",
            "policy.d/10-classes.toml",
            "policy.d/20-telework.toml",
        ] {
            let path = host.config().join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, renamed(&text, long)).unwrap();
        }
        host.edit(
            "policy.d/20-telework.toml",
            "ramp = \"10s\"",
            "ramp = \"300ms\"",
        );
        all(&host, &[&["apply"]], with_short_names);
        for verb in STORY {
            let verb: Vec<String> = verb.iter().map(|word| renamed(word, long)).collect();
            let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
            all(&host, &[&verb], with_short_names);
        }
        all(&host, &ANY, with_short_names);
    });
}

#[test]
fn each_verb_fits_beside_a_daemon() {
    in_namespace(|| {
        let host = EdgeHost::new("300ms");
        let mut daemon = Daemon::start(&host);
        daemon.wait_for_phase("nominal");
        let verbs: [&[&str]; 10] = [
            &["status"],
            &["phase", "telework", "--confirm-within", "1h"],
            &["status"],
            &["apply"],
            &["phase", "telework", "--confirm-within", "1h"],
            &["confirm"],
            &["plan", "--rollback", "2"],
            &["plan", "--rollback"],
            &["rollback"],
            &["history"],
        ];
        all(&host, &verbs, as_it_is);
        for (count, tamper) in [
            (1, "nft flush table inet wanshift"),
            (2, "ip link del wanshift-down"),
        ] {
            sh(tamper);
            daemon.wait_for("the repair", |status| status["repairs"]["count"] == count);
            all(&host, &[&["status"]], as_it_is);
        }
        all(&host, &STORY, as_it_is);
        host.edit("policy.d/10-classes.toml", "\"40mbit\"", "\"40mbps\"");
        all(&host, &[&["apply"], &["status"]], as_it_is);
    });
}

#[test]
fn help_fits() {
    let run = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_wanshift"));
        program
            .args(arguments)
            .env("COLUMNS", "200")
            .output()
            .unwrap()
    };
    let list = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let list = list.split("Commands:").nth(1).unwrap();
    let verbs = list.lines().filter_map(|line| line.strip_prefix("  "));
    let verbs = verbs
        .filter_map(|line| line.split(' ').next())
        .filter(|verb| !verb.is_empty());
    let mut verbs: Vec<&str> = verbs.take_while(|verb| !verb.starts_with('-')).collect();
    assert!(verbs.len() > 15, "{verbs:?}");
    verbs.push("");
    for verb in verbs {
        for help in ["--help", "-h", "--no-such-option"] {
            let arguments: Vec<&str> = [verb, help]
                .into_iter()
                .filter(|word| !word.is_empty())
                .collect();
            assert_fits(&arguments, &run(&arguments), as_it_is);
        }
    }
    for wrong in [
        &["run", "--http", "0.0.0.0:9817"][..],
        &["schema", "nothing-like-it"],
        &[
            "phase",
            "A Name That No Phase Could Ever Have, However Long It Were Looked For",
        ],
        &["apply", "--confirm-within", "soon", "--config", "/nowhere"],
        &[],
    ] {
        assert_fits(wrong, &run(wrong), as_it_is);
    }
    for verb in ["list", "reset"] {
        assert_fits(
            &["condition", verb],
            &run(&["condition", verb, "--help"]),
            as_it_is,
        );
    }
}
