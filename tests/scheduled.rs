//! A daemon follows the schedule of a block by itself, and only by a date that somebody keeps right.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use wanshift::api::{BlockState, DaemonFacts, Silent};
use wanshift::clock::Clock;
use wanshift::keeper::footing::Footing;
use wanshift::keeper::{Ground, Keeper};
use wanshift::kernel::fake::FakeKernel;
use wanshift::model::readings::WallClock;
use wanshift::model::state::{Device, Edge, LeafKind, Root};
use wanshift::store::Store;
use wanshift::units::Moment;

const POLICY: &str = r#"
name = "edge"
timezone = "UTC"
inside = ["lan0"]
[circuit.a]
device = "wan0"
capacity = "10mbit"
[policy]
start = "lessons"
[phase.lessons]
block = ["mornings"]
[block.mornings]
circuit = "a"
service = ["https"]
schedule = "mon-fri 08:00-12:00"
"#;
/// A Friday, five seconds before the block begins.
const BEFORE: &str = "2024-06-14T07:59:55Z";
/// And five seconds before it ends.
const WITHIN: &str = "2024-06-14T11:59:55Z";

/// Whether somebody keeps the date right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Right,
    ByNobody,
}

/// A clock and a date that go on together, by hand.
#[derive(Clone)]
struct Hands {
    now: Rc<Cell<Duration>>,
    start: Timestamp,
    kept: Kept,
}

impl Clock for Hands {
    fn now(&self) -> Moment {
        Moment(self.now.get())
    }

    fn date(&self) -> Timestamp {
        self.start + SignedDuration::try_from(self.now.get()).unwrap()
    }

    fn wall(&self) -> WallClock {
        match self.kept {
            Kept::Right => WallClock::Trusted(self.date()),
            Kept::ByNobody => WallClock::Untrusted(self.date()),
        }
    }

    fn wait_until(&self, moment: Moment) {
        self.now.set(self.now.get().max(moment.0));
    }
}

fn kernel() -> FakeKernel {
    let device = Device {
        index: 1,
        mtu: 1_500,
        header: 14,
        gso_max: 65_536,
        kind: "veth".to_owned(),
        lower: None,
        master: None,
        up: true,
        priority_map: false,
        root: Root::Default {
            kind: "noqueue".to_owned(),
        },
        edge: Edge::None,
    };
    let devices = ["lan0", "wan0"].map(|name| (name.parse().unwrap(), device.clone()));
    FakeKernel::new(devices, BTreeSet::from([LeafKind::FqCodel]))
}

/// What became of the block in each of twenty seconds from `start` on.
fn watched(start: &str, kept: Kept) -> Vec<BlockState> {
    let directory = tempfile::tempdir().unwrap();
    let (config, state) = (
        directory.path().join("config"),
        directory.path().join("state"),
    );
    std::fs::create_dir_all(config.join("policy.d")).unwrap();
    let file = config.join("host.toml");
    std::fs::write(&file, POLICY).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let hands = Hands {
        now: Rc::default(),
        start: start.parse().unwrap(),
        kept,
    };
    let mut keeper = Keeper::new(Ground {
        footing: Footing::Firm,
        store: Store::open(&state).unwrap(),
        config,
        state,
        kernel: Box::new(kernel()),
        clock: Box::new(hands.clone()),
        boot: "boot-1".to_owned(),
        lock: None,
    })
    .unwrap();
    let facts = DaemonFacts {
        version: "1.2.3".to_owned(),
        pid: 1,
        since: hands.date(),
    };
    keeper.runs_as(facts, Duration::from_secs(1));
    keeper.start(&mut Silent);
    let mut states = Vec::new();
    for _ in 0..20 {
        // Half a second past the full one, up to which all that is due is done when it is due.
        let end = hands.now.get() + Duration::from_millis(500);
        while let Some(due) = keeper.next_deadline().filter(|due| due.0 <= end) {
            hands
                .now
                .set(due.0.max(hands.now.get()) + Duration::from_millis(1));
            if let Some(Err(failure)) = keeper.wake(&mut Silent) {
                panic!("{failure}");
            }
        }
        hands.now.set(end);
        let status = keeper.status();
        assert!(status.healthy, "{:?}", status.problems);
        states.push(status.blocks.first().unwrap().state);
        hands.now.set(end + Duration::from_millis(500));
    }
    states
}

/// So many seconds of the one, and then the other.
#[track_caller]
fn assert_turns(states: &[BlockState], [first, then]: [BlockState; 2]) {
    let turned = states.iter().position(|state| *state == then);
    let turned = turned.unwrap_or_else(|| panic!("never {then:?}: {states:?}"));
    assert!((4..=6).contains(&turned), "{states:?}");
    assert!(states[..turned].iter().all(|state| *state == first));
    assert!(states[turned..].iter().all(|state| *state == then));
}

#[test]
fn a_block_begins_and_ends_by_its_schedule_and_nothing_else() {
    let (rests, holds) = (BlockState::Resting, BlockState::Holding);
    assert_turns(&watched(BEFORE, Kept::Right), [rests, holds]);
    assert_turns(&watched(WITHIN, Kept::Right), [holds, rests]);
}

#[test]
fn a_block_holds_whatever_its_schedule_says_where_nobody_keeps_the_date_right() {
    for start in [BEFORE, WITHIN] {
        let states = watched(start, Kept::ByNobody);
        assert!(
            states.iter().all(|state| *state == BlockState::Holding),
            "{states:?}"
        );
    }
}
