//! `wanshift check` as it is run: what it exits with, whose files it believes, and what others say of names that are
//! not there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::host::EdgeHost;
use common::{in_namespace, sh};

/// Nothing in it is worth a note.
const PLAIN: &str = r#"name = "hub"
[circuit.internet]
device = "wan0"
capacity = "50mbit"
[policy]
start = "normal"
[phase.normal]
"#;

/// Writes the host's file into `directory`, where only its owner may write it.
fn write(directory: &Path, text: &str) {
    let file = directory.join("host.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
}

fn check(config: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wanshift"))
        .arg("--config")
        .arg(config)
        .arg("check")
        .args(more)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn notes_are_no_errors_unless_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let unused = format!("{PLAIN}[group.nobody]\nprefixes = [\"10.9.0.0/16\"]\n");
    let wrong = PLAIN.replace("50mbit", "50mbps");
    for (text, plain, fatal) in [(PLAIN, 0, 0), (&unused, 0, 3), (&wrong, 1, 1)] {
        write(directory.path(), text);
        for (more, code) in [(&[][..], plain), (&["--lint-fatal"], fatal)] {
            let output = check(directory.path(), more);
            assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        }
    }
    write(directory.path(), &unused);
    let told = said(&check(directory.path(), &[]));
    assert!(
        told.contains("☞ nothing uses group `nobody`")
            && told.contains("host.toml:8:8]")
            && told.contains("8 │ [group.nobody]")
            && told.contains("·        ──────")
            && told.contains("1 note"),
        "{told}"
    );
    assert!(
        told.lines()
            .filter(|line| !line.contains("host.toml:"))
            .all(|line| line.chars().count() <= 80),
        "{told}"
    );
    let json = check(directory.path(), &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let note = &json["notes"][0];
    assert_eq!((&note["line"], &note["column"]), (&8.into(), &8.into()));
}

#[test]
fn files_that_others_may_write_are_noted_where_the_daemon_reads_them() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |directory: &Path| {
        write(directory, PLAIN);
        let file = directory.join("host.toml");
        std::fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (file, other) = (open(directory.path()), open(elsewhere.path()));
    for more in [&[][..], &[file.as_str()]] {
        let told = said(&check(directory.path(), more)).replace("\n  │", "");
        assert!(
            told.contains("apply and the daemon will refuse it")
                && told.contains("its group may write"),
            "{told}"
        );
        assert!(told.contains("chmod go-w"), "{told}");
    }
    // What somebody writes at home is nobody's order yet.
    assert_eq!(said(&check(directory.path(), &[&other])), "");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(said(&check(directory.path(), &[])), "");
}

#[test]
fn names_that_are_not_there_are_told_with_what_was_meant() {
    in_namespace(|| {
        let host = EdgeHost::new("0s");
        let told = host.refused(&["phase", "telewrok"]);
        assert!(
            told.contains("there is no phase `telewrok`; did you mean `telework`?"),
            "{told}"
        );
        let told = host.refused(&["plan", "--phase", "summer"]);
        assert!(
            told.contains("the policy has `nominal`, `telework`, `upgraded`"),
            "{told}"
        );
        sh("ip link set wan0 name wan1");
        let told = host.refused(&["apply"]);
        assert!(
            told.contains("host.toml:9: circuit `internet`: there is no device `wan0` here; did you mean `wan1`?"),
            "{told}"
        );
    });
}

/// What is said of it speaks of what was named, not of a directory that nobody asked about.
#[test]
fn a_path_that_leads_to_nothing_is_called_so() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    for (path, help) in [
        (gone.clone(), "name a file or a directory that is there"),
        (gone.join("host.toml"), "there is no directory"),
    ] {
        let output = check(directory.path(), &[path.to_str().unwrap()]);
        let errors = said(&output);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let told = errors.contains("there is no such file or directory") && errors.contains(help);
        assert!(told && !errors.contains("--config"), "{errors}");
    }
}
