//! What outlives a restart, on a real disk.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use wanshift::model::circuit::MarkMask;
use wanshift::model::ids::{Ids, Wanted};
use wanshift::model::readings::{Cause, Latch, Latches};
use wanshift::model::state::KernelState;
use wanshift::plan::Bounds;
use wanshift::store::{
    Extent, Intent, Lock, LockError, NewRecord, Record, RecordId, RecordState, Store, StoreError,
    Supersede,
};

fn change(what: &str) -> NewRecord {
    NewRecord {
        opened: "2020-03-17T07:30:00Z".parse().unwrap(),
        boot: "boot-1".to_owned(),
        actor: "root".to_owned(),
        what: what.to_owned(),
        before: Some(Intent {
            phase: "nominal".parse().unwrap(),
            policy: None,
            extent: Extent::Whole,
            since: "2020-03-16T07:30:00Z".parse().unwrap(),
            actor: "root".to_owned(),
            what: "phase nominal".to_owned(),
        }),
        phase_to: Some("telework".parse().unwrap()),
        policy_to: None,
        extent: Extent::Whole,
        confirm: None,
        goal: KernelState::default(),
        way_back: KernelState::default(),
        bounds: Bounds::default(),
        bounds_before: Bounds::default(),
    }
}

fn numbers() -> Ids {
    let mut ids = Ids::default();
    let keys = ["internet", "internet.rest", "internet.class.gateway"];
    ids.assign(Wanted {
        keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
        devices: ["wan0".parse().unwrap()].into(),
        pools: ["access".parse().unwrap()].into(),
        mask: MarkMask::UPPER_16,
    })
    .unwrap();
    ids
}

fn begin(store: &mut Store, what: &str) -> Result<RecordId, StoreError> {
    store.begin(&change(what), &numbers(), Supersede::Nothing)
}

/// The records in the file, each with its number, what was ordered, how it stands and whether it is closed.
fn records(directory: &Path) -> Vec<(i64, String, String, bool)> {
    let connection = rusqlite::Connection::open(directory.join("wanshift.db")).unwrap();
    let mut rows = connection
        .prepare("SELECT id, what, state, closed IS NOT NULL FROM change ORDER BY id")
        .unwrap();
    rows.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })
    .unwrap()
    .map(Result::unwrap)
    .collect()
}

#[test]
fn a_change_is_found_again_until_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    assert!(Store::read(&state).unwrap().is_none());

    let mut store = Store::open(&state).unwrap();
    let mode = std::fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(
        mode & 0o777,
        0o700,
        "others can look into the state directory"
    );
    assert_eq!(store.phase().unwrap(), None);
    let id = begin(&mut store, "phase telework").unwrap();
    drop(store);

    let mut store = Store::open(&state).unwrap();
    let record = store.unfinished().unwrap().unwrap();
    let expected = Record {
        id,
        state: RecordState::Applying,
        change: change("phase telework"),
    };
    assert_eq!(record, expected);
    assert_eq!(store.ids().unwrap(), numbers());
    store
        .turn_back(id, RecordState::Undoing, "a write failed")
        .unwrap();
    assert_eq!(
        store.unfinished().unwrap().unwrap().state,
        RecordState::Undoing
    );
    store
        .close(
            &record,
            RecordState::Undone,
            "2020-03-17T07:31:00Z".parse().unwrap(),
        )
        .unwrap();
    assert_eq!(store.unfinished().unwrap(), None);
    assert_eq!(
        store.phase().unwrap(),
        Some("nominal".parse().unwrap()),
        "what held before a change that was taken back is to hold again"
    );

    let id = begin(&mut store, "phase telework").unwrap();
    let record = Record { id, ..record };
    store
        .close(
            &record,
            RecordState::Done,
            "2020-03-17T07:32:00Z".parse().unwrap(),
        )
        .unwrap();
    let store = Store::read(&state).unwrap().unwrap();
    assert_eq!(store.phase().unwrap(), Some("telework".parse().unwrap()));
}

