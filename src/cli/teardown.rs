//! `wanshift teardown`: everything of ours out of the kernel.

use serde::Serialize;

use super::output::{Failure, Output};
use super::{Global, OpenKernel, session};
use crate::clock::SystemClock;
use crate::executor::change::{Executor, take_out};
use crate::load::{Choice, Trust, load};
use crate::policy::read;
use crate::store::{Lock, Store};

/// What `teardown` prints as JSON.
#[derive(Debug, Serialize)]
struct TornDown {
    /// How many ops were carried out.
    writes: usize,
}

pub fn teardown(
    global: &Global,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let policy = load(&Choice::Directory(global.config.clone()), Trust::Apply)
        .and_then(|loaded| read(&loaded.sources))
        .ok();
    let state = session::state_directory(global, policy.as_ref());
    let order = session::order("teardown".to_owned())?;
    let _lock = Lock::take(&state, &session::holder(&order))?;
    let mut kernel = open()?;
    // What is ours is known from the kernel alone: a store that cannot be used does not keep it there.
    let writes = match Store::open(&state) {
        Ok(mut store) => {
            let mut executor = Executor {
                kernel: kernel.as_mut(),
                store: &mut store,
                clock: &SystemClock,
            };
            executor.tear_down(&order)?
        }
        Err(error) => {
            output.say(&format!(
                "note: {error}; going on without it, there will be no record of this"
            ));
            take_out(kernel.as_mut())?
        }
    };
    let text = if writes == 0 {
        "Nothing to do: the kernel holds nothing of ours.\n".to_owned()
    } else {
        format!("Done: {writes} writes; the kernel holds nothing of ours any more.\n")
    };
    output.result(&TornDown { writes }, &text)?;
    Ok(0)
}
