//! What blocks on a host on its way up, before there is a network, and the copy of it that is kept beside the store.
//!
//! A block never lifts early, so where more than one thing may be said to hold, all of it does: of a change that
//! was cut off or waits to be confirmed, the blocks of both its ends. The date is not believed there. The daemon,
//! which comes later, knows better and takes back what is too much.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::{Keeper, known};
use crate::api::{Failure, Silent, Stage, Talk};
use crate::clock::Clock;
use crate::engine::{Engine, EngineError};
use crate::kernel::nft::{parse, render_whole};
use crate::kernel::{Kernel, Scope};
use crate::lower::blocks_alone;
use crate::model::desired::Standing;
use crate::model::filter::{ChainRole, Line, Table};
use crate::model::names::BlockName;
use crate::model::readings::WallClock;
use crate::plan::op::Op;
use crate::policy::{Policy, read};
use crate::store::{Extent, Intent, Store, StoreError, keep_blocks, kept_blocks};

/// What came of restoring blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Restored {
    /// Nothing is to be blocked.
    NothingBlocks,
    /// Our table is there: it is left as it is.
    ThereAlready,
    /// These hold again.
    Blocked {
        /// The blocks.
        blocks: Vec<BlockName>,
    },
    /// Another wanshift is at work, and sees to it.
    AtWork {
        /// Who.
        by: String,
    },
}

impl Restored {
    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::NothingBlocks => "Nothing is to be blocked.\n".to_owned(),
            Self::ThereAlready => {
                "The packet filter holds wanshift's table already: it is left as it is.\n"
                    .to_owned()
            }
            Self::AtWork { by } => format!("{by}.\n"),
            Self::Blocked { blocks } => {
                let names: Vec<&str> = blocks.iter().map(BlockName::as_str).collect();
                format!("Blocked again: {}.\n", names.join(", "))
            }
        }
    }
}

/// Has `kernel` hold the blocks that the store in `state` says, or the copy beside it where that cannot be read. Adds
/// only: where our table is there it stays as it is.
///
/// # Errors
/// Where what is to be blocked cannot be known, or the kernel does not take it.
pub fn restore(
    state: &Path,
    kernel: &mut dyn Kernel,
    clock: &dyn Clock,
    boot: &str,
    talk: &mut dyn Talk,
) -> Result<Restored, Failure> {
    let wanted = wanted(state, clock, boot, talk)?;
    let blocks: Vec<BlockName> = wanted.blocks().into_iter().collect();
    if blocks.is_empty() {
        return Ok(Restored::NothingBlocks);
    }
    if kernel.observe(Scope::All)?.state.table.is_some() {
        return Ok(Restored::ThereAlready);
    }
    put_in(kernel, wanted)?;
    Ok(Restored::Blocked { blocks })
}

/// Puts blocks into a kernel that has no table of ours.
fn put_in(kernel: &mut dyn Kernel, blocks: Table) -> Result<(), Failure> {
    let whole = Op::SetTable {
        from: None,
        to: Some(blocks),
    };
    for outcome in kernel.apply(&[whole]) {
        outcome
            .map_err(|error| format!("cannot put the blocks into the packet filter: {error}"))?;
    }
    Ok(())
}

/// Has the copy beside the store in `state` say that nothing blocks: the operator took everything out, and there is no
/// store to put that on record. Where it cannot be written, what blocked may come back at the next start, which is said.
pub fn forget_copy(state: &Path, talk: &mut dyn Talk) {
    if let Err(error) = keep_blocks(state, &render_whole(&Table::default())) {
        talk.say(&format!(
            "note: {}; what was blocked may be blocked again at the next start",
            Failure::from(error)
        ));
    }
}

/// The blocks to be put back where nothing on record says what is to hold.
#[derive(Debug, Default)]
pub(super) enum Guard {
    /// Those of the copy beside the store.
    #[default]
    Copied,
    /// Those that were seen in the kernel.
    Seen(Table),
    /// None: the operator took everything out.
    TakenOut,
}

