//! The part of a table that holds blocks: the chain where packets on their way through the host enter, the
//! chains to which it leads, and their counters.
//!
//! A block comes before anything else changes and goes after all else has: so what is between has the blocks
//! of both ends ([`Table::holding`]).

use std::collections::{BTreeMap, BTreeSet};

use super::difference::RuleChanges;
use super::fate::Fate;
use super::names::{ChainName, ChainRole, CounterName};
use super::rule::Action;
use super::tell;
use super::{Chain, Line, Table, Verdict};
use crate::model::names::BlockName;

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFate {
    /// It holds from now on.
    Comes,
    /// Its rules are others.
    Changes,
    /// It holds no more.
    Goes,
}

/// How a block changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockChange {
    /// What becomes of it.
    pub fate: BlockFate,
    /// How its rules change, where it stays.
    pub rules: RuleChanges,
}

/// Whether a chain is that of one block.
pub(super) fn is_of_blocks(name: &ChainName) -> bool {
    block_of(name).is_some()
}

/// The block that a chain is of.
fn block_of(name: &ChainName) -> Option<BlockName> {
    if let ChainRole::Block { block, .. } | ChainRole::Rejected(block) = ChainRole::of(name)? {
        Some(block)
    } else {
        None
    }
}

/// The block to whose chain a line leads.
pub(super) fn leads_to_block(line: &Line) -> Option<BlockName> {
    match line {
        Line::Rule(rule) => rule.action().target().and_then(block_of),
        Line::Foreign(_) => None,
    }
}

impl Table {
    /// The blocks that hold by it: those that packets on their way through the host are led to.
    #[must_use]
    pub fn blocks(&self) -> BTreeSet<BlockName> {
        let forward = self.chains.get(&ChainRole::Forward.name());
        let entered = forward.filter(|chain| chain.hook.is_some() && self.flags.is_empty());
        let lines = entered.iter().flat_map(|chain| &chain.lines);
        lines.filter_map(leads_to_block).collect()
    }

    /// `table` with the blocks of `goal` as they are there, and beside them those of `standing` that `goal`
    /// has not; `None` where there is nothing to hold.
    ///
    /// Of `standing` only rules that could be ours are taken: what somebody else put beside them may need what is
    /// not in `table`.
    #[must_use]
    pub fn holding(
        table: Option<Self>,
        goal: Option<&Self>,
        standing: Option<&Self>,
    ) -> Option<Self> {
        let wanted = goal.map(Self::blocks).unwrap_or_default();
        let mut held = standing.map(Self::blocks).unwrap_or_default();
        held.retain(|block| !wanted.contains(block));
        if wanted.is_empty() && held.is_empty() {
            return table;
        }
        let mut table = table.unwrap_or_default();
        let name = ChainRole::Forward.name();
        let entry = |from: Option<&Self>, blocks: &BTreeSet<BlockName>| -> Option<Chain> {
            let mut chain = from?.chains.get(&name)?.clone();
            chain.lines.retain(|line| match line {
                Line::Rule(rule) if rule.action().target().is_some() => {
                    leads_to_block(line).is_some_and(|block| blocks.contains(&block))
                }
                Line::Rule(rule) => rule.action().map().is_none(),
                Line::Foreign(_) => false,
            });
            Some(chain)
        };
        let mut forward = entry(goal.filter(|_| !wanted.is_empty()), &wanted);
        if let Some(more) = entry(standing.filter(|_| !held.is_empty()), &held) {
            match &mut forward {
                None => forward = Some(more),
                Some(forward) => {
                    let jumps = more.lines.into_iter();
                    let jumps = jumps.filter(|line| leads_to_block(line).is_some());
                    forward.lines.extend(jumps);
                }
            }
        }
        table
            .chains
            .extend(forward.map(|forward| (name.clone(), forward)));
        for (from, blocks) in [(standing, &held), (goal, &wanted)] {
            if let Some(from) = from.filter(|_| !blocks.is_empty()) {
                table.take_blocks(from, blocks);
            }
        }
        if let Some(goal) = goal.filter(|_| !wanted.is_empty()) {
            table.flags.clone_from(&goal.flags);
            table.leave_behind(goal, &wanted);
        }
        Some(table)
    }

