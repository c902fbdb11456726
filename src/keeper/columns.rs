//! Columns of text, and what stands in them.

use std::collections::BTreeMap;

use crate::units::lines::WIDTH;

/// So many bit/s, measured: to three digits.
pub(super) fn carried(rate: f64) -> String {
    let units = [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3)];
    let unit = units.into_iter().find(|(_, scale)| rate >= *scale);
    let (name, scale) = unit.unwrap_or(("bit", 1.0));
    let value = rate / scale;
    let decimals = match value {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let decimals = if name == "bit" { 0 } else { decimals };
    format!("{value:.decimals$}{name}")
}

/// Columns as wide as what stands in them.
pub(super) struct Rows<const N: usize>(Vec<[String; N]>);

impl<const N: usize> Default for Rows<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<const N: usize> Rows<N> {
    pub(super) fn row(&mut self, row: [String; N]) {
        self.0.push(row);
    }

    /// The same with why below each row.
    pub(super) fn told<'a>(
        self,
        head: [&str; N],
        mut whys: impl Iterator<Item = &'a str>,
    ) -> Vec<String> {
        let rows = self.text(head);
        let mut told = Vec::new();
        for (at, row) in rows.into_iter().enumerate() {
            told.push(row);
            // An empty line and the head come first.
            if at > 1
                && let Some(why) = whys.next()
            {
                told.push(format!("  {why}"));
            }
        }
        told
    }

    /// As [`text`](Self::text); where that is too wide, the first column in lines of its own.
    pub(super) fn fitting(self, head: [&str; N]) -> Vec<String> {
        let first: Vec<String> = self
            .0
            .iter()
            .filter_map(|row| row.first().cloned())
            .collect();
        let mut beside = self.0.clone();
        let whole = self.text(head);
        if whole
            .iter()
            .all(|line| line.trim_end().chars().count() <= WIDTH)
        {
            return whole;
        }
        for row in &mut beside {
            if let Some(cell) = row.first_mut() {
                cell.clear();
            }
        }
        let mut rows = Self(beside).text(head).into_iter();
        // An empty line and the head come first.
        let mut lines: Vec<String> = rows.by_ref().take(2).collect();
        lines.extend(
            first
                .into_iter()
                .zip(rows)
                .flat_map(|(first, row)| [first, row]),
        );
        lines
    }

    /// The rows below `head`, and an empty line before; nothing where there are none.
    pub(super) fn text(self, head: [&str; N]) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.0);
        let mut widths = BTreeMap::new();
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let width: &mut usize = widths.entry(column).or_default();
                *width = (*width).max(cell.chars().count());
            }
        }
        let cells = |row: [String; N]| {
            let cells: Vec<String> = row
                .into_iter()
                .enumerate()
                .map(|(column, cell)| format!("{cell:width$}", width = widths[&column]))
                .collect();
            cells.join("  ")
        };
        let told = rows.into_iter().map(cells);
        std::iter::once(String::new()).chain(told).collect()
    }
}
