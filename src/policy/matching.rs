//! Addresses, services and code points: what classes and blocks match by.

use std::net::IpAddr;

use ipnet::IpNet;

use super::cx::{Cx, Item, shorten};
use super::document::Value;
use super::fault::At;
use super::services;
use super::spec::{Given, Kind, Shape, Spec, may, must, nearest};
use crate::model::class::{Dscp, Match, PortRange};

/// `[group.G]`
pub(super) static GROUP: Spec = Spec {
    doc: "A name for a list of prefixes",
    given: Given::Any,
    keys: &[must(
        "prefixes",
        Shape::List(&Shape::Prefix),
        "the prefixes",
    )],
};

/// `[service.S]`
pub(super) static SERVICE: Spec = Spec {
    doc: "A name for a list of ports",
    given: Given::Any,
    keys: &[must("ports", Shape::List(&Shape::Ports), "the ports")],
};

/// An entry of `match`.
pub(super) static MATCH: Spec = Spec {
    doc: "One way to belong to a class: all that is given must hold",
    given: Given::Some,
    keys: &[
        may("to", Shape::List(&Shape::Prefix), "who was asked"),
        may("from", Shape::List(&Shape::Prefix), "who opened it"),
        may("service", Shape::List(&Shape::Service), "for what"),
        may("dscp", Shape::List(&Shape::Dscp), "how packets are marked"),
    ],
};

/// Reads all groups and services, so that others may refer to them.
pub(super) fn lists<'t>(cx: &mut Cx<'t>, groups: &[Item<'t>], services: &[Item<'t>]) {
    for item in groups {
        let prefixes = cx.written(*item, Kind::Group, &GROUP, |cx, table| {
            let list = table.get("prefixes")?;
            Some(cx.each(list, prefix))
        });
        if let Some(prefixes) = prefixes {
            let prefixes = prefixes.value.into_iter().map(|(prefix, _)| prefix);
            cx.groups.insert(item.name, prefixes.collect());
        }
    }
    for item in services {
        let ports = cx.written(*item, Kind::Service, &SERVICE, |cx, table| {
            if services::built_in(item.name).is_some() {
                cx.fault(table.at, format!("service `{}` is built in", item.name))
                    .help("use it without a definition, or define another name");
            }
            let list = table.get("ports")?;
            Some(cx.each(list, ports))
        });
        if let Some(ports) = ports {
            let ports = ports.value.into_iter().map(|(ports, _)| ports);
            cx.services.insert(item.name, ports.collect());
        }
    }
}

/// A prefix, or a bare address as the prefix of itself alone.
fn prefix<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<IpNet> {
    let text = cx.text(item)?;
    if text.starts_with('@') {
        cx.fault(item.at, "a group is made of prefixes, not of groups")
            .help("write the prefixes themselves");
        return None;
    }
    read_prefix(text)
        .map_err(|(message, help)| {
            cx.fault(item.at, message).help(help);
        })
        .ok()
}

fn read_prefix(text: &str) -> Result<IpNet, (String, String)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let short = shorten(text);
    let Ok(prefix) = text.parse::<IpNet>() else {
        return Err((
            format!("`{short}` is neither a prefix nor an address"),
            "write \"10.1.0.0/16\", \"192.0.2.10\", \"2001:db8::/32\" or \"@group\"".to_owned(),
        ));
    };
    if prefix != prefix.trunc() {
        return Err((
            format!("`{short}` has bits beyond its length"),
            format!(
                "write \"{}\" for the network, or \"{}\" for the one address",
                prefix.trunc(),
                prefix.addr()
            ),
        ));
    }
    Ok(prefix)
}

/// What an item of `from`, `to` or `prefixes` stands for: itself, or a group's prefixes.
pub(super) fn prefixes<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Vec<IpNet>> {
    let text = cx.text(item)?;
    if let Some(group) = text.strip_prefix('@') {
        cx.refer_text::<crate::model::names::GroupName>(item.at, group, Kind::Group)?;
        return cx.groups.get(group).cloned();
    }
    match read_prefix(text) {
        Ok(prefix) => Some(vec![prefix]),
        Err((message, help)) => {
            let help = if cx.defined(Kind::Group, text).is_some() {
                format!("a group is written with an @: \"@{text}\"")
            } else {
                help
            };
            cx.fault(item.at, message).help(help);
            None
        }
    }
}

/// The prefixes of a list, each with its place.
pub(super) fn placed<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Vec<(IpNet, At)> {
    cx.each(item, prefixes)
        .into_iter()
        .flat_map(|(prefixes, at)| prefixes.into_iter().map(move |prefix| (prefix, at)))
        .collect()
}

/// The prefixes of a list, sorted and without those that others cover: what is meant, whatever the
/// order in which it is written, and what the packet filter's interval sets take.
pub(super) fn addresses<'t>(cx: &mut Cx<'t>, item: Option<Item<'t>>) -> Vec<IpNet> {
    let mut all: Vec<IpNet> = item.map_or_else(Vec::new, |item| {
        placed(cx, item)
            .into_iter()
            .map(|(prefix, _)| prefix)
            .collect()
    });
    all.sort_unstable();
    let mut kept: Vec<IpNet> = Vec::with_capacity(all.len());
    for prefix in all {
        // In this order a prefix comes after the one that covers it, with only covered ones between.
        if !kept.last().is_some_and(|last| last.contains(&prefix)) {
            kept.push(prefix);
        }
    }
    kept
}

