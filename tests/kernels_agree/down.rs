//! The downward half: the IFB, its tree and selector, the feeds, and what other hands do to them.

use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wanshift::kernel::fake::FakeKernel;
use wanshift::kernel::tc::observe::{Seen, observe};
use wanshift::kernel::tc::socket::RouteSocket;
use wanshift::kernel::{Host, Kernel, Scope};
use wanshift::model::circuit::MarkMask;
use wanshift::model::names::DeviceName;
use wanshift::model::state::{
    ClassId, Clsact, Edge, Feed, Ifb, Major, Minor, Observed, Root, Selector, Takes,
};
use wanshift::plan::op::Op;

use super::{any_class, device, in_namespace, outcome, sh};

fn ifb() -> DeviceName {
    Ifb::NAME.parse().unwrap()
}

fn major() -> Major {
    Major::new(Major::FIRST + 7).unwrap()
}

/// What is done: by an op, or by somebody else.
#[derive(Debug, Clone)]
enum Deed {
    Op(Op),
    /// An op as a plan makes it: `from` is what is held.
    Informed(Op),
    /// Somebody sets the IFB down.
    Down,
    /// Somebody deletes it.
    Delete,
    /// Somebody deletes it and makes it anew, as a device of this kind.
    Replace(&'static str),
    /// Somebody's qdisc beside the root of `wan0`, with a filter in it or without.
    Edge(Edge, bool),
    /// Somebody changes the program of a feed.
    BendFeed,
    /// Somebody changes the program of the selector.
    BendSelector,
}

fn any_mask() -> impl Strategy<Value = MarkMask> {
    prop_oneof![
        Just(MarkMask::UPPER_16),
        Just(MarkMask::new(0x0000_ffff).unwrap()),
        Just(MarkMask::new(0x00ff_ff00).unwrap()),
        Just(MarkMask::new(u32::MAX).unwrap()),
    ]
}

fn any_feed() -> impl Strategy<Value = Option<Feed>> {
    let clsact = prop_oneof![Just(Clsact::Ours), Just(Clsact::Theirs)];
    let takes = prop_oneof![
        9 => any_mask().prop_map(Takes::Marked),
        1 => Just(Takes::Drifted)
    ];
    let feed = (clsact, takes).prop_map(|(clsact, takes)| Some(Feed { clsact, takes }));
    prop_oneof![3 => feed, 1 => Just(None)]
}

fn any_selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        6 => any_mask().prop_map(Selector::Mark),
        3 => Just(Selector::Priority),
        1 => Just(Selector::Drifted),
    ]
}

fn any_device() -> impl Strategy<Value = DeviceName> {
    prop_oneof![8 => Just(ifb()), 1 => Just(device()), 1 => Just("nowhere".parse().unwrap())]
}

fn any_op() -> impl Strategy<Value = Op> {
    let minor = Minor::new(5).unwrap();
    prop_oneof![
        4 => Just(Op::AddIfb { device: ifb() }),
        2 => any_device().prop_map(|device| Op::RaiseIfb { device }),
        1 => any_device().prop_map(|device| Op::DeleteIfb { device }),
        4 => Just(Op::AddRoot {
            device: ifb(),
            major: major(),
            default: Minor::CONTROL,
            over: None,
        }),
        1 => Just(Op::DeleteRoot { device: ifb(), major: major(), default: Minor::CONTROL }),
        2 => any_class().prop_map(move |mut class| {
            // Its own parent would be refused before the kernel is asked.
            class.parent = class.parent.filter(|parent| *parent != minor);
            Op::AddClass { device: ifb(), id: ClassId { major: major(), minor }, class }
        }),
        8 => (any_device(), any_selector(), any_selector()).prop_map(|(device, from, to)| {
            Op::SetSelector { device, major: major(), from, to }
        }),
        16 => (any_feed(), any_feed()).prop_map(|(from, to)| {
            Op::SetFeed { device: device(), from, to }
        }),
    ]
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let edge = prop_oneof![Just(Edge::None), Just(Edge::Clsact), Just(Edge::Ingress)];
    prop_oneof![
        4 => any_op().prop_map(Deed::Op),
        12 => any_op().prop_map(Deed::Informed),
        1 => Just(Deed::Down),
        1 => Just(Deed::Delete),
        1 => prop_oneof![3 => Just(Deed::Replace("ifb")), 1 => Just(Deed::Replace("veth"))],
        2 => (edge, prop::bool::ANY).prop_map(|(edge, filter)| Deed::Edge(edge, filter)),
        1 => Just(Deed::BendFeed),
        1 => Just(Deed::BendSelector),
    ]
}

fn informed(op: Op, fake: &FakeKernel) -> Op {
    let state = &fake.held().state;
    match op {
        Op::SetSelector {
            device, major, to, ..
        } => {
            let from = state.trees.get(&device).map(|tree| tree.selector);
            let from = from.unwrap_or_default();
            Op::SetSelector {
                device,
                major,
                from,
                to,
            }
        }
        Op::SetFeed { device, to, .. } => {
            let from = state.feeds.get(&device).copied();
            // A plan knows whose the clsact is.
            let to = to.map(|feed| Feed {
                clsact: match (from, fake.held().devices[&device].edge) {
                    (Some(from), _) => from.clsact,
                    (None, Edge::Clsact) => Clsact::Theirs,
                    (None, Edge::None | Edge::Ingress) => Clsact::Ours,
                },
                ..feed
            });
            Op::SetFeed { device, from, to }
        }
        op => op,
    }
}

/// A program that is not ours.
const BENT: &str = "bytecode '1,6 0 0 4294967295'";
const OTHERS: &str = "pref 9 protocol ip u32 match u32 0 0";

