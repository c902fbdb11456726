//! Traffic control on the machine's kernel, in throwaway network namespaces: a namespace belongs to a
//! thread and goes with it, so that tests run side by side and leave nothing behind.
//!
//! Here: the leaves. The tests for a stock kernel are found by their name's beginning.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
mod down;
mod others;
mod queues;
mod through;
mod writes;

use std::collections::BTreeSet;
use std::process::Command;
use wanshift::kernel::{Host, Kernel, Scope};
use wanshift::model::state::{Leaf, LeafKind};

use common::*;

#[test]
fn leaves_are_probed_without_a_trace() {
    in_namespace(|| {
        veth();
        sh("ip link set lo up");
        let look = || sh("tc qdisc show; ip -d link");
        let before = look();
        let mut host = Host::open().unwrap();
        let found = host.leaves().unwrap();
        assert_eq!(look(), before);
        assert!(found.contains(&LeafKind::Pfifo));
        for kind in [LeafKind::Sfq, LeafKind::FqCodel, LeafKind::Cake] {
            let made = Command::new("tc")
                .args(["qdisc", "add", "dev", "far0", "root", kind.name()])
                .output()
                .unwrap();
            assert_eq!(made.status.success(), found.contains(&kind), "{kind:?}");
            let _ = Command::new("tc")
                .args(["qdisc", "del", "dev", "far0", "root"])
                .output();
        }
    });
}

/// A few of each kind, as lowering could want them.
fn leaves_of(kind: LeafKind) -> Vec<Leaf> {
    match kind {
        LeafKind::Pfifo => vec![Leaf::Pfifo { limit: 1 }, Leaf::Pfifo { limit: 100_000 }],
        LeafKind::Sfq => [2, 100, 127, 128, 1_000, Leaf::SFQ_MOST, 10]
            .map(|limit| Leaf::Sfq { limit })
            .to_vec(),
        LeafKind::FqCodel => {
            let times = [
                (5_000, 100_000),
                (1, 1),
                (15_001, 299_999),
                (60_000_000, 60_000_000),
            ];
            let mut leaves: Vec<_> = times
                .map(|(target_us, interval_us)| Leaf::FqCodel {
                    limit: 1_000,
                    target_us,
                    interval_us,
                })
                .to_vec();
            for target_us in 4_000..4_100 {
                leaves.push(Leaf::FqCodel {
                    limit: 1,
                    target_us,
                    interval_us: 10 * target_us,
                });
            }
            leaves.into_iter().map(Leaf::settled).collect()
        }
        LeafKind::Cake => vec![Leaf::Cake],
    }
}

#[test]
fn leaves_are_read_as_written() {
    in_namespace(|| {
        let mut host = Host::open().unwrap();
        let kinds = host.leaves().unwrap();
        leaves_come_back(&kinds);
    });
}

#[test]
#[ignore = "wants a kernel that has them all: scripts/stock-kernel"]
fn stock_leaves_of_every_kind_are_read_as_written() {
    in_namespace(|| {
        use LeafKind::{Cake, FqCodel, Pfifo, Sfq};
        let mut host = Host::open().unwrap();
        let kinds = host.leaves().unwrap();
        assert_eq!(kinds, BTreeSet::from([Pfifo, Sfq, FqCodel, Cake]));
        leaves_come_back(&kinds);
    });
}

fn leaves_come_back(kinds: &BTreeSet<LeafKind>) {
    let device = veth();
    let mut host = Host::open().unwrap();
    let bare = leaf(None, "10mbit", "10mbit");
    all_well(&host.apply(&ops_for(&device, &[(0x20, bare.clone())])));
    let mut from = None;
    for kind in kinds.iter().chain(kinds.iter().rev()) {
        for to in leaves_of(*kind) {
            all_well(&host.apply(&[set_leaf(&device, 0x20, from, to)]));
            let expected = tree(&[(0x20, with_leaf(bare.clone(), to))]);
            assert_eq!(
                tree_of(&host.observe(Scope::All).unwrap(), &device),
                expected
            );
            from = Some(to);
        }
        // What somebody else made of it is not ours any more.
        let parameter = match kind {
            LeafKind::Pfifo => continue,
            LeafKind::Sfq => "perturb 9",
            LeafKind::FqCodel => "noecn",
            LeafKind::Cake => "bandwidth 1mbit",
        };
        let parent = "dev wan0 parent 7a01:20";
        let kind = kind.name();
        sh(&format!(
            "tc qdisc del {parent} && tc qdisc add {parent} handle 20: {kind} {parameter}"
        ));
        let expected = tree(&[(0x20, with_leaf(bare.clone(), Leaf::Other))]);
        assert_eq!(
            tree_of(&host.observe(Scope::All).unwrap(), &device),
            expected
        );
        from = Some(Leaf::Other);
    }
    println!("{}", sh("tc qdisc show dev wan0"));
}
