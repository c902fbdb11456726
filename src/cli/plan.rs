//! `wanshift plan`: what would change, and why. Writes nothing.

use std::sync::Arc;

use clap::Args;

use super::output::Output;
use super::{Global, OpenKernel, place, ssh};
use crate::api::{Failure, Talk};
use crate::clock::{Clock, SystemClock, boot_id};
use crate::executor::survey::prospect;
use crate::keeper::alter::{Stance, engine, present_phase};
use crate::keeper::back::Aim;
use crate::keeper::plan::{FilesAre, describe, text};
use crate::keeper::{files, known, words};
use crate::kernel::Scope;
use crate::model::names::PhaseName;
use crate::store::{Lock, Record, RecordState, Store, hash};

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Plan for entering this phase, instead of the one that holds
    #[arg(long, value_name = "NAME")]
    phase: Option<PhaseName>,
    /// Plan for `wanshift rollback`, which goes back so many changes: 1 where no number is given
    #[arg(long, value_name = "N", conflicts_with = "phase", num_args = 0..=1)]
    #[arg(default_missing_value = "1", value_parser = super::usage::changes)]
    rollback: Option<u32>,
    /// Exit with 2 where there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
}

pub fn plan(
    global: &Global,
    args: &PlanArgs,
    kernel: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let files = match args.rollback {
        None => Some(files::from(global.config(), output.style())?),
        // What was in force then is in the store.
        Some(_) => None,
    };
    let state = place::state(global)?;
    let store = Store::read(&state)?;
    let unfinished = store.as_ref().map(Store::unfinished).transpose()?.flatten();
    // A daemon always has the lock: it is at work where a change is on its way.
    let holder = Lock::holder(&state);
    let boot = boot_id()?;
    let (waits, unfinished) = match unfinished {
        Some(record)
            if record.state == RecordState::Unconfirmed
                && !record.is_late(&boot, SystemClock.now()) =>
        {
            (Some(record), None)
        }
        unfinished => (None, unfinished),
    };
    if let (Some(_), Some(record)) = (args.rollback, waits.as_ref().or(unfinished.as_ref())) {
        return Err(goes_back_first(record));
    }
    let daemon = holder
        .as_ref()
        .is_some_and(|holder| place::is_daemon(holder));
    let idle = unfinished.is_none();
    let cut_off = unfinished.filter(|_| holder.is_none());
    let at_work = holder.filter(|_| !(idle && daemon));
    let mut kernel = kernel()?;
    let ids = store
        .as_ref()
        .map(Store::ids)
        .transpose()?
        .unwrap_or_default();
    let intent = store.as_ref().map(Store::intent).transpose()?.flatten();
    let phase_now = intent.as_ref().map(|intent| intent.phase.clone());
    let Aim {
        policy,
        hash,
        phase,
        stance,
    } = match files {
        None => {
            let changes = args.rollback.unwrap_or(1);
            let store = match &store {
                Some(store) => store,
                None => &Store::empty()?,
            };
            Aim::back(store, changes)?
        }
        Some(files) => {
            let policy = Arc::clone(&files.policy);
            // The next apply finishes first what was cut off, and goes on from there.
            let left_in = cut_off.as_ref().map(words::phase_after);
            let phase = match (&args.phase, left_in) {
                (Some(phase), _) => phase.clone(),
                (None, Some(Some(phase))) if policy.phases().contains_key(&phase) => phase,
                (None, Some(None)) => policy.start().clone(),
                (None, _) => {
                    let held = kernel.observe(Scope::All)?.state;
                    present_phase(&policy, intent.as_ref(), &held, &state)?
                }
            };
            let keeps =
                args.phase.is_none() && (phase_now.as_ref() == Some(&phase) || cut_off.is_some());
            Aim {
                policy,
                hash: hash(&files.facts()),
                phase,
                stance: if keeps { Stance::Keeps } else { Stance::Enters },
            }
        }
    };
    let files = match &store {
        Some(store) => FilesAre::by(store, &hash)?,
        None => FilesAre::InForce,
    };
    let known = known::glanced(
        &policy,
        store.as_ref(),
        kernel.as_mut(),
        &SystemClock,
        output,
    )?;
    let engine = engine(&policy, phase.clone(), &known.latches, stance)?;
    let engine = engine.standing(
        known::standing(
            &policy,
            store.as_ref(),
            known.readings.date,
            &boot,
            SystemClock.now(),
        )?
        .standing,
    );
    let prospect = prospect(kernel.as_mut(), ids, engine, SystemClock.now())?;
    let mut result = describe(
        &prospect,
        phase_now,
        files,
        kernel.as_mut(),
        known.readings.date,
        words::Follow::ByHand,
    );
    result.notes.extend(known.new.iter().map(|(name, latch)| {
        format!(
            "condition `{name}` becomes true with the next apply: {}",
            words::why(latch)
        )
    }));
    if let Some(session) = ssh::present() {
        let cut = words::would_cut(kernel.as_mut(), &policy, &phase, &session)?;
        let cut = cut.map(|cut| format!("{cut}; it will be refused without --force"));
        result.notes.extend(cut);
    }
    if let Some(record) = &cut_off {
        output.say(&format!(
            "note: {}; the next apply finishes it first",
            words::cut_off(record, &boot, &policy.host().timezone)
        ));
        result.cut_off = Some(record.change.what.clone());
    }
    if let Some(record) = &waits {
        output.say(&format!(
            "note: {}: any other change is refused until `wanshift confirm` or `wanshift rollback`",
            words::cut_off(record, &boot, &policy.host().timezone)
        ));
    }
    if let Some(holder) = &at_work {
        output.say(&format!(
            "note: {holder} is at work: these figures are a step on its way"
        ));
    }
    result.at_work = at_work;
    for note in &result.notes {
        output.say(&format!("note: {note}"));
    }
    output.result(&result, &text(&result))?;
    Ok(if args.detailed_exitcode && result.is_something() {
        2
    } else {
        0
    })
}

/// That a change that is not done goes back at once, which is no plan.
fn goes_back_first(record: &Record) -> Failure {
    let stands = match record.state {
        RecordState::Unconfirmed => "waits to be confirmed",
        RecordState::Undoing | RecordState::Stuck => "is on its way back",
        RecordState::Applying | RecordState::Done | RecordState::Undone => {
            "is on its way, or was cut off"
        }
    };
    let to = match &record.change.before {
        Some(before) => format!("what held before it, phase {}", before.phase),
        None => "nothing, as before it".to_owned(),
    };
    Failure::from(format!(
        "`{}` {stands}: `wanshift rollback` takes it back at once, without a ramp, to {to}",
        record.change.what
    ))
    .with_help("what more would go back can be shown after that")
}
