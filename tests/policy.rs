//! The language: what is read from good files, and what is said of bad ones.
//!
//! A bad policy is a file in `tests/policy/bad`. A line `#=== NAME` in it begins a further file.
//! One that does not name its host is read after `tests/policy/base.toml`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail; clippy sees only the functions marked as tests"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use wanshift::model::hold::Established;
use wanshift::policy::{self, Faults, Policy, Source, Style};

const WIDTH: usize = 100;
const BASE: &str = include_str!("policy/base.toml");

fn sources(texts: &[(&str, &str)]) -> Vec<Source> {
    texts
        .iter()
        .map(|(name, text)| Source {
            name: (*name).into(),
            text: (*text).into(),
        })
        .collect()
}

fn folder(path: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let names = [
        "host.toml",
        "policy.d/10-classes.toml",
        "policy.d/20-telework.toml",
    ];
    let texts: Vec<(&str, String)> = names.iter().map(|name| (*name, read(name))).collect();
    let texts: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    sources(&texts)
}

fn cd77() -> Policy {
    policy::read(&folder("policies/cd77")).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The sources of a bad policy: one file, or several parted by `#=== NAME` lines.
fn split(name: &str, text: &str) -> Vec<Source> {
    let mut parts = text.split("#=== ");
    let first = parts.next().unwrap();
    let mut all = vec![(name.to_owned(), first.to_owned())];
    if !text.contains("name =") && !text.starts_with("a = ") {
        all.insert(0, ("host.toml".to_owned(), BASE.to_owned()));
    }
    for part in parts {
        let (name, text) = part.split_once('\n').unwrap();
        all.push((name.to_owned(), text.to_owned()));
    }
    all.iter()
        .map(|(name, text)| Source {
            name: name.as_str().into(),
            text: text.as_str().into(),
        })
        .collect()
}

fn faults(sources: &[Source]) -> Faults {
    policy::read(sources).expect_err("a bad policy was read")
}

/// What each place has in each phase, one on a line.
fn promises(policy: &Policy) -> String {
    let mut out = String::new();
    for phase in policy.phases().values() {
        writeln!(out, "{}", phase.name).unwrap();
        for (key, has) in policy.promises(phase) {
            writeln!(
                out,
                "  {key}: {} to {}, priority {}, weight {}",
                has.guarantee,
                has.ceiling,
                has.priority.get(),
                has.weight.get()
            )
            .unwrap();
        }
    }
    out
}

#[test]
fn cd77_is_what_it_says() {
    let policy = cd77();
    insta::assert_snapshot!("cd77", promises(&policy));
    assert_eq!(policy.start().as_str(), "nominal");
    let names: Vec<&str> = policy
        .classes()
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    assert_eq!(names, ["gateway", "operations", "video"]);
    let gateway = &policy.classes()[0];
    assert_eq!(gateway.origin.to_string(), "policy.d/10-classes.toml:11");
    assert_eq!(gateway.matches[0].to[0].to_string(), "192.0.2.10/32");
    assert_eq!(gateway.matches[0].service.len(), 4);
    assert_eq!(
        policy.classes()[1].matches[1].from[0].to_string(),
        "10.77.9.0/24"
    );
    let telework = &policy.phases()[&"telework".parse().unwrap()];
    assert_eq!(telework.ramp, Duration::from_secs(10));
    assert_eq!(telework.then, Some("upgraded".parse().unwrap()));
    let block = policy.blocks().values().next().unwrap();
    assert_eq!(block.service.len(), 3);
    assert_eq!(block.established, Established::Cut);
    let pool = policy.pools().values().next().unwrap();
    let upgraded = &policy.phases()[&"upgraded".parse().unwrap()];
    assert_eq!(policy.capacity_in(pool, upgraded).to_string(), "1gbit");
    assert_eq!(policy.capacity_in(pool, telework).to_string(), "300mbit");
}

/// What `check` notes on a policy, as it is drawn.
fn notes(policy: &Policy, sources: &[Source]) -> String {
    let notes = wanshift::check::notes(policy);
    wanshift::check::draw(&notes, sources, Style::Plain, 80)
}

#[test]
fn the_notes_of_the_example() {
    let sources = folder("policies/cd77");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("check-cd77", notes(&cd77(), &sources)));
}