/// What is to be blocked, by all that can be read.
fn wanted(
    state: &Path,
    clock: &dyn Clock,
    boot: &str,
    talk: &mut dyn Talk,
) -> Result<Table, Failure> {
    let standing = |store: &Store, policy: &Policy| {
        let date = WallClock::Untrusted(clock.date());
        let stood = known::standing(policy, Some(store), date, boot, clock.now())?;
        Ok(stood.standing)
    };
    let read = Store::read(state).map_err(Failure::from);
    let (table, why) = match read {
        // One that was begun where another was lost.
        Ok(Some(store)) if was_told_nothing(&store) => (Table::default(), None),
        Ok(Some(store)) => match blocks(&store, clock.date(), standing) {
            Ok(Blocks {
                table,
                unknown: None,
            }) => return Ok(table),
            Ok(Blocks {
                table,
                unknown: Some(why),
            }) => (table, Some(why)),
            Err(error) => (Table::default(), Some(error.into())),
        },
        Ok(None) => (Table::default(), None),
        Err(failure) => (Table::default(), Some(failure)),
    };
    if let Some(why) = &why {
        talk.say(&format!(
            "note: {why}; what is blocked is taken from the copy beside the store"
        ));
    }
    match (copy(state), why) {
        (Ok(Some(copy)), _) => Ok(table.with_blocks_of(&copy)),
        // Nothing was ever applied.
        (Ok(None), None) => Ok(table),
        (Ok(None), Some(why)) => Err(format!("{why}; and there is no copy of what blocks").into()),
        (Err(failure), _) => Err(failure),
    }
}

/// Whether nothing was ever ordered as far as `store` knows. One that says so of changes that were taken back knows
/// that nothing is to hold.
fn was_told_nothing(store: &Store) -> bool {
    let nothing = matches!((store.intent(), store.unfinished()), (Ok(None), Ok(None)));
    nothing && store.history().is_ok_and(|changes| changes.is_empty())
}

/// The copy beside the store, where it is one: nothing but a table of blocks, as we write it.
fn copy(state: &Path) -> Result<Option<Table>, Failure> {
    let Some(text) = kept_blocks(state)? else {
        return Ok(None);
    };
    let table = parse(&text).ok().filter(|table| {
        let lines = table.chains.values().flat_map(|chain| &chain.lines);
        let ours = |line: &Line| matches!(line, Line::Rule(_));
        let of_blocks =
            table
                .chains
                .iter()
                .all(|(name, chain)| match (ChainRole::of(name), &chain.hook) {
                    (Some(ChainRole::Forward), Some(hook)) => {
                        (
                            hook.kind.as_str(),
                            hook.point.as_str(),
                            hook.policy.as_str(),
                        ) == ("filter", "forward", "accept")
                    }
                    (Some(ChainRole::Block { .. } | ChainRole::Rejected(_)), None) => true,
                    (_, _) => false,
                });
        of_blocks && lines.into_iter().all(ours) && render_whole(table) == text
    });
    match table {
        Some(table) => Ok(Some(table)),
        None => Err(format!(
            "the copy of what blocks in {} is not as wanshift wrote it: it is not loaded",
            state.display()
        )
        .into()),
    }
}

/// What blocks by the store.
struct Blocks {
    table: Table,
    /// Why that may not be all.
    unknown: Option<Failure>,
}

