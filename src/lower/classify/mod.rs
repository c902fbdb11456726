//! Which class a packet belongs to: a policy → the packet filter's table.
//!
//! What leaves a circuit's device goes to the circuit's chains, and there first to control, where the
//! host itself sent it, then to its site, by destination, then to the first class that fits, then to
//! the rest. Each place that holds packets has a chain of its own, which does nothing but set the class,
//! as a constant: nft 1.0.6 cannot look one up and set it. Verdict maps lead there, so that a packet
//! costs the same few look-ups however many sites there are.
//!
//! All this is at postrouting before source translation (`mangle` comes before `srcnat`), and classes are about
//! connections as they were opened: so addresses are those that the policy speaks of, and replies fit as they stand.
//! A site is looked up by the packet's destination, which is translated by then, where it is at all.
//!
//! What came over a circuit and leaves by another device is shaped on the way there, in one tree for all
//! circuits, and finds its class in it by our bits of its mark. Those are written as late as may be: rules of others
//! that compare whole marks, one by which `srcnat` masquerades say, find theirs there. Nothing is control, for
//! nothing that is forwarded is; sites are looked up by who opened the connection or, of a reply, who answers in it, since the
//! packet's own source is translated by then. What the host itself sends, the packets that
//! carry a tunnel's among it, did not come over a circuit: its connections are known from before. Bits of
//! ours that a packet brings along (a mark restored from its connection, a program's own) are cleared where they would lead to
//! that tree, and nowhere else.
//!
//! Every table asks about connections, however few classes it has, so tracking is on from the first load: else a block that comes
//! later would not know those that are open already.

mod block;
mod place;
mod remember;
mod rules;
mod sites;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::model::circuit::MarkMask;
use crate::model::desired::Hold;
use crate::model::filter::{
    Action, Chain, ChainRole, Element, Field, Hook, LookupKey, MapKind, MapName, Rule, Table,
    Values, Verdict, VerdictMap,
};
use crate::model::ids::Ids;
use crate::model::names::{BlockName, DeviceName};
use crate::model::node::NodeKey;
use crate::policy::Policy;
use place::{Side, Target};

pub use rules::{BlockRules, CircuitRules, ClassRules, Classifier, SiteRules};

/// Why packets cannot be put into the classes of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClassifyError {
    /// A place without a class id: ids were not assigned for this policy.
    #[error("no class id is assigned to {key}")]
    NoMinor {
        /// The place.
        key: NodeKey,
    },
    /// A device without a handle.
    #[error("no qdisc handle is assigned to {device}")]
    NoMajor {
        /// The device.
        device: DeviceName,
    },
    /// A number that our bits of a mark cannot say.
    #[error(
        "the class id {minor:x} of {key} does not fit into the bits of packet marks that are ours, {:#010x}",
        mask.bits()
    )]
    MinorBeyondMask {
        /// The place.
        key: NodeKey,
        /// Its number.
        minor: u16,
        /// Our bits.
        mask: MarkMask,
    },
}

/// The table that puts packets into the classes of `policy`, numbered by `ids`, and rejects what `blocks` are about.
///
/// # Errors
/// Where a place of the policy has no number in `ids`, or our bits of marks are too few.
pub fn table(
    policy: &Policy,
    blocks: &BTreeMap<BlockName, Hold>,
    ids: &Ids,
) -> Result<Table, ClassifyError> {
    Classifier::of(policy).blocking(policy, blocks).table(ids)
}

/// The table with `blocks` and nothing else, which needs no device and no number: for a host on its way up.
///
/// Its chains and counters are those that [`table`] has for the same blocks, so that on the way there they stay as they
/// are. Where none holds, it is empty.
#[must_use]
pub fn blocks_alone(policy: &Policy, blocks: &BTreeMap<BlockName, Hold>) -> Table {
    let rules = Classifier::default().blocking(policy, blocks);
    let mut table = Table::default();
    block::add(&rules.blocks, &mut table);
    table.name_by_content();
    table
}

