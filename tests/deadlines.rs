//! The time to confirm a change is counted on the boot clock: whoever sets the date gives no more of it, and no less.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use wanshift::api::{DaemonFacts, Insist, Order, Request, SchemaVersion, Silent};
use wanshift::clock::Clock;
use wanshift::keeper::footing::Footing;
use wanshift::keeper::{Came, Ground, Keeper};
use wanshift::kernel::fake::FakeKernel;
use wanshift::model::state::{Device, Edge, LeafKind, Root};
use wanshift::policy::Style;
use wanshift::store::Store;
use wanshift::units::Moment;

/// Two clocks that are set by hand.
#[derive(Clone)]
struct Hands {
    now: Rc<Cell<Duration>>,
    date: Rc<Cell<Timestamp>>,
}

impl Clock for Hands {
    fn now(&self) -> Moment {
        Moment(self.now.get())
    }

    fn date(&self) -> Timestamp {
        self.date.get()
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
    let devices = ["lan0", "mpls0", "wan0"].map(|name| (name.parse().unwrap(), device.clone()));
    FakeKernel::new(devices, BTreeSet::from([LeafKind::FqCodel]))
}

/// A keeper of `policies/cd77`, whose clocks are in hand.
struct Bench {
    _directory: tempfile::TempDir,
    keeper: Keeper,
    hands: Hands,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/cd77");
        for (program, words) in [("cp", "-r"), ("chmod", "-R")] {
            let mut command = Command::new(program);
            command.arg(words);
            match program {
                "cp" => command.arg(&example),
                _ => command.arg("u+w,go-w"),
            };
            assert!(command.arg(&config).status().unwrap().success());
        }
        let hands = Hands {
            now: Rc::new(Cell::new(Duration::from_secs(100))),
            date: Rc::new(Cell::new("2024-06-14T12:00:00Z".parse().unwrap())),
        };
        let state = directory.path().join("state");
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
            version: "test".to_owned(),
            pid: 1,
            since: hands.date(),
        };
        keeper.runs_as(facts, Duration::from_secs(1));
        keeper.start(&mut Silent);
        let mut bench = Self {
            _directory: directory,
            keeper,
            hands,
        };
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.phase(), "nominal");
        bench
    }

    /// Lets time pass on the boot clock, and has the keeper do what is due.
    fn pass(&mut self, time: Duration) {
        let end = self.hands.now.get() + time;
        loop {
            let due = self.keeper.next_deadline().map(|due| due.0);
            let next = due.unwrap_or(end).max(self.hands.now.get());
            if next > end {
                break;
            }
            self.hands.now.set(next);
            if let Some(Err(failure)) = self.keeper.wake(&mut Silent) {
                panic!("{failure}");
            }
            if self.keeper.next_deadline().is_none_or(|due| due.0 > end) {
                break;
            }
            // A little is over by the time that the next is done.
            self.hands
                .now
                .set((next + Duration::from_millis(1)).min(end));
        }
        self.hands.now.set(end);
    }

    fn order(&mut self, order: Order) -> Came {
        let request = Request {
            schema_version: SchemaVersion::NOW,
            order,
            config: None,
            state: None,
            session: None,
            on_behalf_of: None,
            style: Style::Plain,
        };
        self.keeper.ask(&request, "root", &mut Silent).unwrap()
    }

    fn phase(&mut self) -> String {
        let status = self.keeper.status();
        assert!(status.healthy, "{:?}", status.problems);
        status.phase.unwrap().name.to_string()
    }

    fn waits(&self) -> bool {
        self.keeper.unfinished().unwrap().is_some()
    }
}

fn whoever_sets_the_date(to: &str) {
    let mut bench = Bench::new();
    let came = bench.order(Order::Phase {
        name: "telework".parse().unwrap(),
        confirm_within: Some(Duration::from_secs(600)),
        force: Insist::No,
    });
    assert!(matches!(came, Came::Underway), "{came:?}");
    // The ramp takes ten seconds, and the time begins once it is over.
    bench.pass(Duration::from_secs(20));
    assert_eq!((bench.phase().as_str(), bench.waits()), ("telework", true));
    bench.hands.date.set(to.parse().unwrap());
    bench.pass(Duration::from_secs(580));
    assert_eq!((bench.phase().as_str(), bench.waits()), ("telework", true));
    bench.pass(Duration::from_secs(20));
    assert_eq!((bench.phase().as_str(), bench.waits()), ("nominal", false));
}

#[test]
fn a_date_in_the_future_gives_no_less_time_to_confirm() {
    whoever_sets_the_date("2100-01-01T00:00:00Z");
}

#[test]
fn a_date_in_the_past_gives_no_more_time_to_confirm() {
    whoever_sets_the_date("1990-01-01T00:00:00Z");
}