fn ports<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<PortRange> {
    let text = cx.text(item)?;
    services::ports(text)
        .map_err(|(message, help)| {
            cx.fault(item.at, message).help(help);
        })
        .ok()
}

fn one_service<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Vec<PortRange>> {
    let text = cx.text(item)?;
    if text.contains('/') {
        return ports(cx, item).map(|ports| vec![ports]);
    }
    if cx.defined(Kind::Service, text).is_some() {
        cx.used.insert((Kind::Service, text));
        return cx.services.get(text).cloned();
    }
    if let Some(ports) = services::built_in(text) {
        return Some(ports);
    }
    let defined = cx.names.get(&Kind::Service).into_iter().flatten();
    let known = services::SERVICES
        .iter()
        .map(|(name, _)| *name)
        .chain(defined.map(|(name, _)| *name));
    let help = match nearest(text, known) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => "define it as [service.NAME], or write ports such as \"tcp/443\"".to_owned(),
    };
    let message = format!("there is no service `{}`", shorten(text));
    cx.fault(item.at, message).help(help);
    None
}

/// The ports of a list of services, sorted, those that overlap made one.
pub(super) fn service<'t>(cx: &mut Cx<'t>, item: Option<Item<'t>>) -> Vec<PortRange> {
    let mut all: Vec<PortRange> = item.map_or_else(Vec::new, |item| {
        cx.each(item, one_service)
            .into_iter()
            .flat_map(|(ports, _)| ports)
            .collect()
    });
    all.sort_by_key(|range| (range.transport, *range.ports.start(), *range.ports.end()));
    let mut kept: Vec<PortRange> = Vec::with_capacity(all.len());
    for range in all {
        match kept.last_mut() {
            Some(last)
                if last.transport == range.transport && range.ports.start() <= last.ports.end() =>
            {
                let end = (*last.ports.end()).max(*range.ports.end());
                last.ports = *last.ports.start()..=end;
            }
            _ => kept.push(range),
        }
    }
    kept
}

fn dscp<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Dscp> {
    if matches!(item.value, Value::Integer(_)) {
        let item = Item {
            shape: Shape::Integer(0, 63),
            ..item
        };
        let point = cx.integer(item)?;
        return u8::try_from(point).ok().and_then(Dscp::new);
    }
    let text = cx.text(item)?;
    let point = services::dscp(text);
    if point.is_none() {
        let help = match nearest(text, services::dscp_names()) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => {
                "the names are ef, va, le, be, cs0 to cs7, af11 to af43; or a number from 0 to 63"
                    .to_owned()
            }
        };
        let message = format!("`{}` is no DSCP", shorten(text));
        cx.fault(item.at, message).help(help);
    }
    point
}

/// The list `match` of a class.
pub(super) fn matches<'t>(cx: &mut Cx<'t>, item: Option<Item<'t>>) -> Vec<Match> {
    let Some(item) = item else {
        return Vec::new();
    };
    cx.each(item, one_match)
        .into_iter()
        .map(|(one, _)| one)
        .collect()
}

fn one_match<'t>(cx: &mut Cx<'t>, item: Item<'t>) -> Option<Match> {
    let Value::Table(table) = item.value else {
        cx.wrong_type(item);
        return None;
    };
    let before = cx.log.count();
    let keys = cx.keys(table, item.at, &MATCH, "a match".to_owned());
    let one = Match {
        from: addresses(cx, keys.get("from")),
        to: addresses(cx, keys.get("to")),
        service: service(cx, keys.get("service")),
        dscp: keys.get("dscp").map_or_else(Vec::new, |item| {
            let mut points: Vec<Dscp> = cx
                .each(item, dscp)
                .into_iter()
                .map(|(point, _)| point)
                .collect();
            points.sort_unstable();
            points.dedup();
            points
        }),
    };
    if cx.log.count() > before {
        return None;
    }
    if one == Match::default() {
        cx.fault(item.at, "this matches everything").help(
            "say at least one of from, to, service, dscp; what no class matches is `rest` already",
        );
        return None;
    }
    families(cx, &keys, &one.from, &one.to)?;
    Some(one)
}

/// Refuses `from` of one family with `to` of the other: no packet has both.
pub(super) fn families(
    cx: &mut Cx<'_>,
    keys: &super::cx::Table<'_>,
    from: &[IpNet],
    to: &[IpNet],
) -> Option<()> {
    let v4 = |prefix: &IpNet| matches!(prefix, IpNet::V4(_));
    let apart = |a: &[IpNet], b: &[IpNet]| {
        !a.is_empty() && !b.is_empty() && a.iter().all(v4) && !b.iter().any(v4)
    };
    if apart(from, to) || apart(to, from) {
        let family = |list: &[IpNet]| {
            if list.iter().all(v4) {
                "all IPv4"
            } else {
                "all IPv6"
            }
        };
        cx.fault(keys.place("to"), "this can match nothing")
            .label(family(to))
            .help("give both ends addresses of the same family")
            .see(keys.place("from"), family(from));
        return None;
    }
    Some(())
}
