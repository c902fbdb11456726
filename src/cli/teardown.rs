//! `wanshift teardown`: everything of ours out of the kernel.

use std::path::Path;

use serde::Serialize;

use super::output::{Failure, Output};
use super::{Global, OpenKernel, session};
use crate::clock::SystemClock;
use crate::executor::change::{Executor, Order, take_out};
use crate::executor::error::ChangeError;
use crate::kernel::Kernel;
use crate::model::names::PhaseName;
use crate::store::{Lock, LockError, Store, StoreError};

/// What `teardown` prints as JSON.
#[derive(Debug, Serialize)]
struct TornDown {
    /// How many ops were carried out.
    writes: usize,
    /// The phase that the next `apply` enters, where one was entered before.
    phase: Option<PhaseName>,
}

pub fn teardown(
    global: &Global,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let state = session::state_directory_without_policy(global)?;
    let order = session::order("teardown".to_owned())?;
    let mut kernel = open()?;
    // What is ours is known from the kernel alone: a store that cannot be used does not keep it there.
    let (writes, phase) = match on_record(&state, kernel.as_mut(), &order) {
        Ok(done) => done,
        Err(OnRecord::Failed(failure)) => return Err(failure),
        Err(OnRecord::Unusable(why)) => {
            output.say(&format!("note: {why}; going on without a record of this"));
            (take_out(kernel.as_mut())?, None)
        }
    };
    let mut text = if writes == 0 {
        "Nothing to do: the kernel holds nothing of ours.\n".to_owned()
    } else {
        format!(
            "Done: {}; the kernel holds nothing of ours any more.\n",
            session::writes(writes)
        )
    };
    if let Some(phase) = &phase {
        text.push_str(&format!(
            "The next apply enters phase {phase} again; `wanshift phase NAME` another.\n"
        ));
    }
    output.result(&TornDown { writes, phase }, &text)?;
    Ok(0)
}

/// Why a teardown was not made on record.
enum OnRecord {
    /// It was tried, or must not be.
    Failed(Failure),
    /// There is nothing to put it on, and nothing was done.
    Unusable(String),
}

fn on_record(
    state: &Path,
    kernel: &mut dyn Kernel,
    order: &Order,
) -> Result<(usize, Option<PhaseName>), OnRecord> {
    let unusable = |error: StoreError| OnRecord::Unusable(error.to_string());
    let _lock = match Lock::take(state, &session::holder(order)) {
        Ok(lock) => lock,
        Err(LockError::Store(error)) => return Err(unusable(error)),
        Err(held @ LockError::Held { .. }) => return Err(OnRecord::Failed(held.into())),
    };
    let mut store = Store::open(state).map_err(unusable)?;
    let mut executor = Executor {
        kernel,
        store: &mut store,
        clock: &SystemClock,
    };
    let writes = match executor.tear_down(order) {
        Ok(writes) => writes,
        Err(ChangeError::Store(error)) => return Err(unusable(error)),
        Err(error) => return Err(OnRecord::Failed(error.into())),
    };
    Ok((writes, store.phase().ok().flatten()))
}
