//! The record of a change: on disk before the first write, closed after the last is verified.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::model::ids::Ids;
use crate::model::names::PhaseName;
use crate::model::state::KernelState;
use crate::plan::Bounds;

/// Numbers a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordId(pub i64);

/// Where a change stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordState {
    /// On its way to its goal.
    Applying,
    /// On its way back; never forward again.
    Undoing,
    /// On its way back, and stuck there.
    Stuck,
    /// Its goal was reached.
    Done,
    /// It was taken back.
    Undone,
}

impl RecordState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Undoing => "undoing",
            Self::Stuck => "stuck",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [
            Self::Applying,
            Self::Undoing,
            Self::Stuck,
            Self::Done,
            Self::Undone,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }
}

/// What is known of a change before its first write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// When it was ordered.
    pub opened: jiff::Timestamp,
    /// Under which boot of the machine.
    pub boot: String,
    /// Who ordered it.
    pub actor: String,
    /// What was ordered.
    pub what: String,
    /// The phase before it.
    pub phase_from: Option<PhaseName>,
    /// The phase after it; `None` where nothing will hold.
    pub phase_to: Option<PhaseName>,
    /// What the kernel is to hold after it.
    pub goal: KernelState,
    /// What the kernel held before it, as far as it can be put back.
    pub way_back: KernelState,
    /// Which devices belong together after it.
    pub bounds: Bounds,
    /// Which devices belonged together before it.
    pub bounds_before: Bounds,
}

/// A change as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub id: RecordId,
    /// Where it stands.
    pub state: RecordState,
    /// What was known before the first write.
    pub change: NewRecord,
}

/// What becomes of a change that is neither done nor undone where another begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supersede {
    /// There is none; where there is, the other does not begin.
    Nothing,
    /// It is closed as undone: the other takes back all that it did.
    Unfinished,
}

/// How many changes stay on record, the open one counted in: each holds two whole states of the kernel.
const KEPT: u32 = 50;

/// The oldest go.
fn prune(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute(
        "DELETE FROM change WHERE closed IS NOT NULL
         AND id NOT IN (SELECT id FROM change ORDER BY id DESC LIMIT ?1)",
        params![KEPT],
    )
}

/// The change that is neither done nor undone: its number, and what was ordered.
fn open_change(connection: &Connection) -> rusqlite::Result<Option<(RecordId, String)>> {
    connection
        .query_row(
            "SELECT id, what FROM change WHERE closed IS NULL",
            [],
            |row| Ok((RecordId(row.get(0)?), row.get(1)?)),
        )
        .optional()
}

