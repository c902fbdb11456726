//! The administrator at the edge host: the program and its daemon, policy files, state.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::lab::namespace::Process;
use crate::lab::time::SECOND;
use crate::lab::{Lab, now, sleep};
use crate::sheet::Page;

/// How long is waited for the daemon, in seconds. Nothing is judged by it.
const PATIENCE: u64 = 20;

/// The host's own packet filter, as a file.
pub const OWN_RULES: &str = "own.nft";

/// The program `wanshift` on the lab's edge host.
pub struct Edge<'a> {
    lab: &'a Lab,
    page: &'a Page,
    program: PathBuf,
    directory: PathBuf,
}

impl<'a> Edge<'a> {
    /// Puts the policy files where they are to be applied from.
    pub fn new(lab: &'a Lab, page: &'a Page, program: PathBuf, directory: PathBuf) -> Self {
        let edge = Self {
            lab,
            page,
            program,
            directory,
        };
        // A copy, since a clone may belong to somebody else, and what others may write is not applied.
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/cd77");
        let to = edge.directory.join("etc");
        std::fs::create_dir_all(to.join("policy.d")).unwrap();
        for file in [
            "host.toml",
            "policy.d/10-classes.toml",
            "policy.d/20-telework.toml",
        ] {
            std::fs::write(to.join(file), std::fs::read(from.join(file)).unwrap()).unwrap();
        }
        let rules = lab.edge().run("nft", &["list", "ruleset"]);
        std::fs::write(edge.directory.join(OWN_RULES), rules).unwrap();
        edge
    }

    /// Goes where the files are, as the administrator does.
    pub fn settle(&self) {
        let directory = self.directory.display();
        self.page.command(&format!("cd {directory}"));
        let settings = SETTINGS.map(|(name, value)| format!("{name}={value}"));
        self.page.command(&format!("export {}", settings.join(" ")));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.edge().command(self.program.to_str().unwrap());
        command
            .args(arguments)
            .current_dir(&self.directory)
            .envs(SETTINGS)
            .env_remove("WANSHIFT_LOG");
        command
    }

    /// Runs a verb, which must succeed, and shows the command; returns stdout.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.follow(arguments, |line| self.page.talk(line))
    }

    /// The same, where each line of its talk goes to `talk` as it comes.
    pub fn follow(&self, arguments: &[&str], mut talk: impl FnMut(&str)) -> String {
        self.page
            .command(&format!("wanshift {}", arguments.join(" ")));
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            talk(&line.unwrap());
        }
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        if !output.status.success() {
            self.page.answer(&text);
            let log = self.log();
            panic!(
                "wanshift {}: {}; the daemon's log:\n{log}",
                arguments.join(" "),
                output.status
            );
        }
        text
    }

    /// Runs a verb and shows its first lines alone.
    pub fn head(&self, verb: &str, count: usize) {
        let text = self.part(verb, "head", count);
        text.lines()
            .take(count)
            .for_each(|line| self.page.answer(line));
    }

    /// Runs a verb and shows its last lines alone.
    pub fn tail(&self, verb: &str, count: usize) {
        let text = self.part(verb, "tail", count);
        let skipped = text.lines().count().saturating_sub(count);
        text.lines()
            .skip(skipped)
            .for_each(|line| self.page.answer(line));
    }

    /// All that a verb prints, below a command that shows a part of it.
    fn part(&self, verb: &str, which: &str, count: usize) -> String {
        self.page
            .command(&format!("wanshift {verb} | {which} -{count}"));
        let text = self.command(&[verb]).output().unwrap().stdout;
        String::from_utf8(text).unwrap()
    }

    /// Somebody, who knows nothing of wanshift, flushes the rule set and loads the host's own.
    pub fn flush(&self) {
        self.page
            .command(&format!("(echo flush ruleset; cat {OWN_RULES}) | nft -f -"));
        let rules = std::fs::read_to_string(self.directory.join(OWN_RULES)).unwrap();
        let rules = format!("flush ruleset\n{rules}");
        self.lab.edge().feed("nft", &["-f", "-"], &rules);
    }

    /// Starts the daemon, and waits until the first phase holds.
    pub fn start_daemon(&self) -> Daemon<'_> {
        self.page.command("wanshift run 2>log &");
        let mut command = self.command(&["run"]);
        let log = File::create(self.directory.join("log")).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        let mut daemon = Daemon {
            edge: self,
            process: self.lab.edge().spawn(command),
        };
        daemon.wait_for_phase("nominal");
        daemon
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

/// Paths in the directory of the play.
const SETTINGS: [(&str, &str); 3] = [
    ("WANSHIFT_CONFIG", "etc"),
    ("WANSHIFT_STATE", "state"),
    ("WANSHIFT_SOCKET", "socket"),
];

/// The daemon. It is killed where it is dropped.
pub struct Daemon<'a> {
    edge: &'a Edge<'a>,
    process: Process,
}

impl Daemon<'_> {
    /// Waits until a phase holds and no change is on its way.
    pub fn wait_for_phase(&mut self, phase: &str) {
        let deadline = now() + PATIENCE * SECOND;
        loop {
            let output = self.edge.command(&["--json", "status"]).output().unwrap();
            let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let is = &status["phase"];
            if status["daemon"].is_object() && is["name"] == phase && is["shifting"].is_null() {
                return;
            }
            let ended = self.process.child.try_wait().unwrap();
            assert!(
                now() < deadline && ended.is_none(),
                "phase {phase} did not come; the daemon {}; its log:\n{}",
                ended.map_or_else(|| "runs".to_owned(), |how| format!("ended ({how})")),
                self.edge.log()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// Ends it politely.
    pub fn end(mut self) {
        self.edge.page.command("kill %1");
        self.process.signal(Signal::SIGTERM);
        let status = self.process.child.wait().unwrap();
        assert!(
            status.success(),
            "the daemon: {status}\n{}",
            self.edge.log()
        );
    }
}

/// A plan without its last column, and without the lines that have nothing else.
pub fn without_reasons(plan: &str) -> String {
    let place = plan.lines().find_map(|line| line.find("why"));
    let width = place.unwrap_or(usize::MAX);
    let mut shown = String::new();
    for line in plan.lines() {
        // What is said below the table is no part of it.
        let of_table = line.starts_with([' ', '+', '~', '-']);
        let kept: String = if of_table {
            line.chars().take(width).collect()
        } else {
            line.to_owned()
        };
        if line.is_empty() || !kept.trim().is_empty() {
            shown.push_str(kept.trim_end());
            shown.push('\n');
        }
    }
    shown
}
