//! `wanshift completions`: what a shell needs to complete the command line.
//!
//! Names of the policy are asked of the program whenever they are to be completed: it reads the files and prints them.

use std::collections::BTreeSet;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::output::Output;
use super::{Cli, Global, PROGRAM};
use crate::api::Failure;
use crate::load::{Choice, Trust, load};
use crate::policy::{Policy, read};

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell; bash, fish and zsh also complete names of the policy
    #[arg(required_unless_present = "names")]
    shell: Option<Shell>,
    /// Print the names of these that the policy has, a line each; nothing where it cannot be read
    #[arg(long, value_name = "KIND", hide = true, conflicts_with = "shell")]
    names: Option<Kind>,
}

/// What has names that verbs take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Phase,
    Event,
    Condition,
    Circuit,
}

pub fn completions(
    global: &Global,
    args: &CompletionsArgs,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    if let Some(kind) = args.names {
        let names = policy(global).map_or_else(Vec::new, |policy| names(&policy, kind));
        let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
        output.text_result(&lines)?;
    }
    if let Some(shell) = args.shell {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut text);
        output.text_result(&with_names(shell, &String::from_utf8_lossy(&text)))?;
    }
    Ok(0)
}

/// The policy; none where it is not good: who completes a line is told of that by the verb.
fn policy(global: &Global) -> Option<Policy> {
    let choice = Choice::Directory(global.config().to_owned());
    let loaded = load(&choice, Trust::Read).ok()?;
    read(&loaded.sources).ok()
}

fn names(policy: &Policy, kind: Kind) -> Vec<String> {
    match kind {
        Kind::Phase => texts(policy.phases().keys()),
        Kind::Event => texts(policy.events()),
        Kind::Condition => texts(policy.conditions().keys()),
        Kind::Circuit => texts(policy.circuits().keys()),
    }
}

/// Each once, in the order of the alphabet.
fn texts<T: ToString>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    let names: BTreeSet<String> = names.into_iter().map(|name| name.to_string()).collect();
    names.into_iter().collect()
}

/// The script that is generated, and what completes names.
fn with_names(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!("{script}{BASH}"),
        Shell::Fish => format!("{script}{FISH}"),
        Shell::Zsh => {
            let mut words = String::new();
            let mut verb = "";
            for line in script.lines() {
                // Each verb's arguments follow the line `(VERB)`.
                if let Some(name) = line.strip_prefix('(').and_then(|l| l.strip_suffix(')')) {
                    verb = name;
                }
                words.push_str(&zsh(verb, line));
                words.push('\n');
            }
            let (head, rest) = words.split_once('\n').unwrap_or((&words, ""));
            format!("{head}\n{ZSH}{rest}")
        }
        // Elvish and PowerShell complete verbs and options.
        Shell::Elvish | Shell::PowerShell | _ => script.to_owned(),
    }
}

/// A line of zsh's script; of an argument that takes a name, with what completes it.
fn zsh(verb: &str, line: &str) -> String {
    let kind = match verb {
        _ if line.starts_with("'--phase=[") => "phase",
        _ if line.starts_with("'--circuit=[") => "circuit",
        "phase" if line.starts_with("':name") => "phase",
        "event" if line.starts_with("':name") => "event",
        "reset" if line.starts_with("':name") => "condition",
        _ => return line.to_owned(),
    };
    line.replace(":_default'", &format!(":_wanshift_names {kind}'"))
}

const BASH: &str = r#"
# Names of the policy, where the word at the cursor is one; else as above.
_wanshift_or_names() {
    local at word awaits="" verb="" kind="" config=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word="${COMP_WORDS[at]}"
        [[ "${word}" == "=" ]] && continue
        case "${awaits}" in
            config) config=(--config "${word/#\~/${HOME}}") ;;
            "")
                case "${word}" in
                    --config | --state | --socket | --phase | --circuit | --confirm-within | --dscp)
                        awaits="${word#--}"
                        continue
                        ;;
                    -*) ;;
                    *) verb="${verb:+${verb} }${word}" ;;
                esac
                ;;
        esac
        awaits=""
    done
    case "${awaits}/${verb}" in
        phase/*) kind=phase ;;
        circuit/*) kind=circuit ;;
        /phase) kind=phase ;;
        /event) kind=event ;;
        "/condition reset") kind=condition ;;
    esac
    word="${COMP_WORDS[COMP_CWORD]}"
    if [[ -z "${kind}" || ( -z "${awaits}" && "${word}" == -* ) ]]; then
        _wanshift "$@"
        return
    fi
    [[ "${word}" == "=" ]] && word=""
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "${config[@]}" completions --names "${kind}" 2>/dev/null)" -- "${word}"))
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _wanshift_or_names -o nosort -o bashdefault -o default wanshift
else
    complete -F _wanshift_or_names -o bashdefault -o default wanshift
fi
"#;

const FISH: &str = r#"
# Names of the policy.
function __fish_wanshift_names
    set -l config
    set -l words (commandline -opc)
    if set -l at (contains -i -- --config $words)
        set config --config $words[(math $at + 1)]
    end
    wanshift $config completions --names $argv[1] 2>/dev/null
end
complete -c wanshift -n "__fish_wanshift_using_subcommand phase" -f -a "(__fish_wanshift_names phase)"
complete -c wanshift -n "__fish_wanshift_using_subcommand event" -f -a "(__fish_wanshift_names event)"
complete -c wanshift -n "__fish_wanshift_using_subcommand condition; and __fish_seen_subcommand_from reset" -f -a "(__fish_wanshift_names condition)"
for verb in plan explain render
    complete -c wanshift -n "__fish_wanshift_using_subcommand $verb" -l phase -x -a "(__fish_wanshift_names phase)"
end
complete -c wanshift -n "__fish_wanshift_using_subcommand explain" -l circuit -x -a "(__fish_wanshift_names circuit)"
"#;

const ZSH: &str = r#"
# Names of the policy; the last argument says of what, those before it are for compadd.
_wanshift_names() {
    local -a names config line
    line=(${(z)LBUFFER})
    local at=${line[(I)--config]}
    ((at)) && config=(--config ${~${(Q)line[at+1]}})
    names=("${(@f)$(command wanshift "${config[@]}" completions --names "${@[-1]}" 2>/dev/null)}")
    compadd "${@[1,-2]}" -- "${(@)names:#}"
}
"#;
