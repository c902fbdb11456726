//! What verbs, a daemon and its log say in the same words.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::api::Failure;
use crate::check::session::{Cut, cut};
use crate::check::surroundings;
use crate::engine::Engine;
use crate::kernel::{Kernel, KernelError};
use crate::model::calendar::Calendar;
use crate::model::hold::Established;
use crate::model::names::{BlockName, ConditionName, PhaseName};
use crate::model::readings::{Latch, WallClock};
use crate::model::session::Session;
use crate::policy::{Policy, nearest};
use crate::store::{Record, RecordState};

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

/// Whether what becomes true, or due, is carried out by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// A daemon does.
    ByItself,
    /// The operator has to.
    ByHand,
}

/// What of a phase's blocks does not hold at that date, or is followed by nobody once a verb is over.
#[must_use]
pub fn not_held(engine: &Engine, date: WallClock, follow: Follow) -> Vec<String> {
    let phase = engine.phase();
    let told = |(name, _): (&BlockName, Option<&ConditionName>)| {
        let block = engine.policy().blocks().get(name)?;
        let schedule = block.schedule.as_ref().map(|schedule| {
            let zone = engine.policy().host().timezone.clone();
            scheduled(name, phase, schedule, date, zone, follow)
        });
        let drains = matches!(block.established, Established::Drain(_));
        let drain = (drains && follow == Follow::ByHand).then(|| {
            format!(
                "block `{name}` of phase `{phase}` lets connections that are open already go on until an apply that comes \
                 after its `drain_for`: no daemon runs to end them then"
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
    follow: Follow,
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
        let at = at.strftime("%Y-%m-%d %H:%M");
        match follow {
            Follow::ByItself => format!(" until {at}"),
            Follow::ByHand => format!(" until {at}: nothing {then} then but an apply"),
        }
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
pub fn cut_off(record: &Record, boot: &str, zone: &TimeZone) -> String {
    let when = if record.change.boot == boot {
        ""
    } else {
        ", before this boot,"
    };
    let how = match record.state {
        RecordState::Applying => "was cut off",
        RecordState::Undoing | RecordState::Stuck => "was being taken back",
        RecordState::Unconfirmed => "waits to be confirmed",
        RecordState::Done | RecordState::Undone => "is over",
    };
    format!(
        "`{}` of {}{when} {how}",
        record.change.what,
        date(record.change.opened, zone)
    )
}

/// The phase that a change that was cut off ends in, once it is finished.
pub fn phase_after(record: &Record) -> Option<PhaseName> {
    match record.state {
        RecordState::Applying | RecordState::Unconfirmed | RecordState::Done => {
            record.change.phase_to.clone()
        }
        RecordState::Undoing | RecordState::Stuck | RecordState::Undone => {
            record.change.phase_from().cloned()
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
    Failure::from(format!(
        "there is no {kind} `{name}` in the policy; nothing was recorded"
    ))
    .with_help(help)
}

/// What entering `phase` would do to the session that it is ordered from; `None` where that goes on.
///
/// # Errors
/// Where the kernel cannot be asked which way its replies go.
pub fn would_cut(
    kernel: &mut dyn Kernel,
    policy: &Arc<Policy>,
    phase: &PhaseName,
    session: &Session,
) -> Result<Option<Cut>, KernelError> {
    let device = match &session.zone {
        Some(device) => Some(device.clone()),
        None => kernel.way(session.server, session.client)?,
    };
    Ok(device.and_then(|device| cut(policy, phase, session, &device)))
}

/// A date in the host's time, to the second.
#[must_use]
pub fn date(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    at.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A time, in words: to the second.
#[must_use]
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64().round();
    let (hours, minutes, rest) = (
        (seconds / 3600.0).floor(),
        ((seconds % 3600.0) / 60.0).floor(),
        seconds % 60.0,
    );
    let parts = [(hours, "h"), (minutes, "min"), (rest, "s")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0.0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if parts.is_empty() {
        "0 s".to_owned()
    } else {
        parts.join(" ")
    }
}
