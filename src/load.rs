//! Policy files from disk, and whether they may be believed.
//!
//! A configuration directory holds `host.toml` and `policy.d/*.toml`; they are read in that order,
//! the latter in the order of their names. Files are opened first and looked at through the open
//! file, so that what was judged is what is read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::check::Note;
use crate::policy::{Fault, Faults, LARGEST, Source};
use crate::trust::{self, Distrust, Thing};

/// How far files must be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Enough to look at them: any file that can be read.
    Read,
    /// Enough to act on them: nobody but root and the present user can have written them, neither
    /// through the file nor through a directory or a link on the way to it.
    Apply,
}

/// Which files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// `host.toml` and `policy.d/*.toml` of this directory.
    Directory(PathBuf),
    /// These files; of a directory among them, as above, or all its `*.toml` where it has no
    /// `host.toml`. A file named `host.toml` comes first, the others as they are given.
    Paths(Vec<PathBuf>),
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The files, the host's first.
    pub sources: Vec<Source>,
    /// What was passed over, and why.
    pub notes: Vec<Note>,
}

/// Reads the files of a policy.
///
/// # Errors
/// Where one of them is missing, cannot be read, is no file, is too large, is not text, or may not
/// be believed: a fault for each, with what to do.
pub fn load(choice: &Choice, trust: Trust) -> Result<Loaded, Faults> {
    let mut found = Found::default();
    match choice {
        Choice::Directory(directory) => found.directory(directory),
        Choice::Paths(paths) => {
            for path in paths {
                if path.is_dir() {
                    found.directory_of_paths(path);
                } else if path.exists() || path.symlink_metadata().is_ok() {
                    found.files.push(path.clone());
                } else {
                    found.faults.push(*absent(path));
                }
            }
            let host = |path: &PathBuf| path.file_name().is_some_and(|name| name == "host.toml");
            found.files.sort_by_key(|path| !host(path));
        }
    }
    let mut sources = Vec::new();
    for path in &found.files {
        match read(path, trust) {
            Ok(text) => sources.push(Source {
                name: path.to_string_lossy().into(),
                text: text.into(),
            }),
            Err(fault) => found.faults.push(*fault),
        }
    }
    let mut faults = found.faults.into_iter();
    match faults.next() {
        Some(first) => Err(Faults::new(first, faults.collect())),
        None => Ok(Loaded {
            sources,
            notes: found.notes,
        }),
    }
}

/// Files on the way to being read.
#[derive(Debug, Default)]
struct Found {
    files: Vec<PathBuf>,
    notes: Vec<Note>,
    faults: Vec<Fault>,
}

impl Found {
    /// `host.toml`, which must be there, and `policy.d/*.toml`, which need not.
    fn directory(&mut self, directory: &Path) {
        self.files.push(directory.join("host.toml"));
        let policies = directory.join("policy.d");
        if policies.exists() {
            self.all_of(&policies);
        }
    }

    fn directory_of_paths(&mut self, directory: &Path) {
        if directory.join("host.toml").exists() || directory.join("policy.d").is_dir() {
            self.directory(directory);
        } else {
            self.all_of(directory);
        }
    }

    /// The `*.toml` of a directory, in the order of their names.
    fn all_of(&mut self, directory: &Path) {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                self.faults.push(*unreadable(directory, &error));
                return;
            }
        };
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        paths.sort();
        for path in paths {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let backup = name.starts_with(['.', '#']) || name.ends_with(['~', '#']);
            if backup || !name.ends_with(".toml") {
                let why = if backup {
                    "a hidden or backup file"
                } else {
                    "its name does not end in .toml"
                };
                self.notes.push(Note::of_file(
                    path.to_string_lossy(),
                    format!("not read: {why}"),
                    "remove it from the directory, or rename it to NAME.toml",
                ));
            } else {
                self.files.push(path);
            }
        }
    }
}

fn fault(path: &Path, message: impl Into<String>, help: impl Into<String>) -> Box<Fault> {
    Box::new(Fault::of_file(path.to_string_lossy(), message, help))
}

fn distrusted(why: Distrust) -> Box<Fault> {
    fault(&why.path, why.why, why.help)
}

fn unreadable(path: &Path, error: &io::Error) -> Box<Fault> {
    let plain = error.to_string();
    let message = plain.split(" (os error").next().unwrap_or_default();
    let help = if error.kind() == io::ErrorKind::NotFound {
        "write this file, or name another directory with --config".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        format!(
            "run as root, or let this user read it: chmod +r {}",
            path.display()
        )
    } else {
        "look at the links on the way to it, and at the disk".to_owned()
    };
    fault(
        path,
        format!("cannot be read: {}", message.to_lowercase()),
        help,
    )
}

/// A path that was named and that leads to nothing.
fn absent(path: &Path) -> Box<Fault> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let help = match parent {
        Some(parent) if !parent.is_dir() => format!(
            "there is no directory {} either; name a file or a directory that is there",
            parent.display()
        ),
        Some(_) | None => "name a file or a directory that is there".to_owned(),
    };
    fault(path, "there is no such file or directory", help)
}

