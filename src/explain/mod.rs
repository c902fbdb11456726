//! Which class and which block a connection meets, and why.
//!
//! The answer is not worked out from the policy a second time: the packets of the connection are led through the very
//! table that lowering makes ([`Table::walk`]), and what comes of them there is told by its names and by where it was
//! written. So it cannot be another than the kernel's, as long as the kernel holds that table.

mod asked;
mod blocked;
mod met;
mod path;
mod text;
mod traffic;

use std::net::IpAddr;

use serde::Serialize;

pub use asked::{Asked, Carried, End, Misread, Service, Wanted};
pub use blocked::{Excepted, NotHeld, Rejected, Told};
pub use met::{Because, Level, Met};
pub use path::{Path, Side, possible};
pub use text::text;

use crate::model::desired::{Desired, Reasons};
use crate::model::filter::{Limits, Packet, Table};
use crate::model::ids::Ids;
use crate::model::names::{CircuitName, DeviceName, Origin, PhaseName};
use crate::model::node::NodeKey;
use crate::model::state::{KernelState, Minor};
use crate::policy::Policy;
use crate::units::{Direction, Rate};
use blocked::{Blocks, blocks};
use path::circuit_of;
use traffic::{Alike, Connection, Passing, Through, Which, told_apart};

/// Where packets leave.
const POSTROUTING: &str = "postrouting";

/// What holds, or would: all that an answer is made of.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// What should hold under it.
    pub desired: &'a Desired,
    /// Why.
    pub reasons: &'a Reasons,
    /// The table that it was lowered to.
    pub table: &'a Table,
    /// The numbers in that.
    pub ids: &'a Ids,
    /// What the kernel holds, where that is what is asked about and can be read: its rates are told, then.
    pub held: Option<&'a KernelState>,
}

/// What a connection meets, and under which phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Who opens it.
    pub from: End,
    /// Who is asked.
    pub to: End,
    /// For what, as it was asked for.
    pub service: String,
    /// Where that service was written; none of what is built in.
    pub service_at: Option<Origin>,
    /// How the packets of who opens it are marked, where that was asked for.
    pub dscp: Option<String>,
    /// The phase.
    pub phase: PhaseName,
    /// Why that one is told about.
    pub phase_known: String,
    /// What is to be kept in mind.
    pub notes: Vec<String>,
    /// What it meets.
    pub answers: Vec<Answer>,
}

/// What a connection meets on one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// The way of its requests.
    pub requests: Option<Passage>,
    /// The way of the replies.
    pub replies: Option<Passage>,
    /// Whether it meets the same where it is opened from the other side.
    pub either_way: bool,
    /// The circuits that it crosses.
    pub circuits: Vec<CircuitName>,
    /// The block that rejects it.
    pub rejected: Option<Rejected>,
    /// The blocks that hold and let it through.
    pub excepted: Vec<Excepted>,
    /// The blocks that would reject it, and do not hold now.
    pub not_held: Vec<NotHeld>,
}

/// Packets of a connection on their way by this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passage {
    /// The device by which they come; none of those that this host sends itself, or where the policy names none.
    pub arrival: Option<DeviceName>,
    /// The device by which they leave; none where the policy names none there.
    pub departure: Option<DeviceName>,
    /// Whether this host itself sends them.
    pub own: bool,
    /// The classes that they meet, in the order in which they meet them.
    pub classes: Vec<Met>,
}

/// What some ports meet alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What was asked for, as far as it meets the same: `tcp/443`, `udp/5000-5099`.
    pub services: Vec<String>,
    /// What it meets, on each way that it may go.
    pub cases: Vec<Case>,
}

/// What `asked` meets on each of `paths`.
#[must_use]
pub fn explain(world: &World<'_>, asked: &Asked, paths: &[Path]) -> Vec<Answer> {
    let mut answers: Vec<(Vec<Alike>, Vec<Case>)> = Vec::new();
    for alike in told_apart(&asked.service.kinds, world.table) {
        let connection = Connection {
            from: asked.from.address,
            to: asked.to.address,
            carried: alike.first,
            dscp: asked.dscp,
        };
        let mut cases: Vec<Case> = Vec::with_capacity(paths.len());
        for path in paths {
            let case = case(world, &connection, path);
            match cases.iter_mut().find(|known| known.meets_as(&case)) {
                Some(known) => known.either_way = true,
                None => cases.push(case),
            }
        }
        let same = |(_, known): &&mut (Vec<Alike>, Vec<Case>)| {
            let mut pairs = known.iter().zip(&cases);
            known.len() == cases.len() && pairs.all(|(one, other)| one.meets_as(other))
        };
        match answers.iter_mut().find(same) {
            Some((runs, _)) => match runs.last().and_then(|last| last.and(alike)) {
                Some(both) => {
                    runs.pop();
                    runs.push(both);
                }
                None => runs.push(alike),
            },
            None => answers.push((vec![alike], cases)),
        }
    }
    let answer = |(runs, cases): (Vec<Alike>, Vec<Case>)| Answer {
        services: runs.iter().map(ToString::to_string).collect(),
        cases,
    };
    answers.into_iter().map(answer).collect()
}

