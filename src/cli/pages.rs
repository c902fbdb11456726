//! What pages for `man` say beside what `--help` says: exit codes, examples, where to read on.

/// What stands on a page beside what is said of options.
#[derive(Debug)]
pub struct Page {
    /// What the program exits with, and what that means.
    pub codes: Vec<(&'static str, &'static str)>,
    /// Command lines, each with what it does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Pages of other programs.
    pub others: &'static [&'static str],
}

const WRONG: (&str, &str) = ("2", "The command line is wrong, and nothing was done.");

/// What every verb that does something exits with.
const DOES: [(&str, &str); 3] = [
    ("0", "It is done, or there was nothing to do."),
    (
        "1",
        "It is not done, or goes on without who ordered it. What is said tells why, and what to do.",
    ),
    WRONG,
];
/// What every verb that only looks exits with.
const LOOKS: [(&str, &str); 3] = [
    ("0", "It is printed."),
    (
        "1",
        "It cannot be told. What is said tells why, and what to do.",
    ),
    WRONG,
];

/// The page of the program.
pub fn of_program() -> Page {
    Page {
        codes: vec![
            ("0", "All is well."),
            ("1", "It is not, or was not done."),
            (
                "2",
                "Wrong usage; and with plan --detailed-exitcode: there is something to do.",
            ),
            ("3", "With check --lint-fatal: notes remain."),
        ],
        examples: &[
            ("wanshift check", "Are the files good?"),
            ("wanshift plan", "What would change in this kernel?"),
            (
                "systemctl enable --now wanshift",
                "Starts the daemon, which applies the files.",
            ),
            (
                "wanshift status",
                "What holds, why, and what does each circuit carry?",
            ),
            (
                "wanshift plan --phase telework",
                "What would the phase telework change?",
            ),
            (
                "wanshift phase telework --confirm-within 10m",
                "Enters that phase. It is undone ten minutes after that, unless it is confirmed.",
            ),
            ("wanshift confirm", "Lets it stay."),
            (
                "wanshift rollback",
                "Goes back to what held before that change.",
            ),
            ("wanshift history", "Who did what, and when?"),
            (
                "wanshift teardown",
                "Takes everything of wanshift's out of the kernel.",
            ),
        ],
        others: &["tc(8)", "tc-htb(8)", "nft(8)", "systemctl(1)"],
    }
}

/// The page of a verb; of one of two words both, with a space between them.
pub fn of_verb(verb: &str) -> Page {
    Page {
        codes: codes(verb),
        examples: examples(verb),
        others: match verb {
            "render" => &["tc(8)", "tc-htb(8)", "nft(8)"],
            "run" => &["systemctl(1)", "journalctl(1)"],
            _ => &[],
        },
    }
}

fn codes(verb: &str) -> Vec<(&'static str, &'static str)> {
    match verb {
        "check" => vec![
            ("0", "The files are good. There may be notes."),
            ("1", "They are not."),
            WRONG,
            (
                "3",
                "With --lint-fatal: the files are good, and notes remain that the files or the host can be rid of.",
            ),
        ],
        "plan" => vec![
            (
                "0",
                "The plan is printed. With --detailed-exitcode: there is nothing to do.",
            ),
            (
                "1",
                "There is no plan. What is said tells why, and what to do.",
            ),
            (
                "2",
                "The command line is wrong. With --detailed-exitcode also: there is something to do.",
            ),
        ],
        "status" => vec![
            ("0", "All is as it should be. A daemon need not run."),
            ("1", "Something is not, or it cannot be told."),
            WRONG,
        ],
        "run" => vec![
            ("0", "The daemon was told to end, and has ended."),
            ("1", "It could not begin, or could not go on."),
            WRONG,
        ],
        "explain" | "render" | "history" | "condition" | "condition list" | "schema"
        | "completions" | "man" => LOOKS.to_vec(),
        _ => DOES.to_vec(),
    }
}

fn examples(verb: &str) -> &'static [(&'static str, &'static str)] {
    match verb {
        "check" => &[
            (
                "wanshift check ~/policies/branch-1",
                "Checks files before they are put in place.",
            ),
            (
                "wanshift --json check --lint-fatal",
                "For a program that checks what is pushed: notes count, too.",
            ),
        ],
        "plan" => &[
            (
                "wanshift plan --phase telework",
                "What would entering that phase change?",
            ),
            ("wanshift plan --rollback", "What would a rollback change?"),
            (
                "wanshift plan --detailed-exitcode",
                "For a program: is there anything to do?",
            ),
        ],
        "explain" => &[
            (
                "wanshift explain 10.77.20.1 203.0.113.7 https",
                "Why is this connection slow, or refused?",
            ),
            (
                "wanshift explain @session-hosts 203.0.113.7 tcp/443 --phase telework",
                "What would it meet in that phase?",
            ),
        ],
        "render" => &[
            (
                "wanshift render tc",
                "What the policy comes to, as a script of ip and tc.",
            ),
            (
                "wanshift --config policies/cd77 render nft --phase telework",
                "The rules of another directory's policy in that phase, as a file for nft -f.",
            ),
        ],
        "apply" => &[(
            "wanshift apply --confirm-within 10m",
            "Puts the files into force. That is undone after ten minutes, unless it is confirmed.",
        )],
        "phase" => &[(
            "wanshift phase telework --confirm-within 10m",
            "Enters that phase. It is undone ten minutes after that, unless it is confirmed.",
        )],
        "rollback" => &[
            (
                "wanshift rollback",
                "Takes back what is on its way or waits to be confirmed; else the last change.",
            ),
            ("wanshift rollback 2", "Takes back the last two changes."),
        ],
        "status" => &[
            (
                "wanshift status --classes",
                "What each class is promised, carries and drops.",
            ),
            (
                "wanshift --json status",
                "The same as a status, for a program.",
            ),
        ],
        "event" => &[(
            "wanshift event uplink-upgraded",
            "The provider has called: the line has its new speed.",
        )],
        "condition reset" => &[(
            "wanshift condition reset uplink-upgraded",
            "That was reported too early: it no longer counts.",
        )],
        "teardown" => &[(
            "wanshift teardown --shaping-only",
            "Takes the shaping out; what is blocked stays blocked.",
        )],
        "schema" => &[
            (
                "wanshift schema policy",
                "What the files in policy.d may say, for an editor.",
            ),
            (
                "wanshift schema status",
                "What wanshift --json status prints.",
            ),
        ],
        "completions" => &[(
            "wanshift completions bash > /etc/bash_completion.d/wanshift",
            "Has bash complete verbs, options, and names of the policy.",
        )],
        "man" => &[(
            "wanshift man --into /usr/local/share/man/man1",
            "Writes all pages to where man finds them.",
        )],
        _ => &[],
    }
}