#[test]
fn the_base_is_good_and_classes_keep_the_order_of_files_and_text() {
    let text = |name: &str| {
        format!("[class.{name}]\ncircuit = \"internet\"\nmatch = [{{ service = [\"https\"] }}]\n")
    };
    let (one, two) = (text("z") + &text("a"), text("m") + &text("b"));
    let policy = policy::read(&sources(&[("base", BASE), ("1", &one), ("2", &two)]))
        .unwrap_or_else(|faults| panic!("{faults}"));
    let names: Vec<&str> = policy
        .classes()
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    assert_eq!(names, ["z", "a", "m", "b"]);
}

#[test]
fn every_key_of_the_language_is_read() {
    let text = include_str!("policy/full.toml");
    policy::read(&sources(&[("full.toml", text)])).unwrap_or_else(|faults| panic!("{faults}"));
    let mut keys = Vec::new();
    properties(&policy::schema(policy::Files::Any), &mut keys);
    assert!(keys.len() > 80, "{} keys", keys.len());
    for key in keys {
        let written = |before: char, after: &str| text.contains(&format!("{before}{key}{after}"));
        let found = ['\n', ' ', '[', '.']
            .into_iter()
            .any(|before| written(before, " =") || written(before, "."))
            || written('[', "]");
        assert!(found, "no `{key}` in full.toml");
    }
}

/// The names of all properties in a schema.
fn properties(schema: &serde_json::Value, keys: &mut Vec<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        keys.extend(properties.keys().cloned());
    }
    if let Some(map) = schema.as_object() {
        map.values().for_each(|value| properties(value, keys));
    }
    if let Some(list) = schema.as_array() {
        list.iter().for_each(|value| properties(value, keys));
    }
}

#[test]
fn odd_policies_have_notes() {
    for name in ["odd", "odd-ways", "odd-end"] {
        let path = format!("{}/tests/policy/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let sources = split(&format!("{name}.toml"), &text);
        let policy = policy::read(&sources).unwrap_or_else(|faults| panic!("{faults}"));
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(name, notes(&policy, &sources));
        });
    }
}

#[test]
fn notes_are_there_for_programs_too() {
    let text = "[group.nobody]\nprefixes = [\"10.9.0.0/16\"]\n";
    let policy = policy::read(&sources(&[("base.toml", BASE), ("x.toml", text)]))
        .unwrap_or_else(|faults| panic!("{faults}"));
    let notes = serde_json::to_value(wanshift::check::notes(&policy)).unwrap();
    let unused = notes.as_array().unwrap().last().unwrap();
    let message = "nothing uses group `nobody`";
    let help = "remove it, or correct the name where it was meant";
    assert_eq!(
        *unused,
        serde_json::json!({
            "file": "x.toml", "line": 1, "column": 8, "kind": "advice", "message": message, "help": help
        })
    );
}

#[test]
fn faults_are_there_for_programs_too() {
    let sources = sources(&[
        ("host.toml", BASE),
        ("p.toml", "[class.é]\ncircuit = \"x\"\n"),
    ]);
    let json = serde_json::to_value(faults(&sources)).unwrap();
    let first = &json["list"][0];
    assert_eq!(first["file"], "p.toml");
    assert_eq!(first["line"], 1);
    assert_eq!(first["column"], 8);
    assert!(first["message"].is_string() && first["help"].is_string());
}

#[test]
fn too_much_too_deep_and_not_text() {
    let deep = "[".repeat(100_000);
    let deep_values = format!("a = {}", "[".repeat(100_000));
    let deep_tables = format!("a = {}", "{a=".repeat(100_000));
    let large = "# nothing\n".repeat(1 << 20);
    let garbage = "= [ \u{1b}".repeat(1 << 17);
    let keys: String = (0..100_000).map(|n| format!("k{n} = 1\n")).collect();
    for text in [
        &deep,
        &deep_values,
        &deep_tables,
        &large,
        &garbage,
        &keys,
        "a\0b",
        "\u{feff}x",
    ] {
        let sources = sources(&[("host.toml", BASE), ("bad.toml", text)]);
        let faults = faults(&sources);
        let drawn = policy::report(&faults, &sources, Style::Plain, WIDTH);
        assert!(drawn.len() < 60_000, "{} bytes", drawn.len());
        assert!(!drawn.contains('\u{1b}'));
        assert!(faults.list().iter().all(|fault| fault.help.is_some()));
    }
}

