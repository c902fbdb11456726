//! The way back: what the kernel held, as far as it can and may be put back.
//!
//! Somebody else may have changed what is ours into what we could not write ourselves, or into what does not
//! conserve. An undo puts back what was ours, not that.

use std::collections::BTreeMap;

use super::bounds::Bounds;
use crate::model::names::DeviceName;
use crate::model::state::{
    Ifb, KernelState, Leaf, Minor, Role, Selector, Takes, TcClass, Ticks, Tree,
};
use crate::units::Rate;

/// A queue for a class of which nothing better is known.
const PLAIN: Leaf = Leaf::Pfifo { limit: 100 };

/// `held` as a state that can be written and conserves; what cannot be put back is as in `goal`.
#[must_use]
pub fn restorable(held: &KernelState, goal: &KernelState, bounds: &Bounds) -> KernelState {
    let mut state = held.clone();
    lead_somewhere(&mut state, goal);
    for (device, tree) in &mut state.trees {
        let wanted = goal.trees.get(device);
        for (minor, class) in &mut tree.classes {
            let wanted = wanted.and_then(|tree| tree.classes.get(minor));
            make_writable(class, wanted);
        }
    }
    for pool in &bounds.pools {
        let mut roots = roots(&mut state.trees, |device| pool.devices.contains(device));
        fit(&mut roots, pool.room);
        for root in roots {
            root.ceil = root.ceil.min(pool.room);
        }
    }
    for tree in state.trees.values_mut() {
        fit_below(tree, None);
    }
    state
}

/// Packets are led to the IFB only where there is one that is up and knows them by their mark: somebody else may have
/// taken it away, set it down or changed what leads there, and what goes back to that goes nowhere.
fn lead_somewhere(state: &mut KernelState, goal: &KernelState) {
    let ifb = Ifb::device();
    if state.feeds.is_empty() && state.ifb.is_none() {
        return;
    }
    if !state.trees.contains_key(&ifb)
        && let Some(tree) = goal.trees.get(&ifb)
    {
        state.trees.insert(ifb.clone(), tree.clone());
    }
    let wanted = goal.trees.get(&ifb).map(|tree| tree.selector);
    let known = state.trees.get_mut(&ifb).and_then(|tree| {
        if let (Selector::Drifted | Selector::Priority, Some(wanted)) = (tree.selector, wanted) {
            tree.selector = wanted;
        }
        match tree.selector {
            Selector::Mark(mask) => Some(mask),
            Selector::Drifted | Selector::Priority => {
                tree.selector = Selector::Priority;
                None
            }
        }
    });
    let Some(mask) = known else {
        state.feeds.clear();
        return;
    };
    state.ifb = Some(Ifb { up: true });
    for feed in state.feeds.values_mut() {
        feed.takes = Takes::Marked(mask);
    }
}

fn make_writable(class: &mut TcClass, wanted: Option<&TcClass>) {
    class.ceil = class.ceil.max(class.rate);
    class.burst = class.burst.max(Ticks(1));
    class.cburst = class.cburst.max(Ticks(1));
    if let Role::Leaf { quantum, leaf, .. } = &mut class.role {
        *quantum = (*quantum).clamp(1, i32::MAX.unsigned_abs());
        if *leaf == Some(Leaf::Other) {
            let wanted = wanted.and_then(|wanted| match wanted.role {
                Role::Leaf { leaf, .. } => leaf,
                Role::Inner => None,
            });
            *leaf = Some(wanted.unwrap_or(PLAIN));
        }
    }
}

/// The classes at the top of the trees that are asked for.
fn roots(
    trees: &mut BTreeMap<DeviceName, Tree>,
    asked: impl Fn(&DeviceName) -> bool,
) -> Vec<&mut TcClass> {
    trees
        .iter_mut()
        .filter(|(device, _)| asked(device))
        .flat_map(|(_, tree)| tree.classes.values_mut())
        .filter(|class| class.parent.is_none())
        .collect()
}

/// Makes what hangs below `parent` fit it, level by level; the tree ends at HTB's eighth.
fn fit_below(tree: &mut Tree, parent: Option<Minor>) {
    let children: Vec<Minor> = tree
        .classes
        .iter()
        .filter(|(minor, class)| class.parent == parent && Some(**minor) != parent)
        .map(|(minor, _)| *minor)
        .collect();
    if let Some(room) = parent
        .and_then(|parent| tree.classes.get(&parent))
        .map(|class| class.rate)
    {
        let below = tree
            .classes
            .values_mut()
            .filter(|class| class.parent == parent);
        fit(&mut below.collect::<Vec<_>>(), room);
    }
    for child in children {
        if tree
            .classes
            .values()
            .any(|class| class.parent == Some(child))
        {
            fit_below(tree, Some(child));
        }
    }
}

/// Lowers the rates of `classes` in proportion, so that they sum to at most `room`.
fn fit(classes: &mut [&mut TcClass], room: Rate) {
    let sum: u128 = classes
        .iter()
        .map(|class| u128::from(class.rate.bits()))
        .sum();
    if sum <= u128::from(room.bits()) {
        return;
    }
    for class in classes {
        let part = u128::from(class.rate.bits()) * u128::from(room.bits()) / sum;
        class.rate = Rate::floor(u64::try_from(part).unwrap_or(u64::MAX));
    }
}
