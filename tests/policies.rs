//! The policies that come with the program say what is right, and nothing that is worth a second look but what every
//! policy that shapes down is told.

#![allow(
    clippy::unwrap_used,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::path::Path;
use std::process::Command;

/// What `check` notes on a policy.
fn notes(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("policies")
        .join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_wanshift"))
        .args(["--json", "check"])
        .arg(path)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["valid"], true, "{name}");
    let notes = told["notes"].as_array().unwrap().iter();
    notes
        .map(|note| note["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn cd44_and_cd76_are_checked_clean() {
    for name in ["cd44", "cd76"] {
        let notes = notes(name);
        assert_eq!(notes.len(), 1, "{name}: {notes:#?}");
        let always = "what arrives for this host itself";
        assert!(notes[0].starts_with(always), "{name}: {notes:#?}");
    }
}

#[test]
fn each_policy_says_what_it_teaches_and_is_in_the_readme() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    for entry in std::fs::read_dir("policies").unwrap() {
        let path = entry.unwrap().path();
        assert!(
            readme.contains(&format!("`{}`", path.display())),
            "{}",
            path.display()
        );
        let host = std::fs::read_to_string(path.join("host.toml")).unwrap();
        assert!(host.starts_with("# "), "{}", path.display());
    }
}
