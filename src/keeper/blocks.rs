//! Blocks: since when they hold, and those that stay where the shaping is taken out.

use std::collections::BTreeSet;

use super::alter::Going;
use super::{Keeper, Reached, words};
use crate::api::{Failure, Stage};
use crate::executor::converge;
use crate::kernel::Scope;
use crate::lower::Names;
use crate::model::desired::Reasons;
use crate::model::filter::Table;
use crate::model::names::BlockName;
use crate::model::state::KernelState;
use crate::plan::{Bounds, Goal, diff, repaired};
use crate::store::Began;

impl Keeper {
    /// Puts on record since when blocks hold.
    pub(super) fn note_blocks(&mut self) -> Result<(), Failure> {
        let table = self
            .reached
            .as_ref()
            .and_then(|reached| reached.state.table.as_ref());
        let holding = table.map(Table::blocks).unwrap_or_default();
        self.note_holding(holding)
    }

    /// Puts on record that blocks hold from the first step of a change on, beside those of before, which go with its
    /// last. Where that cannot be, its last step tries again.
    pub(super) fn note_blocks_on_the_way(&mut self, going: &Going) {
        let table = going.underway.prospect.goal.state.table.as_ref();
        let mut holding = table.map(Table::blocks).unwrap_or_default();
        let noted = self.store.blocks_began().map_err(Failure::from);
        let noted = noted.and_then(|began| {
            holding.extend(began.into_keys());
            self.note_holding(holding)
        });
        if let Err(failure) = noted {
            self.fail(Stage::Store, &failure);
        }
    }

    /// Puts on record since when the blocks `holding` hold. Those that did before keep their time.
    pub(super) fn note_holding(&mut self, holding: BTreeSet<BlockName>) -> Result<(), Failure> {
        if !self.is_firm() {
            return Ok(());
        }
        let mut began = self.store.blocks_began()?;
        let names: BTreeSet<BlockName> = began.keys().cloned().collect();
        if names == holding {
            return self.keep_copy();
        }
        began.retain(|name, _| holding.contains(name));
        for name in holding {
            began.entry(name).or_insert_with(|| Began {
                since: self.clock.date(),
                boot: self.boot.clone(),
                moment: self.clock.now(),
            });
        }
        self.store.keep_blocks_began(&began)?;
        // Those that drain have their time from now on.
        self.looks.soon();
        self.keep_copy()
    }

    /// Blocks alone are to hold.
    pub(super) fn hold_blocks(&mut self) -> Result<(), (Stage, Failure)> {
        let state = self
            .blocks_that_stay()
            .map_err(|failure| (Stage::Plan, failure))?;
        let names = Names::default();
        let bounds = Bounds::default();
        let goal = Goal {
            state: &state,
            names: &names,
            bounds: &bounds,
        };
        let observed = self.kernel.observe(Scope::All);
        let observed = observed.map_err(|error| (Stage::Observe, error.into()))?;
        let plan = diff(&observed, &goal);
        let before = self.reached.as_ref().map(|reached| &reached.state);
        let as_before = before == Some(&state);
        if !plan.is_empty() {
            let reached = converge(self.kernel.as_mut(), &goal, Scope::All)
                .map_err(|error| (Stage::Apply, error.into()))?;
            let writes = words::writes(reached.writes);
            match as_before {
                true => self.put_back(&writes, repaired(&plan, &names, &Reasons::default())),
                false => tracing::info!("the blocks are brought to what should hold: {writes}"),
            }
        }
        self.reached = Some(Reached {
            desired: None,
            state,
            names,
        });
        Ok(())
    }

    /// What the kernel holds where the shaping is taken out and the blocks of the phase stay.
    ///
    /// # Errors
    /// Where it cannot be known what is blocked: that is never taken for nothing.
    pub(super) fn blocks_that_stay(&mut self) -> Result<KernelState, Failure> {
        let Some(intent) = self.store.told()? else {
            // A store that was lost does not know what is blocked. The kernel does.
            let held = self.kernel.observe(Scope::All)?.state.table;
            return Ok(KernelState {
                table: Table::holding(None, None, held.as_ref()),
                ..KernelState::default()
            });
        };
        let policy = match (self.in_force.clone(), intent.policy) {
            (None, Some(id)) => self.stored_policy(id)?,
            (in_force, _) => in_force,
        };
        let Some(in_force) = policy else {
            return Err(Failure::from(
                "the policy that says what stays blocked cannot be read: the kernel stays as it is",
            )
            .with_help("see `wanshift check`, then `wanshift apply`"));
        };
        let latches = self.true_on_disk(&in_force.policy)?;
        let engine = self.keeping(&in_force.policy, intent.phase, &latches)?;
        let blocks = engine.goal().blocks;
        Ok(KernelState {
            table: Some(crate::lower::blocks_alone(&in_force.policy, &blocks)),
            ..KernelState::default()
        })
    }
}
