//! Whether what the files say fits together. Each rule has a file.

mod chains;
mod devices;
mod numbers;
mod pools;
mod prefixes;
mod promises;
mod terms;

use super::Policy;
use super::cx::Cx;
use super::draft::Draft;
use crate::units::{Direction, PerDirection, bits_text};

/// Finds all that does not fit.
pub(super) fn judge(cx: &mut Cx<'_>, draft: &Draft<'_>, policy: &Policy) {
    numbers::judge(cx, draft, policy);
    devices::judge(cx, draft);
    pools::judge(cx, draft, policy);
    chains::judge(cx, draft, policy);
    prefixes::judge(cx, draft);
    terms::judge(cx, draft, policy);
    promises::judge(cx, draft, policy);
}

/// The directions in which `bits` is above `most`, in words, with the worse of them.
fn above(bits: PerDirection<u64>, most: PerDirection<u64>) -> Option<(Direction, &'static str)> {
    let over = |direction| bits.get(direction) > most.get(direction);
    let excess = |direction| bits.get(direction).saturating_sub(most.get(direction));
    match (over(Direction::Up), over(Direction::Down)) {
        (false, false) => None,
        (true, false) => Some((Direction::Up, "up")),
        (false, true) => Some((Direction::Down, "down")),
        (true, true) if excess(Direction::Down) > excess(Direction::Up) => {
            Some((Direction::Down, "down, and less so up"))
        }
        (true, true) if bits.up == bits.down && most.up == most.down => {
            Some((Direction::Up, "up and down"))
        }
        (true, true) => Some((Direction::Up, "up, and less so down")),
    }
}

/// Both directions of a rate in words.
fn figures(bits: PerDirection<u64>) -> String {
    if bits.up == bits.down {
        bits_text(bits.up)
    } else {
        format!(
            "{} up and {} down",
            bits_text(bits.up),
            bits_text(bits.down)
        )
    }
}
