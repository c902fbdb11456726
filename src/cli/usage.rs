//! What is said of a command line that is wrong: what is wrong with it, and what to write instead.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory};

use super::pages::of_verb;
use super::{Cli, PROGRAM};
use crate::policy::nearest;

/// A command line that is wrong.
#[derive(Debug)]
pub(super) struct Wrong {
    /// What is wrong with it.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: Option<String>,
    /// What people are shown in place of both, where nothing but the program's name was written.
    pub(super) page: Option<String>,
}

impl Wrong {
    /// What `error` says of `arguments`, the first of which is the program.
    pub(super) fn of(error: &clap::Error, arguments: &[OsString]) -> Self {
        let mut program = Cli::command();
        program.build();
        let verb = verb(&program, arguments);
        let invalid = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            _ => Vec::new(),
        };
        let (message, help) = match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                return Self {
                    message: "a verb is missing".to_owned(),
                    help: Some(format!("`{PROGRAM} --help` lists them")),
                    page: Some(error.render().to_string().trim_end().to_owned()),
                };
            }
            ErrorKind::UnknownArgument => match invalid(ContextKind::InvalidArg).first() {
                Some(word) if word.starts_with('-') => unknown_option(&program, verb, word),
                Some(word) => too_much(verb, word),
                None => as_clap_says(error),
            },
            ErrorKind::InvalidSubcommand => match invalid(ContextKind::InvalidSubcommand).first() {
                Some(word) => unknown_verb(&program, verb, word, arguments),
                None => as_clap_says(error),
            },
            ErrorKind::MissingRequiredArgument => missing(verb, &invalid(ContextKind::InvalidArg)),
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                let argument = invalid(ContextKind::InvalidArg).concat();
                let value = invalid(ContextKind::InvalidValue).concat();
                let possible = invalid(ContextKind::ValidValue);
                match std::error::Error::source(error) {
                    _ if value.is_empty() => no_value(&argument),
                    Some(why) => refused(&argument, &value, &why.to_string()),
                    None => none_of(&argument, &value, &possible),
                }
            }
            ErrorKind::NoEquals
            | ErrorKind::TooManyValues
            | ErrorKind::TooFewValues
            | ErrorKind::WrongNumberOfValues
            | ErrorKind::ArgumentConflict
            | ErrorKind::InvalidUtf8
            | ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::Io
            | ErrorKind::Format
            | _ => as_clap_says(error),
        };
        Self {
            message,
            help,
            page: None,
        }
    }
}

/// The first paragraph, and what follows but for the advice to ask for help.
fn as_clap_says(error: &clap::Error) -> (String, Option<String>) {
    let text = error.render().to_string();
    let text = text.trim().trim_start_matches("error: ");
    let mut parts = text.split("\n\n").map(str::trim_end);
    let message = parts.next().unwrap_or_default().to_owned();
    let rest: Vec<&str> = parts
        .filter(|part| !part.starts_with("For more information") && !part.starts_with("Usage"))
        .collect();
    let rest = rest.join("; ").trim().to_owned();
    (message, (!rest.is_empty()).then_some(rest))
}

/// The verb that is written, the whole of one of two words; the program itself where there is none.
fn verb<'c>(program: &'c Command, arguments: &[OsString]) -> &'c Command {
    let mut verb = program;
    let mut words = arguments.iter().skip(1).map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if let Some(option) = word.strip_prefix("--") {
            let mut options = verb.get_arguments();
            let takes =
                |arg: &Arg| arg.get_long() == Some(option) && arg.get_action().takes_values();
            if options.any(takes) {
                words.next();
            }
        } else if let Some(below) = verb.find_subcommand(&*word) {
            verb = below;
        }
    }
    verb
}

/// As it is called, with the program's name.
fn called(verb: &Command) -> &str {
    verb.get_bin_name().unwrap_or(verb.get_name())
}

fn unknown_option(program: &Command, verb: &Command, word: &str) -> (String, Option<String>) {
    let called_verb = called(verb);
    let name = word.split('=').next().unwrap_or(word);
    let long = name.trim_start_matches('-');
    let has = |verb: &&Command| {
        let mut options = verb.get_arguments();
        options.any(|arg| arg.get_long() == Some(long) && !arg.is_hide_set())
    };
    if has(&verb) {
        return (
            format!("`{name}` belongs behind the verb"),
            Some(format!("write `{called_verb} {name}`")),
        );
    }
    let others: Vec<String> = program
        .get_subcommands()
        .filter(has)
        .map(|verb| format!("`{}`", called(verb)))
        .collect();
    let visible = verb.get_arguments().filter(|arg| !arg.is_hide_set());
    let near = nearest(long, visible.filter_map(Arg::get_long));
    let help = match (others.as_slice(), near) {
        ([], Some(near)) => format!("did you mean `--{near}`?"),
        ([], None) => format!("`{called_verb} --help` lists its options"),
        ([one], _) => format!("{one} has it; `{called_verb} --help` lists what this one has"),
        (several, _) => format!(
            "these have it: {}; `{called_verb} --help` lists what this one has",
            several.join(", ")
        ),
    };
    (
        format!("`{called_verb}` has no option `{name}`"),
        Some(help),
    )
}

