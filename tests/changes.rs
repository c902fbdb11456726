//! Whole changes, from policy files to a closed record, on a kernel in memory that fails at every possible
//! moment: what is on record, what holds afterwards, and that every sum fits after every write.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use wanshift::clock::Clock;
use wanshift::engine::Engine;
use wanshift::executor::change::{Executor, Order, Progress, Terms};
use wanshift::executor::error::{ChangeError, Stop};
use wanshift::executor::survey::prospect;
use wanshift::kernel::fake::FakeKernel;
use wanshift::kernel::{Kernel, KernelError, OpError, Scope};
use wanshift::model::circuit::MarkMask;
use wanshift::model::filter::{Slot, Table};
use wanshift::model::ids::Ids;
use wanshift::model::names::{DeviceName, PhaseName};
use wanshift::model::state::{
    Device, Edge, Ifb, KernelState, Leaf, LeafKind, Observed, Role, Root, Selector, Takes, TcClass,
};
use wanshift::plan::op::Op;
use wanshift::plan::{PoolBound, breaches};
use wanshift::policy::{Policy, Source, read};
use wanshift::store::{Extent, RecordState, Store};
use wanshift::units::{Moment, Rate};

const DEVICES: [&str; 2] = ["mpls0", "wan0"];
/// What the pool of the policies below carries.
const POOL: u64 = 300_000_000;

fn device(name: &str) -> DeviceName {
    name.parse().unwrap()
}

/// A policy whose guarantees sum exactly to each share, in both phases, for any weights.
fn policy(weights: &[u32], telework: u32, ramp_ms: u32) -> Arc<Policy> {
    let nominal = 100;
    let mut text = format!(
        "[policy]\nstart = \"nominal\"\n\
         [phase.nominal]\nsplit.access = {{ mpls = \"{}mbit\", internet = \"{nominal}mbit\" }}\nramp = \"{ramp_ms}ms\"\n",
        300 - nominal,
    );
    let mut over = format!(
        "[phase.telework]\nsplit.access = {{ mpls = \"{}mbit\", internet = \"{telework}mbit\" }}\nramp = \"{ramp_ms}ms\"\n",
        300 - telework,
    );
    let total: u32 = weights.iter().sum();
    // Control has 1 %, the rest 2 % of the share: 97 % are left, in kbit.
    let part = |share: u32, weight: u32| share * 970 * weight / total;
    for (index, weight) in weights.iter().enumerate() {
        text.push_str(&format!(
            "[class.c{index}]\ncircuit = \"internet\"\nmatch = [{{ service = [\"tcp/{}\"] }}]\nguarantee = \"{}kbit\"\n",
            1_000 + index,
            part(nominal, *weight).max(8),
        ));
        over.push_str(&format!(
            "class.c{index} = {{ guarantee = \"{}kbit\" }}\n",
            part(telework, *weight).max(8)
        ));
    }
    text.push_str(
        "[site.s1]\ncircuit = \"mpls\"\nprefixes = [\"10.1.0.0/24\", \"fd00:1::/64\"]\ncapacity = \"4mbit\"\nguarantee = \"2mbit\"\n",
    );
    let host = "name = \"edge\"\n[circuit.mpls]\ndevice = \"mpls0\"\n[circuit.internet]\ndevice = \"wan0\"\n\
                [pool.access]\ncircuits = [\"mpls\", \"internet\"]\ncapacity = \"300mbit\"\n";
    let source = |name: &str, text: String| Source {
        name: name.into(),
        text: text.into(),
    };
    let sources = [
        source("host.toml", host.to_owned()),
        source("policy.toml", text + &over),
    ];
    match read(&sources) {
        Ok(policy) => Arc::new(policy),
        Err(faults) => panic!("{faults}"),
    }
}

fn phase(name: &str) -> PhaseName {
    name.parse().unwrap()
}

fn pool() -> [PoolBound; 2] {
    let bound = |devices| PoolBound {
        devices,
        room: Rate::from_bits(POOL).unwrap(),
    };
    [
        bound(BTreeSet::from(DEVICES.map(device))),
        bound(BTreeSet::from([Ifb::device()])),
    ]
}

/// What goes wrong at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Refused,
    AnswerLost,
    Lost,
}

