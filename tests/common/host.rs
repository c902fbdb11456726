//! An edge host in the thread's network namespace, and the program run on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::sh;

/// An edge host with three devices, its policy files and its state directory.
pub struct EdgeHost {
    directory: PathBuf,
    /// Removes the directory with the host, where it is to go.
    _kept: Option<TempDir>,
}

impl EdgeHost {
    /// Devices `lan0`, `mpls0` and `wan0`, each with a peer, and a copy of `policies/cd77` with the ramp
    /// that is given.
    pub fn new(ramp: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut host = Self::at(directory.path(), ramp);
        host._kept = Some(directory);
        host
    }

    /// The same, with a directory that stays.
    pub fn at(directory: &Path, ramp: &str) -> Self {
        make_devices();
        let host = Self::found(directory);
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/cd77");
        sh(&format!(
            "cp -r {} {}",
            example.display(),
            host.config().display()
        ));
        sh(&format!("chmod -R u+w,go-w {}", host.config().display()));
        host.edit(
            "policy.d/20-telework.toml",
            "ramp = \"10s\"",
            &format!("ramp = \"{ramp}\""),
        );
        host
    }

    /// Its devices, as far as they are not there.
    pub fn make_devices(&self) {
        for device in ["lan0", "mpls0", "wan0"] {
            sh(&format!(
                "ip link show {device} >/dev/null 2>&1 || {{ \
                 ip link add {device} type veth peer name far-{device} && \
                 ip link set {device} up && ip link set far-{device} up; }}"
            ));
        }
    }

    /// A host whose directory is there already, and whose devices are not.
    pub fn found(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            _kept: None,
        }
    }

    /// Where the policy files are.
    pub fn config(&self) -> PathBuf {
        self.directory.join("config")
    }

    /// Where the state is.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Where a daemon listens, if there is one.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("run/wanshift.sock")
    }

    /// Replaces `from`, which must be there, by `to` in a policy file.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.config().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not hold {from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// The arguments that every run has.
    pub fn arguments(&self) -> Vec<String> {
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        vec![
            "--config".to_owned(),
            path(self.config()),
            "--state".to_owned(),
            path(self.state()),
            "--socket".to_owned(),
            path(self.socket()),
        ]
    }

    /// Runs the program.
    pub fn run(&self, verb: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wanshift"));
        command.args(self.arguments()).args(verb).output().unwrap()
    }

    /// Runs the program, which must succeed, and gives what it prints.
    pub fn wanshift(&self, verb: &[&str]) -> String {
        let output = self.run(verb);
        let errors = super::said(&output.stderr);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "wanshift {verb:?}: {}\n{text}{errors}",
            output.status
        );
        text
    }

    /// Runs the program, which must fail with 1, and gives what it says.
    pub fn refused(&self, verb: &[&str]) -> String {
        let output = self.run(verb);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "wanshift {verb:?}: {text}");
        super::said(&output.stderr)
    }
}

/// Makes the devices of an edge host.
pub fn make_devices() {
    for device in ["lan0", "mpls0", "wan0"] {
        sh(&format!(
            "ip link add {device} type veth peer name far-{device} && \
             ip link set {device} up && ip link set far-{device} up"
        ));
    }
}

/// All that the kernel holds that a tool like ours could have touched, without what counts or ages, and in
/// an order that does not depend on what was there before.
pub fn dump() -> Vec<String> {
    let devices = sh("ip -o link | cut -d: -f2 | cut -d@ -f1");
    let classes: String = devices
        .split_whitespace()
        .map(|device| {
            sh(&format!(
                "tc class show dev {device}; tc filter show dev {device}"
            ))
        })
        .collect();
    let qdiscs = sh("tc qdisc show | sed 's/direct_packets_stat [0-9]*//'");
    let mut dump: Vec<String> = qdiscs
        .lines()
        .chain(classes.lines())
        .map(str::to_owned)
        .collect();
    dump.extend(blocks(&sh("nft -s list ruleset")));
    // The IFB gets another address and index each time that it is made.
    dump.extend(
        sh("ip -o -d link | sed '/ wanshift-down: /s/link.ether [0-9a-f:]*//; s/^[0-9]*: wanshift-down/wanshift-down/; s/\\\\/\\n/g'; ip rule; ip -6 rule")
            .lines()
            .map(str::to_owned),
    );
    dump.extend(
        sh("sysctl -a --pattern '^net\\.' 2>/dev/null | grep -vE 'nf_conntrack_count|random'")
            .lines()
            .map(str::to_owned),
    );
    dump.sort_unstable();
    dump
}

/// Asserts that two dumps are the same, and shows where they are not.
pub fn assert_same(left: &[String], right: &[String], when: &str) {
    let missing = |from: &[String], in_: &[String]| -> Vec<String> {
        from.iter()
            .filter(|line| !in_.contains(line))
            .cloned()
            .collect()
    };
    let (more, less) = (missing(left, right), missing(right, left));
    assert!(
        more.is_empty() && less.is_empty(),
        "{when}: has {more:#?}, has not {less:#?}"
    );
}

/// The chains, sets and maps of a rule set, each as one text, with its elements in order.
fn blocks(ruleset: &str) -> Vec<String> {
    let block = |block: &str| match block.split_once("elements = {") {
        Some((head, rest)) => {
            let (elements, tail) = rest.split_once('}').unwrap();
            let mut elements: Vec<&str> = elements.split(',').map(str::trim).collect();
            elements.sort_unstable();
            format!("{head}elements = {{ {} }}{tail}", elements.join(", "))
        }
        None => block.to_owned(),
    };
    ruleset
        .split("\n\n")
        .map(|text| block(text.trim_matches(|c| c == '}' || c == '\n')))
        .collect()
}
