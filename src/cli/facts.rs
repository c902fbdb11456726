//! What is true now: what the store remembers, and what became true since.

use std::collections::BTreeMap;

use super::OpenKernel;
use super::output::{Failure, Output};
use crate::clock::{Clock, SystemClock};
use crate::engine::condition::evaluate;
use crate::kernel::{Kernel, KernelError};
use crate::model::hold::ConditionTerm;
use crate::model::names::{ConditionName, DeviceName};
use crate::model::readings::{Latch, Latches, LinkReading, Readings};
use crate::policy::{Policy, nearest};
use crate::store::{Store, StoreError};

/// What is true, and what that was judged by.
pub struct Known {
    /// What is true.
    pub latches: Latches,
    /// What of it became true just now.
    pub new: BTreeMap<ConditionName, Latch>,
    /// What was known.
    pub readings: Readings,
}

/// Evaluates the conditions of `policy`. Writes nothing: whoever acts on what is new stores it first.
///
/// # Errors
/// Where the store or the kernel cannot be read.
pub fn evaluated(
    policy: &Policy,
    store: Option<&Store>,
    kernel: &mut dyn Kernel,
) -> Result<Known, Failure> {
    let links = links(policy, kernel)?;
    Ok(judged(policy, store, links)?)
}

/// The same, where what became true is on disk before it is returned. Says what that was.
///
/// # Errors
/// Where the store or the kernel cannot be read, or the store not written.
pub fn latched(
    policy: &Policy,
    store: &mut Store,
    kernel: &mut dyn Kernel,
    output: &mut Output<'_>,
) -> Result<Known, Failure> {
    let known = evaluated(policy, Some(store), kernel)?;
    store.latch(&known.new)?;
    for (name, latch) in &known.new {
        output.say(&format!(
            "note: condition `{name}` is true from now on: {}",
            why(latch)
        ));
    }
    Ok(known)
}

/// What is true by what the store says and what is known of the devices.
///
/// # Errors
/// Where the store cannot be read.
pub fn judged(
    policy: &Policy,
    store: Option<&Store>,
    links: BTreeMap<DeviceName, LinkReading>,
) -> Result<Known, StoreError> {
    let mut latches = store.map(Store::latches).transpose()?.unwrap_or_default();
    let readings = Readings {
        events: store.map(Store::events).transpose()?.unwrap_or_default(),
        date: SystemClock.wall(),
        links,
    };
    let new = evaluate(policy, &latches, &readings, SystemClock.now()).new;
    latches.take_in(new.clone());
    Ok(Known {
        latches,
        new,
        readings,
    })
}

/// The speeds of the devices that conditions ask for. How long they have had them is not known to who looks
/// once: only a condition that asks for no time at all comes true by that.
///
/// # Errors
/// Where the kernel cannot be asked.
fn links(
    policy: &Policy,
    kernel: &mut dyn Kernel,
) -> Result<BTreeMap<DeviceName, LinkReading>, KernelError> {
    let since = SystemClock.now();
    let mut links = BTreeMap::new();
    for device in devices(policy) {
        if let Some(speed) = kernel.speed(device)? {
            links.insert(device.clone(), LinkReading { speed, since });
        }
    }
    Ok(links)
}

/// The same, for a verb that needs the kernel for nothing else: it is asked only where a condition is about
/// devices, and where it cannot be, no speed is known.
pub fn links_or_none(
    policy: &Policy,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> BTreeMap<DeviceName, LinkReading> {
    if devices(policy).next().is_none() {
        return BTreeMap::new();
    }
    open()
        .and_then(|mut kernel| links(policy, kernel.as_mut()))
        .unwrap_or_else(|error| {
            output.say(&format!("note: {error}; no device's speed is known"));
            BTreeMap::new()
        })
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

/// Why a condition is true, in words.
pub fn why(latch: &Latch) -> String {
    let causes: Vec<String> = latch.because.iter().map(ToString::to_string).collect();
    let by = if latch.by.is_empty() {
        String::new()
    } else {
        format!(", by {}", latch.by.join(", "))
    };
    format!("{}{by}", causes.join(" and "))
}

/// That a name is not known, with the one that was probably meant, or all that there are.
pub fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Failure {
    let help = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let all: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
            if all.is_empty() {
                format!("the policy has no {kind}")
            } else {
                format!("the policy has {}", all.join(", "))
            }
        }
    };
    format!("there is no {kind} `{name}` in the policy; nothing was recorded\n  help: {help}")
        .into()
}
