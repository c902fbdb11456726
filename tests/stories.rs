//! What may happen to a host, in any order: orders, waiting, clocks that jump, crashes, reboots, devices that go,
//! others who delete what is ours. Whatever happened: no sum is ever too large, no block lifts early, what is not
//! confirmed goes back, and in the end the kernel holds what the store says should hold.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;
use wanshift::api::{DaemonFacts, Insist, Order, Request, SchemaVersion, Silent, Stage};
use wanshift::clock::Clock;
use wanshift::engine::Engine;
use wanshift::executor::survey::prospect_with;
use wanshift::keeper::{Came, Ground, Keeper};
use wanshift::kernel::fake::FakeKernel;
use wanshift::kernel::{Kernel, KernelError, OpError, Scope};
use wanshift::lower::Absent;
use wanshift::model::desired::Standing;
use wanshift::model::names::DeviceName;
use wanshift::model::readings::WallClock;
use wanshift::model::state::{Device, Edge, Ifb, KernelState, LeafKind, Observed, Root};
use wanshift::plan::op::Op;
use wanshift::plan::{PoolBound, breaches};
use wanshift::policy::{Style, read};
use wanshift::store::{Extent, RecordState, Store};
use wanshift::units::Moment;

const DEVICES: [&str; 3] = ["lan0", "mpls0", "wan0"];
const CONFIRM: Duration = Duration::from_secs(5);

fn device(name: &str) -> DeviceName {
    name.parse().unwrap()
}

fn no_root() -> Root {
    Root::Default {
        kind: "noqueue".to_owned(),
    }
}

fn devices() -> impl Iterator<Item = (DeviceName, Device)> {
    DEVICES.into_iter().zip(1..).map(|(name, index)| {
        let facts = Device {
            index,
            mtu: 1_500,
            header: 14,
            gso_max: 65_536,
            kind: "veth".to_owned(),
            lower: None,
            master: None,
            up: true,
            priority_map: false,
            root: no_root(),
            edge: Edge::None,
        };
        (device(name), facts)
    })
}

fn fresh() -> FakeKernel {
    FakeKernel::new(devices(), BTreeSet::from([LeafKind::Pfifo]))
}

/// The host's kernel, which outlives those who keep it, and what was seen of it.
struct World {
    kernel: FakeKernel,
    state: PathBuf,
    dies_after: Option<usize>,
    refuses: usize,
    gone: Vec<(DeviceName, Device)>,
    broken: Vec<String>,
}

impl World {
    fn blocks(&self) -> usize {
        let table = self.kernel.held().state.table.as_ref();
        table.map(|table| table.blocks().len()).unwrap_or_default()
    }

    /// Whether the store says that the block is to hold and nobody has ordered otherwise.
    fn is_to_block(&self) -> bool {
        let Ok(Some(store)) = Store::read(&self.state) else {
            return false;
        };
        let intent = store.intent().unwrap();
        let blocks = intent.is_some_and(|intent| {
            intent.phase.as_str() == "telework" && intent.extent != Extent::Nothing
        });
        let lifted = store
            .latches()
            .unwrap()
            .holds(&"uplink-upgraded".parse().unwrap());
        blocks && !lifted && store.unfinished().unwrap().is_none()
    }
}

struct Watched(Rc<RefCell<World>>);

impl Kernel for Watched {
    fn observe(&mut self, scope: Scope) -> Result<Observed, KernelError> {
        self.0.borrow_mut().kernel.observe(scope)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        let mut world = self.0.borrow_mut();
        ops.iter()
            .map(|op| {
                if let Some(left) = world.dies_after {
                    if left == 0 {
                        // Past the panic hook: a death that the story asks for is nothing to report.
                        resume_unwind(Box::new("killed"));
                    }
                    world.dies_after = Some(left - 1);
                }
                if world.refuses > 0 {
                    world.refuses -= 1;
                    return Err(OpError::Unknown {
                        why: "ENOBUFS".to_owned(),
                    });
                }
                let blocked = world.blocks();
                let outcome = world.kernel.apply(std::slice::from_ref(op)).remove(0);
                let room = "1gbit".parse().unwrap();
                let pools = [
                    BTreeSet::from(["mpls0", "wan0"].map(device)),
                    BTreeSet::from([Ifb::device()]),
                ]
                .map(|devices| PoolBound { devices, room });
                let state = &world.kernel.held().state;
                let mut broken: Vec<String> = breaches(state, &pools)
                    .iter()
                    .map(|breach| format!("after {op:?}: {breach}"))
                    .collect();
                if blocked > world.blocks() && world.is_to_block() {
                    broken.push(format!("{op:?} lifted a block"));
                }
                world.broken.append(&mut broken);
                outcome
            })
            .collect()
    }