/// What blocks by what is to hold, and by both ends of a change that is not over.
fn blocks(
    store: &Store,
    at: Timestamp,
    standing: impl Fn(&Store, &Policy) -> Result<Standing, StoreError>,
) -> Result<Blocks, StoreError> {
    let mut ends: Vec<Intent> = store.intent()?.into_iter().collect();
    if let Some(record) = store.unfinished()? {
        ends.extend(record.change.after(at));
        ends.extend(record.change.before);
    }
    let latched = store.latches()?.names();
    let mut all = Blocks {
        table: Table::default(),
        unknown: None,
    };
    for end in ends {
        if end.extent == Extent::Nothing {
            continue;
        }
        let policy = match policy_of(store, &end) {
            Ok(policy) => policy,
            Err(why) => {
                all.unknown = Some(why);
                continue;
            }
        };
        let engine = Engine::keeping(Arc::clone(&policy), end.phase.clone(), latched.clone());
        let engine = match engine {
            // It holds all the same, and nothing that it blocks is known to be over.
            Err(EngineError::Requires { .. } | EngineError::Exceeds { .. }) => {
                Engine::holding(Arc::clone(&policy), end.phase)
            }
            engine => engine,
        };
        match engine {
            Ok(engine) => {
                let engine = engine.standing(standing(store, &policy)?);
                let table = blocks_alone(&policy, &engine.goal().blocks);
                all.table = all.table.with_blocks_of(&table);
            }
            Err(error) => all.unknown = Some(error.into()),
        }
    }
    Ok(all)
}

fn policy_of(store: &Store, end: &Intent) -> Result<Arc<Policy>, Failure> {
    let Some(id) = end.policy else {
        return Err("the store does not have the policy that holds".into());
    };
    match read(&store.policy(id)?.sources) {
        Ok(policy) => Ok(Arc::new(policy)),
        Err(_) => Err("the policy in the store cannot be read any more".into()),
    }
}

impl Keeper {
    /// Keeps the copy of what blocks as the store has it, for the next boot: what drains is over by then. To be called
    /// with every commit that changes what blocks: before a block is put in, after it is taken out.
    pub(super) fn keep_copy(&mut self) -> Result<(), Failure> {
        let over = |_: &Store, policy: &Policy| {
            Ok(Standing {
                drained: policy.blocks().keys().cloned().collect(),
                ..Standing::default()
            })
        };
        let blocks = blocks(&self.store, self.clock.date(), over)?;
        if let Some(why) = blocks.unknown {
            return Err(why);
        }
        let text = render_whole(&blocks.table);
        if self.copied.as_ref() != Some(&text) {
            keep_blocks(&self.state, &text)?;
            self.copied = Some(text);
            self.guard = Guard::Copied;
        }
        Ok(())
    }

    /// Sees to it that what is blocked stays so where nothing on record says what is to hold: the store cannot be used,
    /// or it was lost. Adds only, and only where our table is gone.
    pub(super) fn guard_blocks(&mut self) {
        if let Err(failure) = self.try_to_guard_blocks() {
            self.fail(Stage::Apply, &failure);
        } else {
            self.troubles.over(Stage::Apply);
        }
    }

    pub(super) fn try_to_guard_blocks(&mut self) -> Result<(), Failure> {
        if let Guard::TakenOut = self.guard {
            return Ok(());
        }
        if !self.is_blind() && !was_told_nothing(&self.store) {
            return Ok(());
        }
        if let Some(table) = self.kernel.observe(Scope::All)?.state.table {
            let blocks = Table::holding(None, None, Some(&table));
            self.guard = Guard::Seen(blocks.unwrap_or_default());
            return Ok(());
        }
        let kernel = self.kernel.as_mut();
        let restored = match &self.guard {
            Guard::Seen(table) if table.blocks().is_empty() => Restored::NothingBlocks,
            Guard::Seen(table) => {
                put_in(kernel, table.clone())?;
                let blocks = table.blocks().into_iter().collect();
                Restored::Blocked { blocks }
            }
            Guard::Copied => {
                let (clock, boot) = (self.clock.as_ref(), &self.boot);
                restore(&self.state, kernel, clock, boot, &mut Silent)?
            }
            Guard::TakenOut => return Ok(()),
        };
        if let Restored::Blocked { .. } = restored {
            tracing::warn!("the blocks were gone: {}", restored.text().trim());
        }
        Ok(())
    }

    /// Keeps the copy; that it could not be done is logged, and tried again with the next look.
    pub(super) fn try_to_keep_copy(&mut self) {
        if let Err(failure) = self.keep_copy() {
            tracing::warn!("{failure}");
        }
    }
}
