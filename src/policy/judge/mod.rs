//! Whether what the files say fits together. Each rule has a file.

mod chains;
mod devices;
mod pools;
mod prefixes;
mod promises;
mod terms;

use super::Policy;
use super::cx::Cx;
use super::draft::Draft;
use super::fault::At;
use crate::model::state::Minor;
use crate::units::{Direction, PerDirection, bits_text};

/// Finds all that does not fit.
pub(super) fn judge(cx: &mut Cx<'_>, draft: &Draft<'_>, policy: &Policy) {
    places(cx, draft, policy);
    devices::judge(cx, draft);
    pools::judge(cx, draft, policy);
    chains::judge(cx, draft, policy);
    prefixes::judge(cx, draft);
    terms::judge(cx, draft, policy);
    promises::judge(cx, draft, policy);
}

/// Each place of the trees has a number, and there are only so many.
fn places(cx: &mut Cx<'_>, draft: &Draft<'_>, policy: &Policy) {
    let sites = policy
        .sites()
        .values()
        .map(|site| match site.classes.len() {
            0 => 1,
            classes => classes + 2,
        });
    let count = 2 * policy.circuits().len() + policy.classes().len() + sites.sum::<usize>();
    let most = usize::from(Minor::MOST);
    if count > most {
        let last = draft.sites.last().map(|(site, _)| site.table.at);
        let at = last.or_else(|| draft.classes.last().map(|class| class.table.at));
        cx.fault(
            at.unwrap_or(At::new(0, &(0..0))),
            format!("the policy has {count} classes and sites; a host has room for {most}"),
        )
        .help("give some of the sites to another host, or take small ones together");
    }
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