/// The text of one file.
fn read(path: &Path, trust: Trust) -> Result<String, Box<Fault>> {
    if trust == Trust::Apply {
        trust::way(path).map_err(distrusted)?;
    }
    // Not blocking: a FIFO in place of a file must not hang us, nor a tty become ours.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).bits())
        .open(path)
        .map_err(|error| unreadable(path, &error))?;
    let facts = file.metadata().map_err(|error| unreadable(path, &error))?;
    if facts.is_dir() {
        return Err(fault(
            path,
            "is a directory, not a file",
            "put a file in its place, or name the files in it",
        ));
    }
    if !facts.is_file() {
        return Err(fault(
            path,
            "is no regular file",
            "policies are read from plain files only",
        ));
    }
    if trust == Trust::Apply {
        trust::believe(path, &facts, Thing::File).map_err(distrusted)?;
    }
    text(path, file)
}

fn text(path: &Path, file: File) -> Result<String, Box<Fault>> {
    let too_large = || {
        fault(
            path,
            format!("is larger than {} MiB", LARGEST >> 20),
            "split it into several files; they are read in the order of their names",
        )
    };
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() > LARGEST {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        fault(
            path,
            format!("is not UTF-8: see line {line}, byte {good}"),
            "save it as UTF-8, or convert it: iconv -f latin1 -t utf-8",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("policy.d")).unwrap();
        write(&directory.path().join("host.toml"), "name = \"hub\"\n");
        for name in [
            "20-b.toml",
            "10-a.toml",
            ".hidden.toml",
            "30-c.toml~",
            "README",
        ] {
            write(&directory.path().join("policy.d").join(name), "");
        }
        directory
    }

    fn first(choice: &Choice, trust: Trust) -> Fault {
        load(choice, trust).expect_err("it was read").list()[0].clone()
    }

    #[test]
    fn files_come_in_order_and_others_are_named() {
        let directory = directory();
        let choice = Choice::Directory(directory.path().to_owned());
        let loaded = load(&choice, Trust::Apply).unwrap();
        let names: Vec<&str> = loaded
            .sources
            .iter()
            .map(|source| source.name.rsplit('/').next().unwrap())
            .collect();
        assert_eq!(names, ["host.toml", "10-a.toml", "20-b.toml"]);
        assert_eq!(loaded.notes.len(), 3);

        let paths = Choice::Paths(vec![
            directory.path().join("policy.d"),
            directory.path().join("host.toml"),
        ]);
        let loaded = load(&paths, Trust::Read).unwrap();
        assert!(loaded.sources[0].name.ends_with("host.toml"));
        assert_eq!(loaded.sources.len(), 3);
    }

    #[test]
    fn what_others_may_write_is_read_but_not_applied() {
        let directory = directory();
        let choice = Choice::Directory(directory.path().to_owned());
        let host = directory.path().join("host.toml");
        for (path, mode) in [
            (host.clone(), 0o664),
            (host.clone(), 0o646),
            (directory.path().join("policy.d"), 0o775),
        ] {
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(load(&choice, Trust::Read).is_ok());
            let fault = first(&choice, Trust::Apply);
            assert!(fault.message.contains("may write"), "{fault:?}");
            assert!(fault.help.unwrap().starts_with("chmod go-w"));
            fs::set_permissions(&path, before).unwrap();
        }
        assert!(load(&choice, Trust::Apply).is_ok());
    }

    #[test]
    fn somebody_elses_link_and_file_are_refused() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = directory();
        let choice = Choice::Directory(directory.path().to_owned());
        let link = directory.path().join("policy.d/40-link.toml");
        symlink(directory.path().join("policy.d/10-a.toml"), &link).unwrap();
        assert!(load(&choice, Trust::Apply).is_ok());
        std::os::unix::fs::lchown(&link, Some(12_345), None).unwrap();
        let fault = first(&choice, Trust::Apply);
        assert!(fault.message.contains("the link belongs to"), "{fault:?}");
        fs::remove_file(&link).unwrap();

        let file = directory.path().join("policy.d/10-a.toml");
        std::os::unix::fs::chown(&file, Some(12_345), None).unwrap();
        let fault = first(&choice, Trust::Apply);
        assert!(fault.message.contains("the file belongs to"), "{fault:?}");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let directory = directory();
        let choice = Choice::Directory(directory.path().to_owned());
        let host = directory.path().join("host.toml");
        let said = |part: &str| {
            let fault = first(&choice, Trust::Read);
            assert!(fault.message.contains(part), "{fault:?}");
            assert!(fault.help.is_some());
        };
        fs::remove_file(&host).unwrap();
        said("no such file");
        fs::create_dir(&host).unwrap();
        said("is a directory");
        fs::remove_dir(&host).unwrap();
        nix::unistd::mkfifo(&host, nix::sys::stat::Mode::S_IRWXU).unwrap();
        said("no regular file");
        fs::remove_file(&host).unwrap();
        symlink(&host, &host).unwrap();
        said("cannot be read");
        fs::remove_file(&host).unwrap();
        fs::write(&host, b"a = 1\nb = \"\xff\"\n").unwrap();
        said("not UTF-8: see line 2");
        fs::write(&host, vec![b'#'; LARGEST + 1]).unwrap();
        said("larger than 8 MiB");
    }
}
