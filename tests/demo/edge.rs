//! The administrator at the edge host: the program, its policy files, its state.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tempfile::TempDir;

use crate::lab::Lab;
use crate::sheet::Page;

/// The program `wanshift` on the lab's edge host.
pub struct Edge<'a> {
    lab: &'a Lab,
    program: PathBuf,
    directory: TempDir,
}

impl<'a> Edge<'a> {
    /// Puts the policy files where they are to be applied from.
    pub fn new(lab: &'a Lab, program: PathBuf) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("wanshift-demo.")
            .tempdir()
            .unwrap();
        clean_up_when_asked_to_stop(directory.path().to_owned());
        let edge = Self {
            lab,
            program,
            directory,
        };
        // A copy, since a clone may belong to somebody else, and what others may write is not applied.
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/cd77");
        std::fs::create_dir_all(edge.config().join("policy.d")).unwrap();
        for file in [
            "host.toml",
            "policy.d/10-classes.toml",
            "policy.d/20-telework.toml",
        ] {
            std::fs::write(
                edge.config().join(file),
                std::fs::read(from.join(file)).unwrap(),
            )
            .unwrap();
        }
        edge
    }

    /// What the administrator sets, once.
    pub fn settings(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("WANSHIFT_CONFIG", self.config()),
            ("WANSHIFT_STATE", self.directory.path().join("state")),
        ]
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("etc")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.edge().command(self.program.to_str().unwrap());
        command
            .args(arguments)
            .envs(self.settings())
            .env_remove("WANSHIFT_LOG");
        command
    }

    /// Runs the program, which must succeed, and shows the command; returns stdout.
    pub fn run(&self, page: &Page, arguments: &[&str]) -> String {
        self.follow(page, arguments, |line| page.talk(line))
    }

    /// The same, where each line of its talk goes to `talk` as it comes.
    pub fn follow(&self, page: &Page, arguments: &[&str], mut talk: impl FnMut(&str)) -> String {
        page.command(&format!("wanshift {}", arguments.join(" ")));
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        for line in BufReader::new(child.stderr.take().unwrap()).lines() {
            talk(&line.unwrap());
        }
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "wanshift {}: {}",
            arguments.join(" "),
            output.status
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The network ends with this process; the directory would not.
fn clean_up_when_asked_to_stop(directory: PathBuf) {
    let mut signals = Signals::new([SIGINT, SIGTERM]).unwrap();
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // A program that is still at work there may put a file back.
            while directory.exists() {
                let _ = std::fs::remove_dir_all(&directory);
            }
            eprintln!("\ninterrupted; the lab is gone");
            std::process::exit(128 + signal);
        }
    });
}
