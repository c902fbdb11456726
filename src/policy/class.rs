//! `[class.C]`, `[rest.CIRCUIT]` and `[site.S]`.

use ipnet::IpNet;

use super::circuit::{LEAVES, leaf};
use super::cx::{Cx, Item, Table, Written};
use super::fault::At;
use super::matching::{self, MATCH};
use super::spec::{Given, Kind, Shape, Spec, may, must};
use super::value;
use crate::model::class::{Class, Priority, Rest, Site, SiteClass, SiteTerms, Terms, Weight};
use crate::model::names::CircuitName;
use crate::units::{Amount, PerDirection};

const CIRCUIT: Shape = Shape::Name(Kind::Circuit);
/// 0 is served first, 7 last.
pub(super) const PRIORITY: Shape = Shape::Integer(0, 7);
/// How spare capacity is divided.
pub(super) const WEIGHT: Shape = Shape::Integer(1, 100);

/// `[class.C]`
pub(super) static CLASS: Spec = Spec {
    doc: "Traffic of one kind on a circuit",
    given: Given::Any,
    keys: &[
        must("circuit", CIRCUIT, "the circuit on which it has its place"),
        must(
            "match",
            Shape::List(&Shape::Table(&MATCH)),
            "what belongs to it",
        ),
        may("guarantee", Shape::Amounts, "what it has for certain"),
        may("ceiling", Shape::Amounts, "what it never goes beyond"),
        may("priority", PRIORITY, "who is served first"),
        may("weight", WEIGHT, "how spare capacity is divided"),
        may("leaf", LEAVES, "where its packets wait"),
    ],
};

/// `[site.S.class.C]`
static INNER: Spec = Spec {
    doc: "A class inside a site's tail",
    given: Given::Any,
    keys: &[
        must(
            "match",
            Shape::List(&Shape::Table(&MATCH)),
            "what belongs to it",
        ),
        may("guarantee", Shape::Amounts, "what it has for certain"),
        may("ceiling", Shape::Amounts, "what it never goes beyond"),
        may("priority", PRIORITY, "who is served first"),
        may("weight", WEIGHT, "how spare capacity is divided"),
        may("leaf", LEAVES, "where its packets wait"),
    ],
};

/// `[rest.CIRCUIT]`
pub(super) static REST: Spec = Spec {
    doc: "The IP traffic of a circuit that matches nothing",
    given: Given::Any,
    keys: &[
        may("guarantee", Shape::Amounts, "what it has for certain"),
        may("ceiling", Shape::Amounts, "what it never goes beyond"),
        may("priority", PRIORITY, "who is served first"),
    ],
};

/// `[site.S]`
pub(super) static SITE: Spec = Spec {
    doc: "A branch behind a circuit, held to its own tail capacity",
    given: Given::Any,
    keys: &[
        must("circuit", CIRCUIT, "the circuit behind which it lies"),
        must(
            "prefixes",
            Shape::List(&Shape::Prefix),
            "the addresses by which it is known",
        ),
        must("capacity", Shape::Rates, "what its tail carries"),
        may("guarantee", Shape::Amounts, "what it has for certain"),
        may("priority", PRIORITY, "who is served first"),
        may(
            "class",
            Shape::Map(Kind::Class, &Shape::Table(&INNER)),
            "classes inside its tail",
        ),
    ],
};

/// A priority, where it is given and good.
pub(super) fn priority<'t>(cx: &mut Cx<'t>, table: &Table<'t>) -> Option<Priority> {
    let item = table.get("priority")?;
    let priority = cx.integer(item)?;
    u8::try_from(priority).ok()?.try_into().ok()
}

/// A weight, where it is given and good.
pub(super) fn weight<'t>(cx: &mut Cx<'t>, item: Option<Item<'t>>) -> Option<Weight> {
    let weight = cx.integer(item?)?;
    u8::try_from(weight).ok()?.try_into().ok()
}