#[test]
fn one_writer_at_a_time_and_the_other_is_told_who() {
    let directory = tempfile::tempdir().unwrap();
    let first = Lock::take(directory.path(), "`wanshift run` by root, process 1").unwrap();
    match Lock::take(directory.path(), "me").unwrap_err() {
        LockError::Held { holder, .. } => assert_eq!(holder, "`wanshift run` by root, process 1"),
        other => panic!("{other}"),
    }
    drop(first);
    Lock::take(directory.path(), "me").unwrap();
}

#[test]
fn what_is_no_store_is_an_error_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wanshift.db");
    std::fs::write(&file, "this is no database, and nobody may overwrite it").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(error.to_string().contains("wanshift.db"), "{error}");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .starts_with("this is no database")
    );
}

#[test]
fn a_newer_store_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let connection = rusqlite::Connection::open(directory.path().join("wanshift.db")).unwrap();
    connection
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 99, .. }),
        "{error}"
    );
}

#[test]
fn a_state_directory_that_cannot_be_made_is_an_error_that_names_it() {
    let error = Store::open("/proc/nowhere/wanshift".as_ref()).unwrap_err();
    assert!(
        error.to_string().contains("/proc/nowhere/wanshift"),
        "{error}"
    );
}

/// Runs `test` as root, who alone can make what belongs to others.
fn as_root(test: impl FnOnce()) {
    if nix::unistd::geteuid().is_root() {
        test();
    } else {
        eprintln!("skipped: not root");
        assert!(std::env::var_os("CI").is_none(), "skipped under CI");
    }
}

fn refused(directory: &Path) -> String {
    let of_lock = Lock::take(directory, "me").unwrap_err().to_string();
    let of_store = Store::open(directory).unwrap_err().to_string();
    let of_reader = Store::read(directory).unwrap_err().to_string();
    assert_eq!(of_lock, of_store);
    assert_eq!(of_lock, of_reader);
    of_lock
}

#[test]
fn a_directory_in_which_others_may_write_is_refused_and_nothing_is_followed_there() {
    as_root(|| {
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("shadow");
        std::fs::write(&victim, "precious\n").unwrap();
        let state = outside.path().join("state");
        std::fs::create_dir(&state).unwrap();
        symlink(&victim, state.join("lock")).unwrap();
        chown(&state, Some(12_345), Some(12_345)).unwrap();
        let mode = |mode| std::fs::set_permissions(&state, PermissionsExt::from_mode(mode));
        mode(0o777).unwrap();

        let error = refused(&state);
        let what = format!("chown root {}", state.display());
        assert!(
            error.contains("user 12345") && error.contains(&what),
            "{error}"
        );
        chown(&state, Some(0), None).unwrap();
        for open in [0o777, 0o770, 0o1777] {
            mode(open).unwrap();
            let error = refused(&state);
            let what = format!("chmod go-w {}", state.display());
            assert!(error.contains(&what), "{open:o}: {error}");
        }
        // What was left there is not believed either.
        mode(0o755).unwrap();
        for (file, other) in [("lock", "wanshift.db"), ("wanshift.db", "wanshift.db-wal")] {
            let error = refused(&state);
            assert!(error.contains(&format!("{file}: is a link")), "{error}");
            std::fs::remove_file(state.join(file)).unwrap();
            symlink(&victim, state.join(other)).unwrap();
        }
        assert!(refused(&state).contains("wanshift.db-wal: is a link"));
        std::fs::remove_file(state.join("wanshift.db-wal")).unwrap();
        let _lock = Lock::take(&state, "me").unwrap();
        Store::open(&state).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious\n");
    });
}

#[test]
fn a_directory_reached_through_somebody_elses_link_is_refused() {
    as_root(|| {
        let outside = tempfile::tempdir().unwrap();
        let (state, link) = (outside.path().join("state"), outside.path().join("link"));
        std::fs::create_dir(&state).unwrap();
        symlink(&state, &link).unwrap();
        Store::open(&link).unwrap();
        lchown(&link, Some(12_345), None).unwrap();
        let error = refused(&link);
        assert!(error.contains("the link belongs to user 12345"), "{error}");
        assert!(error.contains("chown -h root"), "{error}");
    });
}

