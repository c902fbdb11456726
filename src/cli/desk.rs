//! Has an order carried out: by the daemon where one runs, else here, under the lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::output::Output;
use super::{Global, OpenKernel, place, ssh};
use crate::api::{Answer, Failure, Order, Request, SchemaVersion, Status, Talk};
use crate::clock::{Clock, SystemClock, boot_id};
use crate::control;
use crate::control::client::{self, ClientError};
use crate::executor::change::take_out;
use crate::keeper::classes::{Shown, classes};
use crate::keeper::early::forget_copy;
use crate::keeper::footing::{self, Footing};
use crate::keeper::take_out::TornDown;
use crate::keeper::{Came, Ground, Keeper, words};
use crate::store::{Lock, LockError, RecordState, Store};

/// What people are told of what an order came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// What who carried it out says.
    Answer,
    /// Of how things are the classes, all of them.
    Classes,
}

/// Has `order` carried out, and tells what came of it.
pub fn order(
    global: &Global,
    order: Order,
    told: Told,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let is_status = order == Order::Status;
    let request = Request {
        schema_version: SchemaVersion::NOW,
        order,
        config: global.config.clone(),
        state: global.state.clone(),
        session: ssh::present(),
        on_behalf_of: place::behind(),
        style: output.style(),
    };
    let mut answer = match by_daemon(global, &request, output)? {
        Some(answer) => answer,
        None => here(global, &request, open, output)?,
    };
    if !is_status {
        output.answer(&answer)?;
        return Ok(0);
    }
    let status: Status = serde_json::from_value(answer.json.clone())?;
    if told == Told::Classes {
        let lines = classes(&status, Shown::All);
        // The first is empty: it parts them from what comes before in a whole status.
        answer.text = if lines.is_empty() {
            "Nothing is shaped now: there are no classes.\n".to_owned()
        } else {
            let lines = lines.iter().skip(1);
            lines.map(|line| format!("{line}\n")).collect()
        };
    }
    output.answer(&answer)?;
    Ok(u8::from(!status.healthy))
}

/// What a daemon answers; none where none runs.
fn by_daemon(
    global: &Global,
    request: &Request,
    output: &mut Output<'_>,
) -> Result<Option<Answer>, Failure> {
    // Where the host's file cannot be read, what it says is told by who reads it whole.
    let Ok(socket) = place::socket(global) else {
        return Ok(None);
    };
    // Who names another state directory does not mean the host's daemon, unless that works on it.
    if let (Some(state), None) = (&global.state, &global.socket)
        && Lock::holder(state).is_none()
    {
        return Ok(None);
    }
    match client::ask(
        &control::socket_for(&socket, &request.order),
        request,
        output,
    ) {
        Ok(answer) => Ok(Some(answer)),
        Err(ClientError::NotRunning { .. }) => Ok(None),
        Err(ClientError::Failed(failure)) => Err(failure),
        Err(error @ ClientError::NotAllowed { .. }) => Err(Failure::from(error).denied()),
        Err(error) => Err(error.into()),
    }
}

/// Carries an order out in this process.
fn here(
    global: &Global,
    request: &Request,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<Answer, Failure> {
    if let Order::Apply {
        confirm_within: Some(_),
        ..
    }
    | Order::Phase {
        confirm_within: Some(_),
        ..
    } = &request.order
    {
        return Err(Failure::from(
            "nobody would undo it: --confirm-within needs the daemon, and none runs; nothing was written",
        )
        .with_help("start it (`systemctl start wanshift`), or leave the flag out"));
    }
    let teardown = request.order == Order::Teardown;
    let mut keeper = match keeper(global, request, open, output) {
        Ok(keeper) => keeper,
        Err(Refused::Unusable(why)) if teardown => {
            // What is ours is known from the kernel alone: a store that cannot be used does not keep it there.
            output.say(&format!("note: {why}; going on without a record of this"));
            let writes = take_out(open()?.as_mut())?;
            if let Ok(state) = place::state(global) {
                forget_copy(&state, output);
            }
            let torn = TornDown {
                writes,
                phase: None,
            };
            return Answer::of(&torn, torn.text());
        }
        Err(Refused::Unusable(failure) | Refused::Failed(failure)) => return Err(failure),
    };
    let interrupted = interrupts()?;
    if let Some((record, writes)) = keeper.finish_first(request, output)? {
        let driven = drive(&mut keeper, &interrupted, output)?;
        let more = driven.and_then(|answer| answer.json.get("writes")?.as_u64());
        let writes = writes.saturating_add(usize::try_from(more.unwrap_or_default())?);
        let how = match record.state {
            RecordState::Applying | RecordState::Unconfirmed | RecordState::Done => "finished",
            RecordState::Undoing | RecordState::Stuck | RecordState::Undone => "taken back",
        };
        let what = record.change.what;
        output.say(&format!("{how}: `{what}`, {}", words::writes(writes)));
        keeper.finished_first(what, writes);
    }
    match keeper.ask(request, &place::actor(), output)? {
        Came::Answer(answer) => Ok(answer),
        Came::Underway => {
            drive(&mut keeper, &interrupted, output)?.ok_or_else(|| "the change is gone".into())
        }
    }
}

/// Why there is no keeper.
enum Refused {
    /// The store or its directory cannot be used, and nothing was done.
    Unusable(Failure),
    /// Something else.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn keeper(
    global: &Global,
    request: &Request,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<Keeper, Refused> {
    let state = match place::state(global) {
        Ok(state) => state,
        // What is wrong with the host's file is told with all the rest.
        Err(failure) => {
            crate::keeper::files::from(global.config(), request.style)?;
            return Err(Refused::Failed(failure));
        }
    };
    let (lock, store) = if request.order.only_reads() {
        (None, Store::read(&state)?.map_or_else(Store::empty, Ok)?)
    } else {
        let words = request.order.words();
        let lock = match Lock::take(&state, &place::holder(&words)) {
            Ok(lock) => lock,
            Err(LockError::Store(error)) => return Err(Refused::Unusable(error.into())),
            Err(held @ LockError::Held { .. }) => return Err(Refused::Failed(held.into())),
        };
        let at = SystemClock.date();
        let store = footing::open_for(request, global.config(), &state, at, output)
            .map_err(Refused::Unusable)?;
        (Some(lock), store)
    };
    let ground = Ground {
        config: global.config().to_owned(),
        state,
        kernel: open()?,
        store,
        clock: Box::new(SystemClock),
        boot: boot_id()?,
        lock,
        footing: Footing::Firm,
    };
    Ok(Keeper::new(ground)?)
}

/// Takes every step of the change on its way, each in its time; none where none is on its way.
fn drive(
    keeper: &mut Keeper,
    interrupted: &AtomicBool,
    output: &mut Output<'_>,
) -> Result<Option<Answer>, Failure> {
    while let Some(next) = keeper.next_step() {
        keeper.clock().wait_until(next);
        if let Some(came) = keeper.step(output) {
            return came.map(Some);
        }
        if interrupted.load(Ordering::Relaxed)
            && let Some(came) = keeper.interrupt()
        {
            return came.map(Some);
        }
    }
    Ok(None)
}

/// A flag that is raised by Ctrl-C and by a polite kill: the change is then taken back. A terminal that goes
/// away is no order: the change goes on to its end.
fn interrupts() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
    signal_hook::flag::register(SIGHUP, Arc::default())?;
    Ok(flag)
}
