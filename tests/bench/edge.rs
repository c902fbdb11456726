//! The program on the lab's edge, with policy files of a part's own.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::Bench;
use crate::lab::Lab;

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

    /// Runs the program, which must succeed.
    pub fn wanshift(&self, verb: &[&str]) {
        let state = self.directory.path().join("state");
        let config = self.config();
        let mut arguments = vec![
            "--config",
            config.to_str().unwrap(),
            "--state",
            state.to_str().unwrap(),
        ];
        arguments.extend(verb);
        let program = self.program.to_str().unwrap();
        self.lab.edge().run(program, &arguments);
    }
}
