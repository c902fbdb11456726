//! A store that cannot be used: what is left of it to be read, and how another takes its place.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};

use super::lock::{OwnersRights, look_at};
use super::{Content, FILE, Store, StoreError, schema};

/// What SQLite puts beside its file: what the name of it ends with.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

impl StoreError {
    /// Whether what is there is damaged: then another store may take its place. One that a newer wanshift wrote,
    /// or somebody else's database, is not, nor one whose disk cannot be read or written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Sqlite { cause, .. } => match cause.sqlite_error_code() {
                // `Unknown` is what SQLite says where a table is not there or not as it should be.
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) => {
                    true
                }
                Some(_) => false,
                // A value of another type than we write.
                None => true,
            },
            Self::Directory { .. }
            | Self::Distrust(_)
            | Self::Copy { .. }
            | Self::ReadOnly { .. }
            | Self::Foreign { .. }
            | Self::Unfinished { .. }
            | Self::Newer { .. } => false,
        }
    }
}

impl Store {
    /// Reads all that decisions stand on, and gives nothing: damage is found here and not midway.
    ///
    /// # Errors
    /// Where something cannot be read.
    pub fn sound(&self) -> Result<(), StoreError> {
        if let Some(policy) = self.intent()?.and_then(|intent| intent.policy) {
            self.policy(policy)?;
        }
        self.unfinished()?;
        self.latches()?;
        self.events()?;
        self.ids()?;
        self.blocks_began()?;
        self.beginnings()?;
        self.history().map(|_| ())
    }

    /// A store that holds nothing and takes nothing: for who has to go on without one.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn nothing() -> Result<Self, StoreError> {
        let path = PathBuf::from("in memory");
        let fail = |cause| StoreError::Sqlite {
            what: "make a store",
            path: path.clone(),
            cause,
        };
        let connection = Connection::open_in_memory().map_err(fail)?;
        connection
            .execute_batch(&format!("{} PRAGMA query_only = 1;", schema::upgrade(0)))
            .map_err(fail)?;
        Ok(Self {
            connection,
            path,
            format: schema::VERSION,
        })
    }

    /// Opens a copy of the store in `directory` that takes nothing, for a disk on which SQLite cannot open the store
    /// itself; `None` where there is no store. The copy is made in a directory of its own in one of `places`, and is
    /// gone from there at once.
    ///
    /// # Errors
    /// Where the store cannot be read, or none of `places` has room.
    pub fn copied(directory: &Path, places: &[PathBuf]) -> Result<Option<Self>, StoreError> {
        look_at(directory)?;
        let mut last = None;
        for place in places {
            match Self::copied_in(directory, place) {
                Ok(store) => return Ok(store),
                Err(error @ StoreError::Directory { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        last.map_or(Ok(None), Err)
    }

    fn copied_in(directory: &Path, place: &Path) -> Result<Option<Self>, StoreError> {
        let from = directory.join(FILE);
        let scratch = place.join(format!("wanshift-store-{}", std::process::id()));
        let fail = |path: &Path, cause| StoreError::Directory {
            path: path.to_owned(),
            cause,
        };
        // Who was killed had the same number, perhaps.
        let _ = fs::remove_dir_all(&scratch);
        let mut maker = DirBuilder::new();
        maker.mode(0o700);
        maker
            .create(&scratch)
            .map_err(|cause| fail(&scratch, cause))?;
        let copy = scratch.join(FILE);
        let opened = {
            let read = |from: &Path| {
                let _rights = OwnersRights::of(directory)?;
                match fs::read(from) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                    Err(cause) => Err(fail(from, cause)),
                }
            };
            let write =
                |to: &Path, bytes: Vec<u8>| fs::write(to, bytes).map_err(|cause| fail(to, cause));
            let copied = || -> Result<Option<Self>, StoreError> {
                let Some(store) = read(&from)? else {
                    return Ok(None);
                };
                write(&copy, store)?;
                let journal = beside(&from, "-wal");
                if let Some(journal) = read(&journal)? {
                    write(&beside(&copy, "-wal"), journal)?;
                }
                Self::open_copy(&copy, &from)
            };
            copied()
        };
        let _ = fs::remove_dir_all(&scratch);
        opened
    }

    fn open_copy(copy: &Path, path: &Path) -> Result<Option<Self>, StoreError> {
        let connection = Connection::open(copy).map_err(super::sqlite("open a copy of", path))?;
        let store = Self {
            connection,
            path: path.to_owned(),
            format: schema::VERSION,
        };
        let Content::Store(format) = store.content()? else {
            return Ok(None);
        };
        let store = Self { format, ..store };
        // What it has in its files is read while they have their names.
        store
            .connection
            .execute_batch("PRAGMA query_only = 1;")
            .map_err(store.sqlite("close to writing"))?;
        store.sound()?;
        Ok(Some(store))
    }

    /// Gives the store in `directory` another name, so that another can take its place. Says which.
    ///
    /// # Errors
    /// Where it cannot be renamed.
    pub fn set_aside(directory: &Path, at: Timestamp) -> Result<PathBuf, StoreError> {
        look_at(directory)?;
        let _rights = OwnersRights::of(directory)?;
        let from = directory.join(FILE);
        let date = at.strftime("%Y-%m-%dT%H%M%SZ");
        let to = directory.join(format!("{FILE}.corrupt-{date}"));
        let fail = |cause| StoreError::Directory {
            path: directory.to_owned(),
            cause,
        };
        for end in BESIDE {
            match fs::rename(beside(&from, end), beside(&to, end)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(fail(error)),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(&from, &to).map_err(fail)?;
        Ok(to)
    }
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}
