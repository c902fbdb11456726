//! The record of a change: on disk before the first write, closed after the last is verified.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::intent::{Extent, Intent};
use super::memory::millis;
use super::policy::PolicyId;
use super::{Store, StoreError};
use crate::model::ids::Ids;
use crate::model::names::PhaseName;
use crate::model::state::KernelState;
use crate::plan::Bounds;
use crate::units::Moment;

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
    /// Its goal was reached, and it is taken back unless it is confirmed.
    Unconfirmed,
    /// Its goal was reached.
    Done,
    /// It was taken back.
    Undone,
}

impl RecordState {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Undoing => "undoing",
            Self::Stuck => "stuck",
            Self::Unconfirmed => "unconfirmed",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        [
            Self::Applying,
            Self::Undoing,
            Self::Stuck,
            Self::Unconfirmed,
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
    /// What was to hold before it; `None` on a host that was never told.
    pub before: Option<Intent>,
    /// The phase after it; `None` where the phase stays and less of it will hold.
    pub phase_to: Option<PhaseName>,
    /// The policy after it.
    pub policy_to: Option<PolicyId>,
    /// How much of the phase will hold.
    pub extent: Extent,
    /// Until when it is to be confirmed, where it is.
    pub confirm: Option<Confirm>,
    /// What the kernel is to hold after it.
    pub goal: KernelState,
    /// What the kernel held before it, as far as it can be put back.
    pub way_back: KernelState,
    /// Which devices belong together after it.
    pub bounds: Bounds,
    /// Which devices belonged together before it.
    pub bounds_before: Bounds,
}

/// A change that is taken back unless it is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirm {
    /// In which time, once it holds.
    pub within: Duration,
    /// By when, on the clock of the boot under which it was ordered: as planned, until it holds.
    pub until: Moment,
}

impl Confirm {
    /// The same of a change that holds since `now`: who is to confirm it has the whole of the time, however long the
    /// way was.
    #[must_use]
    pub fn held_since(self, now: Moment) -> Self {
        Self {
            until: self.until.max(now.plus(self.within)),
            ..self
        }
    }
}

impl NewRecord {
    /// The phase before it.
    #[must_use]
    pub fn phase_from(&self) -> Option<&PhaseName> {
        self.before.as_ref().map(|before| &before.phase)
    }

    /// What is to hold once its goal is reached, at `at`.
    #[must_use]
    pub fn after(&self, at: jiff::Timestamp) -> Option<Intent> {
        let whole = self.extent == Extent::Whole;
        match (&self.phase_to, &self.before) {
            // The phase goes on, by another policy.
            (Some(phase), Some(before))
                if before.phase == *phase && before.extent == self.extent =>
            {
                Some(Intent {
                    policy: self.policy_to.or(before.policy),
                    ..before.clone()
                })
            }
            (Some(phase), _) if whole => Some(Intent {
                phase: phase.clone(),
                policy: self.policy_to,
                extent: Extent::Whole,
                since: at,
                actor: self.actor.clone(),
                what: self.what.clone(),
            }),
            (_, Some(before)) => Some(Intent {
                extent: self.extent,
                since: at,
                actor: self.actor.clone(),
                what: self.what.clone(),
                ..before.clone()
            }),
            (_, None) => None,
        }
    }
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

impl Record {
    /// Whether the time to confirm it is over `now`, under this boot: under another it always is.
    #[must_use]
    pub fn is_late(&self, boot: &str, now: Moment) -> bool {
        let confirm = self.change.confirm;
        self.change.boot != boot || confirm.is_some_and(|confirm| confirm.until <= now)
    }
}

/// What becomes of a change that is neither done nor undone where another begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supersede {
    /// There is none; where there is, the other does not begin.
    Nothing,
    /// It is closed as undone: the other takes back all that it did.
    Unfinished,
}

