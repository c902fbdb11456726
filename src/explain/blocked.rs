//! The blocks that packets meet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::World;
use super::met::Because;
use super::traffic::Passing;
use crate::lower::blocks_alone;
use crate::model::desired::Hold;
use crate::model::filter::{Action, Answer, ChainRole, Table, Walk};
use crate::model::hold::{Block, Exception};
use crate::model::names::{BlockName, ConditionName};
use crate::policy::Policy;

/// Where packets enter what forwards them.
const FORWARD: &str = "forward";

/// A block that rejects a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The block, and where it was written.
    pub block: BlockName,
    /// Why it holds.
    pub because: Vec<Because>,
    /// How who opens the connection is told.
    pub answer: Told,
    /// What becomes of connections that are open already.
    pub open: Hold,
    /// The condition that lifts it.
    pub until: Option<ConditionName>,
    /// What that waits for.
    pub waits_for: Option<Because>,
}

/// How who opens a connection is told that it is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// By a TCP reset.
    Reset,
    /// By an ICMP error: administratively prohibited.
    Prohibited,
}

/// A block that holds and lets a connection through all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excepted {
    /// The block.
    pub block: BlockName,
    /// Where it was written, and the exception.
    pub because: Vec<Because>,
}

/// A block that would reject a connection, and does not hold now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotHeld {
    /// The block.
    pub block: BlockName,
    /// Where it was written, and why it does not hold.
    pub because: Vec<Because>,
}

/// What blocks do with a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Blocks {
    pub rejected: Option<Rejected>,
    pub excepted: Vec<Excepted>,
    pub not_held: Vec<NotHeld>,
}

/// What blocks do with packets that go through the host.
pub(super) fn blocks(world: &World<'_>, passing: &Passing, ends: [IpAddr; 2]) -> Blocks {
    let walk = world.table.walk(FORWARD, &mut passing.packet.clone());
    let rejected = rejecting(&walk).and_then(|(name, answer)| {
        let block = world.policy.blocks().get(&name)?;
        Some(Rejected {
            because: held(world, block),
            answer,
            open: world.desired.blocks.get(&name).copied()?,
            waits_for: waits_for(world.policy, block),
            until: block.until.clone(),
            block: name,
        })
    });
    let excepted = excepting(&walk).filter_map(|name| {
        let block = world.policy.blocks().get(&name)?;
        Some(Excepted {
            because: excepted(block, ends),
            block: name,
        })
    });
    let excepted = excepted.collect();
    Blocks {
        rejected,
        excepted,
        not_held: not_held(world, passing),
    }
}

/// The block that ends `walk`.
fn rejecting(walk: &Walk<'_>) -> Option<(BlockName, Told)> {
    let (answer, counter) = walk.rejected?;
    let told = match answer {
        Answer::Reset => Told::Reset,
        Answer::Prohibited => Told::Prohibited,
    };
    Some((counter.block()?, told))
}

/// The blocks that let the packets of `walk` through.
fn excepting(walk: &Walk<'_>) -> impl Iterator<Item = BlockName> {
    walk.steps.iter().filter_map(|step| {
        let returns = matches!(step.rule.action(), Action::Return);
        match ChainRole::of(step.chain) {
            Some(ChainRole::Block { block, .. }) if returns => Some(block),
            Some(_) | None => None,
        }
    })
}

/// What the condition that lifts a block waits for, in words.
fn waits_for(policy: &Policy, block: &Block) -> Option<Because> {
    let condition = policy.conditions().get(block.until.as_ref()?)?;
    Some(Because {
        what: format!("condition {} {}", condition.name, condition.waits_for()),
        at: Some(condition.origin.clone()),
    })
}

/// Where a block was written, and what makes it hold.
fn held(world: &World<'_>, block: &Block) -> Vec<Because> {
    let written = Because {
        what: format!("block {}", block.name),
        at: Some(block.origin.clone()),
    };
    let grounds = world.reasons.blocks.get(&block.name);
    let grounds = grounds.map(|grounds| Because {
        what: grounds.held.what.clone(),
        at: grounds.held.origin.clone(),
    });
    std::iter::once(written).chain(grounds).collect()
}

/// The exception of `block` that lets a connection between those ends through.
fn excepted(block: &Block, [from, to]: [IpAddr; 2]) -> Vec<Because> {
    let within =
        |nets: &[IpNet], end: IpAddr| nets.is_empty() || nets.iter().any(|net| net.contains(&end));
    let fits = |one: &Exception| within(&one.from, from) && within(&one.to, to);
    let index = block.except.iter().position(fits);
    let written = Because {
        what: format!("block {}", block.name),
        at: Some(block.origin.clone()),
    };
    let exception = index.map(|index| Because {
        what: if block.except.len() > 1 {
            format!("its exception {} of {}", index + 1, block.except.len())
        } else {
            "its exception".to_owned()
        },
        at: block.except_at.get(index).cloned(),
    });
    std::iter::once(written).chain(exception).collect()
}

/// The blocks that would reject the packets if they held.
fn not_held(world: &World<'_>, passing: &Passing) -> Vec<NotHeld> {
    let all = world.policy.blocks().values();
    let others = all.filter(|block| !world.desired.blocks.contains_key(&block.name));
    others
        .filter(|block| {
            let alone = BTreeMap::from([(block.name.clone(), Hold::Rejecting)]);
            let table: Table = blocks_alone(world.policy, &alone);
            let walk = table.walk(FORWARD, &mut passing.packet.clone());
            walk.rejected.is_some()
        })
        .map(|block| NotHeld {
            block: block.name.clone(),
            because: held(world, block),
        })
        .collect()
}
