//! An address belongs to one site.

use ipnet::IpNet;

use super::super::cx::Cx;
use super::super::draft::Draft;
use super::super::fault::At;

/// Sorted, a prefix comes after those that cover it, so one look at the open ones is enough:
/// n log n for any number of sites.
pub(super) fn judge(cx: &mut Cx<'_>, draft: &Draft<'_>) {
    let mut all: Vec<(IpNet, At, usize)> = draft
        .sites
        .iter()
        .enumerate()
        .flat_map(|(site, (_, places))| places.iter().map(move |(prefix, at)| (*prefix, *at, site)))
        .collect();
    all.sort_unstable();
    let name = |site: usize| {
        draft
            .sites
            .get(site)
            .map_or("?", |(site, _)| site.value.name.as_str())
    };
    let mut open: Vec<(IpNet, At, usize)> = Vec::new();
    for (prefix, at, site) in all {
        while open
            .last()
            .is_some_and(|(cover, ..)| !cover.contains(&prefix))
        {
            open.pop();
        }
        if let Some((cover, before, holder)) = open.last() {
            // Of the two, the one that is written later is the wrong one.
            let ((wrong, here, mine), (right, there, other)) = if *before > at {
                ((*cover, *before, *holder), (prefix, at, site))
            } else {
                ((prefix, at, site), (*cover, *before, *holder))
            };
            if mine == other {
                cx.fault(
                    here,
                    format!("`{wrong}` and `{right}` of this site overlap"),
                )
                .help("keep the wider one of the two")
                .see(there, "the other is here");
            } else {
                let (mine, other) = (name(mine), name(other));
                cx.fault(
                    here,
                    format!("`{wrong}` overlaps `{right}` of site `{other}`"),
                )
                .label(format!("site `{mine}`"))
                .help("an address belongs to one site: give each site prefixes of its own")
                .see(there, format!("site `{other}`"));
            }
        }
        open.push((prefix, at, site));
    }
}
