//! What a daemon must remember beside changes: since when blocks hold, which dates have had their effect,
//! and what it knew of the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Store, StoreError, schema};
use crate::model::names::{BlockName, PhaseName};
use crate::units::Moment;

/// Since when a block holds without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Began {
    /// By the clock of then.
    pub since: Timestamp,
    /// Under which boot of the machine.
    pub boot: String,
    /// On that boot's clock.
    pub moment: Moment,
}

/// What became of the date at which a phase begins by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// It has not come.
    Awaited,
    /// It was over when it was read, or has had its effect.
    Over,
}

impl Beginning {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Over => "over",
        }
    }
}

impl Store {
    /// Since when each block holds.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn blocks_began(&self) -> Result<BTreeMap<BlockName, Began>, StoreError> {
        let rows = self.rows(
            "read since when blocks hold",
            "SELECT name, since, boot, began FROM block",
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            },
        )?;
        let mut began = BTreeMap::new();
        for (name, since, boot, moment) in rows {
            let name = name
                .parse()
                .map_err(|error| self.corrupt("block", &error))?;
            let since = since
                .parse()
                .map_err(|error| self.corrupt("date", &error))?;
            let moment = Moment(Duration::from_millis(moment.unsigned_abs()));
            began.insert(
                name,
                Began {
                    since,
                    boot,
                    moment,
                },
            );
        }
        Ok(began)
    }

    /// Puts on record since when blocks hold; those that are not among `began` hold no more.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn keep_blocks_began(
        &mut self,
        began: &BTreeMap<BlockName, Began>,
    ) -> Result<(), StoreError> {
        let fail = super::sqlite("put on record since when blocks hold", &self.path);
        let mut write = || {
            let transaction = self.connection.transaction()?;
            transaction.execute("DELETE FROM block", [])?;
            for (name, began) in began {
                transaction.execute(
                    "INSERT INTO block (name, since, boot, began) VALUES (?1, ?2, ?3, ?4)",
                    params![
                        name.as_str(),
                        began.since.to_string(),
                        began.boot,
                        millis(began.moment),
                    ],
                )?;
            }
            transaction.commit()
        };
        write().map_err(fail)
    }

    /// What became of the dates at which phases begin by themselves.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn beginnings(&self) -> Result<BTreeMap<(PhaseName, Timestamp), Beginning>, StoreError> {
        let rows = self.rows(
            "read the dates of phases",
            "SELECT phase, date, state FROM beginning",
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                ))
            },
        )?;
        let mut found = BTreeMap::new();
        for (phase, date, state) in rows {
            let phase = phase
                .parse()
                .map_err(|error| self.corrupt("phase", &error))?;
            let date = date.parse().map_err(|error| self.corrupt("date", &error))?;
            let state = [Beginning::Awaited, Beginning::Over]
                .into_iter()
                .find(|known| known.as_str() == state)
                .ok_or_else(|| self.corrupt("date of a phase", &state))?;
            found.insert((phase, date), state);
        }
        Ok(found)
    }

    /// Puts on record what became of a date.
    ///
    /// # Errors
    /// Where it cannot be written. Then nothing may act on it.
    pub fn keep_beginning(
        &mut self,
        phase: &PhaseName,
        date: Timestamp,
        state: Beginning,
    ) -> Result<(), StoreError> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO beginning (phase, date, state) VALUES (?1, ?2, ?3)",
                params![phase.as_str(), date.to_string(), state.as_str()],
            )
            .map(|_| ())
            .map_err(self.sqlite("put the date of a phase on record"))
    }

    /// What was kept under `name`; none where nothing was, or a newer wanshift wrote it otherwise.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn remembered<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        if self.format < schema::DAEMON {
            return Ok(None);
        }
        let text: Option<String> = self
            .connection
            .query_row(
                "SELECT value FROM memory WHERE name = ?1",
                params![name],
                |row| row.get(0),
            )
            .optional()
            .map_err(self.sqlite("read what was remembered"))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Keeps `value` under `name`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn remember<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), StoreError> {
        let text = serde_json::to_string(value).map_err(|error| self.corrupt("memory", &error))?;
        self.connection
            .execute(
                "INSERT OR REPLACE INTO memory (name, value) VALUES (?1, ?2)",
                params![name, text],
            )
            .map(|_| ())
            .map_err(self.sqlite("remember"))
    }

    /// The rows of a table that came with [`schema::DAEMON`]; none of an older store.
    fn rows<T>(
        &self,
        what: &'static str,
        sql: &str,
        texts: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        self.list_since(schema::DAEMON, what, sql, texts)
    }
}

/// A moment as it is stored, in milliseconds.
pub(super) fn millis(moment: Moment) -> i64 {
    i64::try_from(moment.0.as_millis()).unwrap_or(i64::MAX)
}
