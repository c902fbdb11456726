//! The groups and services that the files define: what classes and blocks were written with.

use ipnet::IpNet;

use super::cx::Cx;
use super::root::Root;
use super::spec::Kind;
use crate::model::class::PortRange;
use crate::model::names::Origin;

/// A group or a service of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub kind: ListKind,
    /// Its name.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// Whether anything refers to it.
    pub usage: Usage,
    /// The prefixes of a group; none of a service.
    pub prefixes: Vec<IpNet>,
    /// The ports of a service; none of a group.
    pub ports: Vec<PortRange>,
}

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// Prefixes.
    Group,
    /// Ports.
    Service,
}

/// Whether anything refers to a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Something does.
    Used,
    /// Nothing does.
    Unused,
}

/// All of them, in the order of the files and their texts.
pub(super) fn of(cx: &Cx<'_>, root: &Root<'_>) -> Vec<Listed> {
    [
        (Kind::Group, ListKind::Group),
        (Kind::Service, ListKind::Service),
    ]
    .into_iter()
    .flat_map(|(kind, list)| {
        root.of(kind).iter().map(move |item| Listed {
            kind: list,
            name: item.name.to_owned(),
            origin: cx.origin(item.key_at),
            usage: if cx.used.contains(&(kind, item.name)) {
                Usage::Used
            } else {
                Usage::Unused
            },
            prefixes: match list {
                ListKind::Group => cx.groups.get(item.name).cloned().unwrap_or_default(),
                ListKind::Service => Vec::new(),
            },
            ports: match list {
                ListKind::Service => cx.services.get(item.name).cloned().unwrap_or_default(),
                ListKind::Group => Vec::new(),
            },
        })
    })
    .collect()
}
