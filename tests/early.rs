//! Blocks alone, as a host has them before anything else of ours: the way from there to all of it never lets go of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{in_namespace, sh};
use wanshift::clock::{Clock, SystemClock};
use wanshift::engine::Engine;
use wanshift::executor::change::{Executor, Order};
use wanshift::executor::survey::{Prospect, prospect};
use wanshift::kernel::fake::FakeKernel;
use wanshift::kernel::nft::{self, render_whole};
use wanshift::kernel::{Host, Kernel, Scope};
use wanshift::lower::blocks_alone;
use wanshift::model::desired::Hold;
use wanshift::model::filter::{Chain, ChainName, ChainRole, Table};
use wanshift::model::ids::Ids;
use wanshift::model::state::{Device, Edge, LeafKind, Root};
use wanshift::plan::op::Op;
use wanshift::plan::{Bounds, Goal, diff};
use wanshift::policy::{Policy, Source, read};
use wanshift::store::Store;

const DEVICES: [&str; 3] = ["lan0", "mpls0", "wan0"];

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
    match read(&files.map(source)) {
        Ok(policy) => Arc::new(policy),
        Err(faults) => panic!("{faults}"),
    }
}

fn telework(policy: &Arc<Policy>) -> Engine {
    Engine::entering(policy.clone(), "telework".parse().unwrap(), BTreeSet::new()).unwrap()
}

/// The chains of blocks, and the one that leads there.
fn of_blocks(table: &Table) -> BTreeMap<&ChainName, &Chain> {
    let chains = table.chains.iter();
    chains
        .filter(|(name, _)| {
            matches!(
                ChainRole::of(name),
                Some(ChainRole::Forward | ChainRole::Block { .. } | ChainRole::Rejected(_))
            )
        })
        .collect()
}

/// The ops from what `kernel` holds to all that `prospect` wants; each has the blocks as they are.
fn ops(kernel: &mut dyn Kernel, prospect: &Prospect, alone: &Table) -> Vec<Op> {
    let engine = &prospect.engine;
    let bounds = Bounds::of(engine.policy(), &engine.pools());
    let goal = Goal {
        state: &prospect.goal.state,
        names: &prospect.goal.names,
        bounds: &bounds,
    };
    let plan = diff(&kernel.observe(Scope::All).unwrap(), &goal);
    let ops: Vec<Op> = plan.ops().cloned().collect();
    let tables = ops.iter().filter_map(|op| {
        if let Op::SetTable { from, to } = op {
            Some([from.as_ref().unwrap(), to.as_ref().unwrap()])
        } else {
            None
        }
    });
    let tables: Vec<[&Table; 2]> = tables.collect();
    assert!(!tables.is_empty());
    for table in tables.iter().flatten() {
        assert_eq!(of_blocks(table), of_blocks(alone));
        assert!(alone.counters.is_subset(&table.counters));
    }
    ops
}

#[test]
fn they_are_as_the_whole_table_has_them() {
    let policy = cd77();
    let goal = telework(&policy).goal();
    let alone = blocks_alone(&policy, &goal.blocks);
    assert_eq!(of_blocks(&alone).len(), alone.chains.len());
    assert_eq!(alone.blocks(), goal.blocks.keys().cloned().collect());
    assert_eq!(alone.maps.len(), 0);

    // None hold: there is nothing to make.
    let nothing = blocks_alone(&policy, &BTreeMap::new());
    assert_eq!(nothing, Table::default());
    // How they hold is as it is told.
    let draining = BTreeMap::from([("browsing-in-session".parse().unwrap(), Hold::Draining)]);
    assert!(blocks_alone(&policy, &draining) != alone);
}

#[test]
fn the_way_to_all_of_it_leaves_them_alone() {
    let device = |(index, name): (u32, &str)| {
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
        (name.parse().unwrap(), facts)
    };
    let devices = (1..).zip(DEVICES).map(device);
    let mut kernel = FakeKernel::new(devices, BTreeSet::from([LeafKind::Pfifo]));
    let policy = cd77();
    let engine = telework(&policy);
    let alone = blocks_alone(&policy, &engine.goal().blocks);
    let early = Op::SetTable {
        from: None,
        to: Some(alone.clone()),
    };
    assert!(kernel.apply(&[early]).iter().all(Result::is_ok));
    let prospect = prospect(&mut kernel, Ids::default(), engine, SystemClock.now()).unwrap();
    for op in ops(&mut kernel, &prospect, &alone) {
        assert!(kernel.apply(&[op]).iter().all(Result::is_ok));
    }
    let held = kernel.observe(Scope::All).unwrap().state;
    assert_eq!(held, prospect.goal.state);
}

#[test]
fn on_a_kernel_the_rules_and_their_counters_stay_where_they_are() {
    in_namespace(|| {
        let policy = cd77();
        let engine = telework(&policy);
        let alone = blocks_alone(&policy, &engine.goal().blocks);
        // No device is there; something was rejected by then.
        let counter = "blocked.browsing-in-session";
        sh(&format!(
            "nft add table inet wanshift && nft 'add counter inet wanshift {counter} {{ packets 5 bytes 300 ; }}'"
        ));
        let mut load = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = render_whole(&alone);
        load.stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(load.wait().unwrap().success(), "{text}");
        assert_eq!(nft::read().unwrap(), Some(alone.clone()));

        let rules = || {
            let listed = sh("nft -a list table inet wanshift");
            let chains = listed.split("\n\n").filter(|part| {
                let part = part.trim_start();
                part.starts_with("chain forward") || part.starts_with("chain block.")
            });
            let chains: BTreeSet<String> = chains.map(|chain| chain.trim().to_owned()).collect();
            chains
        };
        let before = rules();
        assert_eq!(before.len(), alone.chains.len(), "{before:?}");
        for device in DEVICES {
            sh(&format!(
                "ip link add {device} type veth peer name far-{device} && ip link set {device} up"
            ));
        }
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::open(directory.path()).unwrap();
        let mut kernel = Host::open().unwrap();
        let now = SystemClock.now();
        let prospect = prospect(&mut kernel, Ids::default(), engine, now).unwrap();
        ops(&mut kernel, &prospect, &alone);
        let order = Order {
            actor: "root".to_owned(),
            what: "run".to_owned(),
            boot: "boot-1".to_owned(),
        };
        let mut executor = Executor {
            kernel: &mut kernel,
            store: &mut store,
            clock: &SystemClock,
        };
        executor
            .carry_out(&order, &prospect, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        // With their handles: none was made again.
        let closing = |chains: BTreeSet<String>| -> BTreeSet<String> {
            let lines = chains.iter().flat_map(|chain| chain.lines());
            lines.map(|line| line.trim().to_owned()).collect()
        };
        assert_eq!(closing(rules()), closing(before));
        assert!(sh("tc class show dev wan0").contains("rate 220Mbit"));
        let counted = sh(&format!("nft list counter inet wanshift {counter}"));
        assert!(counted.contains("packets 5 bytes 300"), "{counted}");
    });
}
