//! `wanshift restore-blocks`: has the packet filter block what is to be blocked, early at boot.

use super::output::Output;
use super::{Global, OpenKernel, place};
use crate::api::{Answer, Failure, Talk};
use crate::clock::{SystemClock, boot_id};
use crate::keeper::early::{Restored, restore};
use crate::store::{Lock, LockError};

pub fn restore_blocks(
    global: &Global,
    open: OpenKernel<'_>,
    output: &mut Output<'_>,
) -> Result<u8, Failure> {
    let state = place::state_or_usual(global, output);
    // A host that was never told anything has none, and none is made here.
    let _lock = if state.is_dir() {
        match Lock::take(&state, &place::holder("restore-blocks")) {
            Ok(lock) => Some(lock),
            Err(held @ LockError::Held { .. }) => {
                output.say(&format!("note: {held}; it sees to the blocks itself"));
                let by = held.to_string();
                output.result(&Restored::AtWork { by }, "")?;
                return Ok(0);
            }
            // A disk that cannot be written yet can be read.
            Err(LockError::Store(_)) => None,
        }
    } else {
        None
    };
    let boot = boot_id()?;
    let restored = restore(&state, open()?.as_mut(), &SystemClock, &boot, output)?;
    output.answer(&Answer::of(&restored, restored.text())?)?;
    Ok(0)
}
