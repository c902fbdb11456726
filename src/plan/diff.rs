//! What separates the kernel from a goal, as stages of ops.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::bounds::Bounds;
use super::op::Op;
use super::{Plan, Stage, Step};
use crate::lower::{Names, is_essential};
use crate::model::filter::{Slot, Table};
use crate::model::names::DeviceName;
use crate::model::state::{
    ClassId, Feed, ForeignRoot, Ifb, KernelState, Minor, Observed, Role, Root, Selector, TcClass,
    Tree,
};
use crate::units::Direction;

/// Where a plan is to lead.
#[derive(Debug, Clone, Copy)]
pub struct Goal<'a> {
    /// What the kernel should hold.
    pub state: &'a KernelState,
    /// What its numbers mean; those that mean nothing are treated as classes like others.
    pub names: &'a Names,
    /// Which devices belong together, and which may be taken from somebody else.
    pub bounds: &'a Bounds,
}

/// The stages that lead from what the kernel holds to `goal`: none where it holds it already.
#[must_use]
pub fn diff(observed: &Observed, goal: &Goal<'_>) -> Plan {
    let now = &observed.state;
    let mut stages = Stages::default();
    let devices: BTreeSet<&DeviceName> = now.trees.keys().chain(goal.state.trees.keys()).collect();
    stages.ifb(now.ifb, goal.state.ifb);
    stages.feeds(&now.feeds, &goal.state.feeds);

    for device in devices {
        match (now.trees.get(device), goal.state.trees.get(device)) {
            (Some(old), Some(new)) if old.major == new.major && old.default == new.default => {
                stages.change_tree(device, old, new);
            }
            (old, new) => {
                if let Some(old) = old {
                    stages.release(device, old);
                }
                if let Some(new) = new {
                    let over = match observed.devices.get(device).map(|device| &device.root) {
                        Some(Root::Foreign(root)) if goal.bounds.adopt.contains(device) => {
                            Some(root.clone())
                        }
                        _ => None,
                    };
                    stages.take_over(device, new, goal.names, over);
                }
            }
        }
    }

    stages.part_with_ifb(now.ifb, goal.state.ifb);

    // What is named by the rules at each point: only what stands, and will still stand.
    let removed = stages.removed();
    let taken: BTreeSet<Slot> = stages.taken().collect();
    let mut table = Cow::Borrowed(&now.table);
    let blocked =
        |table: Option<Table>| Table::holding(table, goal.state.table.as_ref(), now.table.as_ref());
    let wanted_blocks = goal.state.table.as_ref().map(Table::blocks);
    if wanted_blocks.is_some_and(|blocks| !blocks.is_empty()) && now.table != goal.state.table {
        let first = blocked(now.table.clone());
        set_table(&mut stages.blocks, &mut table, Cow::Owned(first));
    }
    let mut standing = BTreeSet::new();
    if !removed.is_empty() || !taken.is_empty() {
        let wanted = slots(goal.state);
        standing = slots(now);
        standing.retain(|slot| wanted.contains(slot) && !removed.contains(slot));
    }
    if !removed.is_empty() {
        let kept = restricted(goal.state.table.as_ref(), &standing);
        set_table(&mut stages.leave, &mut table, Cow::Owned(blocked(kept)));
    }
    if !taken.is_empty() {
        standing.extend(taken);
        let first = restricted(goal.state.table.as_ref(), &standing);
        set_table(
            &mut stages.first_rules,
            &mut table,
            Cow::Owned(blocked(first)),
        );
    }
    set_table(
        &mut stages.rules,
        &mut table,
        Cow::Borrowed(&goal.state.table),
    );

    Plan {
        stages: stages.in_order(),
        pools: goal
            .bounds
            .pools
            .iter()
            .map(|pool| pool.devices.clone())
            .collect(),
    }
}

/// Where rules may put packets.
fn slots(state: &KernelState) -> BTreeSet<Slot> {
    let trees = state.trees.iter();
    trees
        .flat_map(|(device, tree)| {
            let minors = tree.classes.keys();
            minors.map(move |minor| slot(device, id(tree, *minor)))
        })
        .collect()
}

