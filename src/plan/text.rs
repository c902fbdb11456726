//! A plan for the administrator: class by class, old and new, in his units, and why.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::Plan;
use super::op::Op;
use crate::lower::Names;
use crate::model::desired::{Reason, Reasons};
use crate::model::names::DeviceName;
use crate::model::state::{ClassId, ForeignRoot, Leaf, Role, TcClass};
use crate::units::Rate;

/// What a plan changes, class by class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    /// Classes and devices, in the order of the tree.
    pub changes: Vec<Change>,
    /// What happens to the packet filter's rules.
    pub rules: RulesChange,
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

/// What happens to one class or device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// The device.
    pub device: DeviceName,
    /// The place: a circuit, class or site, or the device itself where its root qdisc comes or goes.
    pub place: String,
    /// The class id, in `tc`'s notation; none for a device.
    pub class_id: Option<String>,
    /// What it is.
    pub was: Option<Figures>,
    /// What it will be.
    pub will: Option<Figures>,
    /// Somebody else's root qdisc that goes for it, and does not come back.
    pub replaces: Option<String>,
    /// Why; none for what the policy no longer names, and for devices.
    pub why: Option<Reason>,
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

/// The figures of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// What it has for certain.
    pub guarantee: Rate,
    /// What it never goes beyond.
    pub ceiling: Rate,
    /// Who is served first; none where it has classes below it.
    pub priority: Option<u8>,
    /// Bytes for each turn; none where it has classes below it.
    pub quantum: Option<u32>,
    /// Where its packets wait; none where it has classes below it.
    pub leaf: Option<String>,
}

/// Tells what `plan` changes; `names` gives the places behind class ids, `reasons` why they change.
#[must_use]
pub fn report(plan: &Plan, names: &Names, reasons: &Reasons) -> PlanReport {
    let mut changes: BTreeMap<(DeviceName, Option<ClassId>), Change> = BTreeMap::new();
    let mut rules = RulesChange::Keep;
    for op in plan.ops() {
        match op {
            Op::SetTable { from, to } => {
                rules = match (rules, from, to) {
                    (RulesChange::Add, ..) | (_, None, Some(_)) => RulesChange::Add,
                    (_, _, None) => RulesChange::Remove,
                    (_, Some(_), Some(_)) => RulesChange::Change,
                };
            }
            Op::AddRoot { device, over, .. } => {
                changes.insert(
                    (device.clone(), None),
                    root_change(Action::Add, device, over.as_ref()),
                );
            }
            Op::DeleteRoot { device, .. } => {
                changes.insert(
                    (device.clone(), None),
                    root_change(Action::Remove, device, None),
                );
            }
            Op::AddClass { device, id, class } => {
                merge(&mut changes, device, *id, None, Some(class), names, reasons);
            }
            Op::DeleteClass { device, id, class } => {
                merge(&mut changes, device, *id, Some(class), None, names, reasons);
            }
            Op::ChangeClass {
                device,
                id,
                from,
                to,
            } => {
                merge(
                    &mut changes,
                    device,
                    *id,
                    Some(from),
                    Some(to),
                    names,
                    reasons,
                );
            }
            Op::SetLeaf {
                device,
                id,
                from,
                to,
            } => {
                let key = (device.clone(), Some(*id));
                let change = changes.entry(key).or_insert_with(|| Change {
                    action: Action::Change,
                    was: None,
                    will: None,
                    ..class_change(device, *id, names, reasons)
                });
                if let (Some(was), Some(from)) = (&mut change.was, from) {
                    was.leaf = Some(leaf_text(*from));
                }
                if let Some(will) = &mut change.will {
                    will.leaf = Some(leaf_text(*to));
                }
            }
        }
    }
    let mut changes: Vec<((DeviceName, Option<ClassId>), Change)> = changes.into_iter().collect();
    changes.sort_by_cached_key(|((device, id), _)| {
        let place = id.and_then(|id| names.place(device, id.minor)).cloned();
        (device.clone(), id.is_some(), place, *id)
    });
    PlanReport {
        changes: changes.into_iter().map(|(_, change)| change).collect(),
        rules,
        stages: plan.stages.len(),
        ops: plan.ops().count(),
    }
}

fn root_change(action: Action, device: &DeviceName, over: Option<&ForeignRoot>) -> Change {
    Change {
        action,
        device: device.clone(),
        place: format!("{device}: root qdisc htb"),
        class_id: None,
        was: None,
        will: None,
        replaces: over.map(ToString::to_string),
        why: None,
    }
}

fn class_change(device: &DeviceName, id: ClassId, names: &Names, reasons: &Reasons) -> Change {
    let place = names.place(device, id.minor);
    Change {
        action: Action::Change,
        device: device.clone(),
        place: place.map_or_else(|| format!("{device} class {id}"), ToString::to_string),
        class_id: Some(id.to_string()),
        was: None,
        will: None,
        replaces: None,
        why: place.and_then(|place| reasons.get(place)).cloned(),
    }
}

