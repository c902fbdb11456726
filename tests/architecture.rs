//! Holds the house to its plan: imports point up the list of rooms, never down; the upper half touches
//! nothing of the world; no file does two things.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::path::{Path, PathBuf};

/// The rooms, in the order in which data flows (see the crate's docs).
const ROOMS: [&str; 21] = [
    "units", "model", "policy", "engine", "lower", "plan", "check", "explain", "api", "clock",
    "trust", "load", "kernel", "store", "executor", "keeper", "metrics", "http", "control",
    "daemon", "cli",
];
/// The first room that touches the world.
const BELOW: &str = "clock";
/// What the rooms above may not name.
const WORLD: [&str; 12] = [
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "std::env",
    "Instant::now",
    "SystemTime",
    "tokio",
    "nix::",
    "netlink",
    "rusqlite",
];
/// Past so many lines a file is asked why.
const LONG: usize = 500;

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The files of the library, each with its room's place in the list.
fn library() -> Vec<(PathBuf, usize, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let in_room = |path: PathBuf| {
        let inside = path
            .strip_prefix(&source)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let room = inside.split(['/', '.']).next().unwrap().to_owned();
        if ["lib", "main"].contains(&room.as_str()) {
            return None;
        }
        let place = ROOMS.iter().position(|name| *name == room);
        let place = place.unwrap_or_else(|| panic!("{inside} is in no room of the list"));
        // Tests beside the code are no part of it.
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text
            .split("\n#[cfg(test)]\nmod tests {")
            .next()
            .unwrap()
            .to_owned();
        Some((path, place, text))
    };
    files(&source).into_iter().filter_map(in_room).collect()
}

#[test]
fn imports_point_up_the_list() {
    let library = library();
    assert!(library.len() > 50, "the library was not found");
    let mut seen = 0;
    for (path, place, text) in library {
        for rest in text.split("crate::").skip(1) {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            let Some(imported) = ROOMS.iter().position(|room| *room == name) else {
                continue;
            };
            seen += 1;
            assert!(
                imported <= place,
                "{}: the room {} may not know {name}, which comes after it",
                path.display(),
                ROOMS[place]
            );
        }
    }
    assert!(seen > 100, "the imports were not found");
}

#[test]
fn the_upper_half_touches_nothing() {
    let below = ROOMS.iter().position(|room| *room == BELOW).unwrap();
    for (path, place, text) in library() {
        if place >= below {
            continue;
        }
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for word in WORLD {
            assert!(!code.contains(word), "{}: names {word}", path.display());
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for (path, _, text) in library() {
        let lines = text.lines().count();
        assert!(
            lines <= LONG,
            "{} has {lines} lines: does it do two things?",
            path.display()
        );
    }
}
