//! Devices that the policy names and that are not there yet: all else holds meanwhile, and once they come nothing of
//! that is written again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use common::{in_namespace, sh};
use wanshift::clock::{Clock, SystemClock};
use wanshift::engine::Engine;
use wanshift::executor::change::{Executor, Order};
use wanshift::executor::error::ChangeError;
use wanshift::executor::survey::{prospect, prospect_with};
use wanshift::kernel::{Host, Kernel, KernelError, OpError, Scope};
use wanshift::lower::{Absent, Facts, LowerError, Lowered, lower, missing};
use wanshift::model::filter::{Chain, ChainName, ChainRole, Table};
use wanshift::model::ids::Ids;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{Device, Edge, Ifb, LeafKind, Observed, Root};
use wanshift::plan::op::Op;
use wanshift::policy::{Policy, Source, read};
use wanshift::store::Store;
use wanshift::units::Direction;

/// The example, in which a shift takes no time.
fn cd77() -> Arc<Policy> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/cd77");
    let files = [
        "host.toml",
        "policy.d/10-classes.toml",
        "policy.d/20-telework.toml",
    ];
    let source = |file: &str| Source {
        name: file.into(),
        text: std::fs::read_to_string(root.join(file))
            .unwrap()
            .replace("ramp = \"10s\"", "")
            .into(),
    };
    policy(&files.map(source))
}

fn policy(sources: &[Source]) -> Arc<Policy> {
    match read(sources) {
        Ok(policy) => Arc::new(policy),
        Err(faults) => panic!("{faults}"),
    }
}

/// Two circuits that share the access device `fibre0`, as VLANs of it.
fn vlans() -> Arc<Policy> {
    let text = "name = \"edge\"\ninside = [\"lan0\", \"lan1\"]\n\
                [circuit.a]\ndevice = \"fibre0.1\"\nalso = [\"wg0\"]\n[circuit.b]\ndevice = \"fibre0.2\"\n\
                [pool.p]\ncircuits = [\"a\", \"b\"]\ncapacity = \"100mbit\"\ndevice = \"fibre0\"\n\
                [policy]\nstart = \"always\"\n[phase.always]\nsplit.p = { a = \"50mbit\", b = \"50mbit\" }\n";
    policy(&[Source {
        name: "host.toml".into(),
        text: text.into(),
    }])
}

fn name(device: &str) -> DeviceName {
    device.parse().unwrap()
}

/// A host with these devices and no others.
fn facts(devices: &[&str]) -> Facts {
    let device = |(index, device): (u32, &&str)| {
        let facts = Device {
            index,
            mtu: 1_500,
            header: 14,
            gso_max: 65_536,
            kind: "veth".to_owned(),
            lower: None,
            master: None,
            up: true,
            priority_map: false,
            root: Root::Default {
                kind: "noqueue".to_owned(),
            },
            edge: Edge::None,
        };
        (name(device), facts)
    };
    Facts {
        devices: (1..).zip(devices).map(device).collect(),
        leaves: BTreeSet::from([LeafKind::Pfifo]),
        strangers: Vec::new(),
        clsacts: [].into(),
        absent: Absent::Refused,
    }
}

fn entering(policy: &Arc<Policy>, phase: &str) -> Engine {
    Engine::entering(policy.clone(), phase.parse().unwrap(), BTreeSet::new()).unwrap()
}

fn lowered(policy: &Arc<Policy>, phase: &str, facts: &Facts) -> Result<Lowered, Vec<LowerError>> {
    let desired = entering(policy, phase).goal();
    lower(policy, &desired, facts, &mut Ids::default())
}

#[test]
fn what_is_waited_for_is_left_out_and_nothing_else_is_another() {
    let policy = cd77();
    let all = lowered(&policy, "telework", &facts(&["lan0", "mpls0", "wan0"])).unwrap();
    for gone in ["lan0", "mpls0", "wan0"] {
        let mut there = vec!["lan0", "mpls0", "wan0"];
        there.retain(|device| *device != gone);
        let facts = facts(&there);
        // An inside device was never asked for.
        assert_eq!(
            lowered(&policy, "telework", &facts).is_err(),
            gone != "lan0"
        );
        let waiting = lowered(&policy, "telework", &facts.waiting()).unwrap();
        let mut expected = all.clone();
        assert!(
            expected.state.trees.remove(&name(gone)).is_some() == (gone != "lan0"),
            "{gone}"
        );
        assert!(expected.state.feeds.remove(&name(gone)).is_some());
        assert_eq!(waiting, expected, "without {gone}");
    }
}

#[test]
fn a_host_without_any_of_them_has_its_rules_and_an_ifb_as_it_will_be() {
    let policy = cd77();
    let all = lowered(&policy, "telework", &facts(&["lan0", "mpls0", "wan0"])).unwrap();
    let none = lowered(&policy, "telework", &facts(&[]).waiting()).unwrap();
    assert_eq!(none.state.table, all.state.table);
    assert_eq!(none.state.ifb, all.state.ifb);
    let ifb = Ifb::device();
    assert_eq!(
        none.state.trees,
        [(ifb.clone(), all.state.trees[&ifb].clone())].into()
    );
    assert_eq!(none.state.feeds, [].into());
}

