//! What the verbs that look at the kernel have in common.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use nix::unistd::{Uid, User};
use serde::Serialize;

use super::Global;
use super::output::{Failure, Format, Output};
use crate::check::{Note, surroundings, unsupported};
use crate::clock::SystemClock;
use crate::engine::calendar::resting;
use crate::engine::{Engine, EngineError};
use crate::executor::change::Order;
use crate::kernel::Kernel;
use crate::load::{Choice, Trust, load};
use crate::model::calendar::Calendar;
use crate::model::desired::Standing;
use crate::model::hold::Established;
use crate::model::names::{BlockName, ConditionName, PhaseName};
use crate::model::readings::{Latches, WallClock};
use crate::model::state::KernelState;
use crate::policy::{Fault, Faults, Policy, Source, read, report};
use crate::store::{Record, RecordState, Store};

/// Where what must outlive a restart is kept, where nobody says otherwise.
const STATE: &str = "/var/lib/wanshift";

/// Reads the policy that is to be applied: from files that nobody else may write. What is wrong with it
/// is told at once, all of it.
pub fn policy(global: &Global, output: &mut Output<'_>) -> Result<Arc<Policy>, Failure> {
    let loaded = match load(&Choice::Directory(global.config.clone()), Trust::Apply) {
        Ok(loaded) => loaded,
        Err(faults) => {
            tell(&faults, &[], &[], output)?;
            return Err(Failure::Told);
        }
    };
    match read(&loaded.sources) {
        Ok(policy) => enforceable(policy),
        Err(faults) => {
            tell(&faults, &loaded.sources, &loaded.notes, output)?;
            Err(Failure::Told)
        }
    }
}

/// What `check` prints as JSON, and every verb where the policy does not load.
#[derive(Debug, Serialize)]
pub struct Checked<'a> {
    /// Whether the policy may be applied.
    pub valid: bool,
    /// What is wrong.
    pub errors: &'a [Fault],
    /// What is worth a look.
    pub notes: &'a [Note],
}

/// Tells what is wrong with policy files.
pub fn tell(
    faults: &Faults,
    sources: &[Source],
    notes: &[Note],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if output.format() == Format::Text {
        let (style, width) = output.style();
        output.say(report(faults, sources, style, width).trim_end());
        return Ok(());
    }
    output.result(
        &Checked {
            valid: false,
            errors: faults.list(),
            notes,
        },
        "",
    )
}

/// Refuses a policy that asks for what this version cannot hold the line to.
fn enforceable(policy: Policy) -> Result<Arc<Policy>, Failure> {
    let refused = unsupported(&policy);
    if refused.is_empty() {
        return Ok(Arc::new(policy));
    }
    let lines: Vec<String> = refused.iter().map(|note| format!("\n  {note}")).collect();
    Err(format!(
        "this version cannot enforce all that the policy says:{}",
        lines.concat()
    )
    .into())
}

/// The state directory: the flag's, else the policy's, else the usual one.
pub fn state_directory(global: &Global, policy: Option<&Policy>) -> PathBuf {
    let told = global
        .state
        .as_ref()
        .or(policy.and_then(|policy| policy.daemon().state.as_ref()));
    told.map_or_else(|| PathBuf::from(STATE), Clone::clone)
}

/// The state directory, also where the policy does not load: then what the host's file says of it alone.
pub fn state_directory_without_policy(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(state) = &global.state {
        return Ok(state.clone());
    }
    let file = global.config.join("host.toml");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(PathBuf::from(STATE)),
        Err(error) => {
            return Err(format!(
                "{}: {error}; name the state directory with --state",
                file.display()
            )
            .into());
        }
    };
    let host: toml::Table = text.parse().map_err(|_| {
        format!(
            "{} cannot be read; name the state directory with --state",
            file.display()
        )
    })?;
    let state = host
        .get("daemon")
        .and_then(|daemon| daemon.get("state"))
        .and_then(toml::Value::as_str);
    Ok(PathBuf::from(state.unwrap_or(STATE)))
}

/// The phase that holds: what the store says, else the policy's first.
///
/// Where the store knows nothing and yet something of ours is in the kernel, the store was lost, and
/// which phase holds is the operator's to say.
pub fn present_phase(
    policy: &Policy,
    store: Option<&Store>,
    kernel: &KernelState,
    state: &Path,
) -> Result<PhaseName, Failure> {
    let known = store.map(Store::phase).transpose()?.flatten();
    match known {
        Some(phase) if policy.phases().contains_key(&phase) => Ok(phase),
        Some(phase) => Err(format!(
            "phase `{phase}` holds, and the policy no longer has it; enter another first, or put it back"
        )
        .into()),
        None if *kernel == KernelState::default() => Ok(policy.start().clone()),
        None => Err(format!(
            "the kernel holds what wanshift made, but the store in {} does not know which phase that is; \
             nothing was written. Say which: wanshift phase NAME ({})",
            state.display(),
            policy.phases().keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        )
        .into()),
    }
}

/// Who orders what.
pub fn order(what: String) -> Result<Order, Failure> {
    let uid = Uid::current();
    let name = User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| user.name);
    let actor = match std::env::var("SUDO_USER") {
        Ok(user) if !user.is_empty() => format!("{name} (sudo: {user})"),
        _ => name,
    };
    Ok(Order {
        actor,
        what,
        boot: crate::clock::boot_id()?,
    })
}

