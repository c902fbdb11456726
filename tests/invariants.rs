//! Plans and their execution against a kernel in memory that fails at every possible moment.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "what a test's helpers cannot do fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;
use wanshift::executor::{converge, execute};
use wanshift::kernel::fake::FakeKernel;
use wanshift::kernel::{Kernel, KernelError, OpError, Scope};
use wanshift::lower::Names;
use wanshift::model::circuit::{LinkLayer, MarkMask, Overhead};
use wanshift::model::class::Priority;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{
    Clsact, Device, Edge, Feed, Ifb, KernelState, Leaf, LeafKind, Major, Minor, Observed, Role,
    Root, Selector, Takes, TcClass, Ticks, Tree,
};
use wanshift::plan::op::Op;
use wanshift::plan::{Bounds, Goal, PoolBound, breaches, diff};
use wanshift::units::Rate;

/// What the pool carries, in units of 1,000 bytes a second.
const POOL: u64 = 3_000;
const DEVICES: [&str; 3] = ["mpls0", "wan0", "lte0"];

const FEED: Feed = Feed {
    clsact: Clsact::Ours,
    takes: Takes::Marked(MarkMask::UPPER_16),
};

fn device(name: &str) -> DeviceName {
    name.parse().unwrap()
}

fn rate(units: u64) -> Rate {
    Rate::from_bytes_per_second(units.max(1) * 1_000)
}

fn class(parent: Option<Minor>, units: u64, role: Role) -> TcClass {
    TcClass {
        parent,
        rate: rate(units),
        ceil: rate(units * 2),
        burst: Ticks(1_000),
        cburst: Ticks(1_000),
        overhead: Overhead(0),
        link_layer: LinkLayer::Ethernet,
        role,
    }
}

fn leaf(limit: u32) -> Role {
    Role::Leaf {
        priority: Priority::DEFAULT,
        quantum: 65_536,
        leaf: Some(Leaf::Pfifo { limit }),
    }
}

/// A tree whose children sum exactly to the share, which is where there is no room for a wrong order.
/// One class in four has classes below it, which sum exactly to it.
fn tree(index: u16, share: u64, weights: &BTreeMap<u16, u64>, limit: u32) -> Tree {
    let top = Minor::new(0x10 + index).unwrap();
    let mut classes = BTreeMap::from([(top, class(None, share, Role::Inner))]);
    let total: u64 = weights.values().sum::<u64>() + 1;
    let mut left = share;
    for (minor, weight) in weights {
        let part = (share * weight / total).clamp(1, left.max(2) - 1);
        left = left.saturating_sub(part);
        let minor = Minor::new(0x100 + minor).unwrap();
        let inner = minor.get().is_multiple_of(4) && part > 2;
        classes.insert(
            minor,
            class(
                Some(top),
                part,
                if inner { Role::Inner } else { leaf(limit) },
            ),
        );
        if inner {
            for (offset, part) in [(0x1000, part / 2), (0x2000, part - part / 2)] {
                let below = Minor::new(minor.get() + offset).unwrap();
                classes.insert(below, class(Some(minor), part, leaf(limit)));
            }
        }
    }
    classes.insert(Minor::CONTROL, class(Some(top), left, leaf(limit)));
    Tree {
        major: Major::new(Major::FIRST + index).unwrap(),
        default: Minor::CONTROL,
        selector: Selector::Priority,
        classes,
    }
}

/// The tree on the IFB: the circuits below their pool, whose shares sum exactly to it, or in no pool.
fn down_tree(circuits: &[(u16, u64, &BTreeMap<u16, u64>)], limit: u32, pool: Option<u16>) -> Tree {
    let pool = pool.map(|number| Minor::new(Minor::FIRST_POOL + number).unwrap());
    let mut classes: BTreeMap<Minor, TcClass> = pool
        .map(|pool| (pool, class(None, POOL, Role::Inner)))
        .into_iter()
        .collect();
    for (at, (index, share, weights)) in circuits.iter().enumerate() {
        let apart = |minor: Minor| match minor.get() {
            number if number < 0x100 => minor,
            number => Minor::new(number + 0x400 * index).unwrap(),
        };
        for (minor, mut class) in tree(*index, *share, weights, limit).classes {
            if minor == Minor::CONTROL && at > 0 {
                continue;
            }
            class.parent = class.parent.map(apart).or(pool);
            classes.insert(apart(minor), class);
        }
    }
    // A circuit alone with its control has nothing below it without it.
    let parents: BTreeSet<Minor> = classes.values().filter_map(|class| class.parent).collect();
    for (minor, class) in &mut classes {
        if class.role == Role::Inner && !parents.contains(minor) {
            class.role = leaf(limit);
        }
    }
    Tree {
        major: Major::new(Major::FIRST + 0x10).unwrap(),
        default: Minor::CONTROL,
        selector: Selector::Mark(MarkMask::UPPER_16),
        classes,
    }
}

