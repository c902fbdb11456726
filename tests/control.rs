//! The control sockets: who is heard, who is not, and that nobody can hold up the others.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::libc;
use nix::unistd::{Gid, geteuid};
use tempfile::TempDir;
use tokio::sync::oneshot;
use wanshift::api::{
    Answer, Failure, Insist, Milestone, Order, Reply, Request, SchemaVersion, Silent, Talk,
};
use wanshift::control::client::{ClientError, ask};
use wanshift::control::{Ask, Asker, BindError, Server, for_reading, socket_for};
use wanshift::policy::Style;

/// A group that nobody is in.
const GROUP: u32 = 4_321;
const NOBODY: u32 = 65_534;

/// A daemon that is only its sockets, on a thread of its own.
struct Daemon {
    directory: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// What became of those who were told much.
    askers: mpsc::Receiver<Asker>,
}

impl Daemon {
    fn new() -> Self {
        Self::of(Some(Gid::from_raw(GROUP)))
    }

    fn of(group: Option<Gid>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = directory.path().join("run/control");
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let (tell, askers) = mpsc::channel();
        let serve = async move {
            let (_server, mut asks) = Server::bind(&path, group).unwrap();
            ready.send(()).unwrap();
            let answering = async {
                while let Some(ask) = asks.recv().await {
                    answer(ask, &tell).await;
                }
            };
            tokio::select! {
                () = answering => panic!("it no longer listens"),
                _ = stopped => {}
            }
        };
        let thread = std::thread::spawn(|| runtime().block_on(serve));
        is_ready.recv().unwrap();
        Self {
            directory,
            stop: Some(stop),
            thread: Some(thread),
            askers,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("run/control")
    }

    fn stop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }

    /// That others are answered.
    #[track_caller]
    fn is_well(&self) {
        let answer = ask(
            &for_reading(&self.path()),
            &request(Order::Status),
            &mut Silent,
        );
        assert_eq!(answer.unwrap().text, "all is well");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// What the daemon does: it tells of a confirmation and who ordered it, and far more of a teardown than anybody
/// keeps; it dies of a rollback.
async fn answer(ask: Ask, tell: &mpsc::Sender<Asker>) {
    let mut replies = ask.replies;
    let text = match ask.request.order {
        Order::Status => "all is well".to_owned(),
        Order::Confirm => {
            replies.say("a line");
            replies.text("a text");
            replies.progress("half", Milestone::Step);
            ask.actor
        }
        Order::Teardown => {
            let line = "x".repeat(1_000);
            for _ in 0..5_000 {
                replies.say(&line);
                tokio::task::yield_now().await;
            }
            tell.send(replies.asker()).unwrap();
            "down".to_owned()
        }
        Order::Apply { .. } => {
            // All at once, as by one who has no time between.
            for line in 0..1_000 {
                replies.say(&line.to_string());
            }
            "applied".to_owned()
        }
        Order::TeardownShaping => {
            // Until he goes, of which others are not to know.
            let tell = tell.clone();
            tokio::spawn(async move {
                replies.say("begun");
                while replies.asker() == Asker::Listens {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                tell.send(Asker::Gone).unwrap();
            });
            return;
        }
        Order::Rollback { .. } => return,
        order => {
            let failure = Failure::from(format!("no {}", order.words()));
            return replies.failed(failure);
        }
    };
    let json = serde_json::json!({});
    replies.done(Answer { text, json });
}

fn request(order: Order) -> Request {
    Request {
        schema_version: SchemaVersion::NOW,
        order,
        config: None,
        state: None,
        session: None,
        on_behalf_of: None,
        style: Style::Plain,
    }
}

fn json(order: Order) -> Vec<u8> {
    let mut line = serde_json::to_vec(&request(order)).unwrap();
    line.push(b'\n');
    line
}

/// Reads the next reply; none where there is none.
fn next(reader: &mut impl BufRead) -> Option<Reply> {
    let mut line = String::new();
    match reader.read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(serde_json::from_str(&line).unwrap()),
    }
}

/// Sends bytes and gives why they are refused.
#[track_caller]
fn refused(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    // Who is refused early is not read to the end.
    let _ = stream.write_all(bytes);
    let mut reader = BufReader::new(stream);
    let reply = next(&mut reader);
    assert_eq!(next(&mut reader), None, "that was the last word");
    match reply {
        Some(Reply::Failed(failure)) => failure.error,
        other => panic!("{other:?}"),
    }
}

/// Does something as another user. Credentials belong to a thread, as the kernel sees it.
fn as_user<T: Send + 'static>(
    user: u32,
    group: u32,
    groups: &[u32],
    what: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can be somebody else");
        assert!(std::env::var_os("CI").is_none(), "skipped under CI");
        return None;
    }
    let groups = groups.to_vec();
    let thread = std::thread::spawn(move || {
        // SAFETY: numbers, and a list that is as long as it is said to be.
        let outcomes = unsafe {
            [
                libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()),
                libc::syscall(libc::SYS_setresgid, group, group, group),
                libc::syscall(libc::SYS_setresuid, user, user, user),
            ]
        };
        assert_eq!(outcomes, [0; 3]);
        what()
    });
    Some(thread.join().unwrap())
}