/// A word more than a verb takes.
fn too_much(verb: &Command, word: &str) -> (String, Option<String>) {
    let called = called(verb);
    let has = |option| {
        verb.get_arguments()
            .any(|arg| arg.get_long() == Some(option))
    };
    let takes_words = verb.get_positionals().next().is_some();
    let help = match verb.get_name() {
        _ if has(word) => format!("write `{called} --{word}`"),
        _ if has("phase") && !takes_words => format!("for a phase write `{called} --phase {word}`"),
        "apply" => format!("to enter a phase write `{PROGRAM} phase {word}`"),
        _ => format!("`{called} --help` shows what it takes"),
    };
    (
        format!("`{word}` is one word too many for `{called}`"),
        Some(help),
    )
}

fn unknown_verb(
    program: &Command,
    verb: &Command,
    word: &str,
    arguments: &[OsString],
) -> (String, Option<String>) {
    let known: Vec<&str> = verb.get_subcommands().map(Command::get_name).collect();
    if word == "help" {
        let behind = arguments.iter().skip_while(|argument| *argument != "help");
        let behind = behind.skip(1).map(|argument| argument.to_string_lossy());
        let about = behind
            .take_while(|argument| !argument.starts_with('-'))
            .try_fold(program, |verb, argument| verb.find_subcommand(&*argument));
        let about = called(about.unwrap_or(program));
        return (
            "there is no verb `help`".to_owned(),
            Some(format!("write `{about} --help`")),
        );
    }
    let message = if verb.get_name() == PROGRAM {
        format!("there is no verb `{word}`")
    } else {
        format!("`{}` has no verb `{word}`", called(verb))
    };
    let help = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if verb.get_name() == PROGRAM => format!("`{PROGRAM} --help` lists the verbs"),
        None => format!("it has {}", known.join(" and ")),
    };
    (message, Some(help))
}

/// Words that a verb cannot do without.
fn missing(verb: &Command, words: &[String]) -> (String, Option<String>) {
    let called = called(verb);
    let name = |word: &String| word.trim_matches(['<', '>', '.']).to_owned();
    let names: Vec<String> = words.iter().map(name).collect();
    let told = match names.as_slice() {
        [] => "more".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    };
    let means: Vec<String> = verb
        .get_positionals()
        .filter_map(|arg| {
            let name = arg.get_value_names()?.first()?.to_string();
            let help = arg.get_help()?.to_string();
            names
                .contains(&name)
                .then(|| format!("{name} is {}", in_a_sentence(&help)))
        })
        .collect();
    let form: Vec<String> = verb
        .get_positionals()
        .filter_map(|arg| {
            let name = arg.get_value_names()?.first()?.to_string();
            (arg.is_required_set() || names.contains(&name)).then_some(name)
        })
        .collect();
    let words = called.strip_prefix(PROGRAM).unwrap_or(called);
    let example = of_verb(words.trim_start()).examples.first();
    let example = example.map_or_else(String::new, |(line, _)| format!(", for example `{line}`"));
    let help = format!(
        "write `{called} {}`{example}; {}",
        form.join(" "),
        means.join("; ")
    );
    (format!("`{called}` needs {told}"), Some(help))
}

/// Help as it goes on behind other words.
fn in_a_sentence(help: &str) -> String {
    let mut letters = help.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

/// An argument as messages name it: `--phase` of `--phase <NAME>`, `CHANGES` of `[CHANGES]`.
fn named(argument: &str) -> String {
    let option = argument.split_once(' ').map(|(option, _)| option);
    option
        .unwrap_or(argument)
        .trim_matches(['<', '>', '[', ']', '.'])
        .to_owned()
}

fn no_value(argument: &str) -> (String, Option<String>) {
    let form = argument.replace(['<', '>'], "");
    (
        format!("`{}` needs a value", named(argument)),
        Some(format!("write `{form}`")),
    )
}

/// A value that says something else than its argument takes; `why` says "what; what to do", or one of both.
fn refused(argument: &str, value: &str, why: &str) -> (String, Option<String>) {
    let (what, help) = match why.split_once("; ") {
        Some((what, help)) => (what, Some(help)),
        None if why.starts_with("write ") => ("", Some(why)),
        None => (why, None),
    };
    let argument = named(argument);
    let message = match what {
        "" => format!("`{value}` does not do for {argument}"),
        what if what.contains(&format!("`{value}`")) => format!("{argument}: {what}"),
        what => format!("`{value}` does not do for {argument}: {what}"),
    };
    (message, help.map(str::to_owned))
}

fn none_of(argument: &str, value: &str, possible: &[String]) -> (String, Option<String>) {
    let help = match nearest(value, possible.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it may be {}", possible.join(", ")),
    };
    let message = format!("`{value}` does not do for {}", named(argument));
    (message, Some(help))
}

/// How many changes to go back, as an argument.
pub(super) fn changes(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("no change is taken back; write 1, or nothing, for the last change, 2 for the last two, and so on"
            .to_owned()),
        Ok(changes) => Ok(changes),
        Err(_) => Err("write how many changes: 1 for the last one, 2 for the last two".to_owned()),
    }
}
