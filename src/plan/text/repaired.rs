//! What somebody else changed, told once it was put back: which device, class or rule, what it was, and what it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::figures::{changed, described};
use super::{Action, Change, Figures, Row, Subject, tell};
use crate::lower::Names;
use crate::model::desired::Reasons;
use crate::model::filter::{FAMILY, NAME, RuleChanges};
use crate::model::names::DeviceName;
use crate::model::state::Ifb;
use crate::plan::Plan;
use crate::units::{Rate, short_text};

/// A rule that is longer than that is not told to its end.
const LONG: usize = 100;

/// One thing that somebody else changed, and that was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// The device; none for the packet filter.
    pub device: Option<DeviceName>,
    /// The class, as `tc` writes it; none where it is about no class.
    pub class_id: Option<String>,
    /// What was changed: the place of a class; else the device, filter, table or block in words.
    pub place: String,
    /// What the class had when it was found; none where it was gone, or it is about no class's rates.
    pub found: Option<Promised>,
    /// What it has again; none where it was taken out, or it is about no class's rates.
    pub restored: Option<Promised>,
    /// All of that in one line.
    pub what: String,
}

/// The rates of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promised {
    /// What it has for certain.
    pub guarantee: Rate,
    /// What it never goes beyond.
    pub ceiling: Rate,
}

impl Promised {
    fn of(figures: Option<&Figures>) -> Option<Self> {
        let figures = figures?;
        Some(Self {
            guarantee: figures.guarantee?,
            ceiling: figures.ceiling?,
        })
    }

    fn text(self) -> String {
        let [guarantee, ceiling] =
            [self.guarantee, self.ceiling].map(|rate| short_text(rate.bits()));
        format!("guarantee {guarantee}, ceiling {ceiling}")
    }
}

/// Tells what `plan` puts back, which leads from what others made of it to what is to hold. What goes with a device
/// or a tree that was gone as a whole is counted there.
#[must_use]
pub fn repaired(plan: &Plan, names: &Names, reasons: &Reasons) -> Vec<Repaired> {
    let rows = tell(plan, names, reasons).rows;
    let remade: BTreeSet<DeviceName> = rows
        .iter()
        .filter_map(|(subject, _)| match subject {
            Subject::Device(device) => Some(device.clone()),
            Subject::Ifb
            | Subject::Selector
            | Subject::Feed(_)
            | Subject::Class(..)
            | Subject::Place(_)
            | Subject::Block(_) => None,
        })
        .collect();
    let ifb_came = rows
        .iter()
        .any(|(subject, row)| *subject == Subject::Ifb && row.change.action == Action::Add);
    let mut classes: BTreeMap<DeviceName, usize> = BTreeMap::new();
    for (subject, _) in &rows {
        if let Subject::Class(device, _) = subject {
            *classes.entry(device.clone()).or_default() += 1;
        }
    }
    let stands_alone = |subject: &Subject| match subject {
        Subject::Class(device, _) => !remade.contains(device),
        Subject::Device(device) => !(ifb_came && *device == Ifb::device()),
        Subject::Ifb
        | Subject::Selector
        | Subject::Feed(_)
        | Subject::Place(_)
        | Subject::Block(_) => true,
    };
    rows.iter()
        .filter(|(subject, _)| stands_alone(subject))
        .map(|(subject, row)| one(subject, row, &classes))
        .collect()
}