prop_compose! {
    /// A kernel state that conserves, whose shares sum exactly to the pool.
    fn state()(
        shares in prop::collection::vec(50_u64..1_000, 3),
        present in prop::collection::vec(prop::bool::weighted(0.85), 3),
        weights in prop::collection::vec(prop::collection::btree_map(0_u16..12, 1_u64..50, 0..8), 3),
        limit in 1_u32..3,
        fed in prop::collection::vec(any::<bool>(), 3),
        pool in prop::option::weighted(0.8, 0_u16..2),
    ) -> KernelState {
        let total: u64 = shares.iter().zip(&present).filter(|(_, there)| **there).map(|(share, _)| share).sum();
        let mut state = KernelState::default();
        let mut circuits = Vec::new();
        for (index, name) in DEVICES.iter().enumerate() {
            if present[index] {
                let share = shares[index] * POOL / total;
                let index_u16 = u16::try_from(index).unwrap();
                state.trees.insert(device(name), tree(index_u16, share, &weights[index], limit));
                circuits.push((index_u16, share, &weights[index]));
            }
            if fed[index] {
                state.feeds.insert(device(name), FEED);
            }
        }
        if state.feeds.is_empty() {
            return state;
        }
        state.ifb = Some(Ifb { up: true });
        state.trees.insert(Ifb::device(), down_tree(&circuits, limit, pool));
        state
    }
}

/// What goes wrong with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The kernel says no.
    Refused,
    /// It happens, and the answer is lost.
    AnswerLost,
    /// It does not happen, and no answer comes (ENOBUFS).
    Lost,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        12 => Just(Fault::None),
        1 => Just(Fault::Refused),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::Lost),
    ]
}

/// A kernel that fails by a script and looks after every single write whether all sums fit.
struct Watched {
    kernel: FakeKernel,
    script: Vec<Fault>,
    next: usize,
    broken: Vec<String>,
}

impl Watched {
    fn holding(state: &KernelState, script: Vec<Fault>) -> Self {
        let device_facts = |name: &&str| {
            let facts = Device {
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
            (device(name), facts)
        };
        let kernel = FakeKernel::new(
            DEVICES.iter().map(device_facts),
            BTreeSet::from([LeafKind::Pfifo]),
        );
        let mut watched = Self {
            kernel,
            script: Vec::new(),
            next: 0,
            broken: Vec::new(),
        };
        converge(&mut watched, &goal(state), Scope::All).unwrap();
        watched.script = script;
        watched.next = 0;
        watched
    }

    fn held(&mut self) -> KernelState {
        self.kernel.observe(Scope::All).unwrap().state
    }
}

impl Kernel for Watched {
    fn observe(&mut self, scope: Scope) -> Result<Observed, KernelError> {
        self.kernel.observe(scope)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        ops.iter()
            .map(|op| {
                let fault = self.script.get(self.next).copied().unwrap_or(Fault::None);
                self.next += 1;
                let lost = || {
                    Err(OpError::Unknown {
                        why: "no answer".to_owned(),
                    })
                };
                let outcome = match fault {
                    Fault::None => self.kernel.apply(std::slice::from_ref(op)).remove(0),
                    Fault::Refused => Err(OpError::Refused {
                        errno: 12,
                        why: "Cannot allocate memory".to_owned(),
                        message: None,
                    }),
                    Fault::AnswerLost => self
                        .kernel
                        .apply(std::slice::from_ref(op))
                        .remove(0)
                        .and_then(|()| lost()),
                    Fault::Lost => lost(),
                };
                let held = self.held();
                for breach in breaches(&held, &pools()) {
                    self.broken.push(format!("after {op:?}: {breach}"));
                }
                if let Some(lost) = leads_nowhere(&held) {
                    self.broken.push(format!("after {op:?}: {lost}"));
                }
                outcome
            })
            .collect()
    }