/// What a class is promised: the keys given, and `default` for the others.
fn terms<'t>(cx: &mut Cx<'t>, table: &Table<'t>, default: Terms) -> Terms {
    let mut amounts = |name| table.get(name).and_then(|item| value::amounts(cx, item));
    let (guarantee, ceiling) = (amounts("guarantee"), amounts("ceiling"));
    Terms {
        guarantee: guarantee.unwrap_or(default.guarantee),
        ceiling: ceiling.unwrap_or(default.ceiling),
        priority: priority(cx, table).unwrap_or(default.priority),
        weight: weight(cx, table.get("weight")).unwrap_or(default.weight),
        leaf: leaf(cx, table).or(default.leaf),
    }
}

/// Reads a class.
pub(super) fn class<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Written<'t, Class>> {
    cx.written(item, Kind::Class, &CLASS, |cx, table| {
        let circuit = table
            .get("circuit")
            .and_then(|item| cx.refer::<CircuitName>(item, Kind::Circuit));
        let matches = matching::matches(cx, table.get("match"));
        let terms = terms(cx, table, Terms::CLASS);
        Some(Class {
            name: item.name.parse().ok()?,
            circuit: circuit?,
            matches,
            terms,
            origin: cx.origin(table.at),
        })
    })
}

/// Reads the rest of a circuit.
pub(super) fn rest<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Written<'t, Rest>> {
    cx.written(item, Kind::Rest, &REST, |cx, table| {
        let circuit = cx.refer_text(table.at, item.name, Kind::Circuit);
        let terms = terms(cx, table, Terms::REST);
        Some(Rest {
            circuit: circuit?,
            terms,
            origin: Some(cx.origin(table.at)),
        })
    })
}

/// A site, with the places of its prefixes.
pub(super) type WrittenSite<'t> = (Written<'t, Site>, Vec<(IpNet, At)>);

/// Reads a site.
pub(super) fn site<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<WrittenSite<'t>> {
    let mut places = Vec::new();
    let site = cx.written(item, Kind::Site, &SITE, |cx, table| {
        let circuit = table
            .get("circuit")
            .and_then(|item| cx.refer::<CircuitName>(item, Kind::Circuit));
        places = table
            .get("prefixes")
            .map_or_else(Vec::new, |item| matching::placed(cx, item));
        let capacity = table
            .get("capacity")
            .and_then(|item| value::rates(cx, item));
        let guarantee = table
            .get("guarantee")
            .and_then(|item| value::amounts(cx, item));
        let priority = priority(cx, table).unwrap_or(Priority::DEFAULT);
        let classes = table
            .get("class")
            .map_or_else(Vec::new, |item| cx.entries(item));
        let classes = classes
            .into_iter()
            .filter_map(|inner| site_class(cx, item.name, inner))
            .collect();
        let default = PerDirection::both(Amount::Fixed(crate::model::class::DEFAULT_GUARANTEE));
        Some(Site {
            name: item.name.parse().ok()?,
            circuit: circuit?,
            prefixes: places.iter().map(|(prefix, _)| *prefix).collect(),
            terms: SiteTerms {
                capacity: capacity?,
                guarantee: guarantee.unwrap_or(default),
                priority,
            },
            classes,
            origin: cx.origin(table.at),
        })
    })?;
    Some((site, places))
}

fn site_class<'t>(cx: &mut Cx<'t>, site: &str, item: Item<'t>) -> Option<SiteClass> {
    let name = super::root::name(cx, Kind::Class, item).and_then(|()| item.name.parse().ok());
    let who = format!("class `{}` of site `{site}`", super::cx::shorten(item.name));
    let table = cx.table(item, &INNER, who)?;
    let matches = matching::matches(cx, table.get("match"));
    let terms = terms(cx, &table, Terms::CLASS);
    Some(SiteClass {
        name: name?,
        matches,
        terms,
        origin: cx.origin(table.at),
    })
}
