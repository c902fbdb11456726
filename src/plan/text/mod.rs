//! A plan for the administrator: class by class, old and new, in his units, and why.

mod blocks;
mod figures;
mod layout;
mod print;
mod repaired;

use std::collections::BTreeMap;

use serde::Serialize;

pub use figures::Figures;
pub use repaired::{Promised, Repaired, repaired};

use super::Plan;
use super::op::Op;
use crate::lower::Names;
use crate::model::desired::{Grounds, Reason, Reasons};
use crate::model::filter::{FAMILY, NAME, RuleChanges, Table};
use crate::model::names::{BlockName, DeviceName};
use crate::model::node::{NodeKey, Place, Spot};
use crate::model::state::{ClassId, Feed, ForeignRoot, Ifb, Minor, TcClass};
use crate::units::Direction;
use figures::Differs;

/// What a plan changes, class by class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    /// Devices, and places in the order of the tree, then what is of no place.
    pub changes: Vec<Change>,
    /// What happens to the packet filter's rules.
    pub rules: RulesChange,
    /// In how many writes, each of which is one transaction.
    pub rule_writes: usize,
    /// How many stages, each acknowledged before the next.
    pub stages: usize,
    /// How many writes in all.
    pub ops: usize,
}

/// What happens to the packet filter's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RulesChange {
    /// Nothing.
    Keep,
    /// The table comes.
    Add,
    /// The table is changed in place.
    Change,
    /// The table goes.
    Remove,
}

/// What happens to one place or device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// The device; none for the packet filter's table.
    pub device: Option<DeviceName>,
    /// Which traffic of the place it is about: what leaves, or what arrives; none where it is about both, or no place.
    pub direction: Option<Direction>,
    /// The place: a circuit, class or site; the device itself where its root qdisc comes or goes; the
    /// packet filter's table.
    pub place: String,
    /// The class id, in `tc`'s notation; none for a device, and for a place of which only rules change
    /// that has none.
    pub class_id: Option<String>,
    /// What the class is; none where it comes, or where only rules change.
    pub was: Option<Figures>,
    /// What the class will be; none where it goes, or where only rules change.
    pub will: Option<Figures>,
    /// How the rules change that lead there.
    pub rules: Option<RuleChanges>,
    /// Somebody else's root qdisc that goes for it, and does not come back.
    pub replaces: Option<String>,
    /// Why; none for what the policy no longer names.
    pub why: Option<Reason>,
    /// What else is a reason, where more than one thing changes.
    pub also: Vec<Reason>,
}

/// What happens to a class or device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It comes.
    Add,
    /// It changes in place.
    Change,
    /// It goes.
    Remove,
}

/// Tells what `plan` changes; `names` gives the places behind class ids, `reasons` why they change.
#[must_use]
pub fn report(plan: &Plan, names: &Names, reasons: &Reasons) -> PlanReport {
    let told = tell(plan, names, reasons);
    PlanReport {
        changes: told.rows.into_iter().map(|(_, row)| row.change).collect(),
        rules: told.rules,
        rule_writes: told.rule_writes,
        stages: plan.stages.len(),
        ops: plan.ops().count(),
    }
}

/// What a plan changes, each with what it is about, in the order in which it is told.
struct Told {
    rows: Vec<(Subject, Row)>,
    rules: RulesChange,
    rule_writes: usize,
}

fn tell(plan: &Plan, names: &Names, reasons: &Reasons) -> Told {
    let mut told = Telling {
        names,
        rows: BTreeMap::new(),
    };
    let mut tables: Option<(Option<&Table>, Option<&Table>)> = None;
    let mut rule_writes = 0;
    for op in plan.ops() {
        if let Op::SetTable { from, to } = op {
            rule_writes += 1;
            let first = tables.map_or(from.as_ref(), |(first, _)| first);
            tables = Some((first, to.as_ref()));
        } else {
            told.op(op);
        }
    }
    let rules = match tables {
        None => RulesChange::Keep,
        Some((from, to)) => told.rules(from, to),
    };
    justify(told.rows.values_mut(), &reasons.places);
    let (from, to) = tables.unwrap_or_default();
    let blocks = blocks::rows(from, to, &reasons.blocks);
    let mut rows: Vec<(Subject, Row)> = told.rows.into_iter().chain(blocks).collect();
    rows.sort_by_cached_key(|(_, row)| {
        let device = row.change.device.clone();
        let in_tree = row.key.is_some() || row.change.class_id.is_some();
        let id = row.change.class_id.clone();
        (device.is_none(), device, in_tree, row.key.clone(), id)
    });
    Told {
        rows,
        rules,
        rule_writes,
    }
}

/// What is told of: a class or device, a place of which only rules change, or a block.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Device(DeviceName),
    Ifb,
    Selector,
    Feed(DeviceName),
    Class(DeviceName, ClassId),
    Place(Option<NodeKey>),
    Block(BlockName),
}

/// A change in the making.
struct Row {
    key: Option<Spot>,
    change: Change,
}

