//! The changes of the past.

use rusqlite::Row;

use super::intent::{Extent, Intent};
use super::policy::PolicyId;
use super::record::{Past, RecordId, RecordState};
use super::{Store, StoreError, schema};

/// A row of the table.
type Texts = (i64, [String; 4], [Option<String>; 4], Option<i64>);

/// Of a change: its number, what held before it, and the phase and policy that it put into force.
type Before = (i64, Option<String>, Option<String>, Option<i64>);

impl Store {
    /// The changes on record, the last first.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn history(&self) -> Result<Vec<Past>, StoreError> {
        let policy = if self.format < schema::DAEMON {
            "NULL"
        } else {
            "policy_to"
        };
        let sql = format!(
            "SELECT id, opened, actor, what, state, closed, phase_from, phase_to, error, {policy}
             FROM change ORDER BY id DESC"
        );
        let texts = |row: &Row<'_>| -> rusqlite::Result<Texts> {
            Ok((
                row.get(0)?,
                [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?],
                [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?],
                row.get(9)?,
            ))
        };
        let rows = self.list_since(schema::CHANGES, "read the changes", &sql, texts)?;
        rows.into_iter().map(|row| self.past(row)).collect()
    }

    fn past(
        &self,
        (id, [opened, actor, what, state], [closed, from, to, error], policy): Texts,
    ) -> Result<Past, StoreError> {
        let date = |text: String| -> Result<jiff::Timestamp, StoreError> {
            text.parse().map_err(|error| self.corrupt("date", &error))
        };
        let phase = |name: Option<String>| {
            name.map(|name| name.parse().map_err(|error| self.corrupt("phase", &error)))
                .transpose()
        };
        Ok(Past {
            id: RecordId(id),
            opened: date(opened)?,
            closed: closed.map(date).transpose()?,
            actor,
            what,
            state: RecordState::read(&state).ok_or_else(|| self.corrupt("change", &state))?,
            phase_from: phase(from)?,
            phase_to: phase(to)?,
            policy: policy.map(PolicyId),
            error,
        })
    }

    /// What was to hold before the last `changes` that were done, and the number of the first of those; none where
    /// there are not so many on record. Those that left phase and policy as they were do not count.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn before(&self, changes: u32) -> Result<Option<(RecordId, Option<Intent>)>, StoreError> {
        if changes == 0 || self.format < schema::DAEMON {
            return Ok(None);
        }
        let sql = format!(
            "SELECT id, before, phase_to, policy_to FROM change WHERE state IN ('{}', '{}') ORDER BY id DESC",
            RecordState::Done.as_str(),
            RecordState::Unconfirmed.as_str()
        );
        let texts = |row: &Row<'_>| -> rusqlite::Result<Before> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let mut left = changes;
        for (id, before, phase, policy) in
            self.list_since(schema::DAEMON, "read the changes", &sql, texts)?
        {
            let before: Option<Intent> = before
                .map(|text| {
                    serde_json::from_str(&text).map_err(|error| self.corrupt("phase", &error))
                })
                .transpose()?;
            // What a calendar or a condition did within a phase: there is nothing else to go back to.
            let same = before.as_ref().is_some_and(|before| {
                before.extent == Extent::Whole
                    && Some(before.phase.as_str()) == phase.as_deref()
                    && before.policy == policy.map(PolicyId)
            });
            if same {
                continue;
            }
            left -= 1;
            if left == 0 {
                return Ok(Some((RecordId(id), before)));
            }
        }
        Ok(None)
    }
}