#[test]
fn a_lock_or_database_that_is_no_file_or_not_ours_is_refused() {
    as_root(|| {
        let directory = tempfile::tempdir().unwrap();
        for file in ["lock", "wanshift.db"] {
            let path = directory.path().join(file);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            assert!(refused(directory.path()).contains("no regular file"));
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "").unwrap();
            chown(&path, Some(12_345), None).unwrap();
            assert!(refused(directory.path()).contains("the file belongs to user 12345"));
            std::fs::remove_file(&path).unwrap();
        }
        Store::open(directory.path()).unwrap();
    });
}

#[test]
fn no_change_begins_beside_another_unless_it_takes_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let open = begin(&mut store, "phase telework").unwrap();
    let error = begin(&mut store, "apply").unwrap_err();
    assert!(
        matches!(&error, StoreError::Unfinished { id, what } if *id == open && what == "phase telework"),
        "{error}"
    );
    assert_eq!(store.unfinished().unwrap().unwrap().id, open);

    let change = change("teardown");
    let id = store
        .begin(&change, &numbers(), Supersede::Unfinished)
        .unwrap();
    assert_eq!(store.unfinished().unwrap().unwrap().id, id);
    let expected = [
        (open.0, "phase telework", "undone", true),
        (id.0, "teardown", "applying", false),
    ]
    .map(|(id, what, state, closed)| (id, what.to_owned(), state.to_owned(), closed));
    assert_eq!(records(directory.path()), expected);
    // Not even by another hand.
    let connection = rusqlite::Connection::open(directory.path().join("wanshift.db")).unwrap();
    connection
        .execute_batch("UPDATE change SET closed = NULL")
        .unwrap_err();
}

#[test]
fn the_oldest_records_go() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    for round in 0..70 {
        begin(&mut store, &format!("change {round}")).unwrap();
        assert!(records(directory.path()).len() <= 50, "at {round}");
        let record = store.unfinished().unwrap().unwrap();
        store
            .close(&record, RecordState::Done, record.change.opened)
            .unwrap();
    }
    let kept = records(directory.path());
    assert_eq!(kept.len(), 50);
    assert_eq!(kept[0].1, "change 20");
    assert_eq!(kept[49].1, "change 69");
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    for content in [
        "CREATE TABLE theirs (a)",
        "PRAGMA application_id = 7",
        "PRAGMA user_version = 1",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("wanshift.db");
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection.execute_batch(content).unwrap();
        drop(connection);
        let before = std::fs::read(&file).unwrap();
        for error in [
            Store::open(directory.path()).unwrap_err(),
            Store::read(directory.path()).unwrap_err(),
        ] {
            assert!(
                matches!(error, StoreError::Foreign { .. }),
                "{content}: {error}"
            );
        }
        assert_eq!(std::fs::read(&file).unwrap(), before, "{content}");
    }
    // A file that nobody has written to yet is nobody's.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("wanshift.db"), "").unwrap();
    assert!(Store::read(directory.path()).unwrap().is_none());
    Store::open(directory.path()).unwrap();
    assert!(Store::read(directory.path()).unwrap().is_some());
}

fn latch(at: &str, event: &str) -> Latch {
    Latch {
        since: at.parse().unwrap(),
        because: vec![Cause::Event(event.parse().unwrap())],
        by: vec!["root".to_owned()],
    }
}

#[test]
fn events_and_what_they_made_true_are_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.latches().unwrap(), Latches::default());
    let (event, condition) = ("delivered".parse().unwrap(), "up".parse().unwrap());
    store
        .report(&event, "2020-03-17T07:30:00Z".parse().unwrap(), "alice")
        .unwrap();
    store
        .report(&event, "2020-03-17T07:29:00Z".parse().unwrap(), "bob")
        .unwrap();
    let first = latch("2020-03-17T07:30:01Z", "delivered");
    store.latch(&[(condition, first.clone())].into()).unwrap();
    drop(store);

    let mut store = Store::open(directory.path()).unwrap();
    let reports = store.events().unwrap();
    // The last by its place, whatever the clock did.
    let report = &reports[&event];
    assert_eq!((report.number, report.by.as_str()), (2, "bob"));
    let condition = "up".parse().unwrap();
    assert_eq!(store.latches().unwrap().held()[&condition], first);
    // The first reason stays.
    let other = latch("2021-01-01T00:00:00Z", "other");
    store.latch(&[(condition.clone(), other)].into()).unwrap();
    assert_eq!(store.latches().unwrap().held()[&condition], first);

    store
        .reset(&condition, "2020-03-18T00:00:00Z".parse().unwrap(), "root")
        .unwrap();
    let latches = Store::read(directory.path())
        .unwrap()
        .unwrap()
        .latches()
        .unwrap();
    assert!(!latches.holds(&condition));
    assert!(!latches.counts(&condition, report));
    let again = latch("2020-03-19T00:00:00Z", "delivered");
    store
        .latch(&[(condition.clone(), again.clone())].into())
        .unwrap();
    assert_eq!(store.latches().unwrap().held()[&condition], again);
}