/// A kernel in memory that fails by a script, dies at a given write, and is looked at after each.
struct Watched {
    kernel: FakeKernel,
    faults: Vec<Fault>,
    unreadable: BTreeSet<usize>,
    dies_at: Option<usize>,
    writes: usize,
    reads: usize,
    vanishes_at: Option<(usize, DeviceName)>,
    vanished: Option<(DeviceName, Device)>,
    store: PathBuf,
    broken: Vec<String>,
}

impl Watched {
    fn new(store: &Path) -> Self {
        let facts = |name: &str| Device {
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
                kind: format!("noqueue of {name}"),
            },
            edge: Edge::None,
        };
        let devices = DEVICES.map(|name| (device(name), facts(name)));
        Self {
            kernel: FakeKernel::new(
                devices,
                BTreeSet::from([LeafKind::Pfifo, LeafKind::FqCodel]),
            ),
            faults: Vec::new(),
            unreadable: BTreeSet::new(),
            dies_at: None,
            writes: 0,
            reads: 0,
            vanishes_at: None,
            vanished: None,
            store: store.to_owned(),
            broken: Vec::new(),
        }
    }

    fn held(&self) -> KernelState {
        self.kernel.held().state.clone()
    }

    fn heal(&mut self) {
        self.faults.clear();
        self.unreadable.clear();
        self.dies_at = None;
    }

    fn look(&mut self, op: &Op) {
        let held = &self.kernel.held().state;
        for breach in breaches(held, &pool()) {
            self.broken.push(format!("after {op:?}: {breach}"));
        }
        // With its tree gone a class id means nothing, and a mark leads nowhere.
        for (place, slot) in held.table.iter().flat_map(Table::slots) {
            let astray = held.trees.iter().any(|(device, tree)| {
                let meant = match slot {
                    Slot::Class(id) => tree.major == id.major,
                    Slot::Mark(_) => *device == Ifb::device(),
                };
                meant && !tree.classes.contains_key(&slot.minor())
            });
            let made = matches!(op, Op::DeleteClass { .. } | Op::SetTable { .. });
            if astray && made {
                self.broken
                    .push(format!("after {op:?}: rules put {place} where nothing is"));
            }
        }
        if !held.feeds.is_empty() && !held.trees.contains_key(&Ifb::device()) {
            self.broken
                .push(format!("after {op:?}: packets are led to where nothing is"));
        }
    }

    /// When the first write comes, the way back is on disk.
    fn look_at_the_record(&mut self, op: &Op) {
        if self.writes > 0 {
            return;
        }
        let record = Store::read(&self.store)
            .unwrap()
            .and_then(|store| store.unfinished().unwrap());
        if record.is_none() {
            self.broken
                .push(format!("nothing is on record before {op:?}"));
        }
    }
}

impl Kernel for Watched {
    fn observe(&mut self, scope: Scope) -> Result<Observed, KernelError> {
        self.reads += 1;
        if self.unreadable.contains(&self.reads) {
            let cause = std::io::Error::other("the dump was torn");
            return Err(KernelError::Read {
                what: "the traffic classes",
                cause,
            });
        }
        self.kernel.observe(scope)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        ops.iter()
            .map(|op| {
                if self.dies_at == Some(self.writes) {
                    panic!("killed");
                }
                self.look_at_the_record(op);
                if let Some((at, device)) = self.vanishes_at.clone()
                    && self.writes >= at
                    && let Some(mut facts) = self.kernel.held_mut().devices.remove(&device)
                {
                    // One that is made again has nothing of what was on the old one.
                    facts.edge = Edge::None;
                    self.kernel.held_mut().state.trees.remove(&device);
                    self.kernel.held_mut().state.feeds.remove(&device);
                    self.vanished = Some((device, facts));
                }
                let fault = self.faults.get(self.writes).copied().unwrap_or(Fault::None);
                self.writes += 1;
                let lost = || {
                    Err(OpError::Unknown {
                        why: "ENOBUFS".to_owned(),
                    })
                };
                let outcome = match fault {
                    Fault::None => self.kernel.apply(std::slice::from_ref(op)).remove(0),
                    Fault::AnswerLost => self
                        .kernel
                        .apply(std::slice::from_ref(op))
                        .remove(0)
                        .and_then(|()| lost()),
                    Fault::Lost => lost(),
                    Fault::Refused => {
                        let why = "Cannot allocate memory".to_owned();
                        Err(OpError::Refused {
                            errno: 12,
                            why,
                            message: None,
                        })
                    }
                };
                self.look(op);
                outcome
            })
            .collect()
    }

