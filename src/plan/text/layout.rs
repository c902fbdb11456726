//! The table of a plan in lines that fit a terminal.
//!
//! What is too wide for one line each goes below: first why, then what is neither guarantee nor ceiling; a place whose
//! name is too long has a line of its own.

use comfy_table::{Table, presets};

use super::print::Rows;
use crate::units::lines::{WIDTH, wrapped};

/// How many columns there are.
pub(super) const COLUMNS: usize = 6;
const HEADER: [&str; COLUMNS] = ["", "place", "guarantee", "ceiling", "other", "why"];
const SIGN: usize = 0;
/// The column of places.
pub(super) const PLACE: usize = 1;
const OTHER: usize = 4;
const WHY: usize = 5;

/// What stands below a row, and its further lines.
const BELOW: [&str; 2] = ["    ", "      "];

type Cells = [String; COLUMNS];

/// A row as it is drawn.
struct Shown {
    /// A line of its own before, for a place that is too long for its column.
    above: Option<String>,
    /// What stands in columns; none where there is nothing but the place.
    cells: Option<Cells>,
    below: Vec<String>,
}

/// The header and the rows.
pub(super) fn lines(rows: &Rows) -> Vec<String> {
    let wide = rows.iter().map(|(cells, details)| Shown {
        above: None,
        cells: Some(cells.clone()),
        below: details.clone(),
    });
    let wide: Vec<Shown> = wide.collect();
    let shown = if fit(&wide) { wide } else { folded(rows) };
    drawn(&shown)
}

/// The rows, with below them what does not fit beside them.
fn folded(rows: &Rows) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for (cells, details) in rows {
        let mut cells = cells.clone();
        let why = take(&mut cells, WHY);
        let below = why.into_iter().chain(details.iter().cloned());
        match shown.last_mut() {
            // A row that only has a further reason.
            Some(last) if cells.iter().all(String::is_empty) => last.below.extend(below),
            _ => shown.push(Shown {
                above: None,
                below: below.collect(),
                cells: Some(cells),
            }),
        }
    }
    for row in &mut shown {
        let only_place = |cells: &Cells| cells.iter().skip(PLACE + 1).all(String::is_empty);
        if row.cells.as_ref().is_some_and(only_place) {
            row.above = row.cells.take().map(|cells| headed(&cells));
        }
    }
    if !fit(&shown) {
        for row in &mut shown {
            let other = row.cells.as_mut().and_then(|cells| take(cells, OTHER));
            row.below.splice(0..0, other);
        }
    }
    if !fit(&shown) {
        let room = WIDTH.saturating_sub(beside(&shown));
        for row in &mut shown {
            if let Some(cells) = &mut row.cells
                && width(&cells[PLACE]) > room
            {
                row.above = Some(headed(cells));
                (cells[SIGN], cells[PLACE]) = (String::new(), String::new());
            }
        }
    }
    shown
}

/// How wide all is that stands beside the places.
fn beside(shown: &[Shown]) -> usize {
    let cells = shown.iter().filter_map(|row| row.cells.as_ref());
    let without = cells.map(|cells| {
        let mut cells = cells.clone();
        cells[PLACE] = HEADER[PLACE].to_owned();
        cells
    });
    let without: Vec<Cells> = without.collect();
    let lines = aligned(without.iter());
    let widest = lines.iter().map(|line| width(line)).max();
    widest.unwrap_or_default() - width(HEADER[PLACE])
}

fn headed(cells: &Cells) -> String {
    format!("{} {}", cells[SIGN], cells[PLACE])
}

fn take(cells: &mut Cells, column: usize) -> Option<String> {
    let cell = std::mem::take(&mut cells[column]);
    (!cell.is_empty()).then_some(cell)
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Whether no row is too wide, whatever stands below it.
fn fit(shown: &[Shown]) -> bool {
    let cells = shown.iter().filter_map(|row| row.cells.as_ref());
    aligned(cells).iter().all(|line| width(line) <= WIDTH)
}

fn drawn(shown: &[Shown]) -> Vec<String> {
    let cells = shown.iter().filter_map(|row| row.cells.as_ref());
    let mut aligned = aligned(cells).into_iter();
    let mut lines: Vec<String> = aligned.next().into_iter().collect();
    for row in shown {
        lines.extend(row.above.clone());
        if row.cells.is_some() {
            lines.extend(aligned.next());
        }
        for below in &row.below {
            let [first, next] = BELOW;
            let text = wrapped(first, next, below);
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines
}

/// The header and the rows, without the columns that have nothing in them; nothing where there are no rows.
fn aligned<'a>(rows: impl Iterator<Item = &'a Cells> + Clone) -> Vec<String> {
    let used: Vec<bool> = (0..COLUMNS)
        .map(|column| {
            rows.clone()
                .any(|row| row.get(column).is_some_and(|cell| !cell.is_empty()))
        })
        .collect();
    if !used.contains(&true) {
        return Vec::new();
    }
    let pick = |cells: Vec<&'a str>| -> Vec<&'a str> {
        let cells = cells.into_iter().zip(&used);
        cells
            .filter(|(_, used)| **used)
            .map(|(cell, _)| cell)
            .collect()
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(pick(HEADER.to_vec()));
    for row in rows {
        table.add_row(pick(row.iter().map(String::as_str).collect()));
    }
    let columns = table.column_count();
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((
            0,
            if place + 1 == columns || place == 0 {
                1
            } else {
                2
            },
        ));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}
