//! The program on the lab's edge, with policy files of a part's own.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::Bench;
use crate::lab::namespace::Process;
use crate::lab::{Lab, sleep};

/// A phase without a split, for circuits without a pool.
pub const ALWAYS: &str = "[policy]\nstart = \"always\"\n[phase.always]\n";

/// A lab whose edge has policy files and a state directory.
pub struct Edge {
    pub lab: Lab,
    program: PathBuf,
    directory: TempDir,
}

impl Edge {
    /// Nothing is applied yet.
    pub fn new(bench: &Bench, host: &str, policy: &str) -> Self {
        let edge = Self {
            lab: Lab::new(),
            program: bench.program.clone(),
            directory: tempfile::Builder::new()
                .prefix("wanshift-bench.")
                .tempdir()
                .unwrap(),
        };
        std::fs::create_dir_all(edge.config().join("policy.d")).unwrap();
        edge.write("host.toml", host);
        edge.write("policy.d/policy.toml", policy);
        edge
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("etc")
    }

    /// Writes a policy file that nobody else may write.
    pub fn write(&self, file: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.config().join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Writes a file beside the policy and the state; returns where.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs the program, which must succeed; returns what it prints.
    pub fn wanshift(&self, verb: &[&str]) -> String {
        let arguments = self.arguments();
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        arguments.extend(verb);
        let program = self.program.to_str().unwrap();
        self.lab.edge().run(program, &arguments)
    }

    /// Starts the daemon, and waits until it answers.
    pub fn daemon(&self) -> Process {
        let mut command = self.lab.edge().command(self.program.to_str().unwrap());
        command.args(self.arguments()).arg("run");
        let said = File::create(self.directory.path().join("said")).unwrap();
        command.stdout(Stdio::null()).stderr(said);
        let mut daemon = self.lab.edge().spawn(command);
        while !self.directory.path().join("run/wanshift.sock").exists() {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "wanshift run ended: {}", self.said());
            sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// What the daemon has said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("said")).unwrap_or_default()
    }

    /// Removes what the program keeps of what it did.
    pub fn forget(&self) {
        // There may be nothing.
        let _ = std::fs::remove_dir_all(self.directory.path().join("state"));
    }

    fn arguments(&self) -> Vec<String> {
        let own = |name: &str| self.directory.path().join(name).display().to_string();
        let pairs = [
            ("--config", "etc"),
            ("--state", "state"),
            ("--socket", "run/wanshift.sock"),
        ];
        let pairs = pairs.map(|(flag, name)| [flag.to_owned(), own(name)]);
        pairs.into_iter().flatten().collect()
    }
}
