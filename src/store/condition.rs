//! Events that were reported, and the conditions that are true.
//!
//! Both stand apart from the records of changes: taking a change back does not take back what became true.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use super::{Store, StoreError, schema};
use crate::model::names::{ConditionName, EventName};
use crate::model::readings::{Latch, Latches, Report};

/// How many reports stay, beside the last of each event.
const KEPT: u32 = 1000;

/// A condition as it is stored: its name, why it is true, and the last report before it was reset.
type Stored = (String, Option<String>, Option<i64>);

impl Store {
    /// The last report of each event.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn events(&self) -> Result<BTreeMap<EventName, Report>, StoreError> {
        let sql = "SELECT name, id, at, actor FROM event
                   WHERE id IN (SELECT max(id) FROM event GROUP BY name)";
        let texts = |row: &Row<'_>| -> rusqlite::Result<(String, i64, String, String)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let mut events = BTreeMap::new();
        for (name, number, at, by) in
            self.list_since(schema::CONDITIONS, "read the events", sql, texts)?
        {
            let name = name
                .parse()
                .map_err(|error| self.corrupt("event", &error))?;
            let at = at.parse().map_err(|error| self.corrupt("date", &error))?;
            let number = self.number(number)?;
            events.insert(name, Report { number, at, by });
        }
        Ok(events)
    }

    /// Puts on record that an event was reported.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn report(
        &mut self,
        event: &EventName,
        at: jiff::Timestamp,
        by: &str,
    ) -> Result<(), StoreError> {
        let fail = super::sqlite("put an event on record", &self.path);
        let mut write = || {
            let transaction = self.connection.transaction()?;
            transaction.execute(
                "INSERT INTO event (name, at, actor) VALUES (?1, ?2, ?3)",
                params![event.as_str(), at.to_string(), by],
            )?;
            prune(&transaction)?;
            transaction.commit()
        };
        write().map_err(fail)
    }

    /// Which conditions are true, and which reports no longer count for which.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn latches(&self) -> Result<Latches, StoreError> {
        let sql = "SELECT name, latch, seen FROM condition";
        let texts = |row: &Row<'_>| -> rusqlite::Result<Stored> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        };
        let (mut held, mut reset) = (BTreeMap::new(), BTreeMap::new());
        for (name, latch, seen) in
            self.list_since(schema::CONDITIONS, "read the conditions", sql, texts)?
        {
            let name: ConditionName = name
                .parse()
                .map_err(|error| self.corrupt("condition", &error))?;
            if let Some(latch) = latch {
                let latch: Latch = serde_json::from_str(&latch)
                    .map_err(|error| self.corrupt("condition", &error))?;
                held.insert(name.clone(), latch);
            }
            if let Some(seen) = seen {
                reset.insert(name, self.number(seen)?);
            }
        }
        Ok(Latches::new(held, reset))
    }

    /// Puts on record that conditions became true. What was true already keeps its reason.
    ///
    /// # Errors
    /// Where it cannot be written. Then nothing may act on it.
    pub fn latch(&mut self, new: &BTreeMap<ConditionName, Latch>) -> Result<(), StoreError> {
        if new.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for (name, latch) in new {
            let text =
                serde_json::to_string(latch).map_err(|error| self.corrupt("condition", &error))?;
            rows.push((name.as_str(), text));
        }
        let fail = super::sqlite("put on record what is true", &self.path);
        let mut write = || {
            let transaction = self.connection.transaction()?;
            for (name, text) in &rows {
                transaction.execute(
                    "INSERT INTO condition (name, latch) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET latch = coalesce(latch, excluded.latch)",
                    params![name, text],
                )?;
            }
            transaction.commit()
        };
        write().map_err(fail)
    }

    /// Makes a condition false. Reports of before no longer count for it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn reset(
        &mut self,
        condition: &ConditionName,
        at: jiff::Timestamp,
        by: &str,
    ) -> Result<(), StoreError> {
        self.connection
            .execute(
                "INSERT INTO condition (name, seen, reset_at, reset_by)
                 VALUES (?1, (SELECT coalesce(max(id), 0) FROM event), ?2, ?3)
                 ON CONFLICT (name) DO UPDATE SET latch = NULL, seen = excluded.seen,
                     reset_at = excluded.reset_at, reset_by = excluded.reset_by",
                params![condition.as_str(), at.to_string(), by],
            )
            .map(|_| ())
            .map_err(self.sqlite("reset a condition"))
    }

    fn number(&self, number: i64) -> Result<u64, StoreError> {
        u64::try_from(number).map_err(|error| self.corrupt("report's number", &error))
    }
}

/// The oldest reports go.
fn prune(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM event WHERE id NOT IN (SELECT max(id) FROM event GROUP BY name)
         AND id NOT IN (SELECT id FROM event ORDER BY id DESC LIMIT ?1)",
        params![KEPT],
    )
}