#[test]
fn an_access_device_is_waited_for_like_those_on_it() {
    let policy = vlans();
    let all = ["fibre0", "fibre0.1", "fibre0.2", "lan0", "lan1", "wg0"];
    let whole = lowered(&policy, "always", &facts(&all)).unwrap();
    // One VLAN is missing: the tree of all is there.
    let waiting = facts(&["fibre0", "fibre0.1", "lan0"]).waiting();
    let one = lowered(&policy, "always", &waiting).unwrap();
    assert_eq!(one.state.trees, whole.state.trees);
    let waiting = facts(&["lan0"]).waiting();
    let none = lowered(&policy, "always", &waiting).unwrap();
    assert_eq!(
        none.state.trees.keys().collect::<Vec<_>>(),
        [&Ifb::device()]
    );
    assert_eq!(none.state.feeds.keys().collect::<Vec<_>>(), [&name("lan0")]);
    assert_eq!(none.state.table, whole.state.table);
}

#[test]
fn what_is_missing_is_told_with_who_names_it() {
    let told = |policy: &Policy, there: &[&str]| -> Vec<String> {
        let missing = missing(policy, &facts(there)).into_iter();
        missing
            .map(|(device, owner)| format!("{device}: {owner}"))
            .collect()
    };
    assert_eq!(
        told(&vlans(), &["lan0", "fibre0.2"]),
        [
            "fibre0.1: circuit `a`",
            "wg0: circuit `a`",
            "fibre0: pool `p`",
            "lan1: the host's `inside`",
        ]
    );
    assert_eq!(told(&cd77(), &["lan0", "mpls0", "wan0"]), [""; 0]);
}

/// The machine's kernel, and what is written to it.
struct Recording {
    host: Host,
    written: Vec<Op>,
}

impl Kernel for Recording {
    fn observe(&mut self, scope: Scope) -> Result<Observed, KernelError> {
        self.host.observe(scope)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        self.written.extend_from_slice(ops);
        self.host.apply(ops)
    }

    fn leaves(&mut self) -> Result<BTreeSet<LeafKind>, KernelError> {
        self.host.leaves()
    }
}

fn add(device: &str) {
    sh(&format!(
        "ip link add {device} type veth peer name far-{device} && ip link set {device} up && ip link set far-{device} up"
    ));
}

/// That two tables differ in the ways to the classes of one circuit alone, up.
#[track_caller]
fn only_of_internet(one: &Table, other: &Table) {
    let chains = |table: &Table| -> BTreeMap<ChainName, Chain> {
        let mut chains = table.chains.clone();
        chains.retain(|name, _| {
            let role = ChainRole::of(name).unwrap();
            let circuit = role.circuit().map(ToString::to_string);
            circuit.as_deref() != Some("internet") || role.direction() == Some(Direction::Down)
        });
        chains
    };
    assert!(one != other);
    assert_eq!(chains(one), chains(other));
    assert_eq!(one.counters, other.counters);
}

/// Carries out what waits for nothing; says what was written.
fn hold(kernel: &mut Recording, store: &mut Store, policy: &Arc<Policy>) -> Vec<Op> {
    let order = Order {
        actor: "root".to_owned(),
        what: "run".to_owned(),
        boot: "boot-1".to_owned(),
    };
    kernel.written.clear();
    let ids = store.ids().unwrap();
    let engine = entering(policy, "telework");
    let now = SystemClock.now();
    let prospect = prospect_with(kernel, ids, engine, now, Absent::Waited).unwrap();
    let mut executor = Executor {
        kernel,
        store,
        clock: &SystemClock,
    };
    executor
        .carry_out(&order, &prospect, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    std::mem::take(&mut kernel.written)
}

#[test]
fn a_circuit_whose_device_comes_later_is_shaped_then() {
    in_namespace(|| {
        add("lan0");
        add("mpls0");
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let policy = cd77();
        let mut kernel = Recording {
            host: Host::open().unwrap(),
            written: Vec::new(),
        };
        let engine = entering(&policy, "telework");
        let refused = prospect(&mut kernel, Ids::default(), engine, SystemClock.now());
        assert!(
            matches!(&refused, Err(ChangeError::Lower(errors))
                if matches!(errors.as_slice(), [LowerError::NoDevice { device, .. }] if *device == name("wan0"))),
            "{refused:?}"
        );

        let first = hold(&mut kernel, &mut store, &policy);
        assert!(!first.is_empty());
        assert!(sh("tc class show dev mpls0").contains("rate 80Mbit"));
        let rules = sh("nft list table inet wanshift");
        assert!(rules.contains("jump block.browsing-in-session/"), "{rules}");
        let table = kernel.observe(Scope::All).unwrap().state.table;
        assert!(sh("tc filter show dev lan0 egress").contains("wanshift-down"));
        assert_eq!(hold(&mut kernel, &mut store, &policy), [], "nothing to do");

        add("wan0");
        let more = hold(&mut kernel, &mut store, &policy);
        assert!(!more.is_empty());
        let wan = name("wan0");
        for op in &more {
            if let Op::SetTable { from, to } = op {
                // Rules name no class that does not stand: those of this circuit alone go and come again.
                only_of_internet(from.as_ref().unwrap(), to.as_ref().unwrap());
            } else {
                assert_eq!(op.device(), Some(&wan));
            }
        }
        assert!(sh("tc class show dev wan0").contains("rate 220Mbit"));
        assert_eq!(kernel.observe(Scope::All).unwrap().state.table, table);
        assert_eq!(hold(&mut kernel, &mut store, &policy), [], "nothing to do");

        // It goes, as a tunnel may: nothing is written for it, and nothing lacks it.
        sh("ip link del wan0");
        assert_eq!(hold(&mut kernel, &mut store, &policy), []);
    });
}