fn one(subject: &Subject, row: &Row, classes: &BTreeMap<DeviceName, usize>) -> Repaired {
    let change = &row.change;
    let with = |device: &DeviceName| match classes.get(device) {
        None => String::new(),
        Some(1) => " with its class".to_owned(),
        Some(count) => format!(" with its {count} classes"),
    };
    let (place, came_to) = match subject {
        Subject::Device(device) => {
            let found = match (&change.replaces, change.action) {
                (Some(other), _) => format!("was {other}: made again"),
                (None, Action::Add) => "was gone: made again".to_owned(),
                (None, Action::Change) => "was another: made again".to_owned(),
                (None, Action::Remove) => "was put in: taken out".to_owned(),
            };
            let place = format!("root qdisc of {device}");
            (place, format!("{found}{}", with(device)))
        }
        Subject::Ifb => {
            let device = Ifb::device();
            let came_to = match change.action {
                Action::Add => format!("was gone: made again{}", with(&device)),
                Action::Change => "was down: set up again".to_owned(),
                Action::Remove => "was put in: taken out".to_owned(),
            };
            (format!("device {device}"), came_to)
        }
        Subject::Selector => (
            format!("filter on {} from marks to classes", Ifb::NAME),
            "was gone or changed: put back".to_owned(),
        ),
        Subject::Feed(device) => {
            let came_to = match change.action {
                Action::Add => "was gone: put back",
                Action::Change => "did not lead there: put back",
                Action::Remove => "was put in: taken out",
            };
            let place = format!("filter on {device} to {}", Ifb::NAME);
            (place, came_to.to_owned())
        }
        Subject::Class(..) => (change.place.clone(), class(change)),
        Subject::Place(None) => {
            let came_to = match change.action {
                Action::Add => "was gone: made again".to_owned(),
                Action::Remove => "was put in: taken out".to_owned(),
                Action::Change => rules(change.rules.as_ref()),
            };
            (format!("table {FAMILY} {NAME}"), came_to)
        }
        Subject::Place(Some(key)) => (format!("rules for {key}"), rules(change.rules.as_ref())),
        Subject::Block(name) => {
            let came_to = match change.action {
                Action::Add => "was gone: holds again".to_owned(),
                Action::Remove => "was put in: taken out".to_owned(),
                Action::Change => rules(change.rules.as_ref()),
            };
            (format!("block {name}"), came_to)
        }
    };
    let subject = match (&change.device, &change.class_id, subject) {
        (Some(device), Some(class), Subject::Class(..)) => match &row.key {
            Some(spot) => format!("class {class} of {device} ({spot})"),
            None => format!("class {class} of {device}"),
        },
        _ => place.clone(),
    };
    Repaired {
        device: change.device.clone(),
        class_id: change.class_id.clone(),
        place,
        found: Promised::of(change.was.as_ref()),
        restored: Promised::of(change.will.as_ref()),
        what: format!("{subject} {came_to}"),
    }
}

/// What became of a class: each figure as it was found, and as it is again.
fn class(change: &Change) -> String {
    let [found, restored] =
        [&change.was, &change.will].map(|figures| Promised::of(figures.as_ref()));
    let mut parts = Vec::new();
    let head = match change.action {
        Action::Add => {
            parts.extend(restored.map(Promised::text));
            parts.extend(change.will.as_ref().map(described));
            "was gone: made again"
        }
        Action::Remove => {
            parts.extend(found.map(Promised::text));
            "was put in: taken out"
        }
        Action::Change => {
            if let (Some(found), Some(restored)) = (found, restored) {
                let mut rate = |name: &str, found: Rate, restored: Rate| {
                    if found != restored {
                        let [found, restored] =
                            [found, restored].map(|rate| short_text(rate.bits()));
                        parts.push(format!("{name} {found} → {restored}"));
                    }
                };
                rate("guarantee", found.guarantee, restored.guarantee);
                rate("ceiling", found.ceiling, restored.ceiling);
            }
            if let (Some(was), Some(will)) = (&change.was, &change.will) {
                parts.push(changed(was, will));
            }
            "put back"
        }
    };
    if change.action == Action::Change {
        parts.extend(change.rules.as_ref().map(counted_rules));
    }
    parts.retain(|part| !part.is_empty());
    match parts.is_empty() {
        true => head.to_owned(),
        false => format!("{head}: {}", parts.join(", ")),
    }
}

fn rules(rules: Option<&RuleChanges>) -> String {
    match rules.map(counted_rules) {
        Some(counted) if !counted.is_empty() => format!("put back: {counted}"),
        _ => "put back".to_owned(),
    }
}

/// What became of rules, and the first of them.
fn counted_rules(rules: &RuleChanges) -> String {
    let counted = |texts: &[String], one: &str, many: &str| {
        let first = texts.first()?;
        let first = short(first);
        Some(match texts.len() {
            1 => format!("a rule {one}: {first}"),
            count => format!("{count} rules {many}, the first: {first}"),
        })
    };
    let parts = [
        counted(&rules.added, "was gone and is back", "were gone and are back"),
        counted(
            &rules.removed,
            "was put in and is taken out",
            "were put in and are taken out",
        ),
        counted(
            &rules.moved,
            "was in another place",
            "were in another order",
        ),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

fn short(text: &str) -> String {
    if text.chars().count() <= LONG {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LONG).collect();
    short.push('…');
    short
}
