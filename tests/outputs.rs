//! What verbs print with `--json` is what `wanshift schema VERB` says, whether they succeed or fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};

use clap::CommandFactory;
use common::daemon::Daemon;
use common::host::EdgeHost;
use common::{in_namespace, sh};
use jsonschema::Validator;
use serde_json::Value;
use wanshift::cli::Cli;

/// The verbs that print a file in a language of its own, or no result at all.
const OTHERS: [&str; 4] = ["schema", "completions", "man", "run"];

/// The verbs as their schemas are named: those of two words with a hyphen.
fn verbs() -> Vec<String> {
    let mut verbs = Vec::new();
    for verb in Cli::command().get_subcommands() {
        verbs.push(verb.get_name().to_owned());
        let below = verb.get_subcommands();
        verbs.extend(below.map(|below| format!("{}-{}", verb.get_name(), below.get_name())));
    }
    assert!(verbs.len() > 18, "{verbs:?}");
    verbs
}

fn program(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_wanshift"));
    program.args(arguments).output().unwrap()
}

fn schema(of: &str) -> Value {
    let output = program(&["schema", of]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "no schema of {of}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The schemas, and which verbs were seen to succeed and to fail.
struct Outputs {
    validators: BTreeMap<String, Validator>,
    failure: Validator,
    seen: BTreeSet<(String, Outcome)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Done,
    Failed,
}

impl Outputs {
    fn new() -> Self {
        let described = verbs()
            .into_iter()
            .filter(|verb| !OTHERS.contains(&verb.as_str()));
        let validators = described.map(|verb| {
            let validator = jsonschema::validator_for(&schema(&verb)).unwrap();
            (verb, validator)
        });
        Self {
            validators: validators.collect(),
            failure: jsonschema::validator_for(&schema("failure")).unwrap(),
            seen: BTreeSet::new(),
        }
    }

    /// The schema's name of what is ordered.
    fn name(verb: &[&str]) -> String {
        match verb {
            ["condition", what @ ("list" | "reset"), ..] => format!("condition-{what}"),
            [verb, ..] => (*verb).to_owned(),
            [] => panic!("no verb"),
        }
    }

    /// Runs a verb, which is to come out so, and holds what it prints to its schema.
    fn run(&mut self, host: &EdgeHost, verb: &[&str], outcome: Outcome) -> Value {
        let mut all = vec!["--json"];
        all.extend(verb);
        self.held(verb, &host.run(&all), outcome)
    }

    /// Runs a verb as somebody who is in no group that matters.
    fn run_as_stranger(&mut self, host: &EdgeHost, verb: &[&str], outcome: Outcome) -> Value {
        let mut stranger = Command::new("setpriv");
        stranger.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        stranger.arg(env!("CARGO_BIN_EXE_wanshift")).arg("--json");
        stranger.args(host.arguments()).args(verb);
        self.held(verb, &stranger.output().unwrap(), outcome)
    }

    /// Holds what a verb printed, which is to have come out so, to its schema.
    fn held(&mut self, verb: &[&str], output: &Output, outcome: Outcome) -> Value {
        let errors = String::from_utf8_lossy(&output.stderr);
        let printed: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("wanshift {verb:?}: {error}: {output:?}"));
        let name = Self::name(verb);
        check(&name, &self.validators[&name], &printed);
        let code = output.status.code().unwrap();
        let came = if printed["error"].is_object() {
            check(&name, &self.failure, &printed);
            assert!([1, 2].contains(&code), "wanshift {verb:?}: {code}");
            // People are told in a few lines, whatever programs are told.
            assert!(
                errors.lines().count() <= 12 && errors.contains("error: "),
                "{errors}"
            );
            let usage = printed["error"]["kind"] == "usage";
            assert_eq!(usage, code == 2, "wanshift {verb:?}: {printed}");
            Outcome::Failed
        } else {
            let unhealthy = name == "status" && printed["healthy"] == false;
            assert_eq!(code, i32::from(unhealthy), "wanshift {verb:?}: {printed}");
            Outcome::Done
        };
        assert_eq!(came, outcome, "wanshift {verb:?}: {printed:#}\n{errors}");
        self.seen.insert((name, outcome));
        printed
    }

    fn done(&mut self, host: &EdgeHost, verb: &[&str]) -> Value {
        self.run(host, verb, Outcome::Done)
    }

    /// Runs a verb, which is to fail, and gives why.
    fn failed(&mut self, host: &EdgeHost, verb: &[&str]) -> Value {
        self.run(host, verb, Outcome::Failed)["error"].clone()
    }
}

fn check(name: &str, validator: &Validator, printed: &Value) {
    let wrong: Vec<String> = validator
        .iter_errors(printed)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{printed:#}");
}

/// Every object that a schema describes names its keys, and takes no others.
fn assert_closed(schema: &Value, at: &str) {
    match schema {
        Value::Object(keys) => {
            if keys.contains_key("properties") {
                assert_eq!(keys["additionalProperties"], false, "{at}");
            }
            for (key, value) in keys {
                assert_closed(value, &format!("{at}/{key}"));
            }
        }
        Value::Array(list) => {
            for (place, value) in list.iter().enumerate() {
                assert_closed(value, &format!("{at}/{place}"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_verb_has_a_schema() {
    for verb in verbs() {
        if OTHERS.contains(&verb.as_str()) {
            continue;
        }
        let schema = schema(&verb);
        assert!(jsonschema::meta::is_valid(&schema), "{verb}");
        assert_closed(&schema, &verb);
        let results = schema["oneOf"].as_array().unwrap();
        assert!(results.len() >= 2, "{verb}: a result and a failure");
    }
    for other in OTHERS {
        assert!(!program(&["schema", other]).status.success(), "{other}");
    }
}

#[test]
fn what_verbs_print_is_as_described() {
    in_namespace(|| {
        let mut outputs = Outputs::new();
        by_hand(&mut outputs);
        for device in ["lan0", "mpls0", "wan0"] {
            sh(&format!("ip link del {device}"));
        }
        beside_a_daemon(&mut outputs);
        for verb in verbs() {
            for outcome in [Outcome::Done, Outcome::Failed] {
                let seen = outputs.seen.contains(&(verb.clone(), outcome));
                assert!(
                    seen || OTHERS.contains(&verb.as_str()),
                    "{verb}: {outcome:?} was not seen"
                );
            }
        }
    });
}

/// All verbs where no daemon runs.
fn by_hand(outputs: &mut Outputs) {
    let host = EdgeHost::new("300ms");
    let notes = outputs.done(&host, &["check"]);
    assert!(notes["notes"].as_array().unwrap().len() > 1, "{notes}");
    outputs.done(&host, &["status"]);
    outputs.done(&host, &["history"]);
    outputs.done(&host, &["restore-blocks"]);
    outputs.done(&host, &["plan"]);
    outputs.done(&host, &["apply"]);
    assert_eq!(outputs.done(&host, &["apply"])["writes"], 0);
    outputs.done(&host, &["plan", "--phase", "telework"]);
    outputs.done(&host, &["phase", "telework"]);
    outputs.done(&host, &["status", "--classes"]);
    for asked in [
        &["session-hosts", "203.0.113.7", "https"][..],
        &[
            "session-hosts",
            "203.0.113.80",
            "https",
            "--circuit",
            "internet",
        ],
        &["mds-provins", "192.0.2.10", "hdx", "--dscp", "ef"],
        &[
            "192.0.2.1",
            "10.77.20.1",
            "udp/1-65535",
            "--phase",
            "nominal",
        ],
    ] {
        let verb: Vec<&str> = ["explain"].iter().chain(asked).copied().collect();
        outputs.done(&host, &verb);
    }
    outputs.done(&host, &["render", "tc"]);
    outputs.done(&host, &["render", "nft", "--phase", "telework"]);
    outputs.done(&host, &["event", "uplink-upgraded"]);
    outputs.done(&host, &["condition"]);
    outputs.done(&host, &["condition", "list"]);
    outputs.done(&host, &["status"]);
    outputs.done(&host, &["condition", "reset", "uplink-upgraded"]);
    outputs.done(&host, &["condition", "list"]);
    outputs.done(&host, &["plan", "--rollback"]);
    outputs.done(&host, &["rollback"]);
    outputs.done(&host, &["rollback", "3", "--force"]);
    outputs.done(&host, &["phase", "telework"]);
    outputs.done(&host, &["history"]);
    outputs.done(&host, &["restore-blocks"]);
    sh("nft flush ruleset");
    let restored = outputs.done(&host, &["restore-blocks"]);
    assert_eq!(restored["outcome"], "blocked");
    outputs.done(&host, &["status"]);

    refused(outputs, &host);

    outputs.done(&host, &["teardown", "--shaping-only"]);
    outputs.done(&host, &["teardown"]);
    outputs.done(&host, &["status"]);
    for verb in verbs() {
        if !OTHERS.contains(&verb.as_str()) {
            let words: Vec<&str> = match verb.as_str() {
                "restore-blocks" => vec!["restore-blocks"],
                other => other.split('-').collect(),
            };
            let words: Vec<&str> = words.into_iter().chain(["--nonsense"]).collect();
            assert_eq!(outputs.failed(&host, &words)["kind"], "usage");
        }
    }
}

/// Orders that are refused.
fn refused(outputs: &mut Outputs, host: &EdgeHost) {
    for verb in [
        &["explain", "nobody", "192.0.2.1", "https"][..],
        &["phase", "holidays"],
        &["phase", "upgraded"],
        &["confirm"],
        &["rollback", "70"],
        &["plan", "--rollback", "70"],
        &["event", "nothing-like-it"],
        &["condition", "reset", "nothing-like-it"],
        &["apply", "--confirm-within", "10m"],
    ] {
        let error = outputs.failed(host, verb);
        assert_eq!(error["kind"], "failed", "{error}");
        assert!(error["faults"].as_array().unwrap().is_empty());
    }
    let error = outputs.failed(host, &["event", "nothing-like-it"]);
    assert!(
        error["help"].as_str().unwrap().contains("uplink-upgraded"),
        "{error}"
    );
    assert!(
        !error["message"].as_str().unwrap().contains("help:"),
        "{error}"
    );

    let (from, to) = ("guarantee = \"40mbit\"", "guarantee = \"40mbps\"");
    host.edit("policy.d/10-classes.toml", from, to);
    for verb in [
        &["check"][..],
        &["plan"],
        &["apply"],
        &["phase", "nominal"],
        &["explain", "session-hosts", "203.0.113.7", "https"],
        &["render", "nft"],
        &["event", "uplink-upgraded"],
        &["condition"],
        &["condition", "list"],
        &["condition", "reset", "uplink-upgraded"],
    ] {
        let error = outputs.failed(host, verb);
        assert_eq!(error["kind"], "policy", "{error}");
        assert_eq!(error["faults"][0]["line"], 14, "{error}");
        assert!(
            error["message"].as_str().unwrap().contains("1 error"),
            "{error}"
        );
    }
    host.edit("policy.d/10-classes.toml", to, from);
}

/// What is otherwise where a daemon runs.
fn beside_a_daemon(outputs: &mut Outputs) {
    let host = EdgeHost::new("300ms");
    let mut daemon = Daemon::start(&host);
    daemon.wait_for_phase("nominal");
    let wait = ["phase", "telework", "--confirm-within", "1h"];
    outputs.done(&host, &wait);
    daemon.wait_for("a sample", |status| {
        status["circuits"][0]["up"]["rate"].is_number()
    });
    let status = outputs.done(&host, &["status"]);
    assert!(
        status["pending"].is_object() && status["sampling"]["last"].is_string(),
        "{status}"
    );
    outputs.done(&host, &wait);
    let error = outputs.failed(&host, &["apply"]);
    assert!(
        error["help"].as_str().unwrap().contains("wanshift confirm"),
        "{error}"
    );
    outputs.done(&host, &["confirm"]);
    outputs.done(&host, &["phase", "nominal", "--confirm-within", "1h"]);
    outputs.done(&host, &["rollback"]);
    outputs.done(&host, &["event", "uplink-upgraded"]);
    daemon.wait_for_phase("upgraded");
    sh("nft flush ruleset");
    daemon.wait_for("the repair", |status| status["repairs"]["count"] == 1);
    let status = outputs.done(&host, &["status"]);
    let first = &status["repairs"]["changes"][0];
    assert_eq!(first["place"], "table inet wanshift", "{status}");
    let classes = sh("tc class show dev wan0");
    let class = classes
        .lines()
        .find(|line| line.contains(" prio 1 "))
        .unwrap();
    let id = class.split(' ').nth(2).unwrap();
    sh(&format!(
        "tc class change dev wan0 classid {id} htb rate 1mbit"
    ));
    daemon.wait_for("the repair", |status| status["repairs"]["count"] == 2);
    let status = outputs.done(&host, &["status"]);
    let first = &status["repairs"]["changes"][0];
    assert_eq!(first["found"]["guarantee"], "1mbit", "{status}");
    outputs.done(&host, &["history"]);
    assert_eq!(
        outputs.done(&host, &["restore-blocks"])["outcome"],
        "at_work"
    );
    outputs.failed(&host, &["condition", "reset", "uplink-upgraded"]);
    denied(outputs, &host);
    let told = over_http();
    check("status over HTTP", &outputs.validators["status"], &told);
    host.edit("policy.d/10-classes.toml", "\"40mbit\"", "\"40mbps\"");
    assert_eq!(outputs.failed(&host, &["apply"])["kind"], "policy");
    let status = outputs.done(&host, &["status"]);
    assert_eq!(status["problems"][0]["stage"], "policy", "{status}");
    outputs.done(&host, &["teardown"]);
}

/// Orders of somebody who may only ask how things are.
fn denied(outputs: &mut Outputs, host: &EdgeHost) {
    let directory = host.config().parent().unwrap().display().to_string();
    sh(&format!("chmod 755 {directory} {directory}/run"));
    for verb in [
        &["apply"][..],
        &["phase", "nominal"],
        &["confirm"],
        &["rollback"],
        &["event", "uplink-upgraded"],
        &["condition", "reset", "uplink-upgraded"],
        &["teardown"],
    ] {
        let failed = outputs.run_as_stranger(host, verb, Outcome::Failed);
        let error = &failed["error"];
        assert_eq!(error["kind"], "denied", "{error:#}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("use sudo"), "{error:#}");
    }
    for verb in ["status", "history"] {
        outputs.run_as_stranger(host, &[verb], Outcome::Done);
    }
    // A socket that was opened to all by mistake: the daemon itself says no.
    let socket = host.socket();
    sh(&format!("chmod 666 {}", socket.display()));
    let failed = outputs.run_as_stranger(host, &["apply"], Outcome::Failed);
    let error = &failed["error"];
    assert_eq!(error["kind"], "denied", "{error:#}");
    sh(&format!("chmod 600 {}", socket.display()));
    // Where the daemon is not asked, the kernel says no.
    let elsewhere = outputs.run_as_stranger(host, &["plan"], Outcome::Failed);
    assert_eq!(elsewhere["error"]["kind"], "denied", "{elsewhere:#}");
}

/// What the daemon tells at its address.
fn over_http() -> Value {
    let mut stream = TcpStream::connect("127.0.0.1:9817").unwrap();
    let request = "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_wrong_command_line_is_told_as_json() {
    let failure = jsonschema::validator_for(&schema("failure")).unwrap();
    for (arguments, words) in [
        (&["--json"][..], "verb is missing"),
        (&["--json", "pln"], "pln"),
        (&["apply", "--json", "--confirm-within", "soon"], "90s"),
        (&["--json", "man", "nothing"], "nothing"),
    ] {
        let output = program(arguments);
        let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        check("usage", &failure, &printed);
        assert_eq!(output.status.code(), Some(2));
        let error = &printed["error"];
        assert!(
            error["message"].as_str().unwrap().contains(words),
            "{error}"
        );
        assert_eq!(error["kind"], "usage");
    }
    // What was not asked for in JSON, and what is no failure.
    assert!(program(&["pln"]).stdout.is_empty());
    let help = program(&["--json", "--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"Moves WAN"));
}