/// How rules say that a packet belongs to a class in the tree of `device`.
fn slot(device: &DeviceName, id: ClassId) -> Slot {
    match Ifb::direction(device) {
        Direction::Up => Slot::Class(id),
        Direction::Down => Slot::Mark(id.minor),
    }
}

const fn id(tree: &Tree, minor: Minor) -> ClassId {
    ClassId {
        major: tree.major,
        minor,
    }
}

fn restricted(table: Option<&Table>, standing: &BTreeSet<Slot>) -> Option<Table> {
    table.map(|table| table.without(|slot| !standing.contains(&slot)))
}

fn set_table<'a>(ops: &mut Vec<Op>, now: &mut Cow<'a, Option<Table>>, to: Cow<'a, Option<Table>>) {
    if *now != to {
        ops.push(Op::SetTable {
            from: now.clone().into_owned(),
            to: to.clone().into_owned(),
        });
        *now = to;
    }
}

/// The ops of each stage, gathered device by device.
#[derive(Default)]
struct Stages {
    blocks: Vec<Op>,
    leave: Vec<Op>,
    remove: BTreeMap<usize, Vec<Op>>,
    shrink: BTreeMap<usize, Vec<Op>>,
    unfeed: Vec<Op>,
    release: Vec<Op>,
    /// By level: what makes a tree first, then its essential classes, parents before children.
    take_over: BTreeMap<usize, Vec<Op>>,
    first_rules: Vec<Op>,
    feed: Vec<Op>,
    grow: BTreeMap<usize, Vec<Op>>,
    leaves: Vec<Op>,
    rules: Vec<Op>,
}

impl Stages {
    /// What makes trees, before there are classes in them.
    fn making(&mut self) -> &mut Vec<Op> {
        self.take_over.entry(0).or_default()
    }

    /// Makes the IFB, before there can be a tree on it, or sets it up.
    fn ifb(&mut self, now: Option<Ifb>, goal: Option<Ifb>) {
        let device = Ifb::device();
        match (now, goal) {
            (None, Some(_)) => self.making().push(Op::AddIfb { device }),
            (Some(Ifb { up: false }), Some(Ifb { up: true })) => {
                self.making().push(Op::RaiseIfb { device });
            }
            (Some(_), Some(_)) | (_, None) => {}
        }
    }

    /// Deletes the IFB, once its tree is off.
    fn part_with_ifb(&mut self, now: Option<Ifb>, goal: Option<Ifb>) {
        if now.is_some() && goal.is_none() {
            self.release.push(Op::DeleteIfb {
                device: Ifb::device(),
            });
        }
    }

    fn feeds(&mut self, now: &BTreeMap<DeviceName, Feed>, goal: &BTreeMap<DeviceName, Feed>) {
        let devices: BTreeSet<&DeviceName> = now.keys().chain(goal.keys()).collect();
        for device in devices {
            let (from, to) = (now.get(device).copied(), goal.get(device).copied());
            if from == to {
                continue;
            }
            let ops = if to.is_some() {
                &mut self.feed
            } else {
                &mut self.unfeed
            };
            ops.push(Op::SetFeed {
                device: device.clone(),
                from,
                to,
            });
        }
    }

    fn selector(ops: &mut Vec<Op>, device: &DeviceName, tree: &Tree, from: Selector) {
        if from != tree.selector {
            ops.push(Op::SetSelector {
                device: device.clone(),
                major: tree.major,
                from,
                to: tree.selector,
            });
        }
    }

    fn release(&mut self, device: &DeviceName, tree: &Tree) {
        self.release.push(Op::DeleteRoot {
            device: device.clone(),
            major: tree.major,
            default: tree.default,
        });
    }

