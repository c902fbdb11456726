//! What is said of a command line that is wrong: what is wrong with it, and what to write instead.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::process::Command;

/// What is told of a wrong command line, its lines joined.
fn told(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wanshift"))
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

#[test]
fn a_wrong_command_line_is_told_what_to_write_instead() {
    for (arguments, wrong, instead) in [
        (
            &["rollback", "--confirm-within", "5m"][..],
            "`wanshift rollback` has no option `--confirm-within`",
            "help: these have it: `wanshift apply`, `wanshift phase`;",
        ),
        (
            &["apply", "--forse"],
            "`wanshift apply` has no option `--forse`",
            "help: did you mean `--force`?",
        ),
        (
            &["help", "phase"],
            "there is no verb `help`",
            "help: write `wanshift phase --help`",
        ),
        (
            &["help"],
            "there is no verb `help`",
            "help: write `wanshift --help`",
        ),
        (
            &["help", "condition", "reset"],
            "there is no verb `help`",
            "help: write `wanshift condition reset --help`",
        ),
        (
            &["plan", "telework"],
            "`telework` is one word too many for `wanshift plan`",
            "help: for a phase write `wanshift plan --phase telework`",
        ),
        (
            &["plan", "rollback"],
            "`rollback` is one word too many for `wanshift plan`",
            "help: write `wanshift plan --rollback`",
        ),
        (
            &["explain", "10.0.0.1", "192.0.2.1", "tcp", "443"],
            "`443` is one word too many for `wanshift explain`",
            "help: `wanshift explain --help` shows what it takes",
        ),
        (
            &["--force", "apply"],
            "`--force` belongs behind the verb",
            "help: write `wanshift apply --force`",
        ),
        (
            &["completions"],
            "`wanshift completions` needs SHELL",
            "help: write `wanshift completions SHELL`",
        ),
        (
            &["phase", "telework", "--confirm-within", "1 30m"],
            "--confirm-within: `1 30m` is not a duration",
            "help: the units are d, h, m, s and ms",
        ),
        (
            &["--config", "plan", "apply", "telework"],
            "`telework` is one word too many for `wanshift apply`",
            "help: to enter a phase write `wanshift phase telework`",
        ),
        (
            &["--state", "/nowhere", "phase", "--force"],
            "`wanshift phase` needs NAME",
            "help: write `wanshift phase NAME`, for example `wanshift phase telework",
        ),
        (
            &["explain", "10.0.0.1", "192.0.2.1"],
            "`wanshift explain` needs SERVICE",
            "help: write `wanshift explain SRC DST SERVICE`, for example",
        ),
        (
            &["condition", "reset"],
            "`wanshift condition reset` needs NAME",
            "NAME is the condition, as the policy names it",
        ),
        (
            &["condition", "rest"],
            "`wanshift condition` has no verb `rest`",
            "help: did you mean `reset`?",
        ),
        (
            &["rollback", "0"],
            "`0` does not do for CHANGES: no change is taken back",
            "help: write 1, or nothing, for the last change",
        ),
        (
            &["rollback", "one"],
            "`one` does not do for CHANGES",
            "help: write how many changes",
        ),
        (
            &["phase", "Telework"],
            "NAME: `Telework` is no phase name",
            "help: names are made of lower-case letters, digits and `-`, begin with a letter",
        ),
        (
            &["plan", "--phase"],
            "`--phase` needs a value",
            "help: write `--phase NAME`",
        ),
        (
            &["schema", "polcy"],
            "`polcy` does not do for WHAT",
            "help: did you mean `policy`?",
        ),
        (
            &["render", "iptables"],
            "`iptables` does not do for WHAT",
            "help: it may be tc, nft",
        ),
        (
            &["run", "--http", "8.8.8.8"],
            "`8.8.8.8` does not do for --http",
            "help: write for example 127.0.0.1:9817",
        ),
        (
            &["man", "fone"],
            "there is no verb `fone`",
            "help: there are check, plan,",
        ),
    ] {
        let told = told(arguments);
        assert!(told.contains(wrong), "{arguments:?}: {told}");
        assert!(told.contains(instead), "{arguments:?}: {told}");
        assert!(!told.contains("--help'"), "{arguments:?}: {told}");
    }
}

/// One grammar, one text, for durations of both.
#[test]
fn durations_are_those_of_policy_files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("host.toml");
    for (written, instead) in [
        ("10min", "write \"10m\": the units are d, h, m, s and ms"),
        ("1 hour", "write \"1h\": the units are d, h, m, s and ms"),
        ("10", "a duration needs a unit: \"10s\" or \"10m\""),
        ("1.5h", "the units are d, h, m, s and ms, the longer first"),
        ("30m1h", "the units are d, h, m, s and ms, the longer first"),
    ] {
        let policy = format!(
            "name = \"hub\"\n[circuit.a]\ndevice = \"wan0\"\ncapacity = \"1mbit\"\n[policy]\nstart = \"normal\"\n\
             [phase.normal]\nramp = \"{written}\"\n"
        );
        std::fs::write(&file, policy).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_wanshift"))
            .arg("check")
            .arg(&file)
            .output()
            .unwrap();
        let of_policy = String::from_utf8(output.stderr).unwrap();
        let words: Vec<&str> = of_policy.split_whitespace().collect();
        let of_policy = words.join(" ");
        let of_apply = told(&["apply", "--confirm-within", written]);
        for text in [of_policy, of_apply, told(&["run", "--sample", written])] {
            assert!(
                text.contains(&format!("`{written}` is not a duration")) && text.contains(instead),
                "{text}"
            );
        }
    }
    assert!(told(&["apply", "--confirm-within", "10ms"]).contains("help: write at least \"1s\""));
}