fn case(world: &World<'_>, connection: &Connection, path: &Path) -> Case {
    let ends = [connection.from, connection.to];
    let requests = connection.passing(path, Which::Requests);
    let replies = connection.passing(path, Which::Replies);
    // What requests have their connection remember, replies are known by.
    let mut memories = Vec::new();
    let blocked = requests.as_ref().map(|passing| judge(world, passing, ends));
    let requests = requests.map(|passing| {
        let walk = world.table.walk(POSTROUTING, &mut passing.packet.clone());
        memories = walk.remembered;
        passage(world, passing, ends)
    });
    let replies = replies.map(|passing| {
        let packet = passing.packet.remembering(&memories);
        let passing = Passing { packet, ..passing };
        (judge(world, &passing, ends), passage(world, passing, ends))
    });
    let (answering, replies) = replies.unzip();
    let mut blocked = blocked.unwrap_or_default();
    if let Some(answering) = answering
        && blocked.rejected.is_none()
    {
        blocked.rejected = answering.rejected;
        blocked.not_held.extend(answering.not_held);
        blocked.not_held.dedup();
    }
    let mut circuits = Vec::new();
    for passage in [&requests, &replies].into_iter().flatten() {
        let devices = [&passage.arrival, &passage.departure];
        for device in devices.into_iter().flatten() {
            let circuit = circuit_of(world.policy, device).map(|circuit| circuit.name.clone());
            circuits.extend(circuit.filter(|circuit| !circuits.contains(circuit)));
        }
    }
    Case {
        requests,
        replies,
        either_way: false,
        circuits,
        rejected: blocked.rejected,
        excepted: blocked.excepted,
        not_held: blocked.not_held,
    }
}

/// What blocks do with packets: nothing with those of the host itself.
fn judge(world: &World<'_>, passing: &Passing, ends: [IpAddr; 2]) -> Blocks {
    match passing.through {
        Through::Forwarded => blocks(world, passing, ends),
        Through::Own => Blocks::default(),
    }
}

fn passage(world: &World<'_>, passing: Passing, ends: [IpAddr; 2]) -> Passage {
    let lead = |limits: Limits| {
        let mut packet: Packet = passing.packet.clone().limited(limits);
        world.table.walk(POSTROUTING, &mut packet)
    };
    let (within, beyond) = (lead(Limits::Within), lead(Limits::Beyond));
    Passage {
        classes: met::met(world, &within, &beyond, ends),
        own: passing.through == Through::Own,
        arrival: passing.arrival,
        departure: passing.departure,
    }
}

impl Case {
    /// Whether it meets the same, whichever end of it is beyond the circuit.
    fn meets_as(&self, other: &Self) -> bool {
        let classes = |case: &Self| {
            let passages = [&case.requests, &case.replies].into_iter().flatten();
            let met = passages.flat_map(|passage| passage.classes.clone());
            let mut met: Vec<_> = met.map(|met| (met.tree, met.place, met.because)).collect();
            met.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
            met
        };
        classes(self) == classes(other)
            && self.rejected == other.rejected
            && self.excepted == other.excepted
            && self.not_held == other.not_held
    }
}

impl World<'_> {
    /// What a place is given in a tree: what the kernel holds, else what the policy says.
    fn figures(
        &self,
        device: &DeviceName,
        tree: Direction,
        minor: Option<Minor>,
        key: &NodeKey,
    ) -> Option<(Rate, Rate)> {
        let held = self.held.and_then(|held| {
            let class = held.trees.get(device)?.classes.get(&minor?)?;
            Some((class.rate, class.ceil))
        });
        held.or_else(|| {
            let holding = self.desired.nodes.get(key)?;
            Some((holding.guarantee.get(tree), holding.ceiling.get(tree)))
        })
    }
}