    fn take_over(
        &mut self,
        device: &DeviceName,
        tree: &Tree,
        names: &Names,
        over: Option<ForeignRoot>,
    ) {
        self.making().push(Op::AddRoot {
            device: device.clone(),
            major: tree.major,
            default: tree.default,
            over,
        });
        Self::selector(self.making(), device, tree, Selector::Priority);
        let mut order: Vec<(usize, bool, Minor)> = tree
            .classes
            .keys()
            .map(|minor| (depth(tree, *minor), *minor != tree.default, *minor))
            .collect();
        order.sort_unstable();
        for (depth, _, minor) in order {
            let Some(class) = tree.classes.get(&minor) else {
                continue;
            };
            let essential = ancestry(tree, tree.default).contains(&minor)
                || names.spot(device, minor).is_some_and(is_essential);
            let ops = if essential {
                self.take_over.entry(depth + 1).or_default()
            } else {
                self.grow.entry(depth).or_default()
            };
            add_class(ops, device, id(tree, minor), class);
        }
    }

    fn change_tree(&mut self, device: &DeviceName, old: &Tree, new: &Tree) {
        Self::selector(self.making(), device, new, old.selector);
        let uprooted = uprooted(old, new);
        for minor in &uprooted {
            if let Some(class) = old.classes.get(minor) {
                self.remove
                    .entry(depth(old, *minor))
                    .or_default()
                    .push(Op::DeleteClass {
                        device: device.clone(),
                        id: id(old, *minor),
                        class: class.clone(),
                    });
            }
        }
        for (minor, to, from) in beside(&new.classes, &old.classes) {
            let from = from.filter(|_| !uprooted.contains(minor));
            if from == Some(to) {
                continue; // So are most of thousands.
            }
            let id = id(new, *minor);
            let depth = || depth(new, *minor);
            match from {
                None => add_class(self.grow.entry(depth()).or_default(), device, id, to),
                Some(from) => {
                    if differs_in_class(from, to) {
                        let stage = if shrinks(from, to) {
                            &mut self.shrink
                        } else {
                            &mut self.grow
                        };
                        stage.entry(depth()).or_default().push(Op::ChangeClass {
                            device: device.clone(),
                            id,
                            from: from.clone(),
                            to: to.clone(),
                        });
                    }
                    set_leaf(&mut self.leaves, device, id, from, to);
                }
            }
        }
    }

    /// The classes with which devices are taken over.
    fn taken(&self) -> impl Iterator<Item = Slot> {
        self.take_over.values().flatten().filter_map(|op| {
            if let Op::AddClass { device, id, .. } = op {
                Some(slot(device, *id))
            } else {
                None
            }
        })
    }

    /// The classes that go.
    fn removed(&self) -> BTreeSet<Slot> {
        let ops = self.remove.values().flatten();
        ops.filter_map(|op| {
            if let Op::DeleteClass { device, id, .. } = op {
                Some(slot(device, *id))
            } else {
                None
            }
        })
        .collect()
    }

    fn in_order(self) -> Vec<Stage> {
        let mut stages = vec![
            Stage {
                step: Step::Block,
                ops: self.blocks,
            },
            Stage {
                step: Step::LeaveClasses,
                ops: self.leave,
            },
        ];
        stages.extend(self.remove.into_values().rev().map(|ops| Stage {
            step: Step::RemoveClasses,
            ops,
        }));
        stages.extend(self.shrink.into_iter().rev().map(|(depth, ops)| Stage {
            step: Step::Shrink { depth },
            ops,
        }));
        stages.push(Stage {
            step: Step::Unfeed,
            ops: self.unfeed,
        });
        stages.push(Stage {
            step: Step::Release,
            ops: self.release,
        });
        // A class whose parent is not there lands at the root: so a level is there before the next is sent.
        stages.extend(self.take_over.into_values().map(|ops| Stage {
            step: Step::TakeOver,
            ops,
        }));
        stages.push(Stage {
            step: Step::FirstRules,
            ops: self.first_rules,
        });
        stages.push(Stage {
            step: Step::Feed,
            ops: self.feed,
        });
        stages.extend(self.grow.into_iter().map(|(depth, ops)| Stage {
            step: Step::Grow { depth },
            ops,
        }));
        stages.push(Stage {
            step: Step::Leaves,
            ops: self.leaves,
        });
        stages.push(Stage {
            step: Step::Rules,
            ops: self.rules,
        });
        stages.retain(|stage| !stage.ops.is_empty());
        stages
    }
}