impl Classifier {
    /// The table, numbered by `ids`.
    ///
    /// # Errors
    /// Where a place has no number in `ids`, or our bits of marks are too few.
    pub fn table(&self, ids: &Ids) -> Result<Table, ClassifyError> {
        let mut table = Table::default();
        let mut departures = BTreeMap::new();
        let mut arrivals = BTreeMap::new();
        let mut cleared = BTreeMap::new();
        for circuit in &self.circuits {
            let major = ids
                .major(&circuit.tree)
                .ok_or_else(|| ClassifyError::NoMajor {
                    device: circuit.tree.clone(),
                })?;
            let up = ChainRole::Up(circuit.name.clone()).name();
            for device in circuit.names() {
                let element = Element::Device(device.clone());
                departures.insert(element, Verdict::Goto(up.clone()));
            }
            let (mask, name) = (self.mask, &circuit.name);
            Side::new(name, Target::Class(major), mask, ids, &mut table).up(circuit)?;

            let others = self.departures_beside(circuit);
            if others.is_empty() {
                continue;
            }
            Side::new(name, Target::Mark, mask, ids, &mut table).down(circuit)?;
            let unmark = Verdict::Jump(ChainRole::Unmark.name());
            for departure in &others {
                let element = Element::Device((*departure).clone());
                cleared.insert(element, unmark.clone());
            }
            let down = ChainRole::Down(circuit.name.clone()).name();
            for arrival in circuit.names() {
                for departure in &others {
                    let element = Element::Pair(arrival.clone(), (*departure).clone());
                    arrivals.insert(element, Verdict::Jump(down.clone()));
                }
            }
        }
        let maps = [
            (MapName::arrivals(), MapKind::Pair, arrivals),
            (MapName::circuits(), MapKind::Device, departures),
            (MapName::departures(), MapKind::Device, cleared),
        ];
        for (name, kind, elements) in maps {
            table.maps.insert(name, VerdictMap { kind, elements });
        }
        self.remember(&mut table);
        let leaving = [
            tracking(),
            Rule::always(Action::Lookup(LookupKey::Arrival, MapName::origins())),
            Rule::always(Action::Lookup(LookupKey::Device, MapName::circuits())),
        ];
        let marking = [
            foreign_bits(self.mask),
            Rule::always(Action::Lookup(LookupKey::Pair, MapName::arrivals())),
        ];
        let unmark = [Rule::always(Action::Unmark(self.mask))];
        for (role, rules, priority) in [
            (
                ChainRole::Leaving,
                &leaving[..],
                Some(BEFORE_SOURCE_TRANSLATION),
            ),
            (ChainRole::Marking, &marking, Some(AFTER_THE_OTHERS)),
            (ChainRole::Unmark, &unmark, None),
        ] {
            let mut chain = Chain::of(rules.iter().cloned());
            chain.hook = priority.map(|priority| Hook {
                kind: "filter".to_owned(),
                point: "postrouting".to_owned(),
                priority,
                policy: "accept".to_owned(),
            });
            table.chains.insert(role.name(), chain);
        }
        block::add(&self.blocks, &mut table);
        table.name_by_content();
        Ok(table)
    }

    /// The devices other than the circuit's own by which packets may go on that came over it.
    fn departures_beside(&self, circuit: &CircuitRules) -> BTreeSet<&DeviceName> {
        let others = self
            .circuits
            .iter()
            .filter(|other| other.name != circuit.name);
        self.inside
            .iter()
            .chain(others.flat_map(CircuitRules::names))
            .collect()
    }
}

/// `mangle`, in nft's words; `srcnat` is 100.
const BEFORE_SOURCE_TRANSLATION: i32 = -150;
/// Later than `srcnat`, too.
const AFTER_THE_OTHERS: i32 = 300;

/// `ct state` of packets that belong to no connection: invalid, untracked.
const NO_CONNECTION: [u128; 2] = [1, 64];

/// Does nothing with a packet; but the kernel tracks connections where any rule asks for one.
fn tracking() -> Rule {
    Rule::new(
        [(Field::State, Values::of([NO_CONNECTION[0]]))],
        None,
        Action::Continue,
    )
}

/// Clears our bits where somebody else set any of them, and they would lead the packet to a class: what is not
/// ours stays, and so do theirs where they mean nothing to us.
fn foreign_bits(mask: MarkMask) -> Rule {
    let field = Field::Mark(mask);
    let any = Values::all_but(field.kind(), 0);
    let departures = Action::Lookup(LookupKey::Device, MapName::departures());
    Rule::new([(field, any)], None, departures)
}