    fn leaves(&mut self) -> Result<BTreeSet<LeafKind>, KernelError> {
        self.0.borrow_mut().kernel.leaves()
    }
}

/// A boot clock that goes on where somebody waits, and a little at each look, and a date that may jump.
#[derive(Clone, Default)]
struct Clocks {
    now: Rc<Cell<Duration>>,
    ahead: Rc<Cell<i64>>,
}

impl Clock for Clocks {
    fn now(&self) -> Moment {
        let now = self.now.get() + Duration::from_micros(10);
        self.now.set(now);
        Moment(now)
    }

    fn date(&self) -> Timestamp {
        let begin: Timestamp = "2020-03-17T08:00:00Z".parse().unwrap();
        let passed = SignedDuration::try_from(self.now.get()).unwrap();
        begin + passed + SignedDuration::from_hours(self.ahead.get())
    }

    fn wall(&self) -> WallClock {
        WallClock::Trusted(self.date())
    }

    fn wait_until(&self, moment: Moment) {
        self.now.set(self.now.get().max(moment.0));
    }
}

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    Phase(&'static str, Option<Duration>),
    Apply(Option<Duration>),
    Confirm,
    Rollback(u32),
    Event,
    Reset,
    Teardown,
    TeardownShaping,
    Wait(Duration),
    /// The date jumps by so many hours.
    Jump(i64),
    /// It is killed, now or after so many writes from now.
    Die(usize),
    Reboot,
    /// The next writes go wrong.
    Refuse(usize),
    Flush,
    DeleteTree(&'static str),
    DeleteIfb,
    Gone(&'static str),
    Back,
}

struct Host {
    directory: TempDir,
    world: Rc<RefCell<World>>,
    clocks: Clocks,
    boot: usize,
    keeper: Option<Keeper>,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let config = directory.path().join("config");
        let policies = config.join("policy.d");
        std::fs::create_dir_all(&policies).unwrap();
        let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies/cd77");
        std::fs::copy(example.join("host.toml"), config.join("host.toml")).unwrap();
        for file in ["10-classes.toml", "20-telework.toml"] {
            let text = std::fs::read_to_string(example.join("policy.d").join(file)).unwrap();
            let text = text.replace("ramp = \"10s\"", "ramp = \"400ms\"");
            std::fs::write(policies.join(file), text).unwrap();
        }
        let state = directory.path().join("state");
        let mut host = Self {
            world: Rc::new(RefCell::new(World {
                kernel: fresh(),
                state,
                dies_after: None,
                refuses: 0,
                gone: Vec::new(),
                broken: Vec::new(),
            })),
            directory,
            clocks: Clocks::default(),
            boot: 1,
            keeper: None,
        };
        host.begin();
        host
    }

    /// A daemon begins, on what is there.
    fn begin(&mut self) {
        self.keeper = None;
        self.world.borrow_mut().dies_after = None;
        let state = self.directory.path().join("state");
        let ground = Ground {
            config: self.directory.path().join("config"),
            store: Store::open(&state).unwrap(),
            state,
            kernel: Box::new(Watched(Rc::clone(&self.world))),
            clock: Box::new(self.clocks.clone()),
            boot: format!("boot-{}", self.boot),
            lock: None,
            footing: wanshift::keeper::footing::Footing::Firm,
        };
        let mut keeper = Keeper::new(ground).unwrap();
        let facts = DaemonFacts {
            version: "test".to_owned(),
            pid: 1,
            since: self.clocks.date(),
        };
        keeper.runs_as(facts, Duration::from_secs(1));
        keeper.start(&mut Silent);
        self.keeper = Some(keeper);
    }

    /// Does `work`; where that kills the daemon, another begins.
    fn survive(&mut self, work: impl FnOnce(&mut Keeper)) {
        let keeper = self.keeper.as_mut().unwrap();
        if catch_unwind(AssertUnwindSafe(|| work(keeper))).is_err() {
            self.begin();
        }
    }

    fn ask(&mut self, order: Order) {
        let request = Request {
            schema_version: SchemaVersion::NOW,
            order,
            config: None,
            state: None,
            session: None,
            on_behalf_of: None,
            style: Style::Plain,
        };
        // Whether it is refused is tried elsewhere.
        self.survive(|keeper| match keeper.ask(&request, "root", &mut Silent) {
            Ok(Came::Answer(_) | Came::Underway) | Err(_) => {}
        });
    }

    /// Lets time pass, and does what is due.
    fn wait(&mut self, time: Duration) {
        let end = Moment(self.clocks.now.get() + time);
        let mut woken = 0;
        loop {
            let due = self.keeper.as_ref().unwrap().next_deadline();
            match due {
                Some(due) if due <= end => self.clocks.wait_until(due),
                Some(_) | None => break,
            }
            self.survive(|keeper| {
                keeper.wake(&mut Silent);
            });
            woken += 1;
            assert!(woken < 20_000, "it goes in circles");
        }
        self.clocks.wait_until(end);
    }

    /// What others do is seen.
    fn touch(&mut self, touch: impl FnOnce(&mut World)) {
        touch(&mut self.world.borrow_mut());
        self.keeper.as_mut().unwrap().seen();
    }

    fn take(&mut self, step: &Step) {
        let force = Insist::No;
        match step.clone() {
            Step::Phase(name, confirm_within) => self.ask(Order::Phase {
                name: name.parse().unwrap(),
                confirm_within,
                force,
            }),
            Step::Apply(confirm_within) => self.ask(Order::Apply {
                confirm_within,
                force,
            }),
            Step::Confirm => self.ask(Order::Confirm),
            Step::Rollback(changes) => self.ask(Order::Rollback { changes, force }),
            Step::Event => self.ask(Order::Event {
                name: "uplink-upgraded".parse().unwrap(),
            }),
            Step::Reset => self.ask(Order::ResetCondition {
                name: "uplink-upgraded".parse().unwrap(),
            }),
            Step::Teardown => self.ask(Order::Teardown),
            Step::TeardownShaping => self.ask(Order::TeardownShaping),
            Step::Wait(time) => self.wait(time),
            Step::Jump(hours) => self.clocks.ahead.set(self.clocks.ahead.get() + hours),
            Step::Die(0) => self.begin(),
            Step::Die(after) => self.world.borrow_mut().dies_after = Some(after),
            Step::Reboot => {
                let mut kernel = fresh();
                let mut world = self.world.borrow_mut();
                for (device, _) in &world.gone {
                    kernel.held_mut().devices.remove(device);
                }
                world.kernel = kernel;
                drop(world);
                self.boot += 1;
                self.clocks.now.set(Duration::from_secs(1));
                self.begin();
            }
            Step::Refuse(writes) => self.world.borrow_mut().refuses = writes,
            Step::Flush => self.touch(|world| world.kernel.held_mut().state.table = None),
            Step::DeleteTree(name) => self.touch(|world| {
                let held = world.kernel.held_mut();
                if held.state.trees.remove(&device(name)).is_some()
                    && let Some(facts) = held.devices.get_mut(&device(name))
                {
                    facts.root = no_root();
                }
            }),
            Step::DeleteIfb => self.touch(|world| {
                let held = world.kernel.held_mut();
                held.state.ifb = None;
                held.state.trees.remove(&Ifb::device());
                held.devices.remove(&Ifb::device());
            }),
            Step::Gone(name) => self.touch(|world| {
                let held = world.kernel.held_mut();
                if let Some(mut facts) = held.devices.remove(&device(name)) {
                    // One that is made again has nothing of what was on the old one.
                    facts.edge = Edge::None;
                    facts.root = no_root();
                    held.state.trees.remove(&device(name));
                    held.state.feeds.remove(&device(name));
                    world.gone.push((device(name), facts));
                }
            }),
            Step::Back => self.touch(|world| {
                for (device, facts) in std::mem::take(&mut world.gone) {
                    world.kernel.held_mut().devices.insert(device, facts);
                }
            }),
        }
    }

    /// What the kernel should hold by what the store says.
    fn wanted(&self) -> KernelState {
        let store = Store::read(&self.world.borrow().state).unwrap().unwrap();
        let Some(intent) = store.intent().unwrap() else {
            return KernelState::default();
        };
        let stored = store.policy(intent.policy.unwrap()).unwrap();
        let policy = Arc::new(read(&stored.sources).unwrap());
        let latched = store.latches().unwrap().names();
        let engine = Engine::keeping(policy.clone(), intent.phase, latched).unwrap();
        let engine = engine.standing(Standing::default());
        match intent.extent {
            Extent::Nothing => KernelState::default(),
            Extent::Blocks => KernelState {
                table: Some(wanshift::lower::blocks_alone(
                    &policy,
                    &engine.goal().blocks,
                )),
                ..KernelState::default()
            },
            Extent::Whole => {
                let mut kernel = Watched(Rc::clone(&self.world));
                let (ids, now) = (store.ids().unwrap(), self.clocks.now());
                let prospect = prospect_with(&mut kernel, ids, engine, now, Absent::Waited);
                prospect.unwrap().goal.state
            }
        }
    }

    /// All that is due is done, nothing goes wrong any more, and things are as they should be.
    fn assert_settled(&mut self) -> Result<(), TestCaseError> {
        self.world.borrow_mut().refuses = 0;
        self.take(&Step::Back);
        // Longer than the longest pause between two tries, and than there is to confirm anything.
        self.wait(Duration::from_secs(130));
        let (held, broken) = {
            let world = self.world.borrow();
            (world.kernel.held().state.clone(), world.broken.clone())
        };
        prop_assert_eq!(broken, Vec::<String>::new());
        let store = Store::read(&self.world.borrow().state).unwrap().unwrap();
        let unfinished = store.unfinished().unwrap();
        let left = unfinished.map(|record| (record.change.what, record.state));
        prop_assert_eq!(left, None::<(String, RecordState)>);
        prop_assert_eq!(held, self.wanted());
        let status = self.keeper.as_mut().unwrap().status();
        prop_assert!(status.healthy, "{:?}", status.problems);
        prop_assert_eq!(status.pending, None);
        prop_assert!(status.failures.contains_key(&Stage::Apply));
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    let phase = prop::sample::select(vec!["nominal", "telework", "upgraded"]);
    let confirm = || prop_oneof![2 => Just(None), 1 => Just(Some(CONFIRM))];
    let any = prop::sample::select(DEVICES.to_vec());
    let tree = prop::sample::select(vec!["mpls0", "wan0"]);
    prop_oneof![
        8 => (phase, confirm()).prop_map(|(name, confirm)| Step::Phase(name, confirm)),
        2 => confirm().prop_map(Step::Apply),
        3 => Just(Step::Confirm),
        3 => (1_u32..3).prop_map(Step::Rollback),
        2 => Just(Step::Event),
        2 => Just(Step::Reset),
        1 => Just(Step::Teardown),
        1 => Just(Step::TeardownShaping),
        12 => (0_u64..1_500).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        4 => (2_u64..9).prop_map(|s| Step::Wait(Duration::from_secs(s))),
        1 => (-800_000_i64..800_000).prop_map(Step::Jump),
        6 => (0_usize..60).prop_map(Step::Die),
        2 => Just(Step::Reboot),
        2 => (1_usize..40).prop_map(Step::Refuse),
        2 => Just(Step::Flush),
        1 => tree.prop_map(Step::DeleteTree),
        1 => Just(Step::DeleteIfb),
        1 => any.prop_map(Step::Gone),
        1 => Just(Step::Back),
    ]
}

/// As many stories as `PROPTEST_CASES` says, else as many as take half a minute.
fn config() -> ProptestConfig {
    let told = std::env::var("PROPTEST_CASES").is_ok();
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: if told { usual.cases } else { 96 },
        max_shrink_iters: 300,
        ..usual
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_it_ends_as_the_store_says(steps in prop::collection::vec(step(), 1..14)) {
        let mut host = Host::new();
        for step in &steps {
            host.take(step);
            let broken = host.world.borrow().broken.clone();
            prop_assert_eq!(broken, Vec::<String>::new(), "at {:?}", step);
        }
        host.assert_settled()?;
    }
}

fn intent(host: &Host) -> Option<(String, Extent)> {
    let store = Store::read(&host.world.borrow().state).unwrap().unwrap();
    let intent = store.intent().unwrap()?;
    Some((intent.phase.as_str().to_owned(), intent.extent))
}

fn records(host: &Host) -> usize {
    let store = Store::read(&host.world.borrow().state).unwrap().unwrap();
    store.history().unwrap().len()
}

#[test]
fn a_first_change_that_fails_is_tried_again_and_ever_more_seldom() {
    let mut host = Host::new();
    host.take(&Step::Refuse(usize::MAX));
    host.wait(Duration::from_secs(60));
    assert_eq!(intent(&host), None);
    let tried = records(&host);
    assert!((4..9).contains(&tried), "{tried} times in a minute");
    host.assert_settled().unwrap();
    assert_eq!(intent(&host), Some(("nominal".to_owned(), Extent::Whole)));
}

#[test]
fn a_first_change_that_fails_is_not_tried_again_after_a_teardown() {
    let mut host = Host::new();
    host.take(&Step::Refuse(usize::MAX));
    host.wait(Duration::from_secs(5));
    host.take(&Step::Teardown);
    host.assert_settled().unwrap();
    assert_eq!(intent(&host), None);
}

#[test]
fn what_is_taken_out_on_the_first_way_stays_out() {
    let mut host = Host::new();
    host.take(&Step::Phase("telework", None));
    host.take(&Step::Teardown);
    host.take(&Step::Reboot);
    host.assert_settled().unwrap();
    assert_eq!(
        intent(&host),
        Some(("telework".to_owned(), Extent::Nothing))
    );
}

#[test]
fn a_first_change_to_be_confirmed_is_forgotten_once_it_is_taken_out() {
    for out in [Step::Teardown, Step::TeardownShaping] {
        let mut host = Host::new();
        host.take(&Step::Phase("telework", Some(CONFIRM)));
        host.take(&Step::Wait(Duration::from_millis(150)));
        host.take(&out);
        host.take(&Step::Reboot);
        host.assert_settled().unwrap();
        assert_eq!(intent(&host), None, "{out:?}");
    }
}

/// After a teardown nothing is there to be taken out; what was ordered since is, though it is on its way.
#[test]
fn the_shaping_goes_that_comes_after_a_teardown() {
    let mut host = Host::new();
    host.wait(Duration::from_secs(5));
    host.take(&Step::Teardown);
    host.take(&Step::TeardownShaping);
    assert_eq!(intent(&host), Some(("nominal".to_owned(), Extent::Nothing)));
    host.take(&Step::Phase("telework", None));
    host.take(&Step::TeardownShaping);
    host.assert_settled().unwrap();
    assert!(host.world.borrow().kernel.held().state.trees.is_empty());
}

#[test]
fn what_is_blocked_is_never_taken_for_nothing() {
    let mut host = Host::new();
    host.take(&Step::Phase("telework", None));
    host.wait(Duration::from_secs(5));
    host.take(&Step::TeardownShaping);
    let blocks = host.world.borrow().blocks();
    assert!(blocks > 0);
    let store = host.world.borrow().state.join("wanshift.db");
    let damaged = rusqlite::Connection::open(store).unwrap();
    damaged
        .execute(
            "UPDATE policy SET files = replace(files, '[circuit', '[circle')",
            [],
        )
        .unwrap();
    drop(damaged);
    host.begin();
    host.wait(Duration::from_secs(130));
    assert_eq!(host.world.borrow().blocks(), blocks);
    host.take(&Step::TeardownShaping);
    assert_eq!(host.world.borrow().blocks(), blocks);
}
