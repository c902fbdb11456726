//! Whether what lies on disk can have been written by anybody but root and the present user: neither
//! itself, nor through a directory or a link on the way to it.
//!
//! The state directory is the service's, and the service is no root. Root, who runs a verb while the service
//! is down, believes in that directory what the user of that name owns: what it says there is what the
//! service does to this kernel anyway. Its files are opened with no more than its owner's rights, so that a
//! link that was planted there leads nowhere else. Policy files are never believed of that user.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};
use thiserror::Error;

/// Why something on disk is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {why}; {help}", path.display())]
pub struct Distrust {
    /// What is not believed, or a directory or link on the way to it.
    pub path: PathBuf,
    /// Why.
    pub why: String,
    /// What to do.
    pub help: String,
}

/// What something on disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its mode says nothing, its owner does.
    Link,
}

impl Thing {
    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Link => "link",
        }
    }
}

/// Whether a directory that all may write but that is sticky is let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sticky {
    /// `/tmp` is no danger to what we or root own in it.
    Passes,
    /// What is made there could be there already.
    Counts,
}

/// The user that the service runs as, and the group whose members may give it orders.
pub const SERVICE: &str = "wanshift";

/// Whose something may be, other than root's and the present user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    /// Nobody's.
    Nobody,
    /// The service's, where it is root who looks: any other user would follow a stranger.
    Service,
}

const WRITABLE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Refuses what somebody else may have written.
///
/// # Errors
/// Says who, and what to do.
pub fn believe(path: &Path, facts: &Metadata, thing: Thing) -> Result<(), Distrust> {
    judge(path, facts, thing, Sticky::Counts, Others::Nobody)
}

/// Whether files of user `owner` are as good as those of the present one.
fn believable(owner: Uid, others: Others) -> bool {
    let me = geteuid();
    owner.is_root()
        || owner == me
        || match others {
            Others::Nobody => false,
            // A user database that cannot be read names nobody.
            Others::Service => {
                let service = || User::from_name(SERVICE).ok().flatten();
                me.is_root() && service().is_some_and(|user| user.uid == owner)
            }
        }
}

fn judge(
    path: &Path,
    facts: &Metadata,
    thing: Thing,
    sticky: Sticky,
    others: Others,
) -> Result<(), Distrust> {
    let (owner, mode, what) = (facts.uid(), facts.mode(), thing.name());
    if !believable(Uid::from_raw(owner), others) {
        let how = match thing {
            Thing::Link => "chown -h",
            Thing::File | Thing::Directory => "chown",
        };
        return Err(Distrust {
            path: path.to_owned(),
            why: format!("the {what} belongs to user {owner}, neither root nor the present user"),
            help: format!("{how} root {}", path.display()),
        });
    }
    let passes = thing == Thing::Link || sticky == Sticky::Passes && mode & STICKY != 0;
    let who = match mode & WRITABLE {
        0 => return Ok(()),
        _ if passes => return Ok(()),
        0o020 => "its group",
        0o002 => "everybody",
        _ => "its group and everybody",
    };
    Err(Distrust {
        path: path.to_owned(),
        why: format!("{who} may write the {what} (mode {:04o})", mode & 0o7777),
        help: format!("chmod go-w {}", path.display()),
    })
}

/// Every directory and link on the way to `path`, and itself where it is one: who may write those may
/// replace what is at their end. What is not there is not looked at.
///
/// # Errors
/// Says which can have been written by somebody else, and what to do.
pub fn way(path: &Path) -> Result<(), Distrust> {
    walk(path, Others::Nobody)
}

fn walk(path: &Path, others: Others) -> Result<(), Distrust> {
    let failed = |path: &Path, error: &io::Error| Distrust {
        path: path.to_owned(),
        why: format!("cannot be followed: {error}"),
        help: "look at the links on the way to it".to_owned(),
    };
    let mut left = 40;
    let mut todo = vec![std::path::absolute(path).map_err(|error| failed(path, &error))?];
    while let Some(next) = todo.pop() {
        let steps: Vec<&Path> = next.ancestors().collect();
        for step in steps.into_iter().rev() {
            let facts = match std::fs::symlink_metadata(step) {
                Ok(facts) => facts,
                // Opening it will say so, in better words.
                Err(_) => return Ok(()),
            };
            if facts.is_symlink() {
                judge(step, &facts, Thing::Link, Sticky::Passes, others)?;
                left -= 1;
                if left == 0 {
                    return Err(Distrust {
                        path: path.to_owned(),
                        why: "is reached through too many links".to_owned(),
                        help: "name the file itself".to_owned(),
                    });
                }
                let target = std::fs::read_link(step).map_err(|error| failed(step, &error))?;
                let parent = step.parent().unwrap_or(Path::new("/"));
                todo.push(parent.join(target));
            } else if facts.is_dir() {
                judge(step, &facts, Thing::Directory, Sticky::Passes, others)?;
            }
        }
    }
    Ok(())
}

/// A directory in which we write: the way to it, and that nobody else may make files there. Sticky or
/// not: what somebody else made there before us is his. It may be the service's.
///
/// # Errors
/// Says what can have been written by somebody else, and what to do.
pub fn directory(path: &Path) -> Result<(), Distrust> {
    walk(path, Others::Service)?;
    match std::fs::metadata(path) {
        Ok(facts) => judge(
            path,
            &facts,
            Thing::Directory,
            Sticky::Counts,
            Others::Service,
        ),
        // Whoever uses it will say so, in better words.
        Err(_) => Ok(()),
    }
}

/// A file that we made in such a [`directory`], or nothing: no link, no device, nobody else's.
///
/// # Errors
/// Says what it is instead, and what to do.
pub fn own_file(path: &Path) -> Result<(), Distrust> {
    let Ok(facts) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if facts.is_file() {
        return judge(path, &facts, Thing::File, Sticky::Counts, Others::Service);
    }
    let what = if facts.is_symlink() {
        "is a link, not a file that wanshift made"
    } else {
        "is no regular file"
    };
    Err(Distrust {
        path: path.to_owned(),
        why: what.to_owned(),
        help: format!("see who put it there, then rm {}", path.display()),
    })
}
