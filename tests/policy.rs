//! The language: what is read from good files, and what is said of bad ones.
//!
//! A bad policy is a file in `tests/policy/bad`. A line `#=== NAME` in it begins a further file.

use std::path::Path;

use wanshift::policy::{self, Faults, Policy, Source, Style};

const WIDTH: usize = 100;

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

#[test]
fn cd77_is_what_it_says() {
    let policy = cd77();
    insta::assert_debug_snapshot!("cd77", policy);
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