    /// A table of blocks alone that rejects what this one or `other` does. A block that is one thing here and another
    /// there holds as both.
    #[must_use]
    pub fn with_blocks_of(mut self, other: &Self) -> Self {
        let name = ChainRole::Forward.name();
        for (chain, rules) in &other.chains {
            match self.chains.get_mut(chain) {
                Some(own) if *chain == name => {
                    let known = own.lines.clone();
                    let more = rules.lines.iter().filter(|line| !known.contains(line));
                    own.lines.extend(more.cloned());
                }
                // Their names say what is in them.
                Some(_) => {}
                None => {
                    self.chains.insert(chain.clone(), rules.clone());
                }
            }
        }
        self.counters.extend(other.counters.iter().cloned());
        self
    }

    /// Takes out the chains of `blocks` that `goal` does not have: a block that is another has its rules in another chain.
    /// One that something still leads to stays until that is gone.
    fn leave_behind(&mut self, goal: &Self, blocks: &BTreeSet<BlockName>) {
        let lines = || self.chains.values().flat_map(|chain| &chain.lines);
        if lines().any(|line| matches!(line, Line::Foreign(_))) {
            return;
        }
        let verdicts = self.maps.values().flat_map(|map| map.elements.values());
        let led_to: BTreeSet<&ChainName> = lines()
            .filter_map(|line| match line {
                Line::Rule(rule) => rule.action().target(),
                Line::Foreign(_) => None,
            })
            .chain(verdicts.filter_map(Verdict::target))
            .collect();
        let behind = |name: &&ChainName| {
            block_of(name).is_some_and(|block| blocks.contains(&block))
                && !goal.chains.contains_key(*name)
                && !led_to.contains(*name)
        };
        let behind: Vec<ChainName> = self.chains.keys().filter(behind).cloned().collect();
        self.chains.retain(|name, _| !behind.contains(name));
    }

    /// Takes the chains and counters of `blocks` as they are in `from`.
    fn take_blocks(&mut self, from: &Self, blocks: &BTreeSet<BlockName>) {
        let own = |line: &Line| match line {
            Line::Rule(rule) => {
                rule.action().map().is_none() && rule.action().target().is_none_or(is_of_blocks)
            }
            Line::Foreign(_) => false,
        };
        for (name, chain) in &from.chains {
            if block_of(name).is_some_and(|block| blocks.contains(&block)) {
                let mut chain = chain.clone();
                chain.lines.retain(own);
                self.counters.extend(counters(&chain));
                self.chains.insert(name.clone(), chain);
            }
        }
    }

    /// How each block changes on the way to `to`.
    #[must_use]
    pub fn block_changes(
        from: Option<&Self>,
        to: Option<&Self>,
    ) -> BTreeMap<BlockName, BlockChange> {
        let held = from.map(Self::blocks).unwrap_or_default();
        let wanted = to.map(Self::blocks).unwrap_or_default();
        let all = held.union(&wanted);
        all.filter_map(|block| {
            let fate = match (held.contains(block), wanted.contains(block)) {
                (false, _) => BlockFate::Comes,
                (_, false) => BlockFate::Goes,
                (true, true) => BlockFate::Changes,
            };
            let rules = match (fate, from, to) {
                (BlockFate::Changes, Some(from), Some(to)) => {
                    Some(rules_of(from, to, block)).filter(|rules| !rules.is_empty())?
                }
                _ => RuleChanges::default(),
            };
            Some((block.clone(), BlockChange { fate, rules }))
        })
        .collect()
    }
}

/// The counters that the rules of a chain share with others.
fn counters(chain: &Chain) -> impl Iterator<Item = CounterName> + '_ {
    chain.lines.iter().filter_map(|line| {
        if let Line::Rule(rule) = line
            && let Action::Reject { counter, .. } = rule.action()
        {
            Some(counter.clone())
        } else {
            None
        }
    })
}

/// How the rules of one block change.
fn rules_of(from: &Table, to: &Table, block: &BlockName) -> RuleChanges {
    let lines = |table: &Table| -> Vec<Line> {
        let chains = table.chains.iter();
        let own = chains.filter(|(name, _)| block_of(name).as_ref() == Some(block));
        own.flat_map(|(_, chain)| chain.lines.clone()).collect()
    };
    let (old, new) = (lines(from), lines(to));
    let fate = Fate::of(&old, &new);
    let told = tell::lines(&fate.removed, &fate.added, None);
    RuleChanges {
        removed: told.removed,
        added: told.added,
        moved: fate
            .moved
            .into_iter()
            .map(|line| tell::line(line, None))
            .collect(),
    }
}
