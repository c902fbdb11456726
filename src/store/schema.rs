//! The tables, and how a store of an older format comes to have them.

/// The format that this version writes.
pub const VERSION: i64 = DAEMON;

/// The first format.
pub const CHANGES: i64 = 1;

/// The format that brought events and conditions.
pub const CONDITIONS: i64 = 2;

/// The format that brought policies, confirmation, and what a daemon remembers.
pub const DAEMON: i64 = 3;

/// Tells a store from other programs' databases: "WANS".
pub const APPLICATION: i64 = 0x5741_4e53;

/// The tables that each format brought.
const FORMATS: [(i64, &str); 3] = [
    (CHANGES, CHANGE_TABLES),
    (CONDITIONS, CONDITION_TABLES),
    (DAEMON, DAEMON_TABLES),
];

/// Brings a store of the format `from` (0: none yet) to [`VERSION`], all or none, and says whose it is.
pub fn upgrade(from: i64) -> String {
    let tables: String = FORMATS
        .iter()
        .filter(|(format, _)| *format > from)
        .map(|(_, tables)| *tables)
        .collect();
    format!(
        "BEGIN; {tables} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
    )
}

/// `one` keeps a table at one row, and `open_change` keeps the open changes at one.
const CHANGE_TABLES: &str = "
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

/// `latch` is there where the condition is true; `seen` is the last report before it was reset.
const CONDITION_TABLES: &str = "
CREATE TABLE event (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    name  TEXT NOT NULL,
    at    TEXT NOT NULL,
    actor TEXT NOT NULL
) STRICT;
CREATE TABLE condition (
    name     TEXT PRIMARY KEY,
    latch    TEXT,
    seen     INTEGER,
    reset_at TEXT,
    reset_by TEXT
) STRICT;
";

/// `files` is what each file of a policy said. Of a change, `before` is the intent before it, `extent` how much of
/// its phase is to hold after it, and `confirm_until` a time on the boot clock of its boot, in milliseconds.
const DAEMON_TABLES: &str = "
CREATE TABLE policy (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    hash   TEXT NOT NULL UNIQUE,
    loaded TEXT NOT NULL,
    files  TEXT NOT NULL
) STRICT;
ALTER TABLE intent ADD COLUMN policy INTEGER REFERENCES policy (id);
ALTER TABLE intent ADD COLUMN actor TEXT NOT NULL DEFAULT '';
ALTER TABLE intent ADD COLUMN what TEXT NOT NULL DEFAULT '';
ALTER TABLE intent ADD COLUMN extent TEXT NOT NULL DEFAULT 'whole';
ALTER TABLE change ADD COLUMN before TEXT;
ALTER TABLE change ADD COLUMN policy_to INTEGER REFERENCES policy (id);
ALTER TABLE change ADD COLUMN extent TEXT NOT NULL DEFAULT 'whole';
ALTER TABLE change ADD COLUMN confirm_within INTEGER;
ALTER TABLE change ADD COLUMN confirm_until INTEGER;
CREATE TABLE block (
    name  TEXT PRIMARY KEY,
    since TEXT NOT NULL,
    boot  TEXT NOT NULL,
    began INTEGER NOT NULL
) STRICT;
CREATE TABLE beginning (
    phase TEXT NOT NULL,
    date  TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (phase, date)
) STRICT;
CREATE TABLE memory (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
";