    fn leaves(&mut self) -> Result<BTreeSet<LeafKind>, KernelError> {
        self.kernel.leaves()
    }
}

/// Packets are led to the IFB only where it is up, and its tree knows them by their mark.
fn leads_nowhere(state: &KernelState) -> Option<&'static str> {
    let tree = state.trees.get(&Ifb::device());
    if state.feeds.is_empty() {
        None
    } else if state.ifb != Some(Ifb { up: true }) {
        Some("packets are led to an IFB that is not up")
    } else if tree.is_none_or(|tree| tree.selector != Selector::Mark(MarkMask::UPPER_16)) {
        Some("packets are led to an IFB that knows no marks")
    } else {
        None
    }
}

fn pools() -> Vec<PoolBound> {
    let bound = |devices| PoolBound {
        devices,
        room: rate(POOL),
    };
    vec![
        bound(DEVICES.iter().map(|name| device(name)).collect()),
        bound(BTreeSet::from([Ifb::device()])),
    ]
}

fn goal(state: &KernelState) -> Goal<'_> {
    static NAMES: LazyLock<Names> = LazyLock::new(Names::default);
    static BOUNDS: LazyLock<Bounds> = LazyLock::new(|| Bounds {
        pools: pools(),
        adopt: BTreeSet::new(),
    });
    Goal {
        state,
        names: &NAMES,
        bounds: &BOUNDS,
    }
}

