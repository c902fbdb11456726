//! Keeps what should hold: carries out what is asked, step by step, and looks after what was reached.
//!
//! A verb on a host without a daemon makes a keeper, asks one thing and drives it to its end; a daemon keeps one as
//! long as it runs, and wakes it when something happened or is due. There is one way in which anything is done.

pub mod alter;
mod aside;
pub mod back;
mod blocks;
mod by_itself;
pub mod classes;
mod columns;
mod conditions;
mod confirm;
pub mod early;
pub mod files;
pub mod footing;
mod history;
pub mod known;
mod listed;
mod look;
pub mod plan;
pub mod reload;
mod sample;
mod start;
pub mod status;
pub mod take_out;
pub mod text;
mod trouble;
pub mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{Answer, DaemonFacts, Failure, Order, Request, Talk};
use crate::clock::Clock;
use crate::engine::meter::Meter;
use crate::executor::change::{self, Executor};
use crate::kernel::Kernel;
use crate::lower::Names;
use crate::model::desired::Desired;
use crate::model::names::DeviceName;
use crate::model::state::KernelState;
use crate::policy::{Policy, read};
use crate::store::{Lock, PolicyId, Record, RecordId, Store, StoreError, hash, hashes};
use crate::units::Moment;
use alter::Going;
use early::Guard;
use files::Files;
use footing::Footing;
use known::{Known, Links};
use look::Looks;
use trouble::Troubles;

/// A policy that is in force.
#[derive(Debug, Clone)]
struct InForce {
    policy: Arc<Policy>,
    id: Option<PolicyId>,
    files: Vec<crate::api::FileFacts>,
    hash: String,
    since: Timestamp,
}

/// What the kernel was brought to, or found at.
#[derive(Debug, Clone)]
struct Reached {
    /// The decision; none where nothing is to be shaped.
    desired: Option<Arc<Desired>>,
    /// What it comes to.
    state: KernelState,
    /// What the numbers in it mean.
    names: Names,
}

/// What a keeper stands on.
pub struct Ground {
    /// The configuration directory.
    pub config: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// The kernel.
    pub kernel: Box<dyn Kernel>,
    /// The store.
    pub store: Store,
    /// The clock.
    pub clock: Box<dyn Clock>,
    /// Under which boot of the machine.
    pub boot: String,
    /// The right to write.
    pub lock: Option<Lock>,
    /// What the store is worth.
    pub footing: Footing,
}

/// Keeps what should hold.
pub struct Keeper {
    config: PathBuf,
    state: PathBuf,
    kernel: Box<dyn Kernel>,
    store: Store,
    clock: Box<dyn Clock>,
    boot: String,
    lock: Option<Lock>,
    footing: Footing,
    in_force: Option<InForce>,
    going: Option<Going>,
    /// What was finished before what is asked, and how much that took.
    finished: Option<(String, usize)>,
    links: Links,
    meter: Meter,
    /// Set where a daemon keeps it.
    daemon: Option<DaemonFacts>,
    /// How often counters are read, and when they last were.
    sample: Option<Duration>,
    sampled: Option<Timestamp>,
    /// When conditions may be otherwise with nothing but time passing.
    conditions_due: Option<Moment>,
    /// What the kernel was last brought to, or found at.
    reached: Option<Reached>,
    /// The devices that were not there when it was last looked.
    missing: Option<BTreeSet<DeviceName>>,
    /// What happened since then that may have it be otherwise on purpose, in words.
    because: Vec<String>,
    looks: Looks,
    troubles: Troubles,
    /// The change that went back, or tried to, where the store may not say so.
    going_back: Option<RecordId>,
    /// What could not be put on record during a look.
    unwritten: Option<Failure>,
    /// What the copy of what blocks is known to say.
    copied: Option<String>,
    /// What is put back of blocks where nothing on record says what is to hold.
    guard: Guard,
}

/// Who asks, and for what.
struct Asked<'a> {
    request: &'a Request,
    actor: &'a str,
}

impl Asked<'_> {
    fn order(&self, boot: &str) -> change::Order {
        change::Order {
            actor: self.actor.to_owned(),
            what: self.request.order.words(),
            boot: boot.to_owned(),
        }
    }
}

/// What came of asking.
#[derive(Debug)]
pub enum Came {
    /// This.
    Answer(Answer),
    /// A change is on its way: what it comes to is said by [`Keeper::step`].
    Underway,
}

