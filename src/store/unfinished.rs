//! Reads back the record of a change that is neither done nor undone.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row};

use super::intent::{Extent, Intent};
use super::policy::PolicyId;
use super::record::{Confirm, NewRecord, Record, RecordId, RecordState};
use super::{Store, StoreError, schema};
use crate::plan::Bounds;
use crate::units::Moment;

impl Store {
    /// Until when the change that waits for it is to be confirmed, and under which boot's clock.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn confirm_due(&self) -> Result<Option<(String, Moment)>, StoreError> {
        if self.format < schema::DAEMON {
            return Ok(None);
        }
        let waits = [RecordState::Applying, RecordState::Unconfirmed].map(RecordState::as_str);
        let row: Option<(String, i64)> = self
            .connection
            .query_row(
                "SELECT boot, confirm_until FROM change
                 WHERE closed IS NULL AND confirm_until IS NOT NULL AND state IN (?1, ?2)",
                waits,
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(self.sqlite("read until when a change is to be confirmed"))?;
        Ok(row.map(|(boot, until)| {
            let until = Duration::from_millis(until.unsigned_abs());
            (boot, Moment(until))
        }))
    }

    /// The change that is neither done nor undone, where there is one.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn unfinished(&self) -> Result<Option<Record>, StoreError> {
        let daemon = if self.format < schema::DAEMON {
            "NULL, NULL, 'whole', NULL, NULL"
        } else {
            "before, policy_to, extent, confirm_within, confirm_until"
        };
        let sql = format!(
            "SELECT id, state, opened, boot, actor, what, phase_from, phase_to, goal, way_back,
                    bounds, bounds_before, {daemon}
             FROM change WHERE closed IS NULL ORDER BY id DESC LIMIT 1"
        );
        let row = self
            .connection
            .query_row(&sql, [], Stored::read)
            .optional()
            .map_err(self.sqlite("read the last change"))?;
        row.map(|stored| self.understand(stored)).transpose()
    }

    /// What is to hold: on a host that was never told, what the first change leads to, from its order on, unless that
    /// is to be confirmed.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn told(&self) -> Result<Option<Intent>, StoreError> {
        if let Some(intent) = self.intent()? {
            return Ok(Some(intent));
        }
        let first = self
            .unfinished()?
            .map(|record| (record.state, record.change));
        Ok(first
            .filter(|(state, change)| *state == RecordState::Applying && change.confirm.is_none())
            .and_then(|(_, change)| change.after(change.opened)))
    }

    fn understand(&self, stored: Stored) -> Result<Record, StoreError> {
        let date = |text: &str| -> Result<jiff::Timestamp, StoreError> {
            text.parse().map_err(|error| self.corrupt("date", &error))
        };
        let phase = |name: Option<String>| {
            name.map(|name| name.parse().map_err(|error| self.corrupt("phase", &error)))
                .transpose()
        };
        let bound = |text: &str| -> Result<Bounds, StoreError> {
            serde_json::from_str(text).map_err(|error| self.corrupt("bound", &error))
        };
        let kernel = |what, text: &str| {
            serde_json::from_str(text).map_err(|error| self.corrupt(what, &error))
        };
        let opened = date(&stored.opened)?;
        let before = match (stored.before, phase(stored.phase_from)?) {
            (Some(text), _) => {
                Some(serde_json::from_str(&text).map_err(|error| self.corrupt("phase", &error))?)
            }
            (None, Some(phase)) => Some(Intent {
                phase,
                policy: None,
                extent: Extent::Whole,
                since: opened,
                actor: String::new(),
                what: String::new(),
            }),
            (None, None) => None,
        };
        let time = |millis: i64| Duration::from_millis(millis.unsigned_abs());
        Ok(Record {
            id: RecordId(stored.id),
            state: RecordState::read(&stored.state)
                .ok_or_else(|| self.corrupt("change", &stored.state))?,
            change: NewRecord {
                opened,
                boot: stored.boot,
                actor: stored.actor,
                what: stored.what,
                before,
                phase_to: phase(stored.phase_to)?,
                policy_to: stored.policy_to.map(PolicyId),
                extent: Extent::read(&stored.extent)
                    .ok_or_else(|| self.corrupt("change", &stored.extent))?,
                confirm: stored.confirm.map(|(within, until)| Confirm {
                    within: time(within),
                    until: Moment(time(until)),
                }),
                goal: kernel("goal", &stored.goal)?,
                way_back: kernel("way back", &stored.way_back)?,
                bounds: bound(&stored.bounds)?,
                bounds_before: bound(&stored.bounds_before)?,
            },
        })
    }
}

/// A row of the table.
struct Stored {
    id: i64,
    state: String,
    opened: String,
    boot: String,
    actor: String,
    what: String,
    phase_from: Option<String>,
    phase_to: Option<String>,
    goal: String,
    way_back: String,
    bounds: String,
    bounds_before: String,
    before: Option<String>,
    policy_to: Option<i64>,
    extent: String,
    confirm: Option<(i64, i64)>,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (within, until): (Option<i64>, Option<i64>) = (row.get(15)?, row.get(16)?);
        Ok(Self {
            id: row.get(0)?,
            state: row.get(1)?,
            opened: row.get(2)?,
            boot: row.get(3)?,
            actor: row.get(4)?,
            what: row.get(5)?,
            phase_from: row.get(6)?,
            phase_to: row.get(7)?,
            goal: row.get(8)?,
            way_back: row.get(9)?,
            bounds: row.get(10)?,
            bounds_before: row.get(11)?,
            before: row.get(12)?,
            policy_to: row.get(13)?,
            extent: row.get(14)?,
            confirm: within.zip(until),
        })
    }
}
