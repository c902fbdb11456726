//! What describes the program to others: completions for shells, pages for man.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use clap::CommandFactory;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wanshift"))
        .args(arguments)
        .output()
        .unwrap()
}

/// What the program prints where it succeeds, and says nothing else.
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The verbs, as help lists them.
fn verbs() -> Vec<String> {
    let help = printed(&["--help"]);
    let list = help.split("Commands:").nth(1).unwrap();
    let list = list.split("\n\n").next().unwrap();
    let verbs: Vec<String> = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(
        verbs.len() >= 15 && verbs.iter().any(|verb| verb == "rollback"),
        "{verbs:?}"
    );
    verbs
}

/// The long options that the help of a verb names.
fn options(verb: &str) -> Vec<String> {
    let help = printed(&[verb, "--help"]);
    help.split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .map(|word| {
            word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
                .to_owned()
        })
        .collect()
}

#[test]
fn completions_know_every_verb_and_option() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = printed(&["completions", shell]);
        for verb in verbs() {
            assert!(text.contains(&verb), "{shell} does not know {verb}");
            for option in options(&verb) {
                assert!(text.contains(&option), "{shell}: {verb} --{option}");
            }
        }
    }
    assert_eq!(run(&["completions", "cmd"]).status.code(), Some(2));
}

/// What bash itself proposes for the last of `words`, the first of which is the program; none without bash.
fn proposed(words: &str) -> Option<String> {
    let script = printed(&["completions", "bash"]);
    let last = words.split(' ').count() - 1;
    let line = format!(
        "{script}\nCOMP_WORDS=({words}); COMP_CWORD={last}\n\
         complete -p wanshift | sed 's/.*-F \\([^ ]*\\) .*/\\1/' > $BASH_FUNCTION; function=$(cat $BASH_FUNCTION)\n\
         $function wanshift \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"\necho \"${{COMPREPLY[@]}}\""
    );
    let directory = tempfile::tempdir().unwrap();
    let mut bash = match Command::new("bash")
        .env("BASH_FUNCTION", directory.path().join("function"))
        .env_remove("WANSHIFT_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(bash) => bash,
        Err(error) => {
            eprintln!("skipped: no bash: {error}");
            assert!(std::env::var_os("CI").is_none(), "skipped under CI");
            return None;
        }
    };
    let mut input = bash.stdin.take().unwrap();
    input.write_all(line.as_bytes()).unwrap();
    drop(input);
    let output = bash.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{words}");
    let reply = String::from_utf8(output.stdout).unwrap();
    Some(reply.trim().to_owned())
}

#[test]
fn bash_completes_verbs_and_options() {
    for (words, reply) in [
        ("wanshift roll", "rollback"),
        ("wanshift check --l", "--lint-fatal"),
        ("wanshift schema ho", "host"),
        ("wanshift phase --fo", "--force"),
    ] {
        let Some(proposed) = proposed(words) else {
            return;
        };
        assert_eq!(proposed, reply, "{words}");
    }
}

#[test]
fn bash_completes_names_of_the_policy() {
    let program = env!("CARGO_BIN_EXE_wanshift");
    for (words, reply) in [
        ("phase ''", "nominal telework upgraded"),
        ("phase tele", "telework"),
        ("phase --confirm-within 10m --force up", "upgraded"),
        ("phase telework ''", ""),
        ("plan --phase n", "nominal"),
        ("plan --phase = n", "nominal"),
        ("render tc --phase up", "upgraded"),
        ("explain --circuit ''", "internet mpls"),
        ("event ''", "uplink-upgraded"),
        ("condition reset up", "uplink-upgraded"),
    ] {
        let words = format!("{program} --config policies/cd77 {words}");
        let Some(proposed) = proposed(&words) else {
            return;
        };
        // What the generated script says of the options of the verb is not ours to judge.
        if words.ends_with("telework ''") {
            assert!(!proposed.contains("nominal"), "{words}: {proposed}");
        } else {
            assert_eq!(proposed, reply, "{words}");
        }
    }
    // A policy that does not load has nothing to propose, and nothing is said.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("host.toml"), "name = 7\n").unwrap();
    let words = format!("{program} --config {} phase t", directory.path().display());
    assert!(proposed(&words).is_none_or(|reply| reply.is_empty()));
}

