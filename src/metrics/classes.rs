//! The series of classes. There may be thousands, so that they are written straight to the text.

use std::fmt::Write;

use super::catalogue as list;
use super::values::{bytes, whole, word};
use crate::api::{ClassStatus, Line};
use crate::model::node::{NodeKey, Place};
use crate::units::Direction;

/// How many series a class has in one direction.
pub(super) const SERIES: usize = 6;

/// A class in one direction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassRow {
    pub(super) place: NodeKey,
    pub(super) direction: Direction,
    /// Bytes, packets, drops.
    pub(super) counts: [u64; 3],
    /// Backlog, guarantee, ceiling.
    gauges: [f64; 3],
}

/// The classes that are shown, and how many series are not.
pub(super) struct Shown {
    pub(super) rows: Vec<ClassRow>,
    pub(super) omitted: usize,
}

/// The classes that fit into `limit` series. What lies right below a circuit goes before what lies inside a
/// site, else in the order of the tree: the same ones as long as the policy stays, so that no series comes and
/// goes. A class is shown in both directions or not at all.
pub(super) fn shown(classes: &[ClassStatus], limit: usize) -> Shown {
    let mut sorted: Vec<&ClassStatus> = classes
        .iter()
        .filter(|class| match class.place.place {
            // It has series of its own.
            Place::Circuit => false,
            Place::Control
            | Place::Class(_)
            | Place::Site(_)
            | Place::SiteClass(..)
            | Place::SiteRest(_)
            | Place::Rest => true,
        })
        .collect();
    sorted.sort_by_key(|class| class.place.depth());
    let mut shown = Shown {
        rows: Vec::new(),
        omitted: 0,
    };
    for class in sorted {
        let lines = [(Direction::Up, &class.up), (Direction::Down, &class.down)];
        let rows: Vec<ClassRow> = lines
            .into_iter()
            .filter_map(|(direction, line)| Some(row(class, direction, line.as_ref()?)))
            .collect();
        // Once one is left out, so are those after it.
        if shown.omitted == 0 && (shown.rows.len() + rows.len()) * SERIES <= limit {
            shown.rows.extend(rows);
        } else {
            shown.omitted += rows.len() * SERIES;
        }
    }
    shown
}

fn row(class: &ClassStatus, direction: Direction, line: &Line) -> ClassRow {
    ClassRow {
        place: class.place.clone(),
        direction,
        counts: [line.bytes, line.packets, line.drops],
        gauges: [
            whole(line.backlog_bytes),
            bytes(line.guarantee),
            bytes(line.ceiling),
        ],
    }
}

/// A class's place on its circuit, as it is told everywhere: `class.voice`, `site.provins.rest`, `control`.
fn label(place: &NodeKey) -> String {
    let text = place.to_string();
    let inside = text.split_once('.').map(|(_, inside)| inside.to_owned());
    inside.unwrap_or(text)
}

/// Appends the series of `rows` to `text`.
pub(super) fn write(text: &mut String, rows: &[ClassRow]) {
    if rows.is_empty() {
        return;
    }
    // Names of the policy need no escaping: letters, digits, `-`, and the dots between them.
    let labels: Vec<String> = rows
        .iter()
        .map(|row| {
            let circuit = &row.place.circuit;
            let (class, direction) = (label(&row.place), word(row.direction));
            format!("{{circuit=\"{circuit}\",class=\"{class}\",direction=\"{direction}\"}}")
        })
        .collect();
    let counters = [list::CLASS_BYTES, list::CLASS_PACKETS, list::CLASS_DROPS];
    for (column, family) in counters.into_iter().enumerate() {
        super::text::head(text, family);
        for (row, labels) in rows.iter().zip(&labels) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}{labels} {}", family.name, row.counts[column]);
        }
    }
    let gauges = [
        list::CLASS_BACKLOG,
        list::CLASS_GUARANTEE,
        list::CLASS_CEILING,
    ];
    for (column, family) in gauges.into_iter().enumerate() {
        super::text::head(text, family);
        for (row, labels) in rows.iter().zip(&labels) {
            let _ = writeln!(text, "{}{labels} {}", family.name, row.gauges[column]);
        }
    }
}