/// How the holder of the lock is named to others.
pub fn holder(order: &Order) -> String {
    format!(
        "`wanshift {}` by {}, process {}",
        order.what,
        order.actor,
        std::process::id()
    )
}

/// Decides about `phase` by what is true and by the time: for entering it, or for going on with it where it `keeps`.
pub fn engine(
    policy: &Arc<Policy>,
    phase: PhaseName,
    latches: &Latches,
    keeps: bool,
) -> Result<Engine, EngineError> {
    let decide = if keeps {
        Engine::keeping
    } else {
        Engine::entering
    };
    let standing = Standing {
        resting: resting(policy, SystemClock.wall()).0,
        drained: BTreeSet::new(),
    };
    let engine = decide(Arc::clone(policy), phase, latches.names())?;
    Ok(engine.standing(standing))
}

/// The blocks that a phase brings, each with whether the condition that lifts it is true.
fn blocks(engine: &Engine) -> impl Iterator<Item = (&BlockName, Option<&ConditionName>)> {
    let policy = engine.policy();
    let phase = policy.phases().get(engine.phase());
    let blocks = phase.map_or(&[][..], |phase| &phase.blocks);
    blocks.iter().map(|name| {
        let until = policy.blocks().get(name);
        let until = until.and_then(|block| block.until.as_ref());
        (name, until.filter(|until| engine.lifted(until)))
    })
}

/// What of a phase is over: blocks that are lifted, and the phase itself.
pub fn no_longer(engine: &Engine) -> Vec<String> {
    let phase = engine.phase();
    let lifted = blocks(engine).filter_map(|(block, until)| {
        let until = until?;
        Some(format!(
            "block `{block}` of phase `{phase}` is lifted: `{until}` is true"
        ))
    });
    let over = engine.over().map(|(until, then)| {
        let then = then.map_or_else(String::new, |then| {
            format!("; wanshift phase {then} follows")
        });
        format!("phase `{phase}` is over: `{until}` is true{then}")
    });
    lifted.chain(over).collect()
}

/// What of a phase's blocks does not hold now, or not as written, or is followed by nobody once the verb is over.
pub fn not_held(engine: &Engine) -> Vec<String> {
    let phase = engine.phase();
    let date = SystemClock.wall();
    let told = |(name, _): (&BlockName, Option<&ConditionName>)| {
        let block = engine.policy().blocks().get(name)?;
        let schedule = block.schedule.as_ref().map(|schedule| {
            let zone = engine.policy().host().timezone.clone();
            scheduled(name, phase, schedule, date, zone)
        });
        let drain = matches!(block.established, Established::Drain(_)).then(|| {
            format!(
                "block `{name}` of phase `{phase}` lets connections that are open already go on for as long as they last: \
                 `drain_for` is not bounded yet by this version"
            )
        });
        Some(schedule.into_iter().chain(drain))
    };
    blocks(engine)
        .filter(|(_, lifted)| lifted.is_none())
        .filter_map(told)
        .flatten()
        .collect()
}

/// What a block does by its schedule, and until when.
fn scheduled(
    name: &BlockName,
    phase: &PhaseName,
    schedule: &Calendar,
    date: WallClock,
    zone: TimeZone,
) -> String {
    let WallClock::Trusted(date) = date else {
        return format!(
            "block `{name}` of phase `{phase}` holds whatever its schedule ({schedule}) says: \
             the host's clock is not synchronised, and no block lifts by it"
        );
    };
    let now = date.to_zoned(zone);
    let (does, then) = if schedule.holds_at(&now) {
        ("holds", "lifts it")
    } else {
        ("rests", "brings it")
    };
    let until = schedule.next_change(&now).map_or_else(String::new, |at| {
        let at = at.to_zoned(now.time_zone().clone());
        format!(
            " until {}: nothing {then} then but an apply",
            at.strftime("%Y-%m-%d %H:%M")
        )
    });
    format!("block `{name}` of phase `{phase}` {does} by its schedule ({schedule}){until}")
}

/// What of this host the policy does not reach. Where it cannot be seen, that is what is said: nothing else hangs
/// on it.
pub fn not_reached(policy: &Policy, kernel: &mut dyn Kernel) -> Vec<String> {
    match kernel.surroundings() {
        Ok(around) => surroundings::notes(policy, &around)
            .iter()
            .map(ToString::to_string)
            .collect(),
        Err(error) => vec![format!(
            "{error}; whether traffic goes around what is shaped is not known"
        )],
    }
}

/// A change that was cut off, in words.
pub fn cut_off(record: &Record) -> String {
    let boot = crate::clock::boot_id().is_ok_and(|boot| boot == record.change.boot);
    let when = if boot { "" } else { ", before this boot," };
    let how = match record.state {
        RecordState::Applying => "was cut off",
        RecordState::Undoing | RecordState::Stuck => "was being taken back",
        RecordState::Done | RecordState::Undone => "is over",
    };
    format!(
        "`{}` of {}{when} {how}",
        record.change.what, record.change.opened
    )
}

/// The phase that a change that was cut off ends in, once it is finished.
pub fn phase_after(record: &Record) -> Option<PhaseName> {
    match record.state {
        RecordState::Applying | RecordState::Done => record.change.phase_to.clone(),
        RecordState::Undoing | RecordState::Stuck | RecordState::Undone => {
            record.change.phase_from.clone()
        }
    }
}

/// So many writes, in words.
pub fn writes(count: usize) -> String {
    match count {
        1 => "1 write".to_owned(),
        _ => format!("{count} writes"),
    }
}
