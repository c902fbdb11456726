//! Which class a packet belongs to: a policy → the packet filter's table.
//!
//! What leaves a circuit's device goes to the circuit's chains, and there first to control, where the
//! host itself sent it, then to its site, by destination, then to the first class that fits, then to
//! the rest. Each place that holds packets has a chain of its own, which does nothing but set the class,
//! as a constant: nft 1.0.6 cannot look one up and set it. Verdict maps lead there, so that a packet
//! costs the same few look-ups however many sites there are.
//!
//! It happens at postrouting, before source translation (`mangle` comes before `srcnat`), and classes
//! are about connections as they were opened: so addresses are those that the policy speaks of, and
//! replies fit as they stand. Sites are by the address of the packet, which at this point is the site's own.
//!
//! Every table asks about connections, however few classes it has, so tracking is on from the first load: else a block that comes
//! later would not know those that are open already.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;

use super::control;
use super::criteria::criteria_of;
use crate::model::class::Match;
use crate::model::filter::{
    Action, Chain, ChainName, ChainRole, Element, Field, Hook, LookupKey, MapKind, MapName, Range,
    Rule, Table, Values, Verdict, VerdictMap, note_of,
};
use crate::model::ids::Ids;
use crate::model::names::{CircuitName, ClassName, DeviceName, SiteName};
use crate::model::node::{NodeKey, Place};
use crate::model::state::{ClassId, Major};
use crate::policy::Policy;

/// A place or device that has no number: ids were not assigned for this policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClassifyError {
    /// A place without a class id.
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
}

/// The table that puts packets into the classes of `policy`, numbered by `ids`.
///
/// # Errors
/// Where a place of the policy has no number in `ids`.
pub fn table(policy: &Policy, ids: &Ids) -> Result<Table, ClassifyError> {
    Classifier::of(policy).table(ids)
}

/// What a policy says about which packet belongs where, without what is promised to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classifier {
    /// The circuits.
    pub circuits: Vec<CircuitRules>,
}

/// The rules of one circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitRules {
    /// Its name.
    pub name: CircuitName,
    /// The device behind which it lies.
    pub device: DeviceName,
    /// Its sites; their prefixes do not overlap.
    pub sites: Vec<SiteRules>,
    /// Its classes, in the order in which they match.
    pub classes: Vec<ClassRules>,
}

/// The rules of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRules {
    /// Its name.
    pub name: SiteName,
    /// Its addresses.
    pub prefixes: Vec<IpNet>,
    /// Its classes, in the order in which they match.
    pub classes: Vec<ClassRules>,
}

/// The rules of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassRules {
    /// Its name.
    pub name: ClassName,
    /// What belongs to it: any of these.
    pub matches: Vec<Match>,
}

impl Classifier {
    /// The rules of `policy`.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let circuit = |circuit: &crate::model::circuit::Circuit| CircuitRules {
            name: circuit.name.clone(),
            device: circuit.device.clone(),
            sites: policy
                .sites()
                .values()
                .filter(|site| site.circuit == circuit.name)
                .map(|site| SiteRules {
                    name: site.name.clone(),
                    prefixes: site.prefixes.clone(),
                    classes: site
                        .classes
                        .iter()
                        .map(|class| ClassRules {
                            name: class.name.clone(),
                            matches: class.matches.clone(),
                        })
                        .collect(),
                })
                .collect(),
            classes: policy
                .classes()
                .iter()
                .filter(|class| class.circuit == circuit.name)
                .map(|class| ClassRules {
                    name: class.name.clone(),
                    matches: class.matches.clone(),
                })
                .collect(),
        };
        Self {
            circuits: policy.circuits().values().map(circuit).collect(),
        }
    }

    /// The table, numbered by `ids`.
    ///
    /// # Errors
    /// Where a place has no number in `ids`.
    pub fn table(&self, ids: &Ids) -> Result<Table, ClassifyError> {
        let mut table = Table::default();
        let mut devices = BTreeMap::new();
        for circuit in &self.circuits {
            let major = ids
                .major(&circuit.device)
                .ok_or_else(|| ClassifyError::NoMajor {
                    device: circuit.device.clone(),
                })?;
            let up = ChainRole::Up(circuit.name.clone()).name();
            devices.insert(Element::Device(circuit.device.clone()), Verdict::Goto(up));
            Upward {
                circuit: &circuit.name,
                major,
                ids,
                table: &mut table,
            }
            .circuit(circuit)?;
        }
        let circuits = MapName::circuits();
        let mut leaving = Chain::of([
            tracking(),
            Rule::always(Action::Lookup(LookupKey::Device, circuits.clone())),
        ]);
        leaving.hook = Some(Hook {
            kind: "filter".to_owned(),
            point: "postrouting".to_owned(),
            priority: BEFORE_SOURCE_TRANSLATION,
            policy: "accept".to_owned(),
        });
        table.chains.insert(ChainRole::Leaving.name(), leaving);
        table.maps.insert(
            circuits,
            VerdictMap {
                kind: MapKind::Device,
                elements: devices,
            },
        );
        table.name_by_content();
        Ok(table)
    }
}

