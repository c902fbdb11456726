//! On what a keeper stands: a store that can be read and written, or what is left where it cannot.
//!
//! A daemon whose store cannot be used stays: it says what is wrong and what to do, tries again, and holds what it
//! knows. It changes nothing that it could not put on record.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::alter::Going;
use super::early::{Guard, forget_copy};
use super::take_out::TornDown;
use super::{Keeper, files};
use crate::api::{Answer, Failure, Order, Request, Silent, Stage, Talk};
use crate::executor::change::take_out;
use crate::model::names::PhaseName;
use crate::model::readings::Latches;
use crate::policy::Policy;
use crate::store::{Lock, LockError, Store, StoreError};
use crate::units::Moment;

/// What a keeper has of its store.
#[derive(Debug, Clone)]
pub enum Footing {
    /// All of it.
    Firm,
    /// Less.
    Weak(Weak),
}

/// What there is of a store that cannot be used.
#[derive(Debug, Clone)]
pub struct Weak {
    sight: Sight,
    why: String,
    holder: String,
    places: Vec<PathBuf>,
}

/// What is known of what is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// What the store said last: it can be read.
    Last,
    /// Nothing: it is damaged. Another may take its place where the operator says what is to hold.
    Damaged,
    /// Nothing, and the store is not for us to replace.
    Nothing,
}

/// What there is to stand on.
pub struct Ground {
    /// The right to write, where it is to be had.
    pub lock: Option<Lock>,
    /// The store, or what is left of it.
    pub store: Store,
    /// Which of the two.
    pub footing: Footing,
}

/// Where a change ended in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// At its goal.
    There,
    /// Where it began.
    Back,
}

impl Weak {
    /// Why there is no more, and what to do.
    pub(super) fn why(&self) -> &str {
        &self.why
    }
}

/// Finds what there is to stand on in `state`, for `holder`. A copy of a store that cannot be opened is made in one of
/// `places`.
///
/// # Errors
/// Where another is at work there.
pub fn find(state: &Path, holder: &str, places: Vec<PathBuf>) -> Result<Ground, LockError> {
    let (lock, unlocked) = match Lock::take(state, holder) {
        Ok(lock) => (Some(lock), None),
        Err(held @ LockError::Held { .. }) => return Err(held),
        Err(LockError::Store(error)) => (None, Some(error)),
    };
    let (store, weak) = look(state, &places, unlocked)?;
    let footing = weak.map_or(Footing::Firm, |(sight, why)| {
        Footing::Weak(Weak {
            sight,
            why,
            holder: holder.to_owned(),
            places,
        })
    });
    Ok(Ground {
        lock,
        store,
        footing,
    })
}

fn open(state: &Path) -> Result<Store, StoreError> {
    let store = Store::open(state)?;
    store.sound()?;
    Ok(store)
}

/// The store, or what is left of it, and why.
fn look(
    state: &Path,
    places: &[PathBuf],
    unlocked: Option<StoreError>,
) -> Result<(Store, Option<(Sight, String)>), StoreError> {
    let error = match unlocked.map_or_else(|| open(state), Err) {
        Ok(store) => return Ok((store, None)),
        Err(error) => error,
    };
    let damaged = error.is_damage();
    let theirs = matches!(
        error,
        StoreError::Newer { .. } | StoreError::Foreign { .. } | StoreError::Distrust(_)
    );
    let why = Failure::from(error).to_string();
    if damaged {
        let why = format!(
            "{why}; the kernel stays as it is. Put a sound copy there, or say which phase is to hold: \
             wanshift phase NAME sets the damaged store aside and begins another"
        );
        return Ok((Store::nothing()?, Some((Sight::Damaged, why))));
    }
    if theirs {
        let why = format!("{why}; the kernel stays as it is");
        return Ok((Store::nothing()?, Some((Sight::Nothing, why))));
    }
    Ok(match Store::copied(state, places) {
        Ok(Some(store)) => {
            let why = format!(
                "{why}; what it said last is held, and no order is taken: see that the disk can be written and has room"
            );
            (store, Some((Sight::Last, why)))
        }
        Ok(None) | Err(_) => {
            let why = format!(
                "{why}; the kernel stays as it is: see that the disk can be written and has room"
            );
            (Store::nothing()?, Some((Sight::Nothing, why)))
        }
    })
}

/// The store in `state` for who changes something: where it is damaged and `request` says which phase is to hold, it is
/// set aside, and another begun.
///
/// # Errors
/// Where it cannot be used.
pub fn open_for(
    request: &Request,
    config: &Path,
    state: &Path,
    at: Timestamp,
    talk: &mut dyn Talk,
) -> Result<Store, Failure> {
    match (open(state), &request.order) {
        (Err(error), Order::Phase { name, .. }) if error.is_damage() => {
            let files = files::from(config, request.style)?;
            set_aside(state, &files, name, at, talk)?;
            Ok(open(state)?)
        }
        (store, _) => Ok(store?),
    }
}

/// Sets the damaged store in `state` aside, for `phase` is to hold by `files`.
fn set_aside(
    state: &Path,
    files: &files::Files,
    phase: &PhaseName,
    at: Timestamp,
    talk: &mut dyn Talk,
) -> Result<(), Failure> {
    if !files.policy.phases().contains_key(phase) {
        return Err(format!("there is no phase `{phase}`; nothing was done").into());
    }
    let aside = Store::set_aside(state, at)?;
    talk.say(&format!(
        "note: the damaged store is set aside as {}, and another begun; events and conditions of before are not known \
         any more",
        aside.display()
    ));
    Ok(())
}

