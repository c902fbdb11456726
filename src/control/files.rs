//! The files of sockets: made with their rights before anybody can connect, taken away by who made them.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::unistd::{Gid, chown};
use thiserror::Error;

/// How many may wait to be let in.
const BACKLOG: i32 = 128;

/// Why nobody can be listened to.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody else does.
    #[error(
        "cannot listen at {}: another wanshift listens there; stop that one, or give this one another path (--socket)",
        path.display()
    )]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// What is there is no socket.
    #[error(
        "cannot listen at {}: something is there that is no socket, and is left alone; remove it, or give another path (--socket)",
        path.display()
    )]
    NoSocket {
        /// Where.
        path: PathBuf,
    },
    /// The system says no.
    #[error("cannot {what} {}", path.display())]
    Failed {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

fn failed<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> BindError {
    let path = path.to_owned();
    move |cause| BindError::Failed {
        what,
        path,
        cause: cause.into(),
    }
}

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The owner alone.
    Owner,
    /// The members of a group too.
    Group(Gid),
    /// Everybody.
    All,
}

/// A socket's file, which goes when this goes.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The file that was made: another one of that name is somebody else's.
    made: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path).map(|file| (file.dev(), file.ino()));
        if there.is_ok_and(|there| there == self.made)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "a socket's file stays");
        }
    }
}

/// Makes the directory of a socket where there is none.
pub(super) fn make_directory(path: &Path) -> Result<(), BindError> {
    let Some(directory) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    else {
        return Ok(());
    };
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o755)))
        .map_err(failed("make the directory", directory))
}

/// Makes room for a socket: what a process left that did not end well is removed, and nothing else.
pub(super) fn clear(path: &Path) -> Result<(), BindError> {
    let kind = match fs::symlink_metadata(path) {
        Ok(file) => file.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    let path_of = || path.to_owned();
    if !kind.is_socket() {
        return Err(BindError::NoSocket { path: path_of() });
    }
    let asking = stream().map_err(failed("make a socket for", path))?;
    let address = UnixAddr::new(path).map_err(failed("connect to", path))?;
    match connect(asking.as_raw_fd(), &address) {
        // A queue that is full is somebody's too.
        Ok(()) | Err(Errno::EAGAIN) => Err(BindError::Taken { path: path_of() }),
        Err(Errno::ECONNREFUSED) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove the stale socket", path)(error))
            }
            _ => Ok(()),
        },
        Err(error) => Err(failed("find out who listens at", path)(error)),
    }
}

/// Listens at `path`, where nothing is.
pub(super) fn make(path: &Path, access: Access) -> Result<(UnixListener, SocketFile), BindError> {
    let socket = stream().map_err(failed("make a socket for", path))?;
    let address = UnixAddr::new(path).map_err(failed("listen at", path))?;
    bind(socket.as_raw_fd(), &address).map_err(|error| {
        if error == Errno::EADDRINUSE {
            let path = path.to_owned();
            BindError::Taken { path }
        } else {
            failed("listen at", path)(error)
        }
    })?;
    let made = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    let file = SocketFile {
        path: path.to_owned(),
        made: (made.dev(), made.ino()),
    };
    let mode = match access {
        Access::Owner => 0o600,
        Access::Group(group) => {
            // As a service it is the group's from the beginning, and no owner may be changed.
            if made.gid() != group.as_raw() {
                chown(path, None, Some(group))
                    .map_err(failed("give the group its right to", path))?;
            }
            0o660
        }
        Access::All => 0o666,
    };
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(failed("set the rights of", path))?;
    // Only now can anybody connect.
    let backlog = Backlog::new(BACKLOG).map_err(failed("listen at", path))?;
    listen(&socket, backlog).map_err(failed("listen at", path))?;
    Ok((UnixListener::from(socket), file))
}

/// A socket that waits for nothing and nobody inherits.
fn stream() -> nix::Result<std::os::fd::OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}
