//! What a host looks like, as text: taken before and after, it shows what was left behind.

use super::Namespace;
use std::fmt;
use std::fs;
use std::path::Path;

/// A host's traffic control, packet filter, links, rules, routes and sysctls, without counters.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    lines: Vec<String>,
}

/// Sysctls that change without anybody's doing.
const RESTLESS: &[&str] = &["nf_conntrack_count", "stable_secret"];

impl Snapshot {
    /// Looks at a host.
    pub fn of(namespace: &Namespace) -> Self {
        let mut lines = Vec::new();
        let mut ask = |program: &str, arguments: &[&str]| {
            let text = namespace.run(program, arguments);
            let question = format!("{program} {}: ", arguments.join(" "));
            lines.extend(
                text.lines()
                    .map(|line| question.clone() + &without_timers(line)),
            );
        };
        ask("ip", &["-d", "link"]);
        ask("ip", &["address"]);
        for family in ["-4", "-6"] {
            ask("ip", &[family, "rule"]);
            ask("ip", &[family, "route", "show", "table", "all"]);
        }
        ask("nft", &["-s", "list", "ruleset"]);
        ask("tc", &["qdisc"]);
        for device in namespace.devices() {
            ask("tc", &["class", "show", "dev", &device]);
            for place in ["root", "ingress", "egress"] {
                ask("tc", &["filter", "show", "dev", &device, place]);
            }
        }
        lines.extend(namespace.enter(|| {
            let mut found = Vec::new();
            sysctls(Path::new("/proc/sys/net"), &mut found);
            found.sort();
            found
        }));
        Self { lines }
    }

    /// What the other has and this has not (`+`), and the reverse (`-`).
    pub fn changes(&self, other: &Self) -> Vec<String> {
        let missing = |from: &Self, of: &Self, sign: &str| -> Vec<String> {
            let lines = from.lines.iter().filter(|line| !of.lines.contains(line));
            lines.map(|line| format!("{sign}{line}")).collect()
        };
        let mut changes = missing(self, other, "-");
        changes.extend(missing(other, self, "+"));
        if changes.is_empty() && self != other {
            changes.push("the same lines in another order or number".into());
        }
        changes
    }

    /// Fails, with the differences, where the other is not the same.
    #[track_caller]
    pub fn assert_same(&self, other: &Self) {
        let changes = self.changes(other);
        assert!(changes.is_empty(), "not as before:\n{}", changes.join("\n"));
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.lines.join("\n"))
    }
}

/// A bridge's timers run: `gc_timer  266.28`.
fn without_timers(line: &str) -> String {
    let mut words = line.split_whitespace().peekable();
    let mut kept = String::with_capacity(line.len());
    kept.extend(line.chars().take_while(|c| c.is_whitespace()));
    while let Some(word) = words.next() {
        kept.push_str(word);
        if word.ends_with("_timer") {
            words.next();
        }
        if words.peek().is_some() {
            kept.push(' ');
        }
    }
    kept
}

fn sysctls(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sysctls(&path, found);
        } else if !RESTLESS.iter().any(|name| path.ends_with(name)) {
            // Some can only be written.
            if let Ok(value) = fs::read_to_string(&path) {
                found.push(format!("{}: {}", path.display(), value.trim_end()));
            }
        }
    }
}
