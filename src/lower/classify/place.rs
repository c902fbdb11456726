//! The chains of one circuit for packets of one direction.

use std::collections::BTreeMap;
use std::mem;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{CircuitRules, ClassRules, ClassifyError, NO_CONNECTION, SiteRules, remember, sites};
use crate::lower::control;
use crate::lower::criteria::criteria_of;
use crate::model::circuit::MarkMask;
use crate::model::filter::{
    Action, Chain, ChainName, ChainRole, Field, Rule, Slot, Table, Values, note_of,
};
use crate::model::ids::{Ids, InOrder};
use crate::model::names::CircuitName;
use crate::model::node::{NodeKey, Place};
use crate::model::state::{ClassId, Major};
use crate::units::Direction;

/// By what packets are put into classes.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// What leaves over the circuit: by the priority, in the tree with this handle.
    Class(Major),
    /// What came over it: by our bits of the mark.
    Mark,
}

impl Target {
    const fn direction(self) -> Direction {
        match self {
            Self::Class(_) => Direction::Up,
            Self::Mark => Direction::Down,
        }
    }
}

/// The making of one circuit's chains for packets of one direction.
pub(super) struct Side<'a> {
    circuit: &'a CircuitName,
    target: Target,
    mask: MarkMask,
    minors: InOrder<'a>,
    table: &'a mut Table,
    /// Made, and not in the table yet: thousands are put in order at once.
    chains: Vec<(ChainName, Chain)>,
}

impl<'a> Side<'a> {
    pub(super) fn new(
        circuit: &'a CircuitName,
        target: Target,
        mask: MarkMask,
        ids: &'a Ids,
        table: &'a mut Table,
    ) -> Self {
        Self {
            circuit,
            target,
            mask,
            minors: ids.in_order(),
            table,
            chains: Vec::new(),
        }
    }

    /// For what leaves over the circuit: control goes before all else.
    pub(super) fn up(&mut self, rules: &CircuitRules) -> Result<(), ClassifyError> {
        let control = self.class(Place::Control)?;
        let traffic = ChainRole::Traffic(self.circuit.clone()).name();
        let own = ChainRole::Own(self.circuit.clone()).name();
        let note = self.note(Place::Circuit)?;
        let named = !rules.also.is_empty();
        let entry = remember::request(rules)
            .into_iter()
            .chain(control::own_packets(&own, named))
            .chain([Rule::always(Action::Goto(traffic.clone())).noted(Some(note))]);
        self.add(ChainRole::Up(self.circuit.clone()).name(), Chain::of(entry));
        for (name, chain) in control::chains(self.circuit, &control, &traffic) {
            self.add(name, chain);
        }
        let (mut lines, classes) = self.traffic(rules)?;
        lines.push(Rule::always(Action::Goto(classes)));
        self.add(traffic, Chain::of(lines));
        self.finish();
        Ok(())
    }

    /// For what came over the circuit and goes on.
    pub(super) fn down(&mut self, rules: &CircuitRules) -> Result<(), ClassifyError> {
        let note = self.note(Place::Circuit)?;
        let (sites, classes) = self.traffic(rules)?;
        let mut lines: Vec<Rule> = remember::not_arrived().into();
        lines.extend(sites);
        lines.push(Rule::always(Action::Goto(classes)).noted(Some(note)));
        let name = ChainRole::Down(self.circuit.clone()).name();
        self.add(name, Chain::of(lines));
        self.finish();
        Ok(())
    }

    /// Puts the chains into the table.
    fn finish(&mut self) {
        let mut chains: BTreeMap<_, _> = mem::take(&mut self.chains).into_iter().collect();
        self.table.chains.append(&mut chains);
    }

    /// Makes the chains of sites and classes, and gives back the rules that lead to the sites, and the chain
    /// for what is of none.
    fn traffic(&mut self, rules: &CircuitRules) -> Result<(Vec<Rule>, ChainName), ClassifyError> {
        let rest = self.class(Place::Rest)?;
        let sites = self.sites(&rules.sites)?;
        let mut classes = vec![no_connection(&rest)];
        for class in &rules.classes {
            let chain = self.class(Place::Class(class.name.clone()))?;
            classes.extend(class_rules(class, &chain));
        }
        classes.push(Rule::always(Action::Goto(rest)));
        Ok((sites, self.classes(Place::Circuit, classes)))
    }

    /// Makes the chains and maps of sites, and gives back the rules that lead there.
    fn sites(&mut self, sites: &[SiteRules]) -> Result<Vec<Rule>, ClassifyError> {
        let mut prefixes4 = Vec::with_capacity(sites.len());
        let mut prefixes6 = Vec::new();
        self.chains.reserve(sites.len());
        for site in sites {
            let chain = self.site(site)?;
            let (four, six) = by_family(&site.prefixes);
            prefixes4.extend(four.into_iter().map(|prefix| (prefix, chain.clone())));
            prefixes6.extend(six.into_iter().map(|prefix| (prefix, chain.clone())));
        }
        let direction = self.target.direction();
        let mut rules = sites::add(self.circuit, direction, prefixes4, self.table);
        rules.extend(sites::add(self.circuit, direction, prefixes6, self.table));
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
        let name = self.name(self.key(place));
        self.add(name.clone(), Chain::of([entry]));
        Ok(name)
    }

    /// Makes the chain of a place's classes; it is named when all is there.
    fn classes(&mut self, of: Place, rules: Vec<Rule>) -> ChainName {
        let of = self.key(of);
        let name = ChainRole::Classes {
            of,
            direction: self.target.direction(),
            digest: 0,
        }
        .name();
        self.add(name.clone(), Chain::of(rules));
        name
    }

    /// Makes the chain that puts packets into the class of `place`.
    fn class(&mut self, place: Place) -> Result<ChainName, ClassifyError> {
        let key = self.key(place);
        let action = match self.slot(&key)? {
            Slot::Class(id) => Action::Priority(id),
            Slot::Mark(minor) => Action::Mark {
                mask: self.mask,
                minor,
            },
        };
        let name = self.name(key);
        let chain = Chain::of([Rule::always(action)]);
        self.add(name.clone(), chain);
        Ok(name)
    }

    fn add(&mut self, name: ChainName, chain: Chain) {
        self.chains.push((name, chain));
    }

    fn key(&self, place: Place) -> NodeKey {
        NodeKey::new(self.circuit.clone(), place)
    }

    fn name(&self, of: NodeKey) -> ChainName {
        ChainRole::Place(of, self.target.direction()).name()
    }

    fn slot(&mut self, key: &NodeKey) -> Result<Slot, ClassifyError> {
        let Some(minor) = self.minors.minor(key) else {
            return Err(ClassifyError::NoMinor { key: key.clone() });
        };
        match self.target {
            Target::Class(major) => Ok(Slot::Class(ClassId { major, minor })),
            Target::Mark if u32::from(minor.get()) <= self.mask.most() => Ok(Slot::Mark(minor)),
            Target::Mark => Err(ClassifyError::MinorBeyondMask {
                key: key.clone(),
                minor: minor.get(),
                mask: self.mask,
            }),
        }
    }

    fn note(&mut self, place: Place) -> Result<String, ClassifyError> {
        let key = self.key(place);
        Ok(note_of(&key, self.slot(&key)?))
    }
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
    // Most sites have one of each, if any.
    if prefixes4.len() > 1 {
        prefixes4 = Ipv4Net::aggregate(&prefixes4);
    }
    if prefixes6.len() > 1 {
        prefixes6 = Ipv6Net::aggregate(&prefixes6);
    }
    (prefixes4, prefixes6)
}
