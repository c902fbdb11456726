//! How classes are, told to people: those that matter most at this moment, or all.

use std::collections::BTreeSet;

use super::columns::{Rows, carried};
use crate::api::{ClassStatus, Line, Status};
use crate::model::node::Place;
use crate::units::lines::WIDTH;
use crate::units::short_text;

/// Which classes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Of each circuit with many the busiest few, and how many more there are.
    Busiest,
    /// All.
    All,
}

/// So many classes are told in all where they are not all told, and so many of a circuit at the most and at the least.
const MANY: usize = 24;
const MOST: usize = 8;
const LEAST: usize = 2;
/// One more is told rather than that there is one more.
const SPARE: usize = 2;

const HEAD: [&str; 7] = [
    "class",
    "guarantee",
    "ceiling",
    "now up",
    "now down",
    "waiting",
    "dropped",
];

/// The classes of all circuits in lines, below an empty one; nothing where there are none.
#[must_use]
pub fn classes(status: &Status, shown: Shown) -> Vec<String> {
    let room = (MANY / status.circuits.len().max(1)).clamp(LEAST, MOST);
    let mut told: Vec<Told> = Vec::new();
    for circuit in &status.circuits {
        let all = status.classes.iter();
        let all = all.filter(|class| class.place.circuit == circuit.name);
        let all: Vec<&ClassStatus> = all.collect();
        if all.is_empty() {
            continue;
        }
        let chosen = match shown {
            Shown::Busiest if all.len() > room + SPARE => busiest(&all, room),
            Shown::Busiest | Shown::All => all.clone(),
        };
        told.push(Told::Line(circuit.name.to_string()));
        told.extend(chosen.iter().map(|class| Told::Class(cells(class))));
        if chosen.len() < all.len() {
            told.push(Told::Line(format!(
                "  … {} more, less busy: `wanshift status --classes`",
                all.len() - chosen.len()
            )));
        }
    }
    drawn(told)
}

/// What is told in a line.
enum Told {
    /// A class, in columns.
    Class(Cells),
    /// Something else.
    Line(String),
}

type Cells = [String; HEAD.len()];

/// The lines, those with classes in columns. A place that is too long for its column has a line of its own.
fn drawn(told: Vec<Told>) -> Vec<String> {
    let room = WIDTH.saturating_sub(beside(&told));
    let (mut rows, mut lines) = (Rows::default(), Vec::new());
    for one in told {
        match one {
            Told::Line(line) => lines.push(Some(line)),
            Told::Class(mut cells) => {
                if cells[0].chars().count() > room {
                    lines.push(Some(std::mem::take(&mut cells[0])));
                }
                rows.row(cells);
                lines.push(None);
            }
        }
    }
    let mut rows = rows.text(HEAD).into_iter();
    // An empty line and the head come first.
    let mut drawn: Vec<String> = rows.by_ref().take(2).collect();
    drawn.extend(
        lines
            .into_iter()
            .filter_map(|line| line.or_else(|| rows.next())),
    );
    drawn
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// How wide all is that stands beside the places.
fn beside(told: &[Told]) -> usize {
    let mut rows = Rows::default();
    for one in told {
        if let Told::Class(cells) = one {
            let mut cells = cells.clone();
            cells[0].clear();
            rows.row(cells);
        }
    }
    let widest = rows
        .text(HEAD)
        .iter()
        .map(|row| row.trim_end().chars().count())
        .max();
    widest.unwrap_or_default().saturating_sub(HEAD[0].len())
}

/// The `room` that carry most, or in which most waits, in the order in which they stand.
fn busiest<'a>(all: &[&'a ClassStatus], room: usize) -> Vec<&'a ClassStatus> {
    let load = |class: &ClassStatus| {
        let rates = ways(class).filter_map(|line| line.rate);
        (rates.sum::<f64>(), waiting(class))
    };
    let mut order: Vec<usize> = (0..all.len()).collect();
    let loads: Vec<(f64, u64)> = all.iter().map(|class| load(class)).collect();
    order.sort_by(|left, right| {
        let (left, right) = (loads[*left], loads[*right]);
        right.0.total_cmp(&left.0).then(right.1.cmp(&left.1))
    });
    let chosen: BTreeSet<usize> = order.into_iter().take(room).collect();
    let told = all.iter().enumerate();
    told.filter(|(at, _)| chosen.contains(at))
        .map(|(_, class)| *class)
        .collect()
}

/// Its lines; of control the one upward alone: nothing that arrives is in it.
fn ways(class: &ClassStatus) -> impl Iterator<Item = &Line> {
    [class.up.as_ref(), down(class)].into_iter().flatten()
}

fn down(class: &ClassStatus) -> Option<&Line> {
    let control = class.place.place == Place::Control;
    class.down.as_ref().filter(|_| !control)
}

fn waiting(class: &ClassStatus) -> u64 {
    ways(class).map(|line| line.backlog_bytes).sum()
}

fn cells(class: &ClassStatus) -> Cells {
    let figure = |of: fn(&Line) -> u64| {
        let mut both: Vec<String> = ways(class).map(|line| short_text(of(line))).collect();
        both.dedup();
        both.join("/")
    };
    let now = |line: Option<&Line>| {
        let rate = line.and_then(|line| line.rate);
        rate.map_or_else(|| "-".to_owned(), carried)
    };
    let place = class.place.to_string();
    let circuit = class.place.circuit.as_str().len() + 1;
    let drops: u64 = ways(class).map(|line| line.drops).sum();
    [
        format!("  {}", place.get(circuit..).unwrap_or(&place)),
        figure(|line| line.guarantee.bits()),
        figure(|line| line.ceiling.bits()),
        now(class.up.as_ref()),
        now(down(class)),
        bytes(waiting(class)),
        drops.to_string(),
    ]
}

/// So many bytes, roughly.
fn bytes(count: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let unit = units.into_iter().find(|(scale, _)| count >= *scale);
    match unit {
        Some((scale, unit)) => format!("{}.{} {unit}", count / scale, count % scale * 10 / scale),
        None => count.to_string(),
    }
}
