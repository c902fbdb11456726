//! What is true now: what the store remembers, and what became true since.

use std::collections::{BTreeMap, BTreeSet};

use super::words::why;
use crate::api::Talk;
use crate::clock::Clock;
use crate::engine::calendar::resting;
use crate::engine::condition::{Evaluation, evaluate};
use crate::kernel::{Kernel, KernelError};
use crate::model::desired::Standing;
use crate::model::hold::{ConditionTerm, Established};
use crate::model::names::{ConditionName, DeviceName};
use crate::model::readings::{Latch, Latches, LinkReading, Readings, WallClock};
use crate::policy::Policy;
use crate::store::{Store, StoreError};
use crate::units::Moment;

/// What is true, and what that was judged by.
#[derive(Debug, Clone)]
pub struct Known {
    /// What is true.
    pub latches: Latches,
    /// What of it became true just now.
    pub new: BTreeMap<ConditionName, Latch>,
    /// When more may be true with nothing but time passing.
    pub next: Option<Moment>,
    /// What was known.
    pub readings: Readings,
}

/// The speeds of devices, as far as they were watched.
#[derive(Debug, Clone, Default)]
pub struct Links(BTreeMap<DeviceName, LinkReading>);

impl Links {
    /// Looks at the devices whose speeds conditions ask for. One that is not known, or another than before, has no
    /// past; to who looks for the first time none has.
    ///
    /// # Errors
    /// Where the kernel cannot be asked.
    pub fn look(
        &mut self,
        policy: &Policy,
        kernel: &mut dyn Kernel,
        now: Moment,
    ) -> Result<(), KernelError> {
        let mut links = BTreeMap::new();
        for device in devices(policy) {
            if let Some(speed) = kernel.speed(device)? {
                let before = self.0.get(device).filter(|before| before.speed == speed);
                let since = before.map_or(now, |before| before.since);
                links.insert(device.clone(), LinkReading { speed, since });
            }
        }
        self.0 = links;
        Ok(())
    }
}

/// What is true by what the store says, the date, and what is known of the devices. Writes nothing: whoever acts
/// on what is new stores it first.
///
/// # Errors
/// Where the store cannot be read.
pub fn judged(
    policy: &Policy,
    store: Option<&Store>,
    links: &Links,
    date: WallClock,
    now: Moment,
) -> Result<Known, StoreError> {
    let mut latches = store.map(Store::latches).transpose()?.unwrap_or_default();
    let readings = Readings {
        events: store.map(Store::events).transpose()?.unwrap_or_default(),
        date,
        links: links.0.clone(),
    };
    let Evaluation { new, next } = evaluate(policy, &latches, &readings, now);
    latches.take_in(new.clone());
    Ok(Known {
        latches,
        new,
        next,
        readings,
    })
}

/// The same, by a look of this moment. Where the kernel cannot be asked, no speed is known, and that is said.
///
/// # Errors
/// Where the store cannot be read.
pub fn glanced(
    policy: &Policy,
    store: Option<&Store>,
    kernel: &mut dyn Kernel,
    clock: &dyn Clock,
    talk: &mut dyn Talk,
) -> Result<Known, StoreError> {
    let mut links = Links::default();
    if let Err(error) = links.look(policy, kernel, clock.now()) {
        talk.say(&format!("note: {error}; no device's speed is known"));
    }
    judged(policy, store, &links, clock.wall(), clock.now())
}

/// Puts on disk what became true, before anything acts on it. Says what that was.
///
/// # Errors
/// Where it cannot be written.
pub fn latch(known: &Known, store: &mut Store, talk: &mut dyn Talk) -> Result<(), StoreError> {
    store.latch(&known.new)?;
    for (name, latch) in &known.new {
        talk.say(&format!(
            "note: condition `{name}` is true from now on: {}",
            why(latch)
        ));
    }
    Ok(())
}

/// The devices whose speeds conditions ask for.
fn devices(policy: &Policy) -> impl Iterator<Item = &DeviceName> {
    let terms = policy.conditions().values();
    terms
        .flat_map(|condition| &condition.terms)
        .filter_map(|term| match term {
            ConditionTerm::LinkSpeed { device, .. } => Some(device),
            ConditionTerm::Event(_) | ConditionTerm::After(_) | ConditionTerm::Condition(_) => None,
        })
}

/// What stands beside the phase, and when that will be otherwise by itself.
#[derive(Debug, Clone, Default)]
pub struct Stood {
    /// What stands beside it.
    pub standing: Standing,
    /// When to ask again.
    pub due: Option<Moment>,
}

/// Which blocks rest by their calendar, and which have let open connections finish for long enough.
///
/// # Errors
/// Where the store cannot be read.
pub fn standing(
    policy: &Policy,
    store: Option<&Store>,
    date: WallClock,
    boot: &str,
    now: Moment,
) -> Result<Stood, StoreError> {
    let (resting, next) = resting(policy, date);
    let mut due = next.map(|next| now.plus(next.duration_since(date.shows()).unsigned_abs()));
    let mut drained = BTreeSet::new();
    let began = store.map(Store::blocks_began).transpose()?;
    for (name, began) in began.unwrap_or_default() {
        let block = policy.blocks().get(&name);
        let Some(Established::Drain(bound)) = block.map(|block| block.established) else {
            continue;
        };
        let over = began.moment.plus(bound);
        // What is open now is not known to have been open before the machine was started anew.
        if began.boot != boot || over <= now {
            drained.insert(name);
        } else {
            due = Some(due.map_or(over, |due| due.min(over)));
        }
    }
    Ok(Stood {
        standing: Standing { resting, drained },
        due,
    })
}