fn seen(state: &KernelState) -> Observed {
    Observed {
        state: state.clone(),
        ..Observed::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Conservation after every op, whatever fails; and what is called reached is reached.
    #[test]
    fn every_op_conserves_and_success_is_told_only_of_success(
        from in state(),
        to in state(),
        script in prop::collection::vec(fault(), 0..200),
    ) {
        let mut kernel = Watched::holding(&from, script);
        let outcome = converge(&mut kernel, &goal(&to), Scope::All);
        prop_assert_eq!(&kernel.broken, &Vec::<String>::new());
        prop_assert_eq!(outcome.is_ok(), kernel.held() == to);

        // Whatever became of it, there is a way back that conserves as well.
        kernel.script.clear();
        converge(&mut kernel, &goal(&from), Scope::All).unwrap();
        prop_assert_eq!(&kernel.broken, &Vec::<String>::new());
        prop_assert_eq!(kernel.held(), from);
    }

    /// A crash after any op is safe: the next start, which plans from what is there, ends where a clean
    /// run ends, and conserves on its way.
    #[test]
    fn a_crash_after_any_op_is_safe(from in state(), to in state(), after in 0_usize..120) {
        let mut kernel = Watched::holding(&from, Vec::new());
        let plan = diff(&seen(&from), &goal(&to));
        let ops: Vec<Op> = plan.ops().take(after).cloned().collect();
        kernel.apply(&ops);
        converge(&mut kernel, &goal(&to), Scope::All).unwrap();
        prop_assert_eq!(&kernel.broken, &Vec::<String>::new());
        prop_assert_eq!(kernel.held(), to);
    }

    /// Nothing to do means nothing written.
    #[test]
    fn a_plan_after_it_was_applied_is_empty(from in state(), to in state()) {
        let mut kernel = Watched::holding(&from, Vec::new());
        converge(&mut kernel, &goal(&to), Scope::All).unwrap();
        let writes = kernel.kernel.writes();
        prop_assert!(diff(&seen(&kernel.held()), &goal(&to)).is_empty());
        converge(&mut kernel, &goal(&to), Scope::All).unwrap();
        prop_assert_eq!(kernel.kernel.writes(), writes);
    }

    /// No packet pays for a change of rate: a class that stays is changed in place, with its queue.
    #[test]
    fn a_class_that_stays_is_never_deleted(from in state(), to in state()) {
        let plan = diff(&seen(&from), &goal(&to));
        for op in plan.ops() {
            if let Op::DeleteClass { device, id, class } = op {
                let way = |state: &KernelState| {
                    let tree = state.trees.get(device)?;
                    let up = |minor: &Minor| tree.classes.get(minor)?.parent;
                    tree.classes.get(&id.minor)?;
                    Some(std::iter::successors(Some(id.minor), up).collect::<Vec<_>>())
                };
                prop_assert!(way(&from) != way(&to), "{op:?} {class:?}");
            }
            if let Op::DeleteRoot { device, .. } = op {
                prop_assert!(!to.trees.contains_key(device), "{op:?}");
            }
        }
    }

    /// Shrinks and grows never share a stage.
    #[test]
    fn a_stage_gives_or_takes_and_never_both(from in state(), to in state()) {
        for stage in diff(&seen(&from), &goal(&to)).stages {
            let grows: BTreeSet<bool> = stage
                .ops
                .iter()
                .filter_map(|op| match op {
                    Op::ChangeClass { from, to, .. } if from.rate != to.rate => Some(to.rate > from.rate),
                    Op::AddClass { .. } => Some(true),
                    Op::DeleteClass { .. } | Op::DeleteRoot { .. } => Some(false),
                    Op::AddRoot { .. }
                    | Op::ChangeClass { .. }
                    | Op::SetLeaf { .. }
                    | Op::AddIfb { .. }
                    | Op::RaiseIfb { .. }
                    | Op::DeleteIfb { .. }
                    | Op::SetSelector { .. }
                    | Op::SetFeed { .. }
                    | Op::SetTable { .. } => None,
                })
                .collect();
            prop_assert!(grows.len() <= 1, "{stage:?}");
        }
    }

    /// Where a shrink fails, its pool grows nowhere.
    #[test]
    fn a_failed_shrink_withholds_the_pools_grows(from in state(), to in state(), which in 0_usize..20) {
        let plan = diff(&seen(&from), &goal(&to));
        let shrinks: Vec<usize> = plan
            .ops()
            .enumerate()
            .filter(|(_, op)| matches!(op, Op::ChangeClass { from, to, .. } if to.rate < from.rate))
            .map(|(index, _)| index)
            .collect();
        prop_assume!(!shrinks.is_empty());
        let mut script = vec![Fault::None; plan.ops().count()];
        script[shrinks[which % shrinks.len()]] = Fault::Refused;
        let mut kernel = Watched::holding(&from, script);
        let before: BTreeMap<_, _> = from.trees.clone();
        let execution = execute(&mut kernel, &plan);
        prop_assert_eq!(execution.failed.len(), 1);
        let failed = execution.failed[0].op.device().unwrap();
        for (device, tree) in &kernel.held().trees {
            if !plan.conserve_together(failed, device) {
                continue;
            }
            for (minor, class) in &tree.classes {
                let had = before.get(device).and_then(|tree| tree.classes.get(minor));
                prop_assert!(had.is_some_and(|had| class.rate <= had.rate), "{device} {minor:?} grew");
            }
        }
    }
}

/// A device that vanishes keeps its pool from growing and the others from nothing else; once it is back
/// the goal is reached.
#[test]
fn a_device_that_vanishes_is_an_error_that_names_it() {
    let weights = BTreeMap::from([(1, 10), (2, 20)]);
    let from = KernelState {
        trees: DEVICES
            .iter()
            .zip(0..)
            .map(|(name, index)| (device(name), tree(index, 1_000, &weights, 1)))
            .collect(),
        ..KernelState::default()
    };
    let mut to = from.clone();
    to.trees.insert(device("mpls0"), tree(0, 500, &weights, 1));
    to.trees.insert(device("wan0"), tree(1, 1_500, &weights, 1));
    let mut kernel = Watched::holding(&from, Vec::new());
    let gone = kernel
        .kernel
        .held_mut()
        .devices
        .remove(&device("mpls0"))
        .unwrap();
    let error = converge(&mut kernel, &goal(&to), Scope::All)
        .unwrap_err()
        .to_string();
    assert!(error.contains("mpls0"), "{error}");
    assert_eq!(
        kernel.held().trees[&device("wan0")],
        from.trees[&device("wan0")]
    );
    kernel
        .kernel
        .held_mut()
        .devices
        .insert(device("mpls0"), gone);
    converge(&mut kernel, &goal(&to), Scope::All).unwrap();
    assert_eq!(kernel.held(), to);
    assert_eq!(kernel.broken, Vec::<String>::new());
}