    fn leaves(&mut self) -> Result<BTreeSet<LeafKind>, KernelError> {
        self.kernel.leaves()
    }
}

/// A clock that goes on only where somebody waits for it, and a little at each look.
#[derive(Default)]
struct Patient(Cell<Duration>);

impl Clock for Patient {
    fn now(&self) -> Moment {
        self.0.set(self.0.get() + Duration::from_millis(1));
        Moment(self.0.get())
    }

    fn date(&self) -> jiff::Timestamp {
        "2020-03-17T08:00:00Z".parse().unwrap()
    }

    fn wait_until(&self, moment: Moment) {
        self.0.set(self.0.get().max(moment.0));
    }
}

fn order(what: &str) -> Order {
    Order {
        actor: "root".to_owned(),
        what: what.to_owned(),
        boot: "boot-1".to_owned(),
    }
}

/// A host on which the policy's nominal phase holds.
struct Bench {
    _directory: TempDir,
    store: Store,
    kernel: Watched,
    clock: Patient,
    policy: Arc<Policy>,
}

impl Bench {
    fn new(policy: Arc<Policy>) -> Self {
        // In memory: thousands of commits, each of them waited for, are not what is tried here.
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut bench = Self {
            store: Store::open(directory.path()).unwrap(),
            kernel: Watched::new(directory.path()),
            clock: Patient::default(),
            _directory: directory,
            policy,
        };
        bench.enter("nominal").unwrap();
        bench.kernel.writes = 0;
        bench.kernel.reads = 0;
        bench
    }

    fn enter(&mut self, name: &str) -> Result<usize, ChangeError> {
        let ids = self.store.ids()?;
        let engine = entering(&self.policy, name);
        let prospect = prospect(&mut self.kernel, ids, engine, self.clock.now())?;
        self.executor()
            .carry_out(&order(name), &prospect, &mut go_on)
    }

    fn executor(&mut self) -> Executor<'_> {
        Executor {
            kernel: &mut self.kernel,
            store: &mut self.store,
            clock: &self.clock,
        }
    }

    fn recover(&mut self) -> Result<(), ChangeError> {
        let policy = self.policy.clone();
        self.executor().recover(&policy, &mut go_on).map(|_| ())
    }

    /// What a clean run of the same ends with.
    fn clean(&self, name: &str) -> KernelState {
        let mut clean = Self::new(self.policy.clone());
        clean.enter(name).unwrap();
        clean.kernel.held()
    }
}

fn entering(policy: &Arc<Policy>, name: &str) -> Engine {
    Engine::entering(policy.clone(), phase(name), BTreeSet::new()).unwrap()
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        30 => Just(Fault::None),
        1 => Just(Fault::Refused),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::Lost),
    ]
}

