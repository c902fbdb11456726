//! The policies that were put into force: what their files said, so that they can be put into force again.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Store, StoreError, schema};
use crate::api::FileFacts;
use crate::policy::Source;

/// Numbers a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyId(pub i64);

/// A policy as the store has it.
#[derive(Debug, Clone)]
pub struct StoredPolicy {
    /// Its number.
    pub id: PolicyId,
    /// SHA-256 of what `sha256sum` prints of its files.
    pub hash: String,
    /// When it was put into force for the first time.
    pub loaded: Timestamp,
    /// What its files said.
    pub sources: Vec<Source>,
}

/// A file as it is stored.
#[derive(Serialize, Deserialize)]
struct File {
    name: String,
    text: String,
}

/// What `sha256sum` prints of each file, without the name.
#[must_use]
pub fn hashes(sources: &[Source]) -> Vec<FileFacts> {
    let facts = |source: &Source| FileFacts {
        name: source.name.to_string(),
        sha256: sha256(source.text.as_bytes()),
    };
    sources.iter().map(facts).collect()
}

/// The hash of a policy: that of what `sha256sum` prints of its files, in their order.
#[must_use]
pub fn hash(files: &[FileFacts]) -> String {
    let lines: String = files
        .iter()
        .map(|file| format!("{}  {}\n", file.sha256, file.name))
        .collect();
    sha256(lines.as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Store {
    /// Puts the files of a policy into the store, where they are not there yet.
    ///
    /// # Errors
    /// Where it cannot be written. Then it must not be put into force.
    pub fn keep_policy(
        &mut self,
        sources: &[Source],
        at: Timestamp,
    ) -> Result<PolicyId, StoreError> {
        let hash = hash(&hashes(sources));
        let found = self
            .connection
            .query_row(
                "SELECT id FROM policy WHERE hash = ?1",
                params![hash],
                |row| row.get(0),
            )
            .optional()
            .map_err(self.sqlite("look for a policy"))?;
        if let Some(id) = found {
            return Ok(PolicyId(id));
        }
        let files: Vec<File> = sources
            .iter()
            .map(|source| File {
                name: source.name.to_string(),
                text: source.text.to_string(),
            })
            .collect();
        let files =
            serde_json::to_string(&files).map_err(|error| self.corrupt("policy", &error))?;
        self.connection
            .execute(
                "INSERT INTO policy (hash, loaded, files) VALUES (?1, ?2, ?3)",
                params![hash, at.to_string(), files],
            )
            .map_err(self.sqlite("keep a policy"))?;
        Ok(PolicyId(self.connection.last_insert_rowid()))
    }

    /// A policy that was put into force.
    ///
    /// # Errors
    /// Where it cannot be read; where there is none of that number.
    pub fn policy(&self, id: PolicyId) -> Result<StoredPolicy, StoreError> {
        if self.format < schema::DAEMON {
            return Err(self.corrupt("policy", &"there is none"));
        }
        let (hash, loaded, files): (String, String, String) = self
            .connection
            .query_row(
                "SELECT hash, loaded, files FROM policy WHERE id = ?1",
                params![id.0],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .map_err(self.sqlite("read a policy"))?;
        let files: Vec<File> =
            serde_json::from_str(&files).map_err(|error| self.corrupt("policy", &error))?;
        Ok(StoredPolicy {
            id,
            hash,
            loaded: loaded
                .parse()
                .map_err(|error| self.corrupt("date", &error))?,
            sources: files
                .into_iter()
                .map(|file| Source {
                    name: file.name.into(),
                    text: file.text.into(),
                })
                .collect(),
        })
    }

    /// Those that neither what holds nor a change on record speaks of go.
    pub(super) fn prune_policies(connection: &Connection) -> rusqlite::Result<usize> {
        connection.execute(
            "DELETE FROM policy WHERE id NOT IN (SELECT policy FROM intent WHERE policy IS NOT NULL)
             AND id NOT IN (SELECT policy_to FROM change WHERE policy_to IS NOT NULL)
             AND id NOT IN (SELECT json_extract(before, '$.policy') FROM change
                            WHERE json_extract(before, '$.policy') IS NOT NULL)",
            [],
        )
    }
}
