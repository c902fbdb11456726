//! What outlives a restart, on a real disk.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::os::unix::fs::PermissionsExt;

use wanshift::model::ids::Ids;
use wanshift::model::state::KernelState;
use wanshift::plan::Bounds;
use wanshift::store::{Lock, LockError, NewRecord, Record, RecordState, Store, StoreError};

fn change(what: &str) -> NewRecord {
    NewRecord {
        opened: "2020-03-17T07:30:00Z".parse().unwrap(),
        boot: "boot-1".to_owned(),
        actor: "root".to_owned(),
        what: what.to_owned(),
        phase_from: Some("nominal".parse().unwrap()),
        phase_to: Some("telework".parse().unwrap()),
        goal: KernelState::default(),
        way_back: KernelState::default(),
        bounds: Bounds::default(),
        bounds_before: Bounds::default(),
    }
}

fn numbers() -> Ids {
    let mut ids = Ids::default();
    let keys = ["internet", "internet.rest", "internet.class.gateway"];
    ids.assign(
        keys.map(|key| key.parse().unwrap()),
        ["wan0".parse().unwrap()],
    )
    .unwrap();
    ids
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
    let id = store.begin(&change("phase telework"), &numbers()).unwrap();
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
        None,
        "a change that was taken back left its phase"
    );

    let id = store.begin(&change("phase telework"), &numbers()).unwrap();
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
