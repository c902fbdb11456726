//! A second copy of what blocks, beside the store, for the day on which that cannot be read: a plain text.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use super::StoreError;
use super::lock::{OwnersRights, look_at};

/// The file in the state directory.
pub(super) const FILE: &str = "blocks.nft";
/// The file that takes its place once it is whole and on disk.
pub(super) const NEW: &str = "blocks.nft.new";
/// No copy is so large, in bytes.
const MOST: u64 = 64 << 20;

/// Keeps `text` as the copy; where it says that already, nothing is written.
///
/// # Errors
/// Where it cannot be written: the copy is then as it was.
pub fn keep_blocks(directory: &Path, text: &str) -> Result<(), StoreError> {
    if kept_blocks(directory)?.as_deref() == Some(text) {
        return Ok(());
    }
    let _rights = OwnersRights::of(directory)?;
    let (file, new) = (directory.join(FILE), directory.join(NEW));
    let write = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut whole = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(&new)?;
        whole.write_all(text.as_bytes())?;
        whole.sync_all()?;
        fs::rename(&new, &file)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|cause| StoreError::Copy { path: file, cause })
}

/// The copy that was kept; none where none was.
///
/// # Errors
/// Where somebody else may have written it, and where it cannot be read.
pub fn kept_blocks(directory: &Path) -> Result<Option<String>, StoreError> {
    look_at(directory)?;
    let _rights = OwnersRights::of(directory)?;
    let path = directory.join(FILE);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
        .open(&path);
    let read = |file: File| {
        let mut text = String::new();
        file.take(MOST).read_to_string(&mut text).map(|_| text)
    };
    match opened.and_then(read) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StoreError::Copy { path, cause }),
    }
}
