//! What becomes of the lines of a chain whose rules change.

use std::collections::BTreeMap;

use super::Line;

/// What becomes of the lines of a chain.
pub(super) struct Fate<'a> {
    pub(super) removed: Vec<&'a Line>,
    pub(super) added: Vec<&'a Line>,
    pub(super) moved: Vec<&'a Line>,
}

impl<'a> Fate<'a> {
    pub(super) fn of(old: &'a [Line], new: &'a [Line]) -> Self {
        let same = |pairs: &mut dyn Iterator<Item = (&'a Line, &'a Line)>| {
            pairs.take_while(|(old, new)| old == new).count()
        };
        let head = same(&mut old.iter().zip(new));
        let (old, new) = (
            old.get(head..).unwrap_or_default(),
            new.get(head..).unwrap_or_default(),
        );
        let tail = same(&mut old.iter().rev().zip(new.iter().rev()));
        let old = old.get(..old.len() - tail).unwrap_or_default();
        let new = new.get(..new.len() - tail).unwrap_or_default();
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, line) in old.iter().enumerate().rev() {
            places.entry(identity(line)).or_default().push(place);
        }
        let mut kept: Vec<(usize, &Line)> = Vec::new();
        let mut added = Vec::new();
        for line in new {
            match places.get_mut(&identity(line)).and_then(Vec::pop) {
                Some(place) => kept.push((place, line)),
                None => added.push(line),
            }
        }
        let mut gone: Vec<usize> = places.into_values().flatten().collect();
        gone.sort_unstable();
        let still = longest_rise(&kept.iter().map(|(place, _)| *place).collect::<Vec<_>>());
        let moved = kept
            .iter()
            .zip(still)
            .filter(|(_, still)| !still)
            .map(|((_, line), _)| *line)
            .collect();
        Self {
            removed: gone
                .into_iter()
                .filter_map(|place| old.get(place))
                .collect(),
            added,
            moved,
        }
    }
}

fn identity(line: &Line) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

/// Which of `numbers`, all different, are part of a longest rising row of them.
fn longest_rise(numbers: &[usize]) -> Vec<bool> {
    // The index that ends the best row of each length, and of each index the one before it in its row.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|(least, _)| least < number);
        before.push(
            length
                .checked_sub(1)
                .and_then(|shorter| ends.get(shorter))
                .map(|(_, index)| *index),
        );
        ends.truncate(ends.len().max(length));
        match ends.get_mut(length) {
            Some(end) => *end = (*number, index),
            None => ends.push((*number, index)),
        }
    }
    let mut part = vec![false; numbers.len()];
    let mut last = ends.last().map(|(_, index)| *index);
    while let Some(index) = last {
        if let Some(part) = part.get_mut(index) {
            *part = true;
        }
        last = before.get(index).copied().flatten();
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::{Action, ChainName, Field, Rule, Values};
    use proptest::prelude::*;

    fn rule(port: u128) -> Rule {
        let criteria = [
            (Field::Transport, Values::of([6])),
            (Field::Service, Values::of([port])),
        ];
        Rule::new(criteria, None, Action::Goto(ChainName::new("wan.rest")))
    }

    proptest! {
        /// Whatever two lists of rules there are, what is told leads from the one to the other, and
        /// nothing is told where they are equal.
        #[test]
        fn what_is_told_is_what_changes(
            old in prop::collection::vec(0_u128..8, 0..12),
            new in prop::collection::vec(0_u128..8, 0..12),
        ) {
            let lines = |ports: &[u128]| -> Vec<Line> {
                ports.iter().map(|port| Line::Rule(rule(*port))).collect()
            };
            let (before, after) = (lines(&old), lines(&new));
            let fate = Fate::of(&before, &after);
            prop_assert_eq!(
                before.len() + fate.added.len(),
                after.len() + fate.removed.len()
            );
            let told = fate.added.len() + fate.removed.len() + fate.moved.len();
            prop_assert_eq!(told == 0, old == new);
            let count = |lines: &[Line], line: &Line| lines.iter().filter(|one| *one == line).count();
            for line in before.iter().chain(&after) {
                let gone = fate.removed.iter().filter(|one| **one == line).count();
                let come = fate.added.iter().filter(|one| **one == line).count();
                prop_assert_eq!(count(&before, line) + come, count(&after, line) + gone);
            }
        }

        /// The longest row, by trying them all.
        #[test]
        fn the_longest_rise_is_the_longest(numbers in Just((0..9).collect::<Vec<usize>>()).prop_shuffle()) {
            let rises = |row: &[usize]| row.is_sorted();
            let picked = |part: &dyn Fn(usize) -> bool| -> Vec<usize> {
                let chosen = numbers.iter().enumerate().filter(|(index, _)| part(*index));
                chosen.map(|(_, number)| *number).collect()
            };
            let part = longest_rise(&numbers);
            let found = picked(&|index| part[index]);
            prop_assert!(rises(&found));
            let longest = (0_u32..1 << numbers.len())
                .map(|mask| picked(&|index| mask & (1 << index) != 0))
                .filter(|row| rises(row))
                .map(|row| row.len())
                .max();
            prop_assert_eq!(Some(found.len()), longest);
        }
    }
}
