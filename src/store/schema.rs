//! The tables.

/// The format that this version writes.
pub const VERSION: i64 = 1;

/// Tells a store from other programs' databases: "WANS".
pub const APPLICATION: i64 = 0x5741_4e53;

/// Makes the tables of [`VERSION`], all or none, and says whose they are.
pub fn all() -> String {
    format!(
        "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    )
}

/// `one` keeps a table at one row, and `open_change` keeps the open changes at one.
const TABLES: &str = "
CREATE TABLE intent (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    phase TEXT NOT NULL,
    since TEXT NOT NULL
) STRICT;
CREATE TABLE numbers (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ids TEXT NOT NULL
) STRICT;
CREATE TABLE change (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    opened   TEXT NOT NULL,
    closed   TEXT,
    boot     TEXT NOT NULL,
    actor    TEXT NOT NULL,
    what     TEXT NOT NULL,
    state    TEXT NOT NULL,
    phase_from TEXT,
    phase_to   TEXT,
    goal     TEXT NOT NULL,
    way_back TEXT NOT NULL,
    bounds   TEXT NOT NULL,
    bounds_before TEXT NOT NULL,
    error    TEXT
) STRICT;
CREATE UNIQUE INDEX open_change ON change (closed IS NULL) WHERE closed IS NULL;
";
