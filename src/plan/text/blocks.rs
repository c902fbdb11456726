//! Blocks that come, change or go, and why.

use std::collections::BTreeMap;

use super::{Action, Change, Row, Subject, bare};
use crate::model::desired::BlockGrounds;
use crate::model::filter::{BlockFate, Table};
use crate::model::names::BlockName;

/// A row for each block that is another in `to` than in `from`.
pub(super) fn rows(
    from: Option<&Table>,
    to: Option<&Table>,
    reasons: &BTreeMap<BlockName, BlockGrounds>,
) -> Vec<(Subject, Row)> {
    let told = |(name, block): (BlockName, crate::model::filter::BlockChange)| {
        let action = match block.fate {
            BlockFate::Comes => Action::Add,
            BlockFate::Changes => Action::Change,
            BlockFate::Goes => Action::Remove,
        };
        let grounds = reasons.get(&name);
        let (held, rules) = (
            grounds.map(|grounds| grounds.held.clone()),
            grounds.map(|grounds| grounds.rules.clone()),
        );
        let (why, also) = match block.fate {
            BlockFate::Comes => (held, rules),
            BlockFate::Changes => (rules, None),
            BlockFate::Goes => (held, None),
        };
        let change = Change {
            rules: (block.fate == BlockFate::Changes).then_some(block.rules),
            why,
            also: also.into_iter().collect(),
            ..bare(action, format!("block {name}"))
        };
        (Subject::Block(name), Row { key: None, change })
    };
    Table::block_changes(from, to)
        .into_iter()
        .map(told)
        .collect()
}
