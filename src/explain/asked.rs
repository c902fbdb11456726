//! What is asked about, read: two ends and a service.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use thiserror::Error;

use crate::model::class::{Dscp, PortRange, Transport};
use crate::model::names::Origin;
use crate::policy::services::{built_in, built_in_names, dscp, dscp_names, ports};
use crate::policy::{ListKind, Listed, Policy, nearest};

/// A connection that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Who opens it.
    pub from: End,
    /// Who is asked.
    pub to: End,
    /// For what.
    pub service: Service,
    /// How the packets of who opens it are marked.
    pub dscp: Dscp,
}

/// An end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// Its address.
    pub address: IpAddr,
    /// What was asked for, where that is not an address: `group session-hosts`.
    pub stands_for: Option<String>,
    /// Where that was written.
    pub at: Option<Origin>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name that it was asked for by.
    pub name: Option<String>,
    /// Where that name was written; `None` of one that is built in.
    pub at: Option<Origin>,
    /// What it comes to: one thing at least.
    pub kinds: Vec<Wanted>,
}

/// One thing that a service comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// An echo request and its answer.
    Echo,
    /// A connection to one of these ports.
    Ports(PortRange),
}

/// What the packets of a connection carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carried {
    /// An echo request and its answer.
    Echo,
    /// A connection to that port.
    Port(Transport, u16),
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo => f.pad("icmp"),
            Self::Port(transport, port) => f.pad(&format!("{transport}/{port}")),
        }
    }
}

/// A question that cannot be answered as it was put.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}; {help}")]
pub struct Misread {
    what: String,
    help: String,
}

fn misread(what: String, help: impl Into<String>) -> Misread {
    let help = help.into();
    Misread { what, help }
}

const ICMP: [&str; 3] = ["icmp", "icmpv6", "ping"];

impl Asked {
    /// Reads the words of the command line by the names of `policy`.
    ///
    /// # Errors
    /// Where a word is none of what it may be, or the two ends are not of one family.
    pub fn read(
        policy: &Policy,
        from: &str,
        to: &str,
        service: &str,
        point: Option<&str>,
    ) -> Result<Self, Misread> {
        let (froms, tos) = (ends(policy, from)?, ends(policy, to)?);
        let pairs = froms
            .iter()
            .flat_map(|from| tos.iter().map(move |to| (from, to)));
        let mut fit = pairs.filter(|(from, to)| from.address.is_ipv4() == to.address.is_ipv4());
        let Some((from, to)) = fit.next() else {
            return Err(misread(
                format!("`{from}` and `{to}` are not of one family, IPv4 or IPv6"),
                "give two addresses of one family",
            ));
        };
        Ok(Self {
            from: from.clone(),
            to: to.clone(),
            service: read_service(policy, service)?,
            dscp: point.map_or_else(|| read_point("0"), read_point)?,
        })
    }
}

/// What a word for an end may stand for: an address of each prefix.
fn ends(policy: &Policy, text: &str) -> Result<Vec<End>, Misread> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(vec![End {
            address: address.to_canonical(),
            stands_for: None,
            at: None,
        }]);
    }
    if let Ok(prefix) = text.parse::<IpNet>() {
        return Ok(of_prefixes(&[prefix], &format!("prefix {prefix}"), None));
    }
    let group = policy
        .lists()
        .iter()
        .find(|list| list.kind == ListKind::Group && list.name == text.trim_start_matches('@'));
    let site = policy
        .sites()
        .values()
        .find(|site| site.name.as_str() == text);
    let group = group.map(|group| {
        let what = format!("group {}", group.name);
        of_prefixes(&group.prefixes, &what, Some(&group.origin))
    });
    let site = site.map(|site| {
        let what = format!("site {}", site.name);
        of_prefixes(&site.prefixes, &what, Some(&site.origin))
    });
    match (group, site) {
        (Some(_), Some(_)) => Err(misread(
            format!("`{text}` is a group and a site"),
            format!("write @{text} for the group, or an address of the site"),
        )),
        (Some(ends), None) | (None, Some(ends)) if !ends.is_empty() => Ok(ends),
        (Some(_), None) | (None, Some(_)) => {
            Err(misread(format!("`{text}` has no address"), "give one"))
        }
        (None, None) => Err(unknown_end(policy, text)),
    }
}

fn unknown_end(policy: &Policy, text: &str) -> Misread {
    let groups = policy.lists().iter();
    let groups = groups.filter(|list| list.kind == ListKind::Group);
    let sites = policy.sites().keys().map(|site| site.as_str());
    let known = groups.map(|group| group.name.as_str()).chain(sites);
    let what = format!("`{text}` is no address, and no group or site of the policy");
    match nearest(text.trim_start_matches('@'), known) {
        Some(name) => misread(what, format!("did you mean `{name}`?")),
        None => misread(
            what,
            "write for example 10.1.0.7, 2001:db8::7 or a group's name",
        ),
    }
}

/// The first host of each prefix.
fn of_prefixes(prefixes: &[IpNet], what: &str, at: Option<&Origin>) -> Vec<End> {
    let first = prefixes.iter().filter_map(|prefix| prefix.hosts().next());
    first
        .map(|address| End {
            address,
            stands_for: Some(what.to_owned()),
            at: at.cloned(),
        })
        .collect()
}

fn read_service(policy: &Policy, text: &str) -> Result<Service, Misread> {
    let plain = |kinds: Vec<Wanted>| Service {
        name: None,
        at: None,
        kinds,
    };
    if ICMP.contains(&text) {
        return Ok(plain(vec![Wanted::Echo]));
    }
    if text.contains('/') {
        let range = ports(text).map_err(|(what, help)| misread(what, help))?;
        return Ok(plain(vec![Wanted::Ports(range)]));
    }
    let wanted = |ports: Vec<PortRange>| ports.into_iter().map(Wanted::Ports).collect();
    if let Some(ports) = built_in(text) {
        return Ok(Service {
            name: Some(text.to_owned()),
            ..plain(wanted(ports))
        });
    }
    let lists: Vec<&Listed> = policy
        .lists()
        .iter()
        .filter(|list| list.kind == ListKind::Service)
        .collect();
    if let Some(list) = lists
        .iter()
        .find(|list| list.name == text && !list.ports.is_empty())
    {
        return Ok(Service {
            name: Some(list.name.clone()),
            at: Some(list.origin.clone()),
            kinds: wanted(list.ports.clone()),
        });
    }
    let mut known: Vec<&str> = built_in_names().chain(ICMP).collect();
    for list in &lists {
        known.push(&list.name);
    }
    let what = format!("there is no service `{text}`");
    Err(match nearest(text, known) {
        Some(name) => misread(what, format!("did you mean `{name}`?")),
        None => misread(
            what,
            "write a name of the policy, tcp/443, udp/3478 or icmp",
        ),
    })
}

fn read_point(text: &str) -> Result<Dscp, Misread> {
    let number = text.parse::<u8>().ok().and_then(Dscp::new);
    number.or_else(|| dscp(text)).ok_or_else(|| {
        let what = format!("`{text}` is no DSCP");
        match nearest(text, dscp_names()) {
            Some(name) => misread(what, format!("did you mean `{name}`?")),
            None => misread(
                what,
                "the names are ef, va, le, be, cs0 to cs7, af11 to af43; or a number from 0 to 63",
            ),
        }
    })
}