struct Telling<'a> {
    names: &'a Names,
    rows: BTreeMap<Subject, Row>,
}

impl Telling<'_> {
    fn op(&mut self, op: &Op) {
        match op {
            Op::SetTable { .. } => {}
            Op::AddIfb { device } => self.ifb(Action::Add, device, "device, to shape what arrives"),
            Op::RaiseIfb { device } => self.ifb(Action::Change, device, "device, set up again"),
            Op::DeleteIfb { device } => {
                self.ifb(Action::Remove, device, "device, that shaped what arrives")
            }
            Op::SetSelector { device, .. } => self.selector(device),
            Op::SetFeed { device, from, to } => self.feed(device, from.as_ref(), to.as_ref()),
            Op::AddRoot { device, over, .. } => self.root(Action::Add, device, over.as_ref()),
            Op::DeleteRoot { device, .. } => self.root(Action::Remove, device, None),
            Op::AddClass { device, id, class } => self.class(device, *id, None, Some(class)),
            Op::DeleteClass { device, id, class } => self.class(device, *id, Some(class), None),
            Op::ChangeClass {
                device,
                id,
                from,
                to,
            } => self.class(device, *id, Some(from), Some(to)),
            Op::SetLeaf {
                device,
                id,
                from,
                to,
            } => {
                let (was, will) = (Figures::of_queue(*from), Figures::of_queue(Some(*to)));
                let change = self.row(device, *id);
                match (&mut change.was, &mut change.will) {
                    (None, None) => (change.was, change.will) = (Some(was), Some(will)),
                    (before, after) => {
                        if let Some(before) = before {
                            before.leaf = was.leaf;
                        }
                        if let Some(after) = after {
                            after.leaf = will.leaf;
                        }
                    }
                }
            }
        }
    }

    fn root(&mut self, action: Action, device: &DeviceName, over: Option<&ForeignRoot>) {
        let subject = Subject::Device(device.clone());
        // One that is given back and taken over again is told as one change.
        let action = if self.rows.contains_key(&subject) {
            Action::Change
        } else {
            action
        };
        let change = Change {
            device: Some(device.clone()),
            replaces: over.map(ToString::to_string),
            ..bare(action, format!("{device}: root qdisc htb"))
        };
        self.rows.insert(subject, Row { key: None, change });
    }

    fn ifb(&mut self, action: Action, device: &DeviceName, what: &str) {
        let subject = Subject::Ifb;
        // One that goes and is made anew is told as one change.
        let action = if self.rows.contains_key(&subject) {
            Action::Change
        } else {
            action
        };
        let change = Change {
            device: Some(device.clone()),
            ..bare(action, format!("{device}: {what}"))
        };
        self.rows.insert(subject, Row { key: None, change });
    }

    /// One that comes or goes with its tree is no news.
    fn selector(&mut self, device: &DeviceName) {
        if !self.rows.contains_key(&Subject::Device(device.clone())) {
            let change = Change {
                device: Some(device.clone()),
                ..bare(
                    Action::Change,
                    format!("{device}: filter from marks to classes"),
                )
            };
            self.rows
                .insert(Subject::Selector, Row { key: None, change });
        }
    }

    fn feed(&mut self, device: &DeviceName, from: Option<&Feed>, to: Option<&Feed>) {
        let action = match (from, to) {
            (None, _) => Action::Add,
            (Some(_), Some(_)) => Action::Change,
            (Some(_), None) => Action::Remove,
        };
        let change = Change {
            device: Some(device.clone()),
            ..bare(action, format!("{device}: filter to {}", Ifb::NAME))
        };
        self.rows
            .insert(Subject::Feed(device.clone()), Row { key: None, change });
    }

    fn row(&mut self, device: &DeviceName, id: ClassId) -> &mut Change {
        let spot = self.names.spot(device, id.minor);
        let row = self
            .rows
            .entry(Subject::Class(device.clone(), id))
            .or_insert_with(|| Row {
                key: spot.cloned(),
                change: Change {
                    device: Some(device.clone()),
                    direction: Some(Ifb::direction(device)),
                    class_id: Some(id.to_string()),
                    ..bare(Action::Change, told_place(spot, device, id))
                },
            });
        &mut row.change
    }

    fn class(
        &mut self,
        device: &DeviceName,
        id: ClassId,
        was: Option<&TcClass>,
        will: Option<&TcClass>,
    ) {
        let names = self.names;
        let figures = |class: &TcClass| {
            let above = |minor: Minor| {
                let id = ClassId { minor, ..id };
                told_place(names.spot(device, minor), device, id)
            };
            Figures::of(class, class.parent.map(above))
        };
        let change = self.row(device, id);
        // A class that goes and comes again in one plan (under another parent) is told as one change.
        change.was = change.was.take().or(was.map(figures));
        change.will = will.map(figures);
        change.action = match (&change.was, &change.will) {
            (None, _) => Action::Add,
            (Some(_), None) => Action::Remove,
            (Some(_), Some(_)) => Action::Change,
        };
    }

    /// Adds how the rules of each place change; where the table comes or goes, only that.
    fn rules(&mut self, from: Option<&Table>, to: Option<&Table>) -> RulesChange {
        let whole = || format!("table {FAMILY} {NAME}");
        let (from, to) = match (from, to) {
            (Some(from), Some(to)) => (from, to),
            (from, _) => {
                let (action, rules) = if from.is_none() {
                    (Action::Add, RulesChange::Add)
                } else {
                    (Action::Remove, RulesChange::Remove)
                };
                let places = |table: Option<&Table>| -> Vec<String> {
                    let count =
                        |table: &Table| format!("rules for {} places", table.class_ids().len());
                    table.map(count).into_iter().collect()
                };
                let change = Change {
                    rules: Some(RuleChanges {
                        removed: places(from),
                        added: places(to),
                        moved: Vec::new(),
                    }),
                    ..bare(action, whole())
                };
                self.rows
                    .insert(Subject::Place(None), Row { key: None, change });
                return rules;
            }
        };
        let mut changes = from.changes_to(to);
        // The rules of a place are told once, where it has a class in both directions with what leaves.
        for direction in [Direction::Up, Direction::Down] {
            for row in self.rows.values_mut() {
                if let (Some(Spot::Node(key)), true) =
                    (&row.key, row.change.direction == Some(direction))
                {
                    row.change.rules = changes.remove(&Some(key.clone()));
                }
            }
        }
        let devices = from.devices().into_iter().chain(to.devices());
        let devices: BTreeMap<_, _> = devices
            .filter_map(|(circuit, devices)| {
                // Of a circuit's several names, the one with classes that have a name.
                let shaped =
                    |device: &&DeviceName| self.names.spot(device, Minor::CONTROL).is_some();
                let device = devices.iter().copied().find(shaped);
                Some((circuit, device.or_else(|| devices.first().copied())?))
            })
            .collect();
        for (key, rules) in changes {
            let circuit = key.as_ref().map(|key| &key.circuit);
            let device = circuit.and_then(|circuit| devices.get(circuit)).cloned();
            let id = key
                .as_ref()
                .and_then(|key| to.class_of(key).or_else(|| from.class_of(key)));
            let place = key.as_ref().map_or_else(whole, ToString::to_string);
            let change = Change {
                device: device.cloned(),
                class_id: id.map(|id| id.to_string()),
                rules: Some(rules),
                ..bare(Action::Change, place)
            };
            let subject = Subject::Place(key.clone());
            let key = key.map(Spot::Node);
            self.rows.insert(subject, Row { key, change });
        }
        RulesChange::Change
    }
}