#[test]
fn a_change_that_is_taken_back_leaves_what_became_true() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    begin(&mut store, "phase telework").unwrap();
    let true_since = latch("2020-03-17T07:30:01Z", "delivered");
    store
        .latch(&[("up".parse().unwrap(), true_since)].into())
        .unwrap();
    let record = store.unfinished().unwrap().unwrap();
    store
        .close(&record, RecordState::Undone, record.change.opened)
        .unwrap();
    assert!(store.latches().unwrap().holds(&"up".parse().unwrap()));
}

/// The tables of the first format, with a phase in them.
const FIRST_FORMAT: &str = "
CREATE TABLE intent (one INTEGER PRIMARY KEY CHECK (one = 1), phase TEXT NOT NULL, since TEXT NOT NULL) STRICT;
CREATE TABLE numbers (one INTEGER PRIMARY KEY CHECK (one = 1), ids TEXT NOT NULL) STRICT;
CREATE TABLE change (id INTEGER PRIMARY KEY AUTOINCREMENT, opened TEXT NOT NULL, closed TEXT, boot TEXT NOT NULL,
    actor TEXT NOT NULL, what TEXT NOT NULL, state TEXT NOT NULL, phase_from TEXT, phase_to TEXT, goal TEXT NOT NULL,
    way_back TEXT NOT NULL, bounds TEXT NOT NULL, bounds_before TEXT NOT NULL, error TEXT) STRICT;
CREATE UNIQUE INDEX open_change ON change (closed IS NULL) WHERE closed IS NULL;
INSERT INTO intent VALUES (1, 'telework', '2020-03-17T07:31:00Z');
PRAGMA application_id = 1463897683; PRAGMA user_version = 1;
";

#[test]
fn a_store_of_the_first_format_is_read_as_it_is_and_gets_its_tables_when_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wanshift.db");
    let version = || {
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection
            .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch(FIRST_FORMAT).unwrap();
    drop(connection);

    let store = Store::read(directory.path()).unwrap().unwrap();
    assert_eq!(store.latches().unwrap(), Latches::default());
    assert!(store.events().unwrap().is_empty());
    drop(store);
    assert_eq!(version(), 1, "reading wrote");

    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(version(), 3);
    assert_eq!(store.phase().unwrap(), Some("telework".parse().unwrap()));
    let event = "delivered".parse().unwrap();
    store
        .report(&event, "2020-03-17T07:30:00Z".parse().unwrap(), "root")
        .unwrap();
    begin(&mut store, "apply").unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.events().unwrap().len(), 1);
    assert!(store.unfinished().unwrap().is_some());
}

#[test]
fn the_oldest_reports_go_but_the_last_of_each_event_stays() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let at = "2020-03-17T07:30:00Z".parse().unwrap();
    store.report(&"rare".parse().unwrap(), at, "root").unwrap();
    let often = "often".parse().unwrap();
    for _ in 0..1005 {
        store.report(&often, at, "root").unwrap();
    }
    let events = store.events().unwrap();
    assert_eq!(events[&"rare".parse().unwrap()].number, 1);
    assert_eq!(events[&often].number, 1006);
    let connection = rusqlite::Connection::open(directory.path().join("wanshift.db")).unwrap();
    let kept: i64 = connection
        .query_row("SELECT count(*) FROM event", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 1001);
}
