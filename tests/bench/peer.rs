//! FireQOS in a network namespace, with nothing of it outside.
//!
//! It keeps notes and a lock below `/run`, writes to the system log, and loads kernel modules, which are
//! the whole machine's. Here `/run` is a directory of ours in a mount namespace of its own, and the programs
//! for the other two are `true`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::lab::Namespace;
use crate::lab::machine::has;
use crate::samples::time;

/// FireQOS on a host.
pub struct FireQos {
    host: Namespace,
    directory: TempDir,
}

impl FireQos {
    /// It is asked for nothing yet. None where it is not installed.
    pub fn on(host: &Namespace) -> Option<Self> {
        if !has("fireqos") {
            return None;
        }
        let directory = tempfile::Builder::new()
            .prefix("wanshift-bench.")
            .tempdir()
            .unwrap();
        for name in ["run", "bin"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        for program in ["modprobe", "logger"] {
            symlink("/bin/true", directory.path().join("bin").join(program)).unwrap();
        }
        let host = host.clone();
        Some(Self { host, directory })
    }

    /// Writes a configuration; returns where.
    pub fn configuration(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Loads a configuration, in place of one that is loaded; returns how many seconds it took.
    pub fn start(&self, configuration: &Path) -> f64 {
        self.run(&["start", configuration.to_str().unwrap()])
    }

    /// Takes out what is loaded.
    pub fn stop(&self) {
        self.run(&["stop"]);
    }

    fn run(&self, arguments: &[&str]) -> f64 {
        let own = |name: &str| self.directory.path().join(name);
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", own("bin").display());
        self.host.enter(|| {
            let mut mount = Command::new("mount");
            let mount = mount.args(["--bind", own("run").to_str().unwrap(), "/run"]);
            assert!(mount.status().unwrap().success());
            let mut fireqos = Command::new("fireqos");
            fireqos
                .args(arguments)
                .env("PATH", path)
                .stdin(Stdio::null());
            let (seconds, output) = time(|| fireqos.output().unwrap());
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "fireqos {arguments:?}: {said}");
            seconds
        })
    }
}
