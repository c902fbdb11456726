//! When a block holds within a week, in local time.
//!
//! What counts is what a clock on the wall shows. So where the clocks go forward, a window that would begin within the hour
//! that is left out begins after it; where they go back, what falls into the hour that comes twice holds both times. A
//! window that goes past midnight belongs to the day on which it begins.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// How many days ahead a change is looked for: windows come again each week, but the only one may fall into an hour that
/// is left out.
const AHEAD: u16 = 4 * 7;
/// The minutes of a day.
const DAY: u16 = 24 * 60;

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Days(u8);

impl Days {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(0b111_1111);

    /// From one day to another, over the end of the week where that is earlier in it.
    #[must_use]
    pub fn range(from: Weekday, to: Weekday) -> Self {
        let mut days = Self::NONE;
        for day in from.cycle_forward().take(7) {
            days = days.and(Self(Self::bit(day)));
            if day == to {
                break;
            }
        }
        days
    }

    /// The days of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a day is one of them.
    #[must_use]
    pub fn has(self, day: Weekday) -> bool {
        self.0 & Self::bit(day) != 0
    }

    fn bit(day: Weekday) -> u8 {
        1 << day.to_monday_zero_offset()
    }
}

/// A time of day, in minutes since midnight; 24:00 is the midnight at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(u16);

impl Minute {
    /// `None` where no day has such a time.
    #[must_use]
    pub fn new(hour: u16, minute: u16) -> Option<Self> {
        let of_day = hour.checked_mul(60)?.checked_add(minute)?;
        (minute < 60 && of_day <= DAY).then_some(Self(of_day))
    }

    /// On the day that is given.
    fn on(self, date: Date) -> Option<jiff::civil::DateTime> {
        let (date, minute) = if self.0 == DAY {
            (date.tomorrow().ok()?, 0)
        } else {
            (date, self.0)
        };
        let part = |number: u16| i8::try_from(number).ok();
        let time = Time::new(part(minute / 60)?, part(minute % 60)?, 0, 0).ok()?;
        Some(date.to_datetime(time))
    }
}

/// A time that comes again each week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    days: Days,
    from: Minute,
    to: Minute,
}

impl Window {
    /// On each of `days`, from the first minute on and without the last; where that is no later than the first, it is
    /// of the next day. `None` where it would begin at 24:00, or take no time or a whole day between equal times, which nobody
    /// can tell apart: a whole day is from 00:00 to 24:00.
    #[must_use]
    pub fn new(days: Days, from: Minute, to: Minute) -> Option<Self> {
        (from.0 < DAY && from != to).then_some(Self { days, from, to })
    }

    /// Whether it is passed midnight when it ends.
    const fn goes_over(self) -> bool {
        self.to.0 <= self.from.0
    }

    /// Whether it holds when the clock shows that.
    fn holds(self, date: Date, minute: u16) -> bool {
        let (from, to) = (self.from.0, self.to.0);
        let today = self.days.has(date.weekday());
        if !self.goes_over() {
            return today && from <= minute && minute < to;
        }
        let yesterday = self.days.has(date.weekday().previous());
        (today && from <= minute) || (yesterday && minute < to)
    }
}

/// When something holds, in windows of a week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    written: String,
    windows: Vec<Window>,
}

impl Calendar {
    /// It holds in each of `windows`; `written` is how it is told.
    #[must_use]
    pub const fn new(written: String, windows: Vec<Window>) -> Self {
        Self { written, windows }
    }

    /// Whether it holds when the clock in that zone shows that.
    #[must_use]
    pub fn holds_at(&self, now: &Zoned) -> bool {
        let minute = |part: i8| u16::from(part.unsigned_abs());
        let minute = minute(now.hour()) * 60 + minute(now.minute());
        let mut windows = self.windows.iter();
        windows.any(|window| window.holds(now.date(), minute))
    }

    /// When it will next hold where it does not, or no longer hold where it does; `None` where that never comes.
    #[must_use]
    pub fn next_change(&self, now: &Zoned) -> Option<Timestamp> {
        let zone = now.time_zone();
        let holds = self.holds_at(now);
        let changes = |at: &Timestamp| {
            *at > now.timestamp() && self.holds_at(&at.to_zoned(zone.clone())) != holds
        };
        let last = now
            .timestamp()
            .checked_add(jiff::SignedDuration::from_hours(i64::from(AHEAD) * 24));
        let shifted = zone
            .following(now.timestamp())
            .map(|shift| shift.timestamp());
        let shifted = shifted.take_while(|at| last.as_ref().is_ok_and(|last| at <= last));
        let shifted: Option<Timestamp> = shifted.filter(changes).min();
        // The window of yesterday may end today.
        let first = now.date().yesterday().unwrap_or(now.date());
        for date in first
            .series(jiff::Span::new().days(1))
            .take(usize::from(AHEAD))
        {
            let at = self.edges(date, zone).into_iter().find(changes);
            if let Some(at) = at {
                return Some(shifted.map_or(at, |shifted| shifted.min(at)));
            }
        }
        shifted
    }

    /// When the clock shows the beginning or the end of a window of a day, in order: twice where the hour comes twice.
    fn edges(&self, date: Date, zone: &TimeZone) -> BTreeSet<Timestamp> {
        let windows = self.windows.iter();
        windows
            .flat_map(|window| [window.from, window.to])
            .filter_map(|minute| minute.on(date))
            .flat_map(|shown| {
                let at = zone.to_ambiguous_timestamp(shown);
                [at.earlier(), at.later()]
            })
            .filter_map(Result::ok)
            .collect()
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}
