//! The JSON Schema that editors use: it takes every file that the reader takes, and refuses what is plainly wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use jsonschema::Validator;
use serde_json::{Value, json};
use wanshift::policy::{Files, Source, read, schema};

const BASE: &str = include_str!("policy/base.toml");

/// A file as an editor shows it to a schema: dates are texts.
fn json_of(text: &str) -> Value {
    fn json_of_value(value: toml::Value) -> Value {
        match value {
            toml::Value::String(text) => json!(text),
            toml::Value::Integer(number) => json!(number),
            toml::Value::Float(number) => json!(number),
            toml::Value::Boolean(value) => json!(value),
            toml::Value::Datetime(date) => json!(date.to_string()),
            toml::Value::Array(list) => list.into_iter().map(json_of_value).collect(),
            toml::Value::Table(table) => table
                .into_iter()
                .map(|(key, value)| (key, json_of_value(value)))
                .collect(),
        }
    }
    json_of_value(toml::Value::Table(text.parse().unwrap()))
}

fn validator(files: Files) -> Validator {
    let schema = schema(files);
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

fn wrong(validator: &Validator, json: &Value) -> Vec<String> {
    validator
        .iter_errors(json)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The TOML files of a directory, and of those in it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_good_file_is_valid() {
    let (any, host, policy) = (
        validator(Files::Any),
        validator(Files::Host),
        validator(Files::Policy),
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = files(&root.join("policies"));
    let own = std::fs::read_dir(root.join("tests/policy")).unwrap();
    let own = own.map(|entry| entry.unwrap().path());
    all.extend(own.filter(|path| path.is_file()));
    let (mut hosts, mut others) = (0, 0);
    for path in all {
        let json = json_of(&std::fs::read_to_string(&path).unwrap());
        let is_host = json.get("name").is_some();
        let (own, count) = if is_host {
            (&host, &mut hosts)
        } else {
            (&policy, &mut others)
        };
        *count += 1;
        for validator in [&any, own] {
            let wrong = wrong(validator, &json);
            assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
        }
        assert_eq!(policy.is_valid(&json), !is_host, "{}", path.display());
    }
    assert!(hosts >= 3 && others >= 4, "{hosts} and {others}");
}

/// What the language takes in more than one form.
#[test]
fn what_may_be_written_otherwise_is_valid() {
    let policy = validator(Files::Policy);
    for text in [
        "[class.a]\ncircuit = \"internet\"\nmatch = [{ dscp = [\"EF\", 0, \"af41\"] }]\nguarantee = \" 1.5 Mbit \"",
        "[class.a]\ncircuit = \"internet\"\nmatch = [{ to = [\"::1\", \"2001:DB8::/32\", \"::ffff:10.0.0.1\"] }]\nguarantee = \"2.5 %\"",
        "[condition.a]\nany = [{ after = 2020-03-30T08:00:00+02:00 }, { after = 2020-03-30 }, { after = \"2020-03-30 08:00\" }]",
        "[condition.a]\nany = [{ link_speed = { device = \"eth0.7\", at_least = \"10gbit\", for = \"1h 30m\" } }]",
        "[block.a]\nservice = [\"citrix-ica\", \"udp/1-65535\"]\nestablished = \"drain\"\ndrain_for = \"500ms\"",
    ] {
        let all = [source("base.toml", BASE), source("x.toml", text)];
        read(&all).unwrap_or_else(|faults| panic!("{text}: {faults}"));
        let wrong = wrong(&policy, &json_of(text));
        assert!(wrong.is_empty(), "{text}: {wrong:#?}");
    }
}

fn source(name: &str, text: &str) -> Source {
    Source {
        name: name.into(),
        text: text.into(),
    }
}

#[test]
fn wrong_files_are_not_valid() {
    const CLASS: &str = "[class.a]\ncircuit = \"internet\"\n";
    const MATCH: &str = "match = [{ service = [\"https\"] }]\n";
    let policy = validator(Files::Policy);
    let class = |text: &str| format!("{CLASS}{MATCH}{text}");
    let texts = [
        "[clas.a]".to_owned(),
        "[wave.a]\nsize = 300".to_owned(),
        "[[class]]\nname = \"a\"".to_owned(),
        "[class.Big]\ncircuit = \"internet\"\nmatch = [{ service = [\"https\"] }]".to_owned(),
        CLASS.to_owned(),
        format!("{CLASS}match = []"),
        format!("{CLASS}match = [{{}}]"),
        format!("{CLASS}match = [{{ service = \"https\" }}]"),
        format!("{CLASS}match = [{{ service = [\"sctp/1\"] }}]"),
        format!("{CLASS}match = [{{ dscp = [64] }}]"),
        format!("{CLASS}match = [{{ dscp = [\"ef1\"] }}]"),
        format!("{CLASS}match = [{{ from = [\"10.0.0.0/8 \"] }}]"),
        class("garantee = \"1mbit\""),
        class("guarantee = 40"),
        class("guarantee = \"40\""),
        class("guarantee = \"40mbps\""),
        class("guarantee = { up = \"1mbit\" }"),
        class("guarantee = \"10 percent\""),
        class("priority = 8"),
        class("priority = \"1\""),
        class("weight = 0"),
        class("leaf = \"red\""),
        "[site.a]\ncircuit = \"mpls\"\nprefixes = [\"10.0.0.0/8\"]".to_owned(),
        "[site.a]\ncircuit = \"mpls\"\nprefixes = [\"10.0.0.0/8\"]\ncapacity = \"10%\"".to_owned(),
        "[group.a]\nprefixes = [\"nowhere\"]".to_owned(),
        "[service.a]\nports = [\"https\"]".to_owned(),
        "[phase.a]\nsplit.access = { mpls = \"10%\", internet = \"1mbit\" }".to_owned(),
        "[phase.a]\nsplit.access = { mpls = \"1mbit\", internet = \"1mbit\" }\nramp = \"10\"".to_owned(),
        "[phase.a]\nsplit.access = { mpls = \"1mbit\", internet = \"1mbit\" }\nramp = \"10s1m\"".to_owned(),
        "[phase.a]\nsplit.access = { mpls = \"1mbit\", internet = \"1mbit\" }\nfrom = \"tomorrow\"".to_owned(),
        "[phase.a]\nsplit.access = { mpls = \"1mbit\", internet = \"1mbit\" }\nfollow.access = \"load\"".to_owned(),
        "[block.a]\ncircuit = \"internet\"\nestablished = \"kept\"".to_owned(),
        "[block.a]\ncircuit = \"internet\"\nschedule = \"mon-fri 8-12\"".to_owned(),
        "[block.a]\ncircuit = \"internet\"\nexcept = [{}]".to_owned(),
        "[condition.a]\nany = [{ event = \"a\" }]\nall = [{ event = \"b\" }]".to_owned(),
        "[condition.a]".to_owned(),
        "[condition.a]\nany = [{ event = \"a\", after = 2020-03-30 }]".to_owned(),
        "[condition.a]\nany = [{ event = \"Not A Name\" }]".to_owned(),
        "[condition.a]\nany = [{ link_speed = { device = \"wan0\", at_least = \"1gbit\" } }]".to_owned(),
        "[policy]\nstarts = \"nominal\"".to_owned(),
        "timezone = \"Europe/Paris\"".to_owned(),
    ];
    for text in texts {
        let all = [source("base.toml", BASE), source("x.toml", &text)];
        assert!(read(&all).is_err(), "the reader takes {text}");
        assert!(!policy.is_valid(&json_of(&text)), "the schema takes {text}");
    }

    let host = validator(Files::Host);
    for (from, to) in [
        ("name = \"hub\"", ""),
        ("name = \"hub\"", "name = \"HUB\""),
        ("inside = [\"lan0\"]", "inside = \"lan0\""),
        (
            "inside = [\"lan0\"]",
            "inside = [\"a device with a long name\"]",
        ),
        ("inside = [\"lan0\"]", "mark_mask = 1"),
        ("device = \"mpls0\"", "devise = \"mpls0\""),
        ("device = \"mpls0\"", "device = \"mpls0\"\noverhead = -4"),
        ("device = \"mpls0\"", "device = \"mpls0\"\nadopt = \"yes\""),
        ("circuits = [\"mpls\", \"internet\"]", ""),
        ("[policy]", "[daemon]\nstate = \"var/lib\"\n[policy]"),
        ("[policy]", "[daemon]\non_exit = \"stop\"\n[policy]"),
    ] {
        let text = BASE.replacen(from, to, 1);
        assert_ne!(text, BASE);
        assert!(
            read(&[source("host.toml", &text)]).is_err(),
            "the reader takes {text}"
        );
        assert!(!host.is_valid(&json_of(&text)), "the schema takes {text}");
    }
}

#[test]
fn the_verb_prints_each() {
    let print = |more: &[&str]| -> Value {
        let program = Command::new(env!("CARGO_BIN_EXE_wanshift"))
            .arg("schema")
            .args(more)
            .output()
            .unwrap();
        assert!(program.status.success() && program.stderr.is_empty());
        serde_json::from_slice(&program.stdout).unwrap()
    };
    for (more, files) in [
        (&[][..], Files::Any),
        (&["host"], Files::Host),
        (&["policy"], Files::Policy),
    ] {
        assert_eq!(print(more), schema(files));
    }
}
