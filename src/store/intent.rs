//! What is to hold: a phase of a policy, and how much of it.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::policy::PolicyId;
use super::{Store, StoreError, schema};
use crate::model::names::PhaseName;

/// How much of a phase is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// All of it.
    #[default]
    Whole,
    /// Its blocks alone: the shaping was taken out.
    Blocks,
    /// Nothing: all was taken out. The phase is the one that is entered where that is taken back.
    Nothing,
}

impl Extent {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Blocks => "blocks",
            Self::Nothing => "nothing",
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        [Self::Whole, Self::Blocks, Self::Nothing]
            .into_iter()
            .find(|extent| extent.as_str() == text)
    }
}

/// What is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The phase.
    pub phase: PhaseName,
    /// The policy that it is of; none in a store of before there were any.
    pub policy: Option<PolicyId>,
    /// How much of it.
    pub extent: Extent,
    /// Since when.
    pub since: Timestamp,
    /// Who ordered it.
    pub actor: String,
    /// What was ordered, or what came true.
    pub what: String,
}

/// A row of the table.
type Stored = (String, String, Option<i64>, String, String, String);

impl Store {
    /// What is to hold; none where nothing ever was.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn intent(&self) -> Result<Option<Intent>, StoreError> {
        let sql = if self.format < schema::DAEMON {
            "SELECT phase, since, NULL, '', '', 'whole' FROM intent"
        } else {
            "SELECT phase, since, policy, actor, what, extent FROM intent"
        };
        let row: Option<Stored> = self
            .connection
            .query_row(sql, [], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                ))
            })
            .optional()
            .map_err(self.sqlite("read the phase"))?;
        row.map(|(phase, since, policy, actor, what, extent)| {
            Ok(Intent {
                phase: phase
                    .parse()
                    .map_err(|error| self.corrupt("phase", &error))?,
                policy: policy.map(PolicyId),
                extent: Extent::read(&extent).ok_or_else(|| self.corrupt("phase", &extent))?,
                since: since
                    .parse()
                    .map_err(|error| self.corrupt("date", &error))?,
                actor,
                what,
            })
        })
        .transpose()
    }

    /// The phase that is to hold, as far as the store knows.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn phase(&self) -> Result<Option<PhaseName>, StoreError> {
        Ok(self.intent()?.map(|intent| intent.phase))
    }

    pub(super) fn put_intent(connection: &Connection, intent: &Intent) -> rusqlite::Result<usize> {
        connection.execute(
            "INSERT OR REPLACE INTO intent (one, phase, since, policy, actor, what, extent)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                intent.phase.as_str(),
                intent.since.to_string(),
                intent.policy.map(|policy| policy.0),
                intent.actor,
                intent.what,
                intent.extent.as_str(),
            ],
        )
    }

    pub(super) fn forget_intent(connection: &Connection) -> rusqlite::Result<usize> {
        connection.execute("DELETE FROM intent", [])
    }
}