/// All that is said.
#[derive(Default)]
struct Heard(Vec<String>);

impl Talk for Heard {
    fn say(&mut self, line: &str) {
        self.0.push(format!("say {line}"));
    }

    fn text(&mut self, text: &str) {
        self.0.push(format!("text {text}"));
    }

    fn progress(&mut self, line: &str, milestone: Milestone) {
        self.0.push(format!("{milestone:?} {line}"));
    }
}

#[test]
fn an_order_is_answered_and_its_giver_known() {
    let daemon = Daemon::new();
    daemon.is_well();
    let path = socket_for(&daemon.path(), &Order::Confirm);
    assert_eq!(path, daemon.path());
    let mut heard = Heard::default();
    let answer = ask(&path, &request(Order::Confirm), &mut heard).unwrap();
    assert_eq!(heard.0, ["say a line", "text a text", "Step half"]);
    let me = nix::unistd::User::from_uid(geteuid())
        .unwrap()
        .unwrap()
        .name;
    assert_eq!(answer.text, me);
    let on_behalf = Request {
        on_behalf_of: Some("jane".to_owned()),
        ..request(Order::Confirm)
    };
    let answer = ask(&path, &on_behalf, &mut Silent).unwrap();
    let behind = if geteuid().is_root() {
        " (sudo: jane)"
    } else {
        ""
    };
    assert_eq!(answer.text, format!("{me}{behind}"));
    // Who has no more to say still listens.
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&json(Order::Confirm)).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.contains("done"), "{all}");
}

#[test]
fn what_is_no_request_is_refused_with_the_reason() {
    let daemon = Daemon::new();
    let good = serde_json::to_value(request(Order::Apply {
        confirm_within: None,
        force: Insist::No,
    }))
    .unwrap();
    let with = |place: &str, value: serde_json::Value| {
        let mut bent = good.clone();
        let (parent, name) = place.rsplit_once('/').unwrap();
        let object = bent.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        object.insert(name.to_owned(), value);
        format!("{bent}\n").into_bytes()
    };
    for path in [daemon.path(), for_reading(&daemon.path())] {
        for (bytes, why) in [
            (b"\n".to_vec(), "not understood"),
            (b"status\n".to_vec(), "not understood"),
            (b"{}\n".to_vec(), "schema_version"),
            (b"\xff\xfe{}\n".to_vec(), "not understood"),
            (with("/schema_version", 2.into()), "version 2"),
            (with("/colour", 1.into()), "unknown field `colour`"),
            (with("/order/forced", 1.into()), "unknown field `forced`"),
            (with("/order/verb", "reboot".into()), "reboot"),
            (with("/order/force", "maybe".into()), "maybe"),
        ] {
            let said = refused(&path, &bytes);
            assert!(said.contains(why), "{said}");
        }
        let deep = format!("{}\n", "[".repeat(10_000));
        assert!(refused(&path, deep.as_bytes()).contains("recursion"));
        let long = vec![b'a'; 1 << 20];
        assert!(refused(&path, &long).contains("longer than 65536 bytes"));
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"{\"schema").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let reply = next(&mut BufReader::new(stream));
        assert!(matches!(reply, Some(Reply::Failed(f)) if f.error.contains("ends before")));
    }
    daemon.is_well();
}

#[test]
fn who_says_half_a_line_and_no_more_is_sent_away() {
    let daemon = Daemon::new();
    let mut half = UnixStream::connect(daemon.path()).unwrap();
    half.write_all(b"{\"schema_version\":").unwrap();
    daemon.is_well();
    half.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let reply = next(&mut BufReader::new(half));
    assert!(matches!(reply, Some(Reply::Failed(f)) if f.error.contains("within 10 s")));
}

