//! One writer for each state directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{Gid, Uid, geteuid, setfsgid, setfsuid};
use thiserror::Error;

use super::StoreError;
use crate::trust;

/// The file in the state directory.
const FILE: &str = "lock";

/// The right to write, as long as it lives. The kernel takes it back however its holder ends.
///
/// Programs that the holder starts inherit it: one that goes on alone after `kill -9` of the holder, an
/// `nft` before its commit, must have ended before somebody else may plan from what the kernel holds. So
/// nothing is to be started under the lock that does not end soon.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the right to write was not given.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("another wanshift is at work on {}: {holder}; wait for it, or stop it", directory.display())]
    Held {
        /// The state directory.
        directory: PathBuf,
        /// Who said to have it.
        holder: String,
    },
    /// The directory or file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Lock {
    /// Takes the lock of `directory` for `holder`, who is named to others that ask for it.
    ///
    /// # Errors
    /// Where somebody else has it.
    pub fn take(directory: &Path, holder: &str) -> Result<Self, LockError> {
        make_directory(directory)?;
        let fail = |cause| StoreError::Directory {
            path: directory.to_owned(),
            cause,
        };
        let mut file = {
            let _rights = OwnersRights::of(directory)?;
            let path = directory.join(FILE);
            let opened = open_or_make(&path).or_else(|error| {
                if error.kind() == ErrorKind::ReadOnlyFilesystem {
                    // The right not to be disturbed can be had there too.
                    File::open(&path)
                } else {
                    Err(error)
                }
            });
            opened.map_err(fail)?
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    directory: directory.to_owned(),
                    holder: name(&mut file),
                });
            }
            Err(TryLockError::Error(cause)) => return Err(fail(cause).into()),
        }
        // A name is a courtesy: a disk that takes none keeps nobody from his right.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{holder}"));
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| fail(errno.into()))?;
        Ok(Self { _file: file })
    }

    /// Who has the lock of `directory` at this moment; `None` where nobody has, or nobody can tell.
    #[must_use]
    pub fn holder(directory: &Path) -> Option<String> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(directory.join(FILE));
        let mut file = file.ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(name(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }
}

/// Who holds the lock says so in its file. He may be writing it at this moment: a name is a courtesy.
fn name(file: &mut File) -> String {
    let mut held = String::new();
    let _ = file.read_to_string(&mut held);
    held.lines().next().unwrap_or("unnamed").to_owned()
}

fn open_or_make(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // As it was looked at: a link is not followed, a FIFO does not hang us.
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
        .open(path)
}

/// While it lives, this thread opens and makes files with the rights of the owner of the state directory and no
/// others: what root makes there is the service's at once, and a link that the service's user put there
/// leads root to nothing that this user could not write.
///
/// It is of one thread, and is not to be held while other files are opened.
#[derive(Debug)]
pub(super) struct OwnersRights {
    /// Root's, where they were laid down.
    before: Option<(Uid, Gid)>,
}

impl OwnersRights {
    /// Takes them, where `directory` is there, is somebody else's and we are root: nobody else could.
    pub(super) fn of(directory: &Path) -> Result<Self, StoreError> {
        let fail = |cause| StoreError::Directory {
            path: directory.to_owned(),
            cause,
        };
        let owner = match std::fs::metadata(directory) {
            Ok(facts) => (Uid::from_raw(facts.uid()), Gid::from_raw(facts.gid())),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { before: None });
            }
            Err(cause) => return Err(fail(cause)),
        };
        if !geteuid().is_root() || owner.0.is_root() {
            return Ok(Self { before: None });
        }
        // The group first: afterwards we may not.
        let group = setfsgid(owner.1);
        let user = setfsuid(owner.0);
        let rights = Self {
            before: Some((user, group)),
        };
        // Asked again, each gives what is so now.
        if (setfsuid(owner.0), setfsgid(owner.1)) == owner {
            Ok(rights)
        } else {
            Err(fail(Errno::EPERM.into()))
        }
    }
}

impl Drop for OwnersRights {
    fn drop(&mut self) {
        if let Some((user, group)) = self.before {
            setfsuid(user);
            setfsgid(group);
        }
    }
}

/// The files that are ours in the state directory, with those that SQLite puts beside its own.
const FILES: [&str; 7] = [
    FILE,
    super::FILE,
    "wanshift.db-wal",
    "wanshift.db-shm",
    "wanshift.db-journal",
    super::blocks::FILE,
    super::blocks::NEW,
];

/// Looks at the state directory before anything in it is opened, where it is there: who may write there
/// may lead what we write to other files, and may tell us a way back that is none.
pub(super) fn look_at(directory: &Path) -> Result<(), StoreError> {
    trust::directory(directory).map_err(StoreError::Distrust)?;
    FILES
        .iter()
        .try_for_each(|file| trust::own_file(&directory.join(file)))
        .map_err(StoreError::Distrust)
}

/// Makes the state directory, for its owner alone, where it is not there.
pub(super) fn make_directory(directory: &Path) -> Result<(), StoreError> {
    look_at(directory)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|cause| StoreError::Directory {
            path: directory.to_owned(),
            cause,
        })?;
    look_at(directory)
}
