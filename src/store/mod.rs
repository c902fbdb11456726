//! What outlives a restart: what is to hold, the policies, the numbers of places, the record of each change,
//! events, and which conditions are true.
//!
//! One SQLite file in the state directory, every commit on disk before it returns
//! (`synchronous = FULL`). Only the holder of the [`Lock`] writes.

mod blocks;
mod condition;
mod damage;
mod history;
mod intent;
mod lock;
mod memory;
mod policy;
mod record;
mod schema;
mod unfinished;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use thiserror::Error;

pub use blocks::{keep_blocks, kept_blocks};
pub use intent::{Extent, Intent};
pub use lock::{Lock, LockError};
pub use memory::{Began, Beginning};
pub use policy::{PolicyId, StoredPolicy, hash, hashes};
pub use record::{Confirm, NewRecord, Past, Record, RecordId, RecordState, Supersede};

use lock::OwnersRights;

use crate::model::ids::Ids;
use crate::trust::Distrust;

/// The file in the state directory.
const FILE: &str = "wanshift.db";

/// Why the store cannot be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The state directory cannot be made or entered.
    #[error("cannot use the state directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Somebody else may have written what is there, or may lead astray what we write.
    #[error("will not use the state directory: {0}")]
    Distrust(Distrust),
    /// The copy of what blocks cannot be read or written.
    #[error("cannot use {}, the copy of what blocks", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Its disk, or its file, takes nothing.
    #[error("the store {} can only be read", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// SQLite said no.
    #[error("cannot {what} in the store {}", path.display())]
    Sqlite {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// What is there cannot be understood.
    #[error("the store {} holds a {what} that cannot be read: {why}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What cannot be read.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// It is somebody else's.
    #[error("{} is a database that wanshift did not make; move it away, or name another directory with --state", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A change is on record that is neither done nor undone.
    #[error("`{what}` (change {}) is on record and not finished; no other can begin before it is", id.0)]
    Unfinished {
        /// Its number.
        id: RecordId,
        /// What was ordered.
        what: String,
    },
    /// A newer wanshift wrote it.
    #[error("the store {} was written by a newer wanshift (format {found}, this one knows {known}); run that one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
}

/// The store of one state directory.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// The format of what is there.
    format: i64,
}

/// What a database file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Nothing yet.
    Nothing,
    /// A store of ours, of this format.
    Store(i64),
}

impl Store {
    /// Opens the store in `directory` for reading and writing, making both where they are not there.
    ///
    /// # Errors
    /// Where the directory cannot be used, or what is there is no store of ours.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        lock::make_directory(directory)?;
        // SQLite opens its journal with the first commit, and keeps it open.
        let _rights = OwnersRights::of(directory)?;
        let path = directory.join(FILE);
        let connection = Connection::open(&path).map_err(sqlite("open a connection", &path))?;
        let store = Self {
            connection,
            path,
            format: schema::VERSION,
        };
        // Where SQLite may not write it opens what it may read, and says nothing.
        let reading = store.connection.is_readonly("main");
        if reading.map_err(store.sqlite("open a connection"))? {
            return Err(StoreError::ReadOnly { path: store.path });
        }
        store.set_up()?;
        Ok(store)
    }

    /// Opens the store in `directory` for reading only; `None` where there is none.
    ///
    /// # Errors
    /// Where what is there is no store of ours.
    pub fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        lock::look_at(directory)?;
        let _rights = OwnersRights::of(directory)?;
        let path = directory.join(FILE);
        match std::fs::symlink_metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => {
                let path = directory.to_owned();
                return Err(StoreError::Directory { path, cause });
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)
            .map_err(sqlite("open a connection", &path))?;
        let store = Self {
            connection,
            path,
            format: schema::VERSION,
        };
        Ok(match store.content()? {
            Content::Nothing => None,
            Content::Store(format) => Some(Self { format, ..store }),
        })
    }

    /// One of a host on which nothing was ever done: there is none on disk, and what is written here is forgotten.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn empty() -> Result<Self, StoreError> {
        let path = PathBuf::from(":memory:");
        let connection =
            Connection::open_in_memory().map_err(sqlite("open a connection", &path))?;
        let store = Self {
            connection,
            path,
            format: schema::VERSION,
        };
        store.set_up()?;
        Ok(store)
    }

    fn set_up(&self) -> Result<(), StoreError> {
        let set = |what, sql: &str| {
            self.connection
                .execute_batch(sql)
                .map_err(self.sqlite(what))
        };
        self.connection
            .busy_timeout(Duration::from_secs(5))
            .map_err(self.sqlite("set a timeout"))?;
        // Before anything is written: the journal's mode is written too.
        let content = self.content()?;
        set(
            "set the journal",
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
        )?;
        match content {
            Content::Nothing => set("make the tables", &schema::upgrade(0)),
            Content::Store(format) if format < schema::VERSION => {
                set("add tables", &schema::upgrade(format))
            }
            Content::Store(_) => Ok(()),
        }
    }

    /// What the file holds; only nothing, and what this version understands, is no error.
    fn content(&self) -> Result<Content, StoreError> {
        let number = |sql| {
            self.connection
                .query_row(sql, [], |row| row.get::<_, i64>(0))
                .map_err(self.sqlite("read the format"))
        };
        let path = || self.path.clone();
        let version = number("PRAGMA user_version")?;
        match number("PRAGMA application_id")? {
            schema::APPLICATION if version > schema::VERSION => Err(StoreError::Newer {
                path: path(),
                found: version,
                known: schema::VERSION,
            }),
            schema::APPLICATION => Ok(Content::Store(version)),
            0 if version == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 => {
                Ok(Content::Nothing)
            }
            _ => Err(StoreError::Foreign { path: path() }),
        }
    }

    /// The numbers of places.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn ids(&self) -> Result<Ids, StoreError> {
        let text: Option<String> = self
            .connection
            .query_row("SELECT ids FROM numbers", [], |row| row.get(0))
            .optional()
            .map_err(self.sqlite("read the numbers"))?;
        text.map_or_else(
            || Ok(Ids::default()),
            |text| {
                serde_json::from_str(&text).map_err(|error| self.corrupt("set of numbers", &error))
            },
        )
    }

    fn put_ids(connection: &Connection, ids: &str) -> rusqlite::Result<usize> {
        connection.execute(
            "INSERT OR REPLACE INTO numbers (one, ids) VALUES (1, ?1)",
            params![ids],
        )
    }

    /// The rows of a table that came with `format`; none of an older store, which is read as it is.
    fn list_since<T>(
        &self,
        format: i64,
        what: &'static str,
        sql: &str,
        texts: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        if self.format < format {
            return Ok(Vec::new());
        }
        let read = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.connection.prepare(sql)?;
            statement.query_map([], texts)?.collect()
        };
        read().map_err(self.sqlite(what))
    }

    fn sqlite(&self, what: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        sqlite(what, &self.path)
    }

    fn corrupt(&self, what: &'static str, why: &dyn std::fmt::Display) -> StoreError {
        StoreError::Corrupt {
            path: self.path.clone(),
            what,
            why: why.to_string(),
        }
    }
}

fn sqlite(what: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    move |cause| StoreError::Sqlite { what, path, cause }
}