#[test]
fn a_hundred_at_once_are_told_at_once_and_do_not_stay() {
    let daemon = Daemon::new();
    let reading = for_reading(&daemon.path());
    let hundred: Vec<UnixStream> = (0..100)
        .map(|_| UnixStream::connect(&reading).unwrap())
        .collect();
    let mut let_in = 0;
    for stream in &hundred {
        stream
            .set_read_timeout(Some(Duration::from_millis(80)))
            .unwrap();
        match next(&mut BufReader::new(stream)) {
            Some(Reply::Failed(failure)) => assert!(failure.error.contains("32 others")),
            None => let_in += 1,
            Some(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(let_in, 32);
    // One who comes then is told so too, though he spoke at once.
    let error = ask(&reading, &request(Order::Status), &mut Silent).unwrap_err();
    assert!(error.to_string().contains("32 others"), "{error}");
    // Those who read do not keep out those who act.
    ask(&daemon.path(), &request(Order::Confirm), &mut Silent).unwrap();
    drop(hundred);
    let mut tries = 0;
    while ask(&reading, &request(Order::Status), &mut Silent).is_err() {
        tries += 1;
        assert!(tries < 100, "nobody is let in again");
        std::thread::sleep(Duration::from_millis(10));
    }
    // With a hundred who speak, those who are let in are answered.
    let threads: Vec<_> = (0..100)
        .map(|_| {
            let path = daemon.path();
            std::thread::spawn(move || ask(&path, &request(Order::Confirm), &mut Silent))
        })
        .collect();
    let outcomes: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(error.to_string().contains("32 others"), "{error}");
    }
    assert!(outcomes.iter().any(Result::is_ok));
}

#[test]
fn the_socket_for_reading_changes_nothing() {
    let daemon = Daemon::new();
    let reading = for_reading(&daemon.path());
    assert_eq!(socket_for(&daemon.path(), &Order::Status), reading);
    for order in [
        Order::Confirm,
        Order::Teardown,
        Order::Rollback {
            changes: 1,
            force: Insist::Yes,
        },
    ] {
        let said = refused(&reading, &json(order.clone()));
        assert!(
            said.contains(&format!("`{}` changes", order.words())),
            "{said}"
        );
    }
    assert!(daemon.askers.try_recv().is_err());
}

#[test]
fn only_members_of_the_group_change_something() {
    let daemon = Daemon::new();
    let reading = for_reading(&daemon.path());
    let order = |path: PathBuf, order: Order| move || ask(&path, &request(order), &mut Silent);
    let Some(stranger) = as_user(NOBODY, NOBODY, &[], order(daemon.path(), Order::Confirm)) else {
        return;
    };
    match stranger.unwrap_err() {
        error @ ClientError::NotAllowed { .. } => {
            let error = error.to_string();
            assert!(error.contains("you are not in group 4321"), "{error}");
        }
        other => panic!("{other}"),
    }
    let status = as_user(NOBODY, NOBODY, &[], order(reading.clone(), Order::Status));
    assert_eq!(status.unwrap().unwrap().text, "all is well");
    let change = as_user(NOBODY, NOBODY, &[], order(reading, Order::Confirm));
    let error = change.unwrap().unwrap_err().to_string();
    assert!(error.contains("for reading"), "{error}");
    // Members, by either kind of group; they are known by their names, and speak for nobody else.
    let name = nix::unistd::User::from_uid(NOBODY.into())
        .unwrap()
        .unwrap()
        .name;
    for (group, groups) in [(GROUP, vec![]), (NOBODY, (4_000..4_400).collect())] {
        let path = daemon.path();
        let speaks_for_another = move || {
            let request = Request {
                on_behalf_of: Some("jane".to_owned()),
                ..request(Order::Confirm)
            };
            ask(&path, &request, &mut Silent)
        };
        let answer = as_user(NOBODY, group, &groups, speaks_for_another);
        assert_eq!(answer.unwrap().unwrap().text, name);
    }
    // One who has no name.
    let nameless = as_user(54_321, GROUP, &[], order(daemon.path(), Order::Confirm));
    assert_eq!(nameless.unwrap().unwrap().text, "54321");
    // And where the file's rights were opened by mistake.
    fs::set_permissions(daemon.path(), fs::Permissions::from_mode(0o666)).unwrap();
    let stranger = as_user(NOBODY, NOBODY, &[], order(daemon.path(), Order::Confirm));
    let error = stranger.unwrap().unwrap_err().to_string();
    assert!(error.contains("not in group 4321"), "{error}");
}

#[test]
fn without_the_group_the_socket_is_its_owners_alone() {
    let daemon = Daemon::of(None);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&daemon.path()), 0o600);
    assert_eq!(mode(&for_reading(&daemon.path())), 0o666);
    assert_eq!(mode(daemon.path().parent().unwrap()), 0o755);
    ask(&daemon.path(), &request(Order::Confirm), &mut Silent).unwrap();
    let path = daemon.path();
    let stranger = as_user(NOBODY, NOBODY, &[], move || {
        ask(&path, &request(Order::Confirm), &mut Silent)
    });
    if let Some(stranger) = stranger {
        let error = stranger.unwrap_err().to_string();
        assert!(error.contains("only root may"), "{error}");
    }
}

