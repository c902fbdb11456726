//! The package: made once, as `scripts/package` makes it, around the program under test; and the next version of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::lab::{machine, skip};

/// What the next version brings in addition: other defaults, another word in a unit.
pub const NEXT_DEFAULT: &str = "# New in the next version.\n";
pub const NEXT_DESCRIPTION: &str = "The next version";

/// The version made, and the next.
pub const VERSIONS: [&str; 2] = ["0.1.0-1", "0.1.0-2"];

/// The packages, as files that are gone when it is dropped.
pub struct Debs {
    pub files: [PathBuf; 2],
    directory: TempDir,
}

/// Whether packages can be made here; where they cannot, the test is skipped and should return.
pub fn ready() -> bool {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/cargo-deb");
    let has = tools.exists() || machine::has("cargo-deb");
    if !has {
        skip("no cargo-deb (scripts/test and scripts/package install it)");
    }
    for program in ["dpkg-deb", "strip", "gzip"] {
        if !machine::has(program) {
            skip(&format!("packages are made with {program}"));
            return false;
        }
    }
    has
}

/// Runs a command line, which must succeed, and gives what it prints.
#[track_caller]
pub fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {text}{errors}");
    text.into_owned()
}

impl Debs {
    /// The packages, made where no test of this process has them.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Debs>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Self::make());
            *shared = Arc::downgrade(&made);
            made
        })
    }

    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/package");
        let output = Command::new(script)
            .args(["--deb-version", VERSIONS[0], "--fast"])
            .env("WANSHIFT_PROGRAM", env!("CARGO_BIN_EXE_wanshift"))
            .env("CARGO_TARGET_DIR", directory.path())
            .env_remove("DEBEMAIL")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/package: {errors}");
        let made = String::from_utf8(output.stdout).unwrap();
        let first = PathBuf::from(made.trim());
        assert!(first.exists(), "scripts/package printed {made:?}");
        let next = directory.path().join("next.deb");
        // The same program: what an upgrade does is tried, not what a new program does.
        let edits = format!(
            "cd {directory} && dpkg-deb -R {first} next && \
             sed -i 's/^Version: .*/Version: {version}/' next/DEBIAN/control && \
             printf '%s' '{NEXT_DEFAULT}' >>next/etc/default/wanshift && \
             sed -i 's/^Description=.*/Description={NEXT_DESCRIPTION}/' \
                 next/usr/lib/systemd/system/wanshift.service && \
             dpkg-deb --root-owner-group -Zgzip -z1 -b next {next}",
            directory = directory.path().display(),
            first = first.display(),
            version = VERSIONS[1],
            next = next.display(),
        );
        sh(&edits);
        Self {
            files: [first, next],
            directory,
        }
    }

    /// A field of the package's description.
    pub fn field(&self, name: &str) -> String {
        let file = self.files[0].display();
        sh(&format!("dpkg-deb -f {file} {name}")).trim().to_owned()
    }

    /// What the package unpacks, each as type and mode, owner, path.
    pub fn content(&self) -> Vec<(String, String, String)> {
        let list = sh(&format!("dpkg-deb -c {}", self.files[0].display()));
        list.lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let path = words[5].trim_start_matches('.');
                (words[0].to_owned(), words[1].to_owned(), path.to_owned())
            })
            .collect()
    }

    /// Unpacks a file of the package.
    pub fn unpacked(&self, path: &str) -> String {
        let to = self.directory.path().join("unpacked");
        sh(&format!(
            "[ -d {0} ] || dpkg-deb -x {1} {0}",
            to.display(),
            self.files[0].display()
        ));
        std::fs::read_to_string(to.join(path.trim_start_matches('/'))).unwrap()
    }
}