fn a_policy() -> impl Strategy<Value = Arc<Policy>> {
    let ramps = prop_oneof![Just(0_u32), 1_u32..700];
    (prop::collection::vec(1_u32..30, 1..6), 101_u32..290, ramps)
        .prop_map(|(weights, telework, ramp)| policy(&weights, telework, ramp))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// A change is done, or taken back, or stuck on its way back; what it says is so, and every sum fits
    /// after every write of its ramp.
    #[test]
    fn a_change_is_done_or_taken_back_and_says_so(
        policy in a_policy(),
        faults in prop::collection::vec(fault(), 0..120),
        unreadable in prop::collection::btree_set(2_usize..40, 0..3),
    ) {
        let mut bench = Bench::new(policy);
        let before = bench.kernel.held();
        let goal = bench.clean("telework");
        bench.kernel.faults = faults;
        bench.kernel.unreadable = unreadable;
        let outcome = bench.enter("telework");
        let record = bench.store.unfinished().unwrap();
        match &outcome {
            Ok(_) => {
                prop_assert_eq!(bench.kernel.held(), goal);
                prop_assert_eq!(bench.store.phase().unwrap(), Some(phase("telework")));
                prop_assert!(record.is_none());
            }
            Err(ChangeError::Undone(_) | ChangeError::Kernel(_)) => {
                prop_assert_eq!(&bench.kernel.held(), &before);
                prop_assert_eq!(bench.store.phase().unwrap(), Some(phase("nominal")));
                prop_assert!(record.is_none());
            }
            Err(ChangeError::Stuck { .. }) => {
                prop_assert_eq!(record.unwrap().state, RecordState::Stuck);
                bench.kernel.heal();
                bench.recover().unwrap();
                prop_assert_eq!(&bench.kernel.held(), &before);
                prop_assert_eq!(bench.store.unfinished().unwrap(), None);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
        prop_assert_eq!(&bench.kernel.broken, &Vec::<String>::new());
    }

    /// Killed at any write, the change is finished at the next start and ends where a clean run ends.
    #[test]
    fn a_change_that_was_cut_off_is_finished(policy in a_policy(), at in 0_usize..120) {
        let mut bench = Bench::new(policy);
        let goal = bench.clean("telework");
        bench.kernel.dies_at = Some(at);
        let outcome = catch_unwind(AssertUnwindSafe(|| bench.enter("telework")));
        bench.kernel.heal();
        if outcome.is_err() {
            prop_assert_eq!(bench.store.unfinished().unwrap().unwrap().state, RecordState::Applying);
            bench.recover().unwrap();
        }
        prop_assert_eq!(bench.kernel.held(), goal);
        prop_assert_eq!(bench.store.unfinished().unwrap(), None);
        prop_assert_eq!(bench.store.phase().unwrap(), Some(phase("telework")));
        prop_assert_eq!(&bench.kernel.broken, &Vec::<String>::new());
    }

    /// A second change of mind in the middle of a ramp goes from where it stands, and conserves.
    #[test]
    fn a_change_of_mind_conserves(policy in a_policy(), at in 0_usize..60) {
        let mut bench = Bench::new(policy);
        let before = bench.kernel.held();
        bench.kernel.dies_at = Some(at);
        let _ = catch_unwind(AssertUnwindSafe(|| bench.enter("telework")));
        bench.kernel.heal();
        // As if the operator ordered the other phase instead of waiting: the record is put aside, what it
        // did stays.
        if let Some(record) = bench.store.unfinished().unwrap() {
            bench.store.close(&record, RecordState::Undone, bench.clock.date()).unwrap();
        }
        bench.enter("nominal").unwrap();
        prop_assert_eq!(bench.kernel.held(), before);
        prop_assert_eq!(&bench.kernel.broken, &Vec::<String>::new());
    }

    /// An interrupted ramp ends in the state before.
    #[test]
    fn an_interrupted_ramp_is_taken_back(weights in prop::collection::vec(1_u32..30, 1..6), after in 0_usize..5) {
        let mut bench = Bench::new(policy(&weights, 220, 600));
        let before = bench.kernel.held();
        let ids = bench.store.ids().unwrap();
        let now = bench.clock.now();
        let prospect = prospect(&mut bench.kernel, ids, entering(&bench.policy, "telework"), now).unwrap();
        let mut steps = 0;
        let mut watcher = |_: &Progress| {
            steps += 1;
            if steps > after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = bench.executor().carry_out(&order("telework"), &prospect, &mut watcher);
        prop_assert!(matches!(outcome, Err(ChangeError::Undone(Stop::Interrupted))));
        prop_assert_eq!(bench.kernel.held(), before);
        prop_assert_eq!(bench.store.phase().unwrap(), Some(phase("nominal")));
        prop_assert_eq!(bench.store.unfinished().unwrap(), None);
        prop_assert_eq!(&bench.kernel.broken, &Vec::<String>::new());
    }
}

/// What happened is on record with who, what and the way back, to the letter.
#[test]
fn the_way_back_on_record_is_the_state_before() {
    let mut bench = Bench::new(policy(&[3, 1], 220, 0));
    let before = bench.kernel.held();
    bench.kernel.dies_at = Some(3);
    let outcome = catch_unwind(AssertUnwindSafe(|| bench.enter("telework")));
    assert!(outcome.is_err());
    let record = bench.store.unfinished().unwrap().unwrap();
    assert_eq!(record.change.way_back, before);
    assert_eq!(record.change.goal, bench.clean("telework"));
    assert_eq!(record.change.actor, "root");
    assert_eq!(record.change.phase_from(), Some(&phase("nominal")));
    assert_eq!(record.change.phase_to, Some(phase("telework")));
}

/// Same events, same decisions: two runs write the same in the same order.
#[test]
fn two_runs_decide_the_same() {
    let run = || {
        let mut bench = Bench::new(policy(&[3, 1, 5], 220, 400));
        bench.enter("telework").unwrap();
        (
            bench.kernel.writes,
            bench.kernel.held(),
            bench.store.ids().unwrap(),
        )
    };
    let (one, two): ((usize, KernelState, Ids), _) = (run(), run());
    assert_eq!(one, two);
}

/// Teardown needs neither policy nor numbers, and is on record as any change.
#[test]
fn teardown_takes_everything_out() {
    let mut bench = Bench::new(policy(&[3, 1], 220, 0));
    let writes = bench
        .executor()
        .tear_down(&order("teardown"), KernelState::default(), Extent::Nothing)
        .unwrap();
    assert!(writes > 0);
    assert_eq!(bench.kernel.held(), KernelState::default());
    assert_eq!(bench.store.unfinished().unwrap(), None);
    assert_eq!(
        bench
            .executor()
            .tear_down(&order("teardown"), KernelState::default(), Extent::Nothing)
            .unwrap(),
        0
    );
    bench.enter("nominal").unwrap();
    assert_eq!(bench.kernel.broken, Vec::<String>::new());
}

/// What somebody changed behind our back into what cannot be written, or does not conserve, is no state to
/// go back to: the undo ends, and conserves.
#[test]
fn an_undo_after_drift_ends_and_conserves() {
    for drift in 0..7 {
        let mut bench = Bench::new(policy(&[3, 1], 220, 500));
        let tree = bench
            .kernel
            .kernel
            .held_mut()
            .state
            .trees
            .get_mut(&device("wan0"))
            .unwrap();
        for class in tree.classes.values_mut() {
            match (&mut class.role, drift) {
                (Role::Leaf { leaf, .. }, 0) => *leaf = Some(Leaf::Other),
                (Role::Leaf { .. }, 1) => class.ceil = Rate::MIN,
                (Role::Inner, 2) => class.rate = Rate::from_bits(500_000_000).unwrap(),
                _ => {}
            }
        }
        let state = &mut bench.kernel.kernel.held_mut().state;
        match drift {
            3 => state.feeds.get_mut(&device("wan0")).unwrap().takes = Takes::Drifted,
            4 => state.trees.get_mut(&Ifb::device()).unwrap().selector = Selector::Drifted,
            5 => bench.kernel.kernel.lose_device(&Ifb::device()),
            6 => state.ifb = Some(Ifb { up: false }),
            _ => {}
        }
        let now = bench.clock.now();
        let ids = bench.store.ids().unwrap();
        let engine = entering(&bench.policy, "telework");
        let prospect = prospect(&mut bench.kernel, ids, engine, now).unwrap();
        let mut steps = 0;
        let mut watcher = |_: &Progress| {
            steps += 1;
            if steps > 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let outcome = bench
            .executor()
            .carry_out(&order("telework"), &prospect, &mut watcher);
        assert!(
            matches!(outcome, Err(ChangeError::Undone(Stop::Interrupted))),
            "{drift}: {outcome:?}"
        );
        let held = bench.kernel.held();
        assert_eq!(breaches(&held, &pool()), [], "{drift}");
        assert!(
            held.trees
                .values()
                .flat_map(|tree| tree.classes.values())
                .all(writable),
            "{drift}"
        );
        let mark = Selector::Mark(MarkMask::UPPER_16);
        let takes = Takes::Marked(MarkMask::UPPER_16);
        assert_eq!(held.ifb, Some(Ifb { up: true }), "{drift}");
        assert_eq!(held.trees[&Ifb::device()].selector, mark, "{drift}");
        assert!(
            held.feeds.values().all(|feed| feed.takes == takes),
            "{drift}"
        );
        assert_eq!(bench.store.unfinished().unwrap(), None);
        bench.enter("nominal").unwrap();
        assert_eq!(bench.kernel.held(), bench.clean("nominal"));
    }
}

fn writable(class: &TcClass) -> bool {
    let leaf = !matches!(
        class.role,
        Role::Leaf {
            leaf: Some(Leaf::Other),
            ..
        }
    );
    leaf && class.ceil >= class.rate
}

/// A device that vanished in the middle of a change leaves nothing to hold on it: the change is taken back
/// on the others, and what is ordered next is not held up by it.
#[test]
fn a_device_that_vanishes_in_mid_ramp_does_not_wedge_the_record() {
    let mut bench = Bench::new(policy(&[3, 1], 220, 500));
    let now = bench.clock.now();
    let ids = bench.store.ids().unwrap();
    let engine = entering(&bench.policy, "telework");
    let prospect = prospect(&mut bench.kernel, ids, engine, now).unwrap();
    bench.kernel.vanishes_at = Some((12, device("mpls0")));
    let outcome = bench
        .executor()
        .carry_out(&order("telework"), &prospect, &mut go_on);
    assert!(
        matches!(outcome, Err(ChangeError::Undone(Stop::Shortfall(_)))),
        "{outcome:?}"
    );
    assert_eq!(bench.store.unfinished().unwrap(), None);
    let clean = bench.clean("nominal");
    assert_eq!(
        bench.kernel.held().trees[&device("wan0")],
        clean.trees[&device("wan0")]
    );

    // It comes back bare, and is taken over at once: its share is nobody else's.
    let (index, mut facts) = bench.kernel.vanished.take().unwrap();
    facts.root = Root::Default {
        kind: "noqueue".to_owned(),
    };
    bench.kernel.kernel.held_mut().devices.insert(index, facts);
    bench.kernel.vanishes_at = None;
    bench.enter("nominal").unwrap();
    assert_eq!(bench.kernel.held(), clean);
    assert_eq!(bench.kernel.broken, Vec::<String>::new());
}

/// A device that was made again gets its share at once: nobody else has to wait for anything.
#[test]
fn a_device_made_again_does_not_ramp_from_nothing() {
    let mut bench = Bench::new(policy(&[3, 1], 220, 60_000));
    bench
        .kernel
        .kernel
        .held_mut()
        .state
        .trees
        .remove(&device("wan0"));
    let default = Root::Default {
        kind: "noqueue".to_owned(),
    };
    bench
        .kernel
        .kernel
        .held_mut()
        .devices
        .get_mut(&device("wan0"))
        .unwrap()
        .root = default;
    let before = bench.clock.now();
    bench.enter("nominal").unwrap();
    assert!(
        bench.clock.now().since(before) < Duration::from_secs(1),
        "it took a ramp"
    );
    assert_eq!(bench.kernel.held(), bench.clean("nominal"));
}

/// Teardown ends what was cut off: there is nothing to finish afterwards.
#[test]
fn teardown_closes_what_was_cut_off() {
    let mut bench = Bench::new(policy(&[3, 1], 220, 500));
    bench.kernel.dies_at = Some(20);
    assert!(catch_unwind(AssertUnwindSafe(|| bench.enter("telework"))).is_err());
    bench.kernel.heal();
    bench
        .executor()
        .tear_down(&order("teardown"), KernelState::default(), Extent::Nothing)
        .unwrap();
    assert_eq!(bench.kernel.held(), KernelState::default());
    assert_eq!(bench.store.unfinished().unwrap(), None);
    bench.recover().unwrap();
    assert_eq!(bench.kernel.held(), KernelState::default());
}

/// The files changed since the crash: the record is finished as it stands, and conserves all the same.
#[test]
fn a_change_is_finished_under_another_policy() {
    for at in (0..60).step_by(3) {
        let mut bench = Bench::new(policy(&[3, 1, 7], 220, 500));
        let goal = bench.clean("telework");
        bench.kernel.dies_at = Some(at);
        if catch_unwind(AssertUnwindSafe(|| bench.enter("telework"))).is_ok() {
            break;
        }
        bench.kernel.heal();
        bench.policy = policy(&[9, 2], 150, 0);
        bench.recover().unwrap();
        assert_eq!(bench.kernel.held(), goal, "{at}");
        bench.enter("telework").unwrap();
        assert_eq!(bench.kernel.held(), bench.clean("telework"), "{at}");
        assert_eq!(bench.kernel.broken, Vec::<String>::new(), "{at}");
    }
}

/// A pool that carries less from now on: shares go down in a straight line from what fits it, none up first.
#[test]
fn a_ramp_into_a_smaller_pool_only_goes_down() {
    let mut bench = Bench::new(policy(&[3, 1], 220, 500));
    bench.enter("telework").unwrap();
    let text = "name = \"edge\"\n[circuit.mpls]\ndevice = \"mpls0\"\n[circuit.internet]\ndevice = \"wan0\"\n\
                [pool.access]\ncircuits = [\"mpls\", \"internet\"]\ncapacity = \"150mbit\"\n\
                [policy]\nstart = \"small\"\n\
                [phase.small]\nsplit.access = { mpls = \"50mbit\", internet = \"100mbit\" }\nramp = \"500ms\"\n";
    let source = Source {
        name: "host.toml".into(),
        text: text.into(),
    };
    bench.policy = Arc::new(read(&[source]).unwrap());
    let ids = bench.store.ids().unwrap();
    let now = bench.clock.now();
    let prospect = prospect(
        &mut bench.kernel,
        ids,
        entering(&bench.policy, "small"),
        now,
    )
    .unwrap();
    let mut shares: Vec<u64> = Vec::new();
    let mut watcher = |progress: &Progress| {
        shares.push(
            progress.desired.nodes[&"internet".parse().unwrap()]
                .guarantee
                .up
                .bits(),
        );
        ControlFlow::Continue(())
    };
    bench
        .executor()
        .carry_out(&order("small"), &prospect, &mut watcher)
        .unwrap();
    assert!(shares.len() > 3 && shares[0] <= 110_000_000, "{shares:?}");
    assert!(
        shares.windows(2).all(|pair| pair[1] <= pair[0]),
        "{shares:?}"
    );
}

/// A second change of mind goes from where the first one stands, and its way back is the first one's.
#[test]
fn a_change_takes_the_place_of_one_on_its_way() {
    let mut bench = Bench::new(policy(&[3, 1], 220, 60_000));
    let before = bench.kernel.held();
    bench.kernel.dies_at = Some(600);
    assert!(catch_unwind(AssertUnwindSafe(|| bench.enter("telework"))).is_err());
    bench.kernel.heal();
    let record = bench.store.unfinished().unwrap().unwrap();
    let (ids, now) = (bench.store.ids().unwrap(), bench.clock.now());
    let engine = entering(&bench.policy, "nominal");
    let prospect = prospect(&mut bench.kernel, ids, engine, now).unwrap();
    let share = |desired: &wanshift::model::desired::Desired| {
        let holding = desired.nodes[&"internet".parse().unwrap()];
        holding.guarantee.up.bits()
    };
    let stood = share(&prospect.engine.desired(now));
    assert!((100_000_001..220_000_000).contains(&stood), "{stood}");
    let terms = Terms {
        instead_of: Some(record.clone()),
        ..Terms::default()
    };
    let mut executor = bench.executor();
    let underway = executor.begin_change(&order("nominal"), prospect, terms);
    let underway = underway.unwrap().unwrap();
    assert_eq!(underway.record.change.way_back, record.change.way_back);
    assert_eq!(underway.record.change.before, record.change.before);
    let mut shares = Vec::new();
    let mut watcher = |progress: &Progress| {
        shares.push(share(&progress.desired));
        ControlFlow::Continue(())
    };
    executor.to_the_end(underway, &mut watcher).unwrap();
    assert!(
        shares[0] <= stood && shares[0] > stood - 1_000_000,
        "{stood}: {shares:?}"
    );
    assert_eq!(bench.kernel.held(), before);
    assert_eq!(bench.kernel.broken, Vec::<String>::new());
    assert_eq!(bench.store.phase().unwrap(), Some(phase("nominal")));
    assert_eq!(bench.store.unfinished().unwrap(), None);
}