#[test]
fn two_do_not_share_a_path_and_what_one_left_is_no_hindrance() {
    let mut daemon = Daemon::new();
    let path = daemon.path();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
    assert_eq!(fs::metadata(&path).unwrap().gid(), GROUP);
    let bind = |path: &Path| {
        let runtime = runtime();
        let _inside = runtime.enter();
        Server::bind(path, None).map(|(server, _)| drop(server))
    };
    let error = bind(&path).unwrap_err();
    assert!(
        matches!(&error, BindError::Taken { path: taken } if *taken == path),
        "{error}"
    );
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    daemon.is_well();
    daemon.stop();
    assert!(!path.exists() && !for_reading(&path).exists());

    // Killed: its files stay.
    drop(UnixListener::bind(&path).unwrap());
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    bind(&path).unwrap();
    // The one for reading is somebody else's: neither is touched.
    drop(UnixListener::bind(&path).unwrap());
    let other = UnixListener::bind(for_reading(&path)).unwrap();
    assert!(
        matches!(bind(&path), Err(BindError::Taken { path: taken }) if taken == for_reading(&path))
    );
    drop(other);
    bind(&path).unwrap();
    // What is no socket is left alone.
    fs::write(&path, "text").unwrap();
    assert!(matches!(bind(&path), Err(BindError::NoSocket { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"text");
}

#[test]
fn who_stops_reading_stops_nobody_else() {
    let daemon = Daemon::new();
    let mut deaf = UnixStream::connect(daemon.path()).unwrap();
    deaf.write_all(&json(Order::Teardown)).unwrap();
    // The order goes to its end, and the one who gave it has been given up.
    let asker = daemon.askers.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(asker, Asker::Gone);
    daemon.is_well();
    // He finds out once he reads.
    let mut reader = BufReader::new(deaf);
    let mut last = None;
    let mut count = 0;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).unwrap_or_default() > 0 {
        last = serde_json::from_slice::<Reply>(&line).ok();
        line.clear();
        count += 1;
    }
    assert!(count < 5_000);
    assert!(!matches!(last, Some(Reply::Done(_))), "{last:?}");
    // One who reads hears all, also what is said at once.
    let mut heard = Heard::default();
    let order = Order::Apply {
        confirm_within: None,
        force: Insist::No,
    };
    ask(&daemon.path(), &request(order), &mut heard).unwrap();
    assert_eq!(heard.0.len(), 1_000);
}

#[test]
fn who_goes_while_his_order_is_carried_out_is_known_to_be_gone() {
    let daemon = Daemon::new();
    let mut stream = UnixStream::connect(daemon.path()).unwrap();
    stream.write_all(&json(Order::TeardownShaping)).unwrap();
    let begun = next(&mut BufReader::new(&stream)).unwrap();
    assert_eq!(begun, Reply::Say("begun".to_owned()));
    let early = daemon.askers.recv_timeout(Duration::from_millis(100));
    assert!(early.is_err(), "he is still there");
    drop(stream);
    let asker = daemon.askers.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(asker, Asker::Gone);
}

#[test]
fn the_client_says_what_is_wrong() {
    let mut daemon = Daemon::new();
    let path = daemon.path();
    let asked = |order: Order| ask(&path, &request(order), &mut Silent).unwrap_err();
    let rollback = Order::Rollback {
        changes: 2,
        force: Insist::No,
    };
    let error = asked(rollback).to_string();
    assert!(error.contains("while it was at `rollback 2`"), "{error}");
    let order = Order::Event {
        name: "flood".parse().unwrap(),
    };
    match asked(order) {
        ClientError::Failed(failure) => assert_eq!(failure.error, "no event flood"),
        other => panic!("{other}"),
    }
    daemon.stop();
    let none = |error: ClientError| matches!(error, ClientError::NotRunning { .. });
    assert!(none(asked(Order::Confirm)), "no file");
    drop(UnixListener::bind(&path).unwrap());
    assert!(none(asked(Order::Confirm)), "a file that nobody listens at");
    fs::remove_file(&path).unwrap();
    // Somebody else: he speaks another language, or ends within a line.
    for (said, expected) in [
        ("HTTP/1.1 400 Bad Request\r\n", "does not speak as wanshift"),
        ("{\"say\":\"\\u0", "the daemon ended"),
        ("{\"say\":\"x\"}\n", "the daemon ended"),
        ("", "the daemon ended"),
    ] {
        let other = UnixListener::bind(&path).unwrap();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            BufReader::new(&stream)
                .read_line(&mut String::new())
                .unwrap();
            stream.write_all(said.as_bytes()).unwrap();
        });
        let error = asked(Order::Confirm).to_string();
        assert!(error.contains(expected), "{said}: {error}");
        answering.join().unwrap();
        fs::remove_file(&path).unwrap();
    }
}
