//! What connections remember.
//!
//! A class that goes by code points holds for replies too, and those often come back without. So the connection
//! remembers what the packets of who opened it carried. It is the point and not a class: a connection may have
//! classes on two circuits, and the classes may change while it lasts. Nothing is ever forgotten: a reply is of the
//! first class of which its request carried the point at any time.
//!
//! And it remembers whether this host itself is one of its ends, by the source of what leaves: once that may have been translated, nothing
//! else tells the packet that carries a tunnel's, which has the tunnel for the device it came in by, from one
//! that came over the tunnel.
//!
//! Only connections that come or go by a circuit do. What came is asked wherever it goes, for its replies leave by the
//! circuit even where it is not shaped itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{Classifier, NO_CONNECTION};
use crate::lower::classify::CircuitRules;
use crate::lower::control::LOCAL;
use crate::lower::criteria::OPENER;
use crate::model::class::{Dscp, Match};
use crate::model::filter::{
    Action, Chain, ChainRole, Element, Field, MapKind, MapName, Memory, Rule, Table, Values,
    Verdict, VerdictMap,
};

/// The code point's field in a header of each family.
const FAMILIES: [Field; 2] = [Field::Dscp4, Field::Dscp6];

/// All code points that classes of a circuit go by.
fn points(circuit: &CircuitRules) -> BTreeSet<Dscp> {
    let inner = circuit.sites.iter().flat_map(|site| &site.classes);
    let matches = inner
        .chain(&circuit.classes)
        .flat_map(|class| &class.matches);
    matches.flat_map(|one: &Match| one.dscp.clone()).collect()
}

/// The rules that lead to where a code point is remembered, where classes of the circuit go by any: one for each
/// family, so that packets without such a point cost no more than two.
pub(super) fn request(circuit: &CircuitRules) -> Vec<Rule> {
    let points = points(circuit);
    if points.is_empty() {
        return Vec::new();
    }
    let asked = || Values::of(points.iter().map(|point| u128::from(point.get())));
    FAMILIES
        .map(|field| {
            let opener = (Field::Direction, Values::of([OPENER]));
            let name = ChainRole::Remember.name();
            Rule::new([opener, (field, asked())], None, Action::Jump(name))
        })
        .into()
}

/// Ends a chain for what the host itself sends: it came from nowhere, whatever device it shows.
pub(super) fn not_arrived() -> [Rule; 2] {
    let own = Values::of([Memory::Own.label().into()]);
    let local = (Field::SourceType, Values::of([LOCAL]));
    let stateless = (Field::State, Values::of(NO_CONNECTION));
    [
        Rule::new([(Field::Label, own)], None, Action::Return),
        Rule::new([stateless, local], None, Action::Return),
    ]
}

impl Classifier {
    /// Makes the chains that remember, and the map that leads what came over circuits there.
    pub(super) fn remember(&self, table: &mut Table) {
        let all: BTreeSet<Dscp> = self.circuits.iter().flat_map(points).collect();
        if !all.is_empty() {
            let rules = all.iter().flat_map(|point| {
                FAMILIES.map(|field| {
                    let criteria = [(field, Values::of([point.get().into()]))];
                    Rule::new(criteria, None, Action::Remember(Memory::Dscp(*point)))
                })
            });
            let name = ChainRole::Remember.name();
            table.chains.insert(name, Chain::of(rules));
        }
        let mut elements = BTreeMap::new();
        for circuit in &self.circuits {
            let mut rules = self.own(circuit);
            rules.extend(request(circuit));
            if rules.is_empty() {
                continue;
            }
            let name = ChainRole::Arrived(circuit.name.clone()).name();
            for device in circuit.names() {
                let element = Element::Device(device.clone());
                elements.insert(element, Verdict::Jump(name.clone()));
            }
            table.chains.insert(name, Chain::of(rules));
        }
        let kind = MapKind::Device;
        let map = VerdictMap { kind, elements };
        table.maps.insert(MapName::origins(), map);
    }

    /// The rules by which connections of the host itself are known later, where any packet of the circuit is
    /// told apart then. Addresses in a VRF, the device of which is one of a circuit's further names, are local there alone.
    fn own(&self, circuit: &CircuitRules) -> Vec<Rule> {
        if self.departures_beside(circuit).is_empty() {
            return Vec::new();
        }
        let named = self.circuits.iter().any(|other| !other.also.is_empty());
        let fields = [
            Some(Field::SourceType),
            named.then_some(Field::SourceTypeThere),
        ];
        let local = fields.into_iter().flatten();
        local
            .map(|field| {
                let criteria = [(field, Values::of([LOCAL]))];
                Rule::new(criteria, None, Action::Remember(Memory::Own))
            })
            .collect()
    }
}
