//! The tables.

/// The format that this version writes.
pub const VERSION: i64 = 1;

/// Makes the tables of [`VERSION`]. `one` keeps a table at one row.
pub const SCHEMA: &str = "
BEGIN;
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
PRAGMA user_version = 1;
COMMIT;
";