/// `n` sites of a /24 each.
fn many_sites(n: usize) -> String {
    (0..n)
        .map(|n| {
            format!(
                "[site.s{n}]\ncircuit = \"mpls\"\nprefixes = [\"10.{}.{}.0/24\"]\ncapacity = \"4mbit\"\n",
                n / 256,
                n % 256
            )
        })
        .collect()
}

#[test]
fn ten_thousand_sites_are_read() {
    let sites = many_sites(10_000);
    let policy = policy::read(&sources(&[("host.toml", BASE), ("sites.toml", &sites)]))
        .unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(policy.sites().len(), 10_000);
}

#[test]
fn ten_thousand_faulty_sites_are_told_shortly() {
    // All in the same place, all promised more than there is, all in circuits that are not there.
    let overlapping = many_sites(10_000).replace("10.", "10.0.0.0/8\", \"10.");
    let greedy = many_sites(10_000).replace("4mbit\"", "4mbit\"\nguarantee = \"3mbit\"");
    let nowhere = many_sites(10_000).replace("mpls", "mlps-");
    for (text, count) in [(overlapping, 10_000), (greedy, 1), (nowhere, 10_000)] {
        let sources = sources(&[("host.toml", BASE), ("sites.toml", &text)]);
        let faults = faults(&sources);
        assert!(faults.count() >= count, "{}", faults.count());
        let drawn = policy::report(&faults, &sources, Style::Plain, WIDTH);
        assert!(drawn.len() < 60_000, "{} bytes", drawn.len());
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        judged(&text);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        judged(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_pieces_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        judged(&pieces.concat());
    }

    #[test]
    fn no_mutation_panics(
        at in any::<prop::sample::Index>(),
        length in 0_usize..30,
        with in prop::sample::select(PIECES),
        file in 0_usize..3,
    ) {
        let mut sources = folder("policies/cd77");
        let text = sources[file].text.to_string();
        let mut start = at.index(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = (start + length).min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let text = format!("{}{with}{}", &text[..start], &text[end..]);
        sources[file].text = text.as_str().into();
        draw(&sources);
    }
}

const PIECES: &[&str] = &[
    "",
    "[",
    "]",
    "{",
    "}",
    "=",
    "\n",
    ".",
    ",",
    "\"",
    "'",
    "\"\"\"",
    "#",
    " ",
    "0",
    "-1",
    "9e9",
    "é",
    "\t",
    "[class.a]\n",
    "[phase.nominal]\n",
    "[[site]]\n",
    "[site.x.class.y]\n",
    "circuit = ",
    "\"internet\"",
    "match = [{ ",
    "} ]",
    "to = ",
    "guarantee = ",
    "\"40mbit\"",
    "\"10%\"",
    "split.access = ",
    "{ mpls = \"1mbit\" }",
    "any = [{ condition = \"a\" }]",
    "[condition.a]\n",
    "true",
    "1979-05-27",
    "inf",
    "\\",
    "\r",
    "\u{feff}",
    "[block.b]\n",
    "class.a = ",
    "until = ",
    "\"landed\"",
];

/// Reads `text` after a good host, as a host, and draws what is wrong.
fn judged(text: &str) {
    draw(&sources(&[("host.toml", BASE), ("x.toml", text)]));
    draw(&sources(&[("x.toml", text)]));
}

fn draw(sources: &[Source]) {
    if let Err(faults) = policy::read(sources) {
        for style in [Style::Plain, Style::Colour] {
            assert!(!policy::report(&faults, sources, style, WIDTH).is_empty());
        }
        for fault in faults.list() {
            assert!(!fault.message.is_empty());
            assert!(fault.help.is_some(), "{fault:?}");
        }
    }
}

#[test]
fn bad_policies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/bad");
    let mut names: Vec<_> = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut failed = Vec::new();
    for name in names {
        let text = std::fs::read_to_string(root.join(&name)).unwrap();
        let sources = split(&name, &text);
        let Err(faults) = policy::read(&sources) else {
            failed.push(name);
            continue;
        };
        let drawn = policy::report(&faults, &sources, Style::Plain, WIDTH);
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(name.trim_end_matches(".toml"), drawn);
        });
    }
    assert!(failed.is_empty(), "no fault was found in {failed:?}");
}
