//! A report on a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::figures::{changed, described};
use super::layout::{self, COLUMNS, PLACE};
use super::{Action, Change, Figures, PlanReport, RulesChange};
use crate::model::desired::Reason;
use crate::model::filter::RuleChanges;
use crate::units::lines::wrapped;
use crate::units::{Direction, short_text};

/// So many rules that go, and so many that come, are told of one place.
const MANY: usize = 6;

/// [`Minor::CONTROL`](crate::model::state::Minor::CONTROL), as `tc` writes it.
const CONTROL: &str = "2";

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ops == 0 {
            return writeln!(
                f,
                "Nothing to write: the kernel holds what the policy says."
            );
        }
        let told = both_ways(&self.changes);
        let rows: Rows = told.iter().flat_map(|(_, rows)| rows.clone()).collect();
        if !rows.is_empty() {
            for line in layout::lines(&rows) {
                writeln!(f, "{line}")?;
            }
            writeln!(f)?;
        }
        let count = |action| {
            told.iter()
                .filter(|(change, _)| change.action == action)
                .count()
        };
        let rules = match self.rules {
            RulesChange::Keep => "unchanged",
            RulesChange::Add => "added",
            RulesChange::Change => "changed",
            RulesChange::Remove => "removed",
        };
        let summary = format!(
            "{} to add, {} to change, {} to remove; rules {rules}; {} in {}.",
            count(Action::Add),
            count(Action::Change),
            count(Action::Remove),
            counted(self.ops, "write"),
            counted(self.stages, "stage"),
        );
        f.write_str(&wrapped("", "", &summary))
    }
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Rows of cells, each with the lines below it.
pub(super) type Rows = Vec<([String; COLUMNS], Vec<String>)>;

/// The rows of each change. What happens to a place in one direction and just so in the other is told once; else
/// its rows say which direction they are about. Control is told upward alone: nothing that arrives is in it.
fn both_ways(changes: &[Change]) -> Vec<(&Change, Rows)> {
    let mut told: Vec<(&Change, Rows)> = changes
        .iter()
        .map(|change| (change, rows(change)))
        .collect();
    let up: BTreeMap<(&str, Option<&str>), Rows> = told
        .iter()
        .filter(|(change, _)| change.direction == Some(Direction::Up))
        .map(|(change, rows)| ((change.place.as_str(), minor(change)), cells(rows)))
        .collect();
    let mut same = BTreeSet::new();
    told.retain(|(change, rows)| {
        let key = (change.place.as_str(), minor(change));
        let twice = change.direction == Some(Direction::Down) && up.get(&key) == Some(&cells(rows));
        if twice {
            same.insert(key);
        }
        !twice
    });
    for (change, rows) in &mut told {
        let key = (change.place.as_str(), minor(change));
        if let (Some(direction), false, Some((first, _))) =
            (change.direction, same.contains(&key), rows.first_mut())
            && !is_control(change)
        {
            first[PLACE] = format!("{} {direction}", change.place);
        }
    }
    told
}

fn is_control(change: &Change) -> bool {
    minor(change) == Some(CONTROL)
}

/// The lower half of a change's class id: the same in both directions.
fn minor(change: &Change) -> Option<&str> {
    change
        .class_id
        .as_ref()?
        .split_once(':')
        .map(|(_, minor)| minor)
}

/// What stands in the columns, without what stands below.
fn cells(rows: &Rows) -> Rows {
    rows.iter()
        .map(|(row, _)| (row.clone(), Vec::new()))
        .collect()
}

/// The row of a change, with lines below it, and rows for further reasons.
fn rows(change: &Change) -> Rows {
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
    let mut whys = whys(change).into_iter();
    let first = [
        sign.to_owned(),
        change.place.clone(),
        pair(|figures| figures.guarantee.map(|rate| short_text(rate.bits()))),
        pair(|figures| figures.ceiling.map(|rate| short_text(rate.bits()))),
        other(change),
        whys.next().unwrap_or_default(),
    ];
    let mut rows = vec![first];
    for why in whys {
        let mut row = <[String; COLUMNS]>::default();
        if let Some(last) = row.last_mut() {
            *last = why;
        }
        rows.push(row);
    }
    let last = rows.len() - 1;
    rows.into_iter()
        .enumerate()
        .map(|(place, row)| {
            let below = (place == last)
                .then(|| shown_rules(change))
                .flatten()
                .map_or_else(Vec::new, rules);
            (row, below)
        })
        .collect()
}

/// Rules that come or go with their class are no news, but those of the whole table are.
fn shown_rules(change: &Change) -> Option<&RuleChanges> {
    change
        .rules
        .as_ref()
        .filter(|_| change.action == Action::Change || change.device.is_none())
}

fn other(change: &Change) -> String {
    let mut parts = match (&change.was, &change.will) {
        (Some(was), Some(will)) => changed(was, will),
        (None, Some(will)) => described(will),
        (_, None) => String::new(),
    };
    if change.action == Action::Change && change.rules.is_some() {
        if !parts.is_empty() {
            parts.push_str(", ");
        }
        parts.push_str("rules");
    }
    parts
}

fn rules(rules: &RuleChanges) -> Vec<String> {
    let mut lines = Vec::new();
    for (sign, texts) in [
        ("-", &rules.removed),
        ("+", &rules.added),
        ("~ in another order:", &rules.moved),
    ] {
        let shown = if texts.len() <= MANY + 1 {
            texts.len()
        } else {
            MANY
        };
        lines.extend(
            texts
                .iter()
                .take(shown)
                .map(|text| format!("{sign} {text}")),
        );
        if shown < texts.len() {
            lines.push(format!("{sign} … {} more", texts.len() - shown));
        }
    }
    lines
}

fn whys(change: &Change) -> Vec<String> {
    let mut whys: Vec<String> = change.why.iter().chain(&change.also).map(told).collect();
    if let Some(root) = &change.replaces {
        whys.push(format!("in place of {root}, for good"));
    }
    if change.action == Action::Remove && whys.is_empty() {
        whys.push("not in the policy".to_owned());
    }
    whys
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
