//! Which blocks rest by their schedules.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::model::names::BlockName;
use crate::model::readings::WallClock;
use crate::policy::Policy;

/// The blocks of `policy` that rest by their schedules at that date, and when that set will be another by itself.
///
/// On a clock that nobody keeps right none rests, and none will: a block never lifts early.
#[must_use]
pub fn resting(policy: &Policy, date: WallClock) -> (BTreeSet<BlockName>, Option<Timestamp>) {
    let WallClock::Trusted(date) = date else {
        return (BTreeSet::new(), None);
    };
    let now = date.to_zoned(policy.host().timezone.clone());
    let blocks = policy.blocks().values();
    let scheduled = blocks.filter_map(|block| Some((&block.name, block.schedule.as_ref()?)));
    let resting = scheduled
        .clone()
        .filter(|(_, schedule)| !schedule.holds_at(&now))
        .map(|(name, _)| name.clone());
    let next = scheduled.filter_map(|(_, schedule)| schedule.next_change(&now));
    (resting.collect(), next.min())
}