#[test]
fn zsh_and_fish_ask_for_names_of_the_policy() {
    let zsh = printed(&["completions", "zsh"]);
    for (kind, times) in [("phase", 4), ("circuit", 1), ("event", 1), ("condition", 1)] {
        let asked = format!(":_wanshift_names {kind}'");
        assert_eq!(zsh.matches(&asked).count(), times, "{kind}");
    }
    assert!(zsh.starts_with("#compdef wanshift\n"), "{zsh}");
    let fish = printed(&["completions", "fish"]);
    for kind in ["phase", "circuit", "event", "condition"] {
        assert!(
            fish.contains(&format!("(__fish_wanshift_names {kind})")),
            "{kind}"
        );
    }
    for (kind, names) in [
        ("phase", "nominal\ntelework\nupgraded\n"),
        ("circuit", "internet\nmpls\n"),
        ("event", "uplink-upgraded\n"),
        ("condition", "uplink-upgraded\n"),
    ] {
        let arguments = ["--config", "policies/cd77", "completions", "--names", kind];
        assert_eq!(printed(&arguments), names);
    }
    assert_eq!(
        printed(&["--config", "/nowhere", "completions", "--names", "phase"]),
        ""
    );
}

/// A page as a reader sees it who knows no roff.
fn plain(page: &str) -> String {
    let page = page.replace("\\-", "-").replace("\\fB", "");
    page.replace("\\fI", "").replace("\\fR", "")
}

#[test]
fn the_page_of_the_program_knows_every_verb() {
    let page = plain(&printed(&["man"]));
    assert!(page.contains(".TH wanshift 1"), "{page}");
    for verb in verbs() {
        assert!(page.contains(&format!("wanshift-{verb}(1)")), "no {verb}");
    }
    for word in [
        ".SH \"EXIT STATUS\"",
        "--lint-fatal",
        "/etc/wanshift",
        "policy.d/*.toml",
        "WANSHIFT_CONFIG",
    ] {
        assert!(page.contains(word), "no {word} in {page}");
    }
}

#[test]
fn the_page_of_a_verb_knows_its_options() {
    for verb in verbs() {
        let page = plain(&printed(&["man", &verb]));
        assert!(page.contains(&format!(".TH wanshift-{verb} 1")), "{page}");
        for option in options(&verb) {
            assert!(page.contains(&format!("--{option}")), "{verb} --{option}");
        }
    }
    let page = plain(&printed(&["man", "condition", "reset"]));
    assert!(page.contains("wanshift condition reset"), "{page}");
    let wrong = run(&["man", "rolback"]);
    assert_eq!(wrong.status.code(), Some(2));
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(told.contains("did you mean `rollback`?"), "{told}");
}

/// A section of a page.
fn section<'p>(page: &'p str, title: &str) -> &'p str {
    let (_, rest) = page
        .split_once(&format!(".SH {title}\n"))
        .unwrap_or_else(|| panic!("no {title} in {page}"));
    rest.split("\n.SH").next().unwrap()
}

/// The terms that a section tells of: codes, or command lines.
fn terms(section: &str) -> Vec<String> {
    let parts = section.split(".TP\n").skip(1);
    parts
        .map(|part| part.lines().next().unwrap().to_owned())
        .collect()
}

/// The pages of the program and of every verb: its words, and the page.
fn every_page() -> Vec<(String, String)> {
    let mut words = verbs();
    words.extend(["", "condition list", "condition reset"].map(str::to_owned));
    let page = |words: &String| {
        let words: Vec<&str> = ["man"]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        plain(&printed(&words))
    };
    words
        .iter()
        .map(|words| (words.clone(), page(words)))
        .collect()
}

#[test]
fn each_page_tells_exit_codes_and_where_to_read_on() {
    for (verb, page) in every_page() {
        let codes = terms(section(&page, "\"EXIT STATUS\""));
        let most: &[&str] = match verb.as_str() {
            "" | "check" => &["0", "1", "2", "3"],
            _ => &["0", "1", "2"],
        };
        assert_eq!(codes, most, "{verb}");
        let see = section(&page, "\"SEE ALSO\"");
        let above = verb.is_empty() || see.contains("wanshift(1)");
        assert!(above, "{verb}: {see}");
    }
    let main = plain(&printed(&["man"]));
    for title in ["ENVIRONMENT", "FILES", "EXAMPLES"] {
        assert!(!terms(section(&main, title)).is_empty(), "{title}");
    }
}

