//! A host with many sites in memory: what it takes to decide, without a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wanshift::engine::Engine;
use wanshift::lower::{Facts, Lowered, lower, trees};
use wanshift::model::ids::Ids;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{Device, Edge, LeafKind, Minor, Observed, Root};
use wanshift::plan::{Bounds, Goal, diff};
use wanshift::policy::{Policy, Source, read};
use wanshift::units::Rate;

/// A host whose circuit has so many sites.
pub fn policy(sites: usize) -> Arc<Policy> {
    let host = "name = \"edge\"\n[circuit.mpls]\ndevice = \"mpls0\"\ncapacity = \"100gbit\"\n";
    let mut text = "[policy]\nstart = \"nominal\"\n[phase.nominal]\n".to_owned();
    for site in 0..sites {
        text.push_str(&format!(
            "[site.s{site}]\ncircuit = \"mpls\"\nprefixes = [\"10.{}.{}.0/24\"]\ncapacity = \"4mbit\"\nguarantee = \"2mbit\"\n",
            site / 250,
            site % 250,
        ));
    }
    let source = |name: &str, text: String| Source {
        name: name.into(),
        text: text.into(),
    };
    match read(&[
        source("host.toml", host.to_owned()),
        source("sites.toml", text),
    ]) {
        Ok(policy) => Arc::new(policy),
        Err(faults) => panic!("{faults}"),
    }
}

/// A host that holds what it should, but for one class.
pub struct Decision {
    pub engine: Engine,
    pub facts: Facts,
    pub ids: Ids,
    pub observed: Observed,
    /// What held before, where only rates change: its rules and names still hold.
    pub before: Lowered,
}

impl Decision {
    /// With so many sites.
    pub fn new(sites: usize) -> Self {
        let policy = policy(sites);
        let device: DeviceName = "mpls0".parse().unwrap();
        let root = Root::Default {
            kind: "mq".to_owned(),
        };
        let facts = Facts {
            absent: wanshift::lower::Absent::Refused,
            devices: BTreeMap::from([(
                device.clone(),
                Device {
                    index: 1,
                    mtu: 1_500,
                    header: 14,
                    gso_max: 65_536,
                    kind: "veth".to_owned(),
                    lower: None,
                    master: None,
                    up: true,
                    priority_map: false,
                    root,
                    edge: Edge::None,
                },
            )]),
            leaves: BTreeSet::from([LeafKind::Pfifo, LeafKind::FqCodel]),
            strangers: Vec::new(),
            clsacts: BTreeMap::new(),
        };
        let engine = Engine::holding(policy.clone(), policy.start().clone()).unwrap();
        let mut ids = Ids::default();
        let before = lower(&policy, &engine.goal(), &facts, &mut ids).unwrap();
        let mut state = before.state.clone();
        let tree = state.trees.get_mut(&device).unwrap();
        let (_, class) = tree
            .classes
            .iter_mut()
            .find(|(minor, _)| **minor > Minor::CONTROL)
            .unwrap();
        class.rate = Rate::from_bits(1_000_000).unwrap();
        // What is known is known since long, what is observed comes from the kernel: they share no memory.
        let observed = Observed {
            state: serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap(),
            ..Observed::default()
        };
        Self {
            engine,
            facts,
            ids,
            observed,
            before,
        }
    }

    /// Everything, as `plan` does it; returns the number of ops.
    pub fn plan(&self) -> usize {
        let bounds = Bounds::default();
        let mut ids = self.ids.clone();
        let lowered = lower(
            self.engine.policy(),
            &self.engine.goal(),
            &self.facts,
            &mut ids,
        )
        .unwrap();
        let goal = Goal {
            state: &lowered.state,
            names: &lowered.names,
            bounds: &bounds,
        };
        diff(&self.observed, &goal).ops().count()
    }

    /// Where only rates change, as at each step of a ramp: rules stay as they were; returns the number of ops.
    pub fn step(&mut self) -> usize {
        let bounds = Bounds::default();
        let desired = self.engine.goal();
        let trees = trees(self.engine.policy(), &desired, &self.facts, &self.ids).unwrap();
        self.before.state.trees = trees;
        let goal = Goal {
            state: &self.before.state,
            names: &self.before.names,
            bounds: &bounds,
        };
        diff(&self.observed, &goal).ops().count()
    }
}