fn merge(
    changes: &mut BTreeMap<(DeviceName, Option<ClassId>), Change>,
    device: &DeviceName,
    id: ClassId,
    was: Option<&TcClass>,
    will: Option<&TcClass>,
    names: &Names,
    reasons: &Reasons,
) {
    let change = changes
        .entry((device.clone(), Some(id)))
        .or_insert_with(|| class_change(device, id, names, reasons));
    // A class that goes and comes again in one plan (under another parent) is told as one change.
    change.was = change.was.take().or(was.map(figures));
    change.will = will.map(figures);
    change.action = match (&change.was, &change.will) {
        (None, _) => Action::Add,
        (Some(_), None) => Action::Remove,
        (Some(_), Some(_)) => Action::Change,
    };
}

fn figures(class: &TcClass) -> Figures {
    let (priority, quantum, leaf) = match class.role {
        Role::Inner => (None, None, None),
        Role::Leaf {
            priority,
            quantum,
            leaf,
        } => (Some(priority.get()), Some(quantum), leaf.map(leaf_text)),
    };
    Figures {
        guarantee: class.rate,
        ceiling: class.ceil,
        priority,
        quantum,
        leaf,
    }
}

/// The kind alone: limits follow the rates, and would only hide what matters.
fn leaf_kind(figures: &Figures) -> Option<String> {
    figures
        .leaf
        .as_ref()
        .map(|leaf| leaf.split(' ').next().unwrap_or_default().to_owned())
}

fn leaf_text(leaf: Leaf) -> String {
    match leaf {
        Leaf::Pfifo { limit } => format!("pfifo {limit}p"),
        Leaf::Sfq { limit } => format!("sfq {limit}p"),
        Leaf::FqCodel { target_us, .. } => format!("fq_codel {}ms", target_us.div_ceil(1_000)),
        Leaf::Cake => "cake".to_owned(),
        Leaf::Other => "not ours".to_owned(),
    }
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ops == 0 {
            return writeln!(f, "Nothing to do: the kernel holds what the policy says.");
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "place", "guarantee", "ceiling", "", "why"]);
        for change in &self.changes {
            table.add_row(row(change));
        }
        for line in table.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        let count = |action| {
            self.changes
                .iter()
                .filter(|change| change.action == action)
                .count()
        };
        let rules = match self.rules {
            RulesChange::Keep => "rules unchanged",
            RulesChange::Add => "rules added",
            RulesChange::Change => "rules changed in one transaction",
            RulesChange::Remove => "rules removed",
        };
        writeln!(
            f,
            "\n{} to add, {} to change, {} to remove; {rules}; {} writes in {} stages.",
            count(Action::Add),
            count(Action::Change),
            count(Action::Remove),
            self.ops,
            self.stages,
        )
    }
}

fn row(change: &Change) -> [String; 6] {
    let sign = match change.action {
        Action::Add => "+",
        Action::Change => "~",
        Action::Remove => "-",
    };
    let pair = |figure: fn(&Figures) -> Option<String>| {
        let was = change.was.as_ref().and_then(figure);
        let will = change.will.as_ref().and_then(figure);
        match (was, will) {
            (Some(was), Some(will)) if was != will => format!("{was} → {will}"),
            (was, will) => will.or(was).unwrap_or_default(),
        }
    };
    let why = match (&change.why, &change.replaces, change.action) {
        (Some(why), ..) => told(why),
        (None, Some(root), _) => format!("in place of {root}, for good"),
        (None, None, Action::Remove) => "no longer in the policy".to_owned(),
        (None, None, Action::Add | Action::Change) => String::new(),
    };
    [
        sign.to_owned(),
        change.place.clone(),
        pair(|figures| Some(figures.guarantee.to_string())),
        pair(|figures| Some(figures.ceiling.to_string())),
        other(change),
        why,
    ]
}

/// Where a figure was written, by the file's name alone: the directory is the same for all.
fn told(why: &Reason) -> String {
    let Some(origin) = &why.origin else {
        return why.what.clone();
    };
    let path = Path::new(&*origin.file);
    let file = path.file_name().map_or_else(
        || origin.file.as_ref().into(),
        |name| name.to_string_lossy(),
    );
    format!("{file}:{} {}", origin.line, why.what)
}

/// What changes beside the rates; for a class that comes, its priority and queue.
fn other(change: &Change) -> String {
    let (was, will) = (change.was.as_ref(), change.will.as_ref());
    let mut parts = Vec::new();
    let mut part = |name: &str, was: Option<String>, will: Option<String>| match (was, will) {
        (Some(was), Some(will)) if was != will => parts.push(format!("{name}{was} → {will}")),
        (None, Some(will)) if change.action == Action::Add => parts.push(format!("{name}{will}")),
        _ => {}
    };
    let priority = |figures: &Figures| figures.priority.map(|priority| priority.to_string());
    part("prio ", was.and_then(priority), will.and_then(priority));
    part("", was.and_then(leaf_kind), will.and_then(leaf_kind));
    if parts.is_empty() && change.class_id.is_some() && was == will {
        parts.push("queue".to_owned());
    }
    parts.join(", ")
}
