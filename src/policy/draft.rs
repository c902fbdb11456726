//! All that the files say, each thing with the table that it was read from: a policy that has not
//! been judged yet.

use super::cx::{Cx, State, Written};
use super::document::Raw;
use super::fault::At;
use super::lists::{self, Listed};
use super::spec::Kind;
use super::{Policy, circuit, class, hold, host, matching, phase, root};
use crate::model::circuit::{Circuit, Host, Pool};
use crate::model::class::{Class, Rest, Terms};
use crate::model::daemon::Daemon;
use crate::model::hold::{Block, Condition};
use crate::model::names::PhaseName;
use crate::model::phase::Phase;

/// What was read.
#[derive(Debug)]
pub(super) struct Draft<'t> {
    pub(super) host: Option<Host>,
    pub(super) inside: Vec<(&'t str, At)>,
    pub(super) mark_mask_at: At,
    pub(super) daemon: Daemon,
    pub(super) circuits: Vec<Written<'t, Circuit>>,
    pub(super) pools: Vec<Written<'t, Pool>>,
    /// Whether every pool that is written could be read.
    pub(super) pools_state: State,
    pub(super) classes: Vec<Written<'t, Class>>,
    pub(super) rests: Vec<Written<'t, Rest>>,
    pub(super) sites: Vec<class::WrittenSite<'t>>,
    pub(super) phases: Vec<Written<'t, Phase>>,
    pub(super) blocks: Vec<Written<'t, Block>>,
    pub(super) conditions: Vec<Written<'t, Condition>>,
    pub(super) start: Option<(PhaseName, At)>,
    pub(super) lists: Vec<Listed>,
}

/// Reads every table of the files.
pub(super) fn read<'t>(cx: &mut Cx<'t>, files: &'t [Raw<'t>], host_file: &str) -> Draft<'t> {
    let top = root::read(cx, files, host_file);
    let facts = host::host(cx, &top);
    let daemon = host::daemon(cx, &top);
    matching::lists(cx, top.of(Kind::Group), top.of(Kind::Service));

    let circuits = all(cx, top.of(Kind::Circuit), circuit::circuit);
    let pools = all(cx, top.of(Kind::Pool), circuit::pool);
    let complete = pools.len() == top.of(Kind::Pool).len()
        && pools.iter().all(|pool| pool.state == State::Sound);
    let classes = all(cx, top.of(Kind::Class), class::class);
    let rests = all(cx, top.of(Kind::Rest), class::rest);
    let sites = all(cx, top.of(Kind::Site), class::site);
    let conditions = all(cx, top.of(Kind::Condition), hold::condition);
    let blocks = all(cx, top.of(Kind::Block), hold::block);
    let phases = all(cx, top.of(Kind::Phase), phase::phase);
    let start = start(cx, &top);
    for (kind, what) in [
        (Kind::Circuit, "[circuit.internet] with its device"),
        (
            Kind::Phase,
            "[phase.nominal] with a split for each pool, in policy.d/NAME.toml (other endings are not read)",
        ),
    ] {
        if top.of(kind).is_empty() {
            cx.fault(At::new(0, &(0..0)), format!("no {kind} is defined"))
                .help(format!("add for example {what}"));
        }
    }
    Draft {
        host: facts,
        inside: host::inside(&top),
        mark_mask_at: top.host.place("mark_mask"),
        daemon,
        circuits,
        pools,
        pools_state: if complete {
            State::Sound
        } else {
            State::Faulty
        },
        classes,
        rests,
        sites,
        phases,
        blocks,
        conditions,
        start,
        lists: lists::of(cx, &top),
    }
}

fn all<'t, T>(
    cx: &mut Cx<'t>,
    items: &[super::cx::Item<'t>],
    mut read: impl FnMut(&mut Cx<'t>, super::cx::Item<'t>) -> Option<T>,
) -> Vec<T> {
    items.iter().filter_map(|item| read(cx, *item)).collect()
}

fn start<'t>(cx: &mut Cx<'t>, top: &root::Root<'t>) -> Option<(PhaseName, At)> {
    let Some(item) = top.policy else {
        if let Some(first) = top.of(Kind::Phase).first() {
            cx.fault(
                first.key_at,
                "no table [policy] names the phase to start in",
            )
            .help(format!("add [policy] with start = \"{}\"", first.name));
        }
        return None;
    };
    let table = cx.table(item, &phase::POLICY, "[policy]".to_owned())?;
    let item = table.get("start")?;
    Some((cx.refer(item, Kind::Phase)?, item.at))
}

impl Draft<'_> {
    /// The policy that this would be. Where something is missing there was a fault about it, and
    /// the policy serves only to find further ones.
    pub(super) fn policy(&self) -> Option<Policy> {
        let fallback = || {
            let origin = crate::model::names::Origin {
                file: "host.toml".into(),
                line: 1,
                column: 1,
                start: 0,
                end: 0,
            };
            Some(Host {
                name: "host".parse().ok()?,
                timezone: jiff::tz::TimeZone::UTC,
                inside: Vec::new(),
                mark_mask: crate::model::circuit::MarkMask::UPPER_16,
                origin,
            })
        };
        let start = self.start.as_ref().map(|(start, _)| start.clone());
        let first = || self.phases.first().map(|phase| phase.value.name.clone());
        let mut policy = Policy {
            host: self.host.clone().or_else(fallback)?,
            circuits: by(&self.circuits, |circuit| circuit.name.clone()),
            pools: by(&self.pools, |pool| pool.name.clone()),
            classes: self
                .classes
                .iter()
                .map(|class| class.value.clone())
                .collect(),
            rests: by(&self.rests, |rest| rest.circuit.clone()),
            sites: self
                .sites
                .iter()
                .map(|(site, _)| (site.value.name.clone(), site.value.clone()))
                .collect(),
            phases: by(&self.phases, |phase| phase.name.clone()),
            start: start.or_else(first).or_else(|| "none".parse().ok())?,
            blocks: by(&self.blocks, |block| block.name.clone()),
            conditions: by(&self.conditions, |condition| condition.name.clone()),
            daemon: self.daemon.clone(),
            lists: self.lists.clone(),
        };
        for circuit in policy.circuits.keys() {
            policy.rests.entry(circuit.clone()).or_insert_with(|| Rest {
                circuit: circuit.clone(),
                terms: Terms::REST,
                origin: None,
            });
        }
        Some(policy)
    }
}

fn by<K: Ord, T: Clone>(
    all: &[Written<'_, T>],
    key: impl Fn(&T) -> K,
) -> std::collections::BTreeMap<K, T> {
    all.iter()
        .map(|one| (key(&one.value), one.value.clone()))
        .collect()
}
