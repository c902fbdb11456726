//! What may hold after orders of which only some were answered.

use std::collections::BTreeSet;

use wanshift::model::names::PhaseName;

/// The phases of the example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Nominal,
    Telework,
    Upgraded,
}

impl Phase {
    pub fn name(self) -> PhaseName {
        let name = match self {
            Self::Nominal => "nominal",
            Self::Telework => "telework",
            Self::Upgraded => "upgraded",
        };
        name.parse().unwrap()
    }
}

/// Which of two versions of the policy files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Files {
    One,
    Two,
}

impl Files {
    pub const fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }
}

/// What holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stance {
    pub phase: Phase,
    /// Whether the uplink's upgrade has landed.
    pub landed: bool,
    pub files: Files,
}

impl Stance {
    /// With what the daemon does by itself: telework is over once the upgrade has landed.
    pub const fn followed(self) -> Self {
        match (self.phase, self.landed) {
            (Phase::Telework, true) => Self {
                phase: Phase::Upgraded,
                ..self
            },
            _ => self,
        }
    }

    pub const fn after(self, change: Change) -> Self {
        match change {
            Change::Enter(phase) => Self { phase, ..self },
            Change::Apply => Self {
                files: self.files.other(),
                ..self
            },
        }
    }

    /// Whether browsing is blocked.
    pub const fn blocks(self) -> bool {
        matches!(self.phase, Phase::Telework)
    }
}

/// What holds, and whether that waits to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Settled {
    pub stance: Stance,
    pub pending: bool,
}

impl From<Stance> for Settled {
    fn from(stance: Stance) -> Self {
        Self {
            stance,
            pending: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Enter(Phase),
    /// Of the other files.
    Apply,
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It stays as it is ordered.
    Plain,
    /// It is not confirmed in time.
    Expires,
    /// It is confirmed on its way or after it.
    Confirmed,
    /// It waits to be confirmed, and is rolled back.
    TakenBack,
    /// It is done, and rolled back afterwards.
    RolledBack,
}

/// What is done to a host, in which the daemon is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Change(Change, Ending),
    Event,
    EventDuring(Change, Ending),
    Reset,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It was not asked.
    Unasked,
    Done,
    Refused,
    /// The daemon was gone.
    Nothing,
}

/// What is known of a deed once the daemon was killed.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub change: Answered,
    /// Whether the change is on record.
    pub begun: bool,
    /// The confirmation, or the order to go back.
    pub second: Answered,
    pub event: Answered,
    pub reset: Answered,
}

/// All that may hold once the daemon was started again and is done.
pub fn legal(before: Stance, deed: Deed, known: Known) -> BTreeSet<Settled> {
    let mut legal: BTreeSet<Settled> = match deed {
        Deed::Change(change, ending) | Deed::EventDuring(change, ending) => {
            changed(before, change, ending, known)
        }
        Deed::Event | Deed::Reset => [before.into()].into(),
    };
    legal = either(legal, known.event, |stance| stance.landed = true);
    legal = either(legal, known.reset, |stance| stance.landed = false);
    legal
        .into_iter()
        .map(|settled| match settled.pending {
            // What ends a phase waits for the confirmation.
            true => settled,
            false => settled.stance.followed().into(),
        })
        .collect()
}

fn changed(before: Stance, change: Change, ending: Ending, known: Known) -> BTreeSet<Settled> {
    let after = before.after(change);
    let pending = Settled {
        stance: after,
        pending: true,
    };
    let (before, after) = (Settled::from(before), Settled::from(after));
    if !known.begun {
        assert!(known.change != Answered::Done, "answered and not on record");
        // New files are taken in at the start, by themselves.
        return match change {
            Change::Apply => [after].into(),
            Change::Enter(_) => [before].into(),
        };
    }
    match (ending, known.second) {
        (Ending::Plain, _) => [after].into(),
        (Ending::Expires, _) => [before].into(),
        (Ending::Confirmed, Answered::Done) => [after].into(),
        (Ending::Confirmed, Answered::Nothing) => [after, pending].into(),
        (Ending::TakenBack, Answered::Done) => [before].into(),
        (Ending::TakenBack, Answered::Nothing) => [before, pending].into(),
        (Ending::RolledBack, Answered::Done) => [before].into(),
        (Ending::RolledBack, Answered::Nothing) => [before, after].into(),
        (Ending::RolledBack, Answered::Refused | Answered::Unasked) => [after].into(),
        (Ending::Confirmed | Ending::TakenBack, Answered::Refused | Answered::Unasked) => {
            [pending].into()
        }
    }
}

/// What may be after something that was answered, or not.
fn either(
    legal: BTreeSet<Settled>,
    answered: Answered,
    so: impl Fn(&mut Stance),
) -> BTreeSet<Settled> {
    let after = legal.iter().map(|settled| {
        let mut after = *settled;
        so(&mut after.stance);
        after
    });
    match answered {
        Answered::Unasked | Answered::Refused => legal,
        Answered::Done => after.collect(),
        Answered::Nothing => after.chain(legal.iter().copied()).collect(),
    }
}