impl Keeper {
    /// A keeper on `ground`. Takes the policy in force from the store, where it is there; changes nothing.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn new(ground: Ground) -> Result<Self, StoreError> {
        let mut keeper = Self {
            config: ground.config,
            state: ground.state,
            kernel: ground.kernel,
            store: ground.store,
            clock: ground.clock,
            boot: ground.boot,
            lock: ground.lock,
            footing: ground.footing,
            in_force: None,
            going: None,
            finished: None,
            links: Links::default(),
            meter: Meter::new(),
            daemon: None,
            sample: None,
            sampled: None,
            conditions_due: None,
            reached: None,
            missing: None,
            because: Vec::new(),
            looks: Looks::default(),
            troubles: Troubles::default(),
            going_back: None,
            unwritten: None,
            copied: None,
            guard: Guard::default(),
        };
        keeper.take_policy_from_store()?;
        Ok(keeper)
    }

    /// The policy in force is the one that what is to hold is of.
    fn take_policy_from_store(&mut self) -> Result<(), StoreError> {
        let intent = self.store.intent()?;
        let Some(id) = intent.and_then(|intent| intent.policy) else {
            self.in_force = None;
            return Ok(());
        };
        if self.in_force.as_ref().and_then(|policy| policy.id) == Some(id) {
            return Ok(());
        }
        self.in_force = self.stored_policy(id)?;
        if self.in_force.is_none() {
            // It was good when it was stored: another version wrote it, or the disk did.
            tracing::error!("the policy in the store cannot be read any more");
        }
        Ok(())
    }

    /// A policy of the store; none where it cannot be read any more.
    fn stored_policy(&mut self, id: PolicyId) -> Result<Option<InForce>, StoreError> {
        let stored = self.store.policy(id)?;
        Ok(read(&stored.sources).ok().map(|policy| InForce {
            policy: Arc::new(policy),
            id: Some(id),
            files: hashes(&stored.sources),
            hash: stored.hash,
            since: stored.loaded,
        }))
    }

    /// Puts files into the store, so that what they say can be put into force.
    fn admit(&mut self, files: &Files) -> Result<InForce, StoreError> {
        let since = self.clock.date();
        let id = self.store.keep_policy(&files.sources, since)?;
        let facts = files.facts();
        Ok(InForce {
            policy: Arc::clone(&files.policy),
            id: Some(id),
            hash: hash(&facts),
            files: facts,
            since,
        })
    }

    /// Carries out what `request` asks for, by `actor`, and tells `talk` what goes on.
    ///
    /// # Errors
    /// Where it cannot be done, or must not; the error says in what state that leaves things.
    pub fn ask(
        &mut self,
        request: &Request,
        actor: &str,
        talk: &mut dyn Talk,
    ) -> Result<Came, Failure> {
        let asked = Asked { request, actor };
        self.same_place(request)?;
        if let Some(answer) = self.stand_firm(request, talk)? {
            return Ok(Came::Answer(answer));
        }
        match &request.order {
            Order::Status => {
                let status = self.status();
                Answer::of(&status, text::text(&status, &self.zone())).map(Came::Answer)
            }
            Order::History => self.history().map(Came::Answer),
            Order::Conditions => self.conditions(&asked, talk).map(Came::Answer),
            Order::Apply {
                confirm_within,
                force,
            } => self.apply(&asked, None, *confirm_within, *force, talk),
            Order::Phase {
                name,
                confirm_within,
                force,
            } => self.apply(&asked, Some(name), *confirm_within, *force, talk),
            Order::Confirm => self.confirm(&asked).map(Came::Answer),
            Order::Rollback { changes, force } => self.rollback(&asked, *changes, *force, talk),
            Order::Event { name } => self.event(&asked, name).map(Came::Answer),
            Order::ResetCondition { name } => self.reset(&asked, name).map(Came::Answer),
            Order::Teardown => self.tear_down(&asked, talk).map(Came::Answer),
            Order::TeardownShaping => self.tear_down_shaping(&asked, talk).map(Came::Answer),
        }
    }

    /// Refuses what was meant for other files or another state than these.
    fn same_place(&self, request: &Request) -> Result<(), Failure> {
        let differs = |named: &Option<PathBuf>, own: &PathBuf| {
            let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
            named.as_ref().is_some_and(|named| real(named) != real(own))
        };
        let refuse = |what: &str, own: &PathBuf| -> Failure {
            format!(
                "the daemon that answered has another {what}: {}; leave the flag out, or name another --socket; nothing was done",
                own.display()
            )
            .into()
        };
        if differs(&request.config, &self.config) {
            return Err(refuse("configuration directory", &self.config));
        }
        if differs(&request.state, &self.state) {
            return Err(refuse("state directory", &self.state));
        }
        Ok(())
    }

    /// What is true by now, on disk.
    fn latched(&mut self, policy: &Policy, talk: &mut dyn Talk) -> Result<Known, Failure> {
        let now = self.clock.now();
        self.links.look(policy, self.kernel.as_mut(), now)?;
        let date = self.looks.date(self.clock.as_ref(), now);
        let known = known::judged(policy, Some(&self.store), &self.links, date, now)?;
        known::latch(&known, &mut self.store, talk)?;
        self.conditions_due = known.next;
        let new = known.new.iter();
        self.because.extend(
            new.map(|(name, latch)| format!("condition {name} is true: {}", words::why(latch))),
        );
        Ok(known)
    }

    fn executor(&mut self) -> Executor<'_> {
        Executor {
            kernel: self.kernel.as_mut(),
            store: &mut self.store,
            clock: self.clock.as_ref(),
        }
    }

    /// The change on record that is not over.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn unfinished(&self) -> Result<Option<Record>, StoreError> {
        self.store.unfinished()
    }

    /// The clock that it goes by.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }
}

/// So long after a failure the same is tried again; twice that after the next, up to [`RETRY_AT_MOST`].
const RETRY: Duration = Duration::from_secs(1);
/// See [`RETRY`].
const RETRY_AT_MOST: Duration = Duration::from_secs(60);