/// `mangle`, in nft's words; `srcnat` is 100.
const BEFORE_SOURCE_TRANSLATION: i32 = -150;

/// `ct state` of packets that belong to no connection: invalid, untracked.
const NO_CONNECTION: [u128; 2] = [1, 64];

/// The making of one circuit's chains.
struct Upward<'a> {
    circuit: &'a CircuitName,
    major: Major,
    ids: &'a Ids,
    table: &'a mut Table,
}

impl Upward<'_> {
    fn circuit(&mut self, rules: &CircuitRules) -> Result<(), ClassifyError> {
        let control = self.class(Place::Control)?;
        let rest = self.class(Place::Rest)?;
        let traffic = ChainRole::Traffic(self.circuit.clone()).name();

        let own = ChainRole::Own(self.circuit.clone()).name();
        let entry = control::own_packets(&own)
            .into_iter()
            .chain([
                Rule::always(Action::Goto(traffic.clone())).noted(Some(self.note(Place::Circuit)?))
            ]);
        self.add(ChainRole::Up(self.circuit.clone()).name(), Chain::of(entry));
        for (name, chain) in control::chains(self.circuit, &control, &traffic) {
            self.add(name, chain);
        }

        let mut lines = self.sites(&rules.sites)?;
        let mut classes = vec![no_connection(&rest)];
        for class in &rules.classes {
            let chain = self.class(Place::Class(class.name.clone()))?;
            classes.extend(class_rules(class, &chain));
        }
        classes.push(Rule::always(Action::Goto(rest)));
        let classes = self.classes(Place::Circuit, classes);
        lines.push(Rule::always(Action::Goto(classes)));
        self.add(traffic, Chain::of(lines));
        Ok(())
    }

    /// Makes the chains and maps of sites, and gives back the rules that lead there.
    fn sites(&mut self, sites: &[SiteRules]) -> Result<Vec<Rule>, ClassifyError> {
        let mut elements4 = BTreeMap::new();
        let mut elements6 = BTreeMap::new();
        for site in sites {
            let chain = self.site(site)?;
            let (prefixes4, prefixes6) = by_family(&site.prefixes);
            for prefix in prefixes4 {
                let key = Element::Addresses4(Range::of_prefix(&prefix.into()));
                elements4.insert(key, Verdict::Goto(chain.clone()));
            }
            for prefix in prefixes6 {
                let key = Element::Addresses6(Range::of_prefix(&prefix.into()));
                elements6.insert(key, Verdict::Goto(chain.clone()));
            }
        }
        let mut rules = Vec::new();
        for (key, name, elements) in [
            (
                LookupKey::Destination4,
                MapName::sites4(self.circuit),
                elements4,
            ),
            (
                LookupKey::Destination6,
                MapName::sites6(self.circuit),
                elements6,
            ),
        ] {
            if !elements.is_empty() {
                rules.push(Rule::always(Action::Lookup(key, name.clone())));
                let kind = key.kind();
                self.table.maps.insert(name, VerdictMap { kind, elements });
            }
        }
        Ok(rules)
    }

    fn site(&mut self, site: &SiteRules) -> Result<ChainName, ClassifyError> {
        let place = Place::Site(site.name.clone());
        if site.classes.is_empty() {
            return self.class(place);
        }
        let rest = self.class(Place::SiteRest(site.name.clone()))?;
        let mut lines = vec![no_connection(&rest)];
        for class in &site.classes {
            let place = Place::SiteClass(site.name.clone(), class.name.clone());
            let chain = self.class(place)?;
            lines.extend(class_rules(class, &chain));
        }
        lines.push(Rule::always(Action::Goto(rest)));
        let classes = self.classes(place.clone(), lines);
        let entry = Rule::always(Action::Goto(classes)).noted(Some(self.note(place.clone())?));
        let name = ChainRole::Place(self.key(place)).name();
        self.add(name.clone(), Chain::of([entry]));
        Ok(name)
    }

    /// Makes the chain of a place's classes; it is named when all is there.
    fn classes(&mut self, of: Place, rules: Vec<Rule>) -> ChainName {
        let of = self.key(of);
        let name = ChainRole::Classes { of, digest: 0 }.name();
        self.add(name.clone(), Chain::of(rules));
        name
    }

    /// Makes the chain that puts packets into the class of `place`.
    fn class(&mut self, place: Place) -> Result<ChainName, ClassifyError> {
        let id = self.id(&place)?;
        let name = ChainRole::Place(self.key(place)).name();
        let chain = Chain::of([Rule::always(Action::Priority(id))]);
        self.add(name.clone(), chain);
        Ok(name)
    }

    fn add(&mut self, name: ChainName, chain: Chain) {
        self.table.chains.insert(name, chain);
    }

    fn key(&self, place: Place) -> NodeKey {
        NodeKey::new(self.circuit.clone(), place)
    }

    fn id(&self, place: &Place) -> Result<ClassId, ClassifyError> {
        let key = self.key(place.clone());
        let minor = self.ids.minor(&key).ok_or(ClassifyError::NoMinor { key })?;
        Ok(ClassId {
            major: self.major,
            minor,
        })
    }

    fn note(&self, place: Place) -> Result<String, ClassifyError> {
        let id = self.id(&place)?;
        Ok(note_of(&self.key(place), id))
    }
}