/// A change as history tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its number.
    pub id: RecordId,
    /// When it was ordered.
    pub opened: jiff::Timestamp,
    /// When it came to its end; none of one that has not.
    pub closed: Option<jiff::Timestamp>,
    /// Who ordered it.
    pub actor: String,
    /// What was ordered.
    pub what: String,
    /// Where it stands.
    pub state: RecordState,
    /// The phase before it.
    pub phase_from: Option<PhaseName>,
    /// The phase after it.
    pub phase_to: Option<PhaseName>,
    /// The policy after it.
    pub policy: Option<PolicyId>,
    /// Why it was taken back.
    pub error: Option<String>,
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
        let intent = change.before.as_ref().map(serde_json::to_string);
        let intent = intent
            .transpose()
            .map_err(|error| self.corrupt("phase", &error))?;
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
                                     bounds, bounds_before, before, policy_to, extent, confirm_within, confirm_until)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
                params![
                    change.opened.to_string(),
                    change.boot,
                    change.actor,
                    change.what,
                    RecordState::Applying.as_str(),
                    change.phase_from().map(PhaseName::as_str),
                    change.phase_to.as_ref().map(PhaseName::as_str),
                    goal,
                    way_back,
                    after,
                    before,
                    intent,
                    change.policy_to.map(|policy| policy.0),
                    change.extent.as_str(),
                    change.confirm.map(|confirm| millis(Moment(confirm.within))),
                    change.confirm.map(|confirm| millis(confirm.until)),
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

    /// Notes that a change reached its goal and waits to be confirmed by `until`. What it leads to is to hold from
    /// now on.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn reach(
        &mut self,
        record: &Record,
        until: Moment,
        at: jiff::Timestamp,
    ) -> Result<(), StoreError> {
        let fail = super::sqlite("note that a change waits to be confirmed", &self.path);
        let mut write = || {
            let transaction = self.connection.transaction()?;
            transaction.execute(
                "UPDATE change SET state = ?2, confirm_until = ?3 WHERE id = ?1",
                params![
                    record.id.0,
                    RecordState::Unconfirmed.as_str(),
                    millis(until)
                ],
            )?;
            put(&transaction, record.change.after(at).as_ref())?;
            transaction.commit()
        };
        write().map_err(fail)
    }

    /// Gives more time to confirm a change.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn extend(&mut self, id: RecordId, confirm: Confirm) -> Result<(), StoreError> {
        self.connection
            .execute(
                "UPDATE change SET confirm_within = ?2, confirm_until = ?3 WHERE id = ?1",
                params![id.0, millis(Moment(confirm.within)), millis(confirm.until)],
            )
            .map(|_| ())
            .map_err(self.sqlite("give more time to confirm a change"))
    }

    /// Notes that a change stays: one that waits for it is done, one on its way will be once it is there.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn confirm(&mut self, record: &Record, at: jiff::Timestamp) -> Result<(), StoreError> {
        let fail = super::sqlite("confirm a change", &self.path);
        let reached = record.state == RecordState::Unconfirmed;
        let (state, closed) = if reached {
            (RecordState::Done, Some(at.to_string()))
        } else {
            (record.state, None)
        };
        self.connection
            .execute(
                "UPDATE change SET state = ?2, closed = ?3, confirm_within = NULL, confirm_until = NULL
                 WHERE id = ?1",
                params![record.id.0, state.as_str(), closed],
            )
            .map(|_| ())
            .map_err(fail)
    }

    /// Closes a change. Where it is done, what it leads to is to hold from now on; where it was taken back,
    /// what was to hold before it.
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
            transaction.execute(
                "UPDATE change SET state = ?2, closed = ?3 WHERE id = ?1",
                params![record.id.0, state.as_str(), at.to_string()],
            )?;
            if state == RecordState::Done {
                put(&transaction, record.change.after(at).as_ref())?;
            } else {
                put(&transaction, record.change.before.as_ref())?;
            }
            prune(&transaction)?;
            Self::prune_policies(&transaction)?;
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
                "SELECT bounds FROM change WHERE state IN (?1, ?2) ORDER BY id DESC LIMIT 1",
                params![
                    RecordState::Done.as_str(),
                    RecordState::Unconfirmed.as_str()
                ],
                |row| row.get(0),
            )
            .optional()
            .map_err(self.sqlite("read the last change"))?;
        text.map(|text| serde_json::from_str(&text).map_err(|error| self.corrupt("bound", &error)))
            .transpose()
    }
}

/// Puts what is to hold where it is looked for.
fn put(connection: &Connection, intent: Option<&Intent>) -> rusqlite::Result<usize> {
    match intent {
        Some(intent) => Store::put_intent(connection, intent),
        None => Store::forget_intent(connection),
    }
}