/// What the program gives is on the page of the verb.
#[test]
fn the_exit_codes_on_the_pages_are_those_that_the_program_gives() {
    let empty = tempfile::tempdir().unwrap();
    let nowhere = empty.path().to_str().unwrap();
    for (arguments, verb, code) in [
        (&["check", "policies/cd77"][..], "check", "0"),
        (&["check", nowhere], "check", "1"),
        (&["check", "--no-such"], "check", "2"),
        (&["check", "--lint-fatal", "policies/cd77"], "check", "3"),
        (&["--config", nowhere, "plan"], "plan", "1"),
        (&["--config", nowhere, "render", "tc"], "render", "1"),
        (
            &["--config", "policies/cd77", "render", "nft"],
            "render",
            "0",
        ),
        (&["schema", "status"], "schema", "0"),
        (&["schema", "nothing"], "schema", "2"),
        (
            &["--config", nowhere, "--state", nowhere, "apply"],
            "apply",
            "1",
        ),
        (&["man"], "man", "0"),
    ] {
        let output = run(arguments);
        let given = output.status.code().unwrap().to_string();
        assert_eq!(given, code, "{arguments:?}: {output:?}");
        let page = plain(&printed(&["man", verb]));
        let codes = terms(section(&page, "\"EXIT STATUS\""));
        assert!(codes.contains(&given), "{verb}: {codes:?}");
    }
}

/// Each example is a command line that the program takes, and those of the program are the README's first day.
#[test]
fn the_examples_are_taken() {
    for (verb, page) in every_page() {
        if !page.contains(".SH EXAMPLES") {
            continue;
        }
        for line in terms(section(&page, "EXAMPLES")) {
            let words = line.split(" > ").next().unwrap();
            let words = words.split_whitespace();
            if let Some("wanshift") = words.clone().next() {
                let taken = wanshift::cli::Cli::command().try_get_matches_from(words);
                assert!(taken.is_ok(), "{line}: {taken:?}");
                assert!(line.contains(&verb), "{line} on the page of {verb}");
            }
        }
    }
    let day_one = include_str!("../README.md")
        .split_once("### Day one")
        .unwrap();
    let day_one = day_one.1.split("```sh\n").nth(1).unwrap();
    let day_one = day_one.split("```").next().unwrap().lines();
    let commands: Vec<&str> = day_one
        .map(|line| line.split('#').next().unwrap().trim())
        .collect();
    let page = plain(&printed(&["man"]));
    assert_eq!(terms(section(&page, "EXAMPLES")), commands);
}

/// Writes all pages into a directory, and gives their names.
fn pages(directory: &Path) -> Vec<String> {
    printed(&["man", "--into", directory.to_str().unwrap()]);
    let files = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn all_pages_are_written_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let names = pages(directory.path());
    let same = |name: &str, words: &[&str]| {
        let page = std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(page, printed(words), "{name}");
    };
    same("wanshift.1", &["man"]);
    for verb in verbs() {
        same(&format!("wanshift-{verb}.1"), &["man", &verb]);
    }
    same("wanshift-condition-reset.1", &["man", "condition", "reset"]);
    // A page for each command that another page refers to, and no more.
    let mut referred: Vec<String> = names
        .iter()
        .flat_map(|name| {
            let page = plain(&std::fs::read_to_string(directory.path().join(name)).unwrap());
            let words = page.split_whitespace();
            let named = words.filter_map(|word| {
                let name = word.trim_end_matches(',').strip_suffix("(1)")?;
                name.starts_with("wanshift").then(|| format!("{name}.1"))
            });
            named.collect::<Vec<_>>()
        })
        .chain(["wanshift.1".to_owned()])
        .collect();
    referred.sort_unstable();
    referred.dedup();
    assert_eq!(referred, names);
    let nowhere = directory.path().join("nowhere");
    let wrong = run(&["man", "--into", nowhere.to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(1));
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(
        told.contains("cannot write") && told.contains("nowhere"),
        "{told}"
    );
}

/// What man itself says of the pages, where it is installed.
#[test]
fn man_has_nothing_to_warn_of() {
    let directory = tempfile::tempdir().unwrap();
    for name in pages(directory.path()) {
        let path = directory.path().join(name);
        let groff = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-z"])
            .arg(&path)
            .output();
        match groff {
            Ok(output) => {
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && errors.is_empty(), "{errors}");
            }
            Err(error) => {
                eprintln!("skipped: no groff: {error}");
                assert!(std::env::var_os("CI").is_none(), "skipped under CI");
                return;
            }
        }
    }
}