fn add_class(ops: &mut Vec<Op>, device: &DeviceName, id: ClassId, class: &TcClass) {
    ops.push(Op::AddClass {
        device: device.clone(),
        id,
        class: class.clone(),
    });
    if let Role::Leaf {
        leaf: Some(leaf), ..
    } = class.role
    {
        ops.push(Op::SetLeaf {
            device: device.clone(),
            id,
            from: None,
            to: leaf,
        });
    }
}

fn set_leaf(ops: &mut Vec<Op>, device: &DeviceName, id: ClassId, from: &TcClass, to: &TcClass) {
    let Role::Leaf {
        leaf: Some(wanted), ..
    } = to.role
    else {
        return;
    };
    let has = match from.role {
        Role::Leaf { leaf, .. } => leaf,
        Role::Inner => None,
    };
    if has != Some(wanted) {
        ops.push(Op::SetLeaf {
            device: device.clone(),
            id,
            from: has,
            to: wanted,
        });
    }
}

/// The classes of one tree, each with the class that has its number in another: in one pass, for there are thousands.
fn beside<'a>(
    these: &'a BTreeMap<Minor, TcClass>,
    others: &'a BTreeMap<Minor, TcClass>,
) -> impl Iterator<Item = (&'a Minor, &'a TcClass, Option<&'a TcClass>)> {
    let mut others = others.iter().peekable();
    these.iter().map(move |(minor, class)| {
        while others.next_if(|(other, _)| *other < minor).is_some() {}
        let other = others.next_if(|(other, _)| *other == minor);
        (minor, class, other.map(|(_, class)| class))
    })
}

/// How many classes lie above `minor`.
fn depth(tree: &Tree, minor: Minor) -> usize {
    ancestry(tree, minor).len().saturating_sub(1)
}

/// `minor` and the classes above it; bounded by the tree's size, so that a loop cannot hold it up.
fn ancestry(tree: &Tree, minor: Minor) -> Vec<Minor> {
    let above = |minor: &Minor| tree.classes.get(minor).and_then(|class| class.parent);
    std::iter::successors(Some(minor), above)
        .take(tree.classes.len() + 1)
        .collect()
}

/// The classes of `old` that go: those that `new` has not, or at another place, which HTB cannot move them to; and
/// what hangs below such a class, since none goes before its children, wherever these shall be.
fn uprooted(old: &Tree, new: &Tree) -> BTreeSet<Minor> {
    let mut uprooted: BTreeSet<Minor> = beside(&old.classes, &new.classes)
        .filter(|(_, class, to)| to.is_none_or(|to| to.parent != class.parent))
        .map(|(minor, ..)| *minor)
        .collect();
    if !uprooted.is_empty() {
        let below = |minor: &&Minor| {
            ancestry(old, **minor)
                .iter()
                .any(|above| uprooted.contains(above))
        };
        let more: Vec<Minor> = old.classes.keys().filter(below).copied().collect();
        uprooted.extend(more);
    }
    uprooted
}

/// Whether the classes differ in what a change of class can mend: a leaf is changed by itself, and what
/// a class with children keeps of priority and quantum does not matter.
fn differs_in_class(from: &TcClass, to: &TcClass) -> bool {
    let without_leaf = |class: &TcClass| {
        let mut class = class.clone();
        if let Role::Leaf { leaf, .. } = &mut class.role {
            *leaf = None;
        }
        class
    };
    let (mut from, to) = (without_leaf(from), without_leaf(to));
    if to.role == Role::Inner {
        from.role = Role::Inner;
    }
    from != to
}

/// Whether a change gives something back, and so goes before those that take.
fn shrinks(from: &TcClass, to: &TcClass) -> bool {
    (to.rate, to.ceil) < (from.rate, from.ceil)
}
