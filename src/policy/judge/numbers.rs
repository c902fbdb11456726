//! Everything has a number in the kernel, and there are only so many: in the trees, and in the bits of the packet mark.

use super::super::Policy;
use super::super::cx::Cx;
use super::super::draft::Draft;
use super::super::fault::At;
use crate::model::circuit::MarkMask;
use crate::model::state::Minor;

pub(super) fn judge(cx: &mut Cx<'_>, draft: &Draft<'_>, policy: &Policy) {
    places(cx, draft, policy);
    pools(cx, draft);
}

/// Each pool has a number in the trees that its circuits share.
fn pools(cx: &mut Cx<'_>, draft: &Draft<'_>) {
    let most = usize::from(Minor::MOST_POOLS);
    if let Some(pool) = draft.pools.get(most) {
        let message = format!("this is one pool too many: a host has room for {most}");
        cx.fault(pool.table.at, message).help(
            "give a circuit that shares with none a capacity of its own, outside of any pool",
        );
    }
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
    let mask = policy.host().mark_mask;
    let most = usize::from(Minor::most_in(mask));
    if count > most {
        let last = draft.sites.last().map(|(site, _)| site.table.at);
        let at = last
            .or_else(|| draft.classes.last().map(|class| class.table.at))
            .unwrap_or(At::new(0, &(0..0)));
        let message =
            format!("the policy has {count} classes and sites; a host has room for {most}");
        let told = cx.fault(at, message);
        if most < usize::from(Minor::most_in(MarkMask::UPPER_16)) {
            let message = format!("with the {} bits of mark_mask", mask.width());
            told.help(
                "give mark_mask more bits: each class and site has a number in the packet mark",
            )
            .see(draft.mark_mask_at, message);
        } else {
            told.help("give some of the sites to another host, or take small ones together");
        }
    }
}