fn bare(action: Action, place: String) -> Change {
    Change {
        action,
        device: None,
        direction: None,
        place,
        class_id: None,
        was: None,
        will: None,
        rules: None,
        replaces: None,
        why: None,
        also: Vec::new(),
    }
}

fn told_place(spot: Option<&Spot>, device: &DeviceName, id: ClassId) -> String {
    spot.map_or_else(|| format!("{device} class {id}"), ToString::to_string)
}

/// Adds the reasons, and the weights that only the policy knows.
fn justify<'a>(rows: impl Iterator<Item = &'a mut Row>, reasons: &BTreeMap<NodeKey, Grounds>) {
    let mut circuits: BTreeMap<DeviceName, Reason> = BTreeMap::new();
    let mut rows: Vec<&mut Row> = rows.collect();
    for row in &mut rows {
        let Row { key, change } = &mut **row;
        let Some(Spot::Node(key)) = key else { continue };
        let Some(grounds) = reasons.get(key).filter(|_| change.action != Action::Remove) else {
            continue;
        };
        if let (Place::Circuit, Some(device)) = (&key.place, &change.device) {
            circuits.insert(device.clone(), grounds.link.clone());
        }
        figures::weigh(change.was.as_mut(), change.will.as_mut(), grounds.weight);
        let differs = match (&change.was, &change.will) {
            (Some(was), Some(will)) => Differs::between(was, will),
            (None, None) => Differs::default(),
            (None, Some(_)) | (Some(_), None) => Differs {
                promise: true,
                ..Differs::default()
            },
        };
        let rules = change.rules.is_some() && change.action == Action::Change;
        let mut whys = [
            (differs.promise, &grounds.figures),
            (differs.queue, &grounds.queue),
            (differs.link, &grounds.link),
            (rules, &grounds.rules),
        ]
        .into_iter()
        .filter(|(differs, _)| *differs)
        .map(|(_, why)| why.clone());
        change.why = whys.next().or_else(|| Some(grounds.figures.clone()));
        for why in whys {
            if change.why.as_ref() != Some(&why) && !change.also.contains(&why) {
                change.also.push(why);
            }
        }
    }
    for Row { change, .. } in rows.into_iter().filter(|row| row.key.is_none()) {
        if change.action != Action::Remove && change.class_id.is_none() {
            let device = change.device.as_ref();
            change.why = device.and_then(|device| circuits.get(device)).cloned();
        }
    }
}