impl Keeper {
    /// Whether the store can be read and written.
    pub(super) const fn is_firm(&self) -> bool {
        match &self.footing {
            Footing::Firm => true,
            Footing::Weak(_) => false,
        }
    }

    /// Whether nothing is known of what is to hold, so that nothing is done.
    pub(super) const fn is_blind(&self) -> bool {
        match &self.footing {
            Footing::Firm => false,
            Footing::Weak(weak) => match weak.sight {
                Sight::Last => false,
                Sight::Damaged | Sight::Nothing => true,
            },
        }
    }

    /// Says what is wrong with what it stands on, where something is.
    pub(super) fn say_footing(&mut self) {
        if let Footing::Weak(weak) = &self.footing {
            let why: Failure = weak.why.clone().into();
            self.fail(Stage::Store, &why);
        }
    }

    /// Tries to stand on the store again, where the time has come.
    pub(super) fn regain_in_time(&mut self, now: Moment) {
        if let Footing::Firm = self.footing {
            return;
        }
        if self.troubles.is_due(Stage::Store, now) && self.regain().is_err() {
            self.say_footing();
        }
    }

    /// Stands on the store again, where that can be had, and goes on as at the start.
    fn regain(&mut self) -> Result<(), Failure> {
        let Footing::Weak(weak) = self.footing.clone() else {
            return Ok(());
        };
        let unlocked = match &self.lock {
            Some(_) => None,
            None => match Lock::take(&self.state, &weak.holder) {
                Ok(lock) => {
                    self.lock = Some(lock);
                    None
                }
                Err(held @ LockError::Held { .. }) => return Err(held.into()),
                Err(LockError::Store(error)) => Some(error),
            },
        };
        let (store, still) = look(&self.state, &weak.places, unlocked)?;
        let was_blind = self.is_blind();
        let (footing, why) = match still {
            None => (Footing::Firm, None),
            Some((sight, why)) => {
                let told = why.clone();
                (Footing::Weak(Weak { sight, why, ..weak }), Some(told))
            }
        };
        self.footing = footing;
        self.store = store;
        self.in_force = None;
        self.take_policy_from_store()?;
        if let Some(why) = why {
            if was_blind != self.is_blind() {
                self.looks.soon();
            }
            return Err(why.into());
        }
        tracing::info!("the store can be used again");
        self.troubles.over(Stage::Store);
        self.start(&mut Silent);
        Ok(())
    }

    /// The change came to its end in the kernel, and that cannot be put on record: the kernel stays as it is, and it
    /// is tried again. Says so to who waits.
    pub(super) fn owe(&mut self, going: &Going, way: Way, failure: &Failure) -> Failure {
        self.looks.later();
        let (stage, came) = match way {
            Way::There => (Stage::Store, "holds"),
            Way::Back => {
                self.going_back = Some(going.underway.record.id);
                (Stage::Apply, "was taken back")
            }
        };
        let what = format!(
            "`{}` {came}, but that cannot be put on record, which is tried again: {failure}",
            going.underway.record.change.what
        );
        let told = Failure::from(what);
        self.fail(stage, &told);
        told
    }

    /// Puts on record since when blocks hold; where that cannot be, it is tried again with the next look.
    pub(super) fn try_to_note_blocks(&mut self) {
        if let Err(failure) = self.note_blocks() {
            self.fail(Stage::Store, &failure);
        }
    }

    /// What is true by now and on disk. Nothing acts on what cannot be put there; all else goes on.
    pub(super) fn true_on_disk(&mut self, policy: &Policy) -> Result<Latches, StoreError> {
        match self.latched(policy, &mut Silent) {
            Ok(known) => Ok(known.latches),
            Err(failure) => {
                self.unwritten = Some(failure);
                self.store.latches()
            }
        }
    }

    /// Sees to it that what `request` comes to can be put on record; answers it where it needs no record.
    pub(super) fn stand_firm(
        &mut self,
        request: &Request,
        talk: &mut dyn Talk,
    ) -> Result<Option<Answer>, Failure> {
        if request.order.only_reads() {
            return Ok(None);
        }
        let Footing::Weak(weak) = self.footing.clone() else {
            return Ok(None);
        };
        // It may have been put right just now.
        if self.regain().is_ok() {
            return Ok(None);
        }
        match (&request.order, weak.sight) {
            (Order::Phase { name, .. }, Sight::Damaged) => {
                let files = files::from(&self.config, request.style)?;
                set_aside(&self.state, &files, name, self.clock.date(), talk)?;
                self.regain()?;
                Ok(None)
            }
            (Order::Teardown, Sight::Damaged | Sight::Nothing) => {
                // What is ours is known from the kernel alone.
                talk.say(&format!(
                    "note: {}; going on without a record of this",
                    weak.why
                ));
                let torn = TornDown {
                    writes: take_out(self.kernel.as_mut())?,
                    phase: None,
                };
                self.guard = Guard::TakenOut;
                forget_copy(&self.state, talk);
                Answer::of(&torn, torn.text()).map(Some)
            }
            _ => Err(format!("{}; nothing was written", weak.why).into()),
        }
    }
}
