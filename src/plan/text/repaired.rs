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

/// Tells what `plan` puts back, which leads from what others made of it to what is to hold: whole devices and trees
/// first. What goes with one of those is counted there.
#[must_use]
pub fn repaired(plan: &Plan, names: &Names, reasons: &Reasons) -> Vec<Repaired> {
    let mut rows = tell(plan, names, reasons).rows;
    rows.sort_by_key(|(subject, _)| rank(subject));
    let whole = Whole::of(&rows);
    let told = rows.iter().filter(|(subject, _)| !whole.has(subject));
    told.map(|(subject, row)| one(subject, row, &whole))
        .collect()
}

/// What is told before what: the IFB takes all that arrives with it, a root qdisc its tree.
const fn rank(subject: &Subject) -> u8 {
    match subject {
        Subject::Ifb => 0,
        Subject::Device(_) => 1,
        Subject::Selector | Subject::Feed(_) => 2,
        Subject::Class(..) => 3,
        Subject::Place(None) => 4,
        Subject::Block(_) => 5,
        Subject::Place(Some(_)) => 6,
    }
}

/// What comes or goes as a whole, and how much of it there is.
#[derive(Default)]
struct Whole {
    /// Whether the IFB is made again.
    ifb: bool,
    /// Devices whose root qdisc is.
    roots: BTreeSet<DeviceName>,
    /// How many classes come, change or go on each device.
    classes: BTreeMap<DeviceName, usize>,
    /// How many filters lead to the IFB again.
    feeds: usize,
}

impl Whole {
    fn of(rows: &[(Subject, Row)]) -> Self {
        let mut whole = Self::default();
        for (subject, row) in rows {
            match subject {
                Subject::Ifb => whole.ifb = row.change.action == Action::Add,
                Subject::Device(device) => {
                    whole.roots.insert(device.clone());
                }
                Subject::Feed(_) => whole.feeds += 1,
                Subject::Class(device, _) => {
                    *whole.classes.entry(device.clone()).or_default() += 1;
                }
                Subject::Selector | Subject::Place(_) | Subject::Block(_) => {}
            }
        }
        whole
    }

    /// Whether that is told with something else.
    fn has(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Class(device, _) => self.roots.contains(device),
            Subject::Device(device) => self.ifb && *device == Ifb::device(),
            Subject::Feed(_) => self.ifb,
            Subject::Ifb | Subject::Selector | Subject::Place(_) | Subject::Block(_) => false,
        }
    }

    /// So many classes go with a device.
    fn with(&self, device: &DeviceName) -> String {
        match self.classes.get(device) {
            None => String::new(),
            Some(1) => " with its class".to_owned(),
            Some(count) => format!(" with its {count} classes"),
        }
    }

    /// So many filters go with the IFB.
    fn and_feeds(&self) -> String {
        match self.feeds {
            0 => String::new(),
            1 => ", and the filter that leads there".to_owned(),
            count => format!(", and the {count} filters that lead there"),
        }
    }
}

fn one(subject: &Subject, row: &Row, whole: &Whole) -> Repaired {
    let change = &row.change;
    let (place, came_to) = match subject {
        Subject::Device(device) => {
            let found = match (&change.replaces, change.action) {
                (Some(other), _) => format!("was {other}: made again"),
                (None, Action::Add) => "was gone: made again".to_owned(),
                (None, Action::Change) => "was another: made again".to_owned(),
                (None, Action::Remove) => "was put in: taken out".to_owned(),
            };
            let place = format!("root qdisc of {device}");
            (place, format!("{found}{}", whole.with(device)))
        }
        Subject::Ifb => {
            let device = Ifb::device();
            let came_to = match change.action {
                Action::Add => {
                    let with = (whole.with(&device), whole.and_feeds());
                    format!("was gone: made again{}{}", with.0, with.1)
                }
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
                Action::Add => "did not hold: it holds again".to_owned(),
                Action::Remove => "held, and is not to: lifted".to_owned(),
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
        counted(
            &rules.added,
            "was gone and is back",
            "were gone and are back",
        ),
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