/// Does nothing with a packet; but the kernel tracks connections where any rule asks for one.
fn tracking() -> Rule {
    Rule::new(
        [(Field::State, Values::of([NO_CONNECTION[0]]))],
        None,
        Action::Continue,
    )
}

/// What is in no connection goes to the rest: rules about connections do not speak of it.
fn no_connection(rest: &ChainName) -> Rule {
    Rule::new(
        [(Field::State, Values::of(NO_CONNECTION))],
        None,
        Action::Goto(rest.clone()),
    )
}

/// The rules that lead to the chain of `class`.
fn class_rules(class: &ClassRules, chain: &ChainName) -> Vec<Rule> {
    class
        .matches
        .iter()
        .flat_map(criteria_of)
        .map(|criteria| Rule::new(criteria, None, Action::Goto(chain.clone())))
        .collect()
}

/// The prefixes of each family, as few as will do: a map's elements may not overlap.
fn by_family(prefixes: &[IpNet]) -> (Vec<Ipv4Net>, Vec<Ipv6Net>) {
    let mut prefixes4 = Vec::new();
    let mut prefixes6 = Vec::new();
    for prefix in prefixes {
        match prefix {
            IpNet::V4(prefix) => prefixes4.push(*prefix),
            IpNet::V6(prefix) => prefixes6.push(*prefix),
        }
    }
    (
        Ipv4Net::aggregate(&prefixes4),
        Ipv6Net::aggregate(&prefixes6),
    )
}