/// Tries a line that may have nothing to do.
fn attempt(line: &str) -> bool {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    output.status.success()
}

/// Another hand, on both kernels.
fn tamper(deed: &Deed, fake: &mut FakeKernel) {
    let there = fake.held().devices.contains_key(&ifb());
    match deed {
        Deed::Op(_) | Deed::Informed(_) => {}
        Deed::Down => {
            if there {
                sh("ip link set wanshift-down down");
                fake.held_mut().devices.get_mut(&ifb()).unwrap().up = false;
                if let Some(ifb) = &mut fake.held_mut().state.ifb {
                    ifb.up = false;
                }
            }
        }
        Deed::Delete => {
            attempt("ip link del wanshift-down");
            fake.lose_device(&ifb());
        }
        Deed::Replace(kind) => {
            attempt("ip link del wanshift-down");
            fake.lose_device(&ifb());
            if *kind == "veth" {
                sh("ip link add wanshift-down type veth peer name far1");
                let seen = observe(&mut RouteSocket::open().unwrap()).unwrap();
                let found = seen.devices[&ifb()].clone();
                assert_eq!(found.kind, "veth");
                fake.held_mut().devices.insert(ifb(), found);
                let far: DeviceName = "far1".parse().unwrap();
                let found = seen.devices[&far].clone();
                fake.held_mut().devices.insert(far, found);
            } else {
                sh("ip link add wanshift-down type ifb && ip link set wanshift-down up");
                fake.apply(&[Op::AddIfb { device: ifb() }]);
            }
        }
        Deed::Edge(edge, filtered) => {
            let has = fake.held().devices[&device()].edge;
            if has != *edge {
                attempt("tc qdisc del dev wan0 clsact");
                attempt("tc qdisc del dev wan0 ingress");
            }
            match edge {
                Edge::None => {}
                Edge::Clsact => {
                    attempt("tc qdisc add dev wan0 clsact");
                }
                Edge::Ingress => {
                    attempt("tc qdisc add dev wan0 ingress");
                }
            }
            if *edge != Edge::None {
                attempt("tc filter del dev wan0 ingress pref 9");
                if *filtered {
                    sh(&format!("tc filter add dev wan0 ingress {OTHERS}"));
                }
            }
            fake.set_edge(&device(), *edge, *filtered);
        }
        Deed::BendFeed => {
            if let Some(feed) = fake.held_mut().state.feeds.get_mut(&device()) {
                feed.takes = Takes::Drifted;
                let handle = match feed.clsact {
                    Clsact::Ours => 1,
                    Clsact::Theirs => 2,
                };
                sh(&format!(
                    "tc filter change dev wan0 egress pref 64000 handle {handle} protocol all bpf {BENT}"
                ));
            }
        }
        Deed::BendSelector => {
            if let Some(tree) = fake.held_mut().state.trees.get_mut(&ifb())
                && tree.selector != Selector::Priority
            {
                tree.selector = Selector::Drifted;
                sh(&format!(
                    "tc filter change dev wanshift-down parent 7a07: pref 1 handle 1 protocol all bpf {BENT}"
                ));
            }
        }
    }
}

/// Indexes go on from case to case.
fn without_index(seen: &Seen, fake: &Observed) -> (Seen, Seen) {
    let mut seen = seen.clone();
    let mut held = Seen {
        trees: fake.state.trees.clone(),
        ifb: fake.state.ifb,
        feeds: fake.state.feeds.clone(),
        devices: fake.devices.clone(),
        strangers: Vec::new(),
    };
    for side in [&mut seen, &mut held] {
        if let Some(ifb) = side.devices.get_mut(&ifb()) {
            ifb.index = 0;
            // The machine's default is a setting.
            if let Root::Default { kind } = &mut ifb.root {
                kind.clear();
            }
        }
        // It comes and goes with its other end.
        side.devices.retain(|name, _| name.as_str() != "far1");
    }
    (seen, held)
}

#[test]
fn both_kernels_agree_on_what_comes_down() {
    in_namespace(|| {
        sh(
            "ip link add wan0 type veth peer name far0 && ip link set wan0 up && ip link set far0 up",
        );
        let host = Host::open().unwrap();
        let host = std::cell::RefCell::new(host);
        let leaves = host.borrow_mut().leaves().unwrap();
        let bare = host.borrow_mut().observe(Scope::Shaping).unwrap();
        let mut runner = TestRunner::new(Config {
            cases: 40,
            failure_persistence: None,
            ..Config::default()
        });
        let deeds = proptest::collection::vec(any_deed(), 1..40);
        let result = runner.run(&deeds, |deeds| {
            let mut host = host.borrow_mut();
            let mut socket = RouteSocket::open().unwrap();
            attempt("ip link del wanshift-down");
            attempt("tc qdisc del dev wan0 clsact");
            attempt("tc qdisc del dev wan0 ingress");
            let mut fake = FakeKernel::new(bare.devices.clone(), leaves.clone());
            for deed in deeds {
                let op = match deed.clone() {
                    Deed::Op(op) => Some(op),
                    Deed::Informed(op) => Some(informed(op, &fake)),
                    _ => None,
                };
                tamper(&deed, &mut fake);
                if let Some(op) = &op {
                    let real = host.apply(std::slice::from_ref(op));
                    let told = fake.apply(std::slice::from_ref(op));
                    prop_assert_eq!(
                        outcome(&real[0]),
                        outcome(&told[0]),
                        "{:?}: real {:?}, in memory {:?}",
                        op,
                        real,
                        told
                    );
                }
                let seen = observe(&mut socket).unwrap();
                let (seen, held) = without_index(&seen, fake.held());
                prop_assert_eq!(seen, held, "after {:?}", op.map_or(deed, Deed::Op));
            }
            Ok(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    });
}
