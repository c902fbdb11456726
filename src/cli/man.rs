//! `wanshift man`: a page for `man`, of the program or of one of its verbs; or all of them, as files.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::output::Output;
use super::pages::{Page, of_program, of_verb};
use super::usage::Wrong;
use super::{CONFIG, Cli, PROGRAM};
use crate::api::Failure;
use crate::policy::nearest;

#[derive(Debug, Args)]
pub struct ManArgs {
    /// The verb, such as `phase` or `condition reset` [default: the page of the program]
    verb: Vec<String>,
    /// Write all pages into this directory instead, a file for the program and for each verb
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    into: Option<PathBuf>,
}

/// What it takes from the environment beside what stands for options.
const VARIABLES: [(&str, &str); 2] = [
    ("NO_COLOR", "No colour, also on a terminal."),
    (
        "WANSHIFT_LOG",
        "How much is told beside results: error, warn (the default), info (that of run) or debug.",
    ),
];
/// Where the package puts the README.
const README: &str = "/usr/share/doc/wanshift/README.md";
/// What it reads and writes.
const PATHS: [(&str, &str); 4] = [
    (
        "host.toml",
        "What the host is: its circuits, and the pools that they share.",
    ),
    (
        "policy.d/*.toml",
        "What should hold, read in the order of their names after host.toml. Both are in the configuration directory.",
    ),
    (
        "/var/lib/wanshift",
        "What outlives a restart, where nobody says otherwise.",
    ),
    (
        "/run/wanshift/wanshift.sock",
        "Where a daemon listens, where nobody says otherwise.",
    ),
];

pub fn man(args: &ManArgs, output: &mut Output<'_>) -> Result<u8, Failure> {
    let mut program = Cli::command();
    program.build();
    if let Some(directory) = &args.into {
        all(&program, directory, Of::Program)?;
        return Ok(0);
    }
    let mut command = &program;
    for word in &args.verb {
        let Some(verb) = command.find_subcommand(word) else {
            return Ok(output.wrong(&unknown(command, word)));
        };
        command = verb;
    }
    let of = if args.verb.is_empty() {
        Of::Program
    } else {
        Of::Verb
    };
    output.text_result(&page(command, of)?)?;
    Ok(0)
}

/// What a page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Program,
    Verb,
}

/// Writes the page of a command, and of each verb below it, into a directory.
fn all(command: &Command, directory: &Path, of: Of) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = directory.join(format!("{name}.1"));
    std::fs::write(&path, page(command, of)?)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
        .try_for_each(|verb| all(verb, directory, Of::Verb))
}

fn unknown(command: &Command, word: &str) -> Wrong {
    let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    let help = match nearest(word, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("there are {}", known.join(", "))),
    };
    Wrong {
        message: format!("there is no verb `{word}`"),
        help,
        page: None,
    }
}

fn page(command: &Command, of: Of) -> Result<String, Failure> {
    let mut text = Vec::new();
    let version = format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).manual(PROGRAM).source(version);
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let said = match of {
        Of::Program => of_program(),
        Of::Verb => of_verb(words(command)),
    };
    let mut more = Roff::new();
    section(&mut more, "EXIT STATUS", owned(&said.codes));
    if of == Of::Program {
        let environment = command.get_arguments().filter_map(|argument| {
            let name = argument.get_env()?.to_string_lossy().into_owned();
            let option = argument.get_long()?;
            Some((
                name,
                format!("Stands for --{option} where that is not given."),
            ))
        });
        section(&mut more, "ENVIRONMENT", environment);
        section(&mut more, "", owned(&VARIABLES));
        let config = "The configuration directory, where nobody says otherwise.".to_owned();
        section(&mut more, "FILES", [(CONFIG.to_owned(), config)]);
        section(&mut more, "", owned(&PATHS));
    }
    if !said.examples.is_empty() {
        section(&mut more, "EXAMPLES", owned(said.examples));
    }
    see_also(&mut more, command, &said, of);
    more.to_writer(&mut text)?;
    if of == Of::Program {
        man.render_version_section(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A verb as it is written behind the program's name.
fn words(verb: &Command) -> &str {
    let whole = verb.get_bin_name().unwrap_or(verb.get_name());
    whole
        .strip_prefix(PROGRAM)
        .map_or(whole, |words| words.trim_start())
}

/// Where to read on: from a verb to the program and the verbs below it, and from each page to other programs' and to
/// what comes with the program.
fn see_also(page: &mut Roff, command: &Command, said: &Page, of: Of) {
    let mut pages = Vec::new();
    if of == Of::Verb {
        pages.push(format!("{PROGRAM}(1)"));
        let words = words(command);
        let below = words.rsplit_once(' ').map(|(above, _)| above);
        pages.extend(below.map(|above| format!("{PROGRAM}-{above}(1)")));
    }
    pages.extend(said.others.iter().map(|&other| other.to_owned()));
    let mut line: Vec<Inline> = Vec::new();
    for (at, name) in pages.iter().enumerate() {
        if at > 0 {
            line.push(roman(", "));
        }
        let (name, section) = name.split_once('(').unwrap_or((name, ""));
        line.push(bold(name));
        line.push(roman(format!("({section}")));
    }
    page.control("SH", ["SEE ALSO"]);
    page.text(line);
    if of == Of::Program {
        page.control("PP", []);
        page.text([roman(format!(
            "What the files may say, and how it all works, is told in {README}."
        ))]);
    }
}

fn owned<'a>(entries: &'a [(&str, &str)]) -> impl Iterator<Item = (String, String)> + 'a {
    let entries = entries.iter();
    entries.map(|(name, what)| ((*name).to_owned(), (*what).to_owned()))
}

/// Names and what they are, under a title of their own or under the last one.
fn section(page: &mut Roff, title: &str, entries: impl IntoIterator<Item = (String, String)>) {
    if !title.is_empty() {
        page.control("SH", [title]);
    }
    for (name, what) in entries {
        page.control("TP", []);
        page.text([bold(name)]);
        page.text([roman(what)]);
    }
}
