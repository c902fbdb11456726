//! Takes what is ours out of the kernel.

use serde::Serialize;

use super::confirm::waits;
use super::early::Guard;
use super::look::Unread;
use super::{Asked, Keeper, Reached, words};
use crate::api::{Answer, Failure, Stage, Talk};
use crate::executor::change::Order;
use crate::executor::error::ChangeError;
use crate::lower::Names;
use crate::model::names::PhaseName;
use crate::model::state::KernelState;
use crate::store::{Extent, StoreError};

/// What `teardown` prints as JSON.
#[derive(Debug, Serialize)]
pub struct TornDown {
    /// How many ops were carried out.
    pub writes: usize,
    /// The phase that the next `apply` enters, where one was entered before.
    pub phase: Option<PhaseName>,
}

impl TornDown {
    /// The same for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = if self.writes == 0 {
            "Nothing to do: the kernel holds nothing of ours.\n".to_owned()
        } else {
            format!(
                "Done: {}; the kernel holds nothing of ours any more.\n",
                words::writes(self.writes)
            )
        };
        if let Some(phase) = &self.phase {
            text.push_str(&format!(
                "The next apply enters phase {phase} again; `wanshift phase NAME` another.\n"
            ));
        }
        text
    }
}

impl Keeper {
    pub(super) fn tear_down(
        &mut self,
        asked: &Asked<'_>,
        talk: &mut dyn Talk,
    ) -> Result<Answer, Failure> {
        let order = asked.order(&self.boot);
        let back = self.end_what_waits(talk)?;
        let writes = self.take_out(&order, KernelState::default(), Extent::Nothing, talk)? + back;
        self.guard = Guard::TakenOut;
        let phase = self.store.phase()?;
        let torn = TornDown { writes, phase };
        Answer::of(&torn, torn.text())
    }

    /// Takes the shaping out, and leaves what is blocked.
    pub(super) fn tear_down_shaping(
        &mut self,
        asked: &Asked<'_>,
        talk: &mut dyn Talk,
    ) -> Result<Answer, Failure> {
        let order = asked.order(&self.boot);
        let back = self.end_what_waits(talk)?;
        let intent = self.store.intent()?;
        if let Some(out) = intent.filter(|intent| intent.extent == Extent::Nothing)
            && self.store.unfinished()?.is_none()
        {
            // Blocks would come back with it.
            let torn = TornDown {
                writes: back,
                phase: Some(out.phase),
            };
            return Answer::of(&torn, torn.text());
        }
        let goal = self.blocks_that_stay()?;
        let blocks = goal.table.as_ref().map(crate::model::filter::Table::blocks);
        let writes = self.take_out(&order, goal, Extent::Blocks, talk)? + back;
        let phase = self.store.phase()?;
        let kept: Vec<String> = blocks
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        let mut text = format!(
            "Done: {}; the kernel shapes nothing any more.\n",
            words::writes(writes)
        );
        text.push_str(&match kept.as_slice() {
            [] => "No block holds.\n".to_owned(),
            kept => format!("Still blocked: {}.\n", kept.join(", ")),
        });
        text.push_str("The next apply shapes again.\n");
        Answer::of(&TornDown { writes, phase }, text)
    }

    /// A change that waits to be confirmed is taken back first: who takes everything out does not confirm it, and
    /// what is entered again later is what held before it.
    fn end_what_waits(&mut self, talk: &mut dyn Talk) -> Result<usize, StoreError> {
        let waiting = self.store.unfinished()?;
        let Some(record) = waiting.filter(waits) else {
            return Ok(0);
        };
        talk.say(&format!(
            "note: `{}` was not confirmed: it is taken back",
            record.change.what
        ));
        let taken = self.take_back(&record, "it was not confirmed before all was taken out");
        Ok(taken.unwrap_or_else(|failure| {
            // What does not come back goes with all the rest.
            talk.say(&format!("note: {failure}"));
            0
        }))
    }

    /// Brings the kernel to `goal`, which is less than what holds. What is on its way ends with it.
    pub(super) fn take_out(
        &mut self,
        order: &Order,
        goal: KernelState,
        extent: Extent,
        talk: &mut dyn Talk,
    ) -> Result<usize, ChangeError> {
        if let Some(going) = self.going.take() {
            talk.say(&format!(
                "note: `{}` of {} ends with it",
                going.underway.record.change.what, going.underway.record.change.actor
            ));
        }
        let outcome = self.executor().tear_down(order, goal.clone(), extent);
        self.reached = outcome.is_ok().then_some(Reached {
            desired: None,
            state: goal,
            names: Names::default(),
        });
        self.looks.soon();
        if outcome.is_ok() {
            self.going_back = None;
            self.looks.unread = Unread::Nothing;
        }
        if let Err(error) = self.take_policy_from_store() {
            self.fail(Stage::Store, &error.into());
        }
        self.try_to_keep_copy();
        outcome
    }
}