impl Store {
    /// Puts a change on record, with the numbers of the places that it speaks of. In the same
    /// transaction, one that is neither done nor undone is closed, where `supersede` says so.
    ///
    /// # Errors
    /// Where there is such a one and `supersede` does not say so; where it cannot be written. Then
    /// nothing may be done.
    pub fn begin(
        &mut self,
        change: &NewRecord,
        ids: &Ids,
        supersede: Supersede,
    ) -> Result<RecordId, StoreError> {
        let path = self.path.clone();
        let json = |what, value: &KernelState| {
            serde_json::to_string(value).map_err(|error| StoreError::Corrupt {
                path: path.clone(),
                what,
                why: error.to_string(),
            })
        };
        let bounds = |value: &Bounds| {
            serde_json::to_string(value).map_err(|error| self.corrupt("bound", &error))
        };
        let (after, before) = (bounds(&change.bounds)?, bounds(&change.bounds_before)?);
        let (goal, way_back) = (
            json("goal", &change.goal)?,
            json("way back", &change.way_back)?,
        );
        let ids =
            serde_json::to_string(ids).map_err(|error| self.corrupt("set of numbers", &error))?;
        let fail = super::sqlite("put a change on record", &self.path);
        let mut write = || {
            let transaction = self.connection.transaction()?;
            match (supersede, open_change(&transaction)?) {
                (_, None) => {}
                (Supersede::Nothing, Some(open)) => return Ok(Err(open)),
                (Supersede::Unfinished, Some((id, _))) => {
                    transaction.execute(
                        "UPDATE change SET state = ?2, closed = ?3, error = ?4 WHERE id = ?1",
                        params![
                            id.0,
                            RecordState::Undone.as_str(),
                            change.opened.to_string(),
                            format!("superseded by `{}`", change.what),
                        ],
                    )?;
                }
            }
            Self::put_ids(&transaction, &ids)?;
            transaction.execute(
                "INSERT INTO change (opened, boot, actor, what, state, phase_from, phase_to, goal, way_back,
                                     bounds, bounds_before)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    change.opened.to_string(),
                    change.boot,
                    change.actor,
                    change.what,
                    RecordState::Applying.as_str(),
                    change.phase_from.as_ref().map(PhaseName::as_str),
                    change.phase_to.as_ref().map(PhaseName::as_str),
                    goal,
                    way_back,
                    after,
                    before,
                ],
            )?;
            let id = RecordId(transaction.last_insert_rowid());
            prune(&transaction)?;
            transaction.commit()?;
            Ok(Ok(id))
        };
        write()
            .map_err(fail)?
            .map_err(|(id, what)| StoreError::Unfinished { id, what })
    }

    /// Notes that a change is being taken back, or that this is stuck.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn turn_back(
        &mut self,
        id: RecordId,
        state: RecordState,
        why: &str,
    ) -> Result<(), StoreError> {
        self.connection
            .execute(
                "UPDATE change SET state = ?2, error = ?3 WHERE id = ?1",
                params![id.0, state.as_str(), why],
            )
            .map(|_| ())
            .map_err(self.sqlite("note that a change is taken back"))
    }

    /// Closes a change; where it is done, its phase is the one that holds from now on.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn close(
        &mut self,
        record: &Record,
        state: RecordState,
        at: jiff::Timestamp,
    ) -> Result<(), StoreError> {
        let fail = super::sqlite("close a change", &self.path);
        let mut write = || {
            let transaction = self.connection.transaction()?;
            let at = at.to_string();
            transaction.execute(
                "UPDATE change SET state = ?2, closed = ?3 WHERE id = ?1",
                params![record.id.0, state.as_str(), at],
            )?;
            if let (RecordState::Done, Some(phase)) = (state, &record.change.phase_to) {
                Self::put_phase(&transaction, phase, &at)?;
            }
            prune(&transaction)?;
            transaction.commit()
        };
        write().map_err(fail)
    }

    /// Which devices belong together in what holds: as the last change that was done drew it.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn bounds(&self) -> Result<Option<Bounds>, StoreError> {
        let text: Option<String> = self
            .connection
            .query_row(
                "SELECT bounds FROM change WHERE state = ?1 ORDER BY id DESC LIMIT 1",
                params![RecordState::Done.as_str()],
                |row| row.get(0),
            )
            .optional()
            .map_err(self.sqlite("read the last change"))?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| self.corrupt("bound", &error)))
            .transpose()
    }

    /// The change that is neither done nor undone, where there is one.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn unfinished(&self) -> Result<Option<Record>, StoreError> {
        let row = self
            .connection
            .query_row(
                "SELECT id, state, opened, boot, actor, what, phase_from, phase_to, goal, way_back,
                        bounds, bounds_before
                 FROM change WHERE closed IS NULL ORDER BY id DESC LIMIT 1",
                [],
                |row| {
                    let texts: [String; 9] = [
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                        row.get(8)?,
                        row.get(9)?,
                        row.get(10)?,
                        row.get(11)?,
                    ];
                    let phases: [Option<String>; 2] = [row.get(6)?, row.get(7)?];
                    Ok((row.get(0)?, texts, phases))
                },
            )
            .optional()
            .map_err(self.sqlite("read the last change"))?;
        row.map(|(id, texts, phases)| self.understand(id, texts, phases))
            .transpose()
    }

    fn understand(
        &self,
        id: i64,
        [
            state,
            opened,
            boot,
            actor,
            what,
            goal,
            way_back,
            bounds,
            bounds_before,
        ]: [String; 9],
        [phase_from, phase_to]: [Option<String>; 2],
    ) -> Result<Record, StoreError> {
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
        Ok(Record {
            id: RecordId(id),
            state: RecordState::read(&state).ok_or_else(|| self.corrupt("change", &state))?,
            change: NewRecord {
                opened: opened
                    .parse()
                    .map_err(|error| self.corrupt("date", &error))?,
                boot,
                actor,
                what,
                phase_from: phase(phase_from)?,
                phase_to: phase(phase_to)?,
                goal: kernel("goal", &goal)?,
                way_back: kernel("way back", &way_back)?,
                bounds: bound(&bounds)?,
                bounds_before: bound(&bounds_before)?,
            },
        })
    }
}
