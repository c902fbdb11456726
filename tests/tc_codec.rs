//! The codecs of traffic control against what two kernels dumped of trees that `tc` made, and against
//! netlink-bindings, which is generated from the kernel's own description of its netlink.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "tc_codec/filters.rs"]
mod filters;

use netlink_bindings::tc::{CakeAttrs, FqCodelAttrs, HtbAttrs, TcSfqQoptV1};
use proptest::prelude::*;
use wanshift::kernel::tc::message::{Messages, TCA_KIND, TCA_OPTIONS, TcObject, attribute, text};
use wanshift::kernel::tc::{htb, leaves};
use wanshift::model::circuit::{LinkLayer, Overhead};
use wanshift::model::class::Priority;
use wanshift::model::state::{Leaf, Minor, Role, TcClass, Ticks};
use wanshift::units::Rate;

const KERNELS: [(&str, &str); 2] = [
    ("6.18", include_str!("data/tc-6.18.txt")),
    ("6.1", include_str!("data/tc-6.1.txt")),
];

/// A captured object: its handle as the dump has it, its kind, its options.
struct Captured {
    handle: String,
    kind: Vec<u8>,
    parent: u32,
    options: Vec<u8>,
}

fn captured(dump: &str, message: &str) -> Vec<Captured> {
    let mut objects = Vec::new();
    for line in dump.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split(' ').collect();
        let [kind, handle, name, hex] = fields[..] else {
            panic!("{line}")
        };
        if kind != message {
            continue;
        }
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let object = TcObject::read(&bytes).unwrap();
        let kind = text(attribute(object.attributes, TCA_KIND).unwrap()).to_vec();
        assert_eq!(kind, name.as_bytes());
        objects.push(Captured {
            handle: handle.to_owned(),
            kind,
            parent: object.parent,
            options: attribute(object.attributes, TCA_OPTIONS).unwrap().to_vec(),
        });
    }
    objects
}

/// The options that an encoder writes.
fn options(write: impl FnOnce(&mut Messages)) -> Vec<u8> {
    let mut messages = Messages::new();
    write(&mut messages);
    attribute(messages.bytes(), TCA_OPTIONS).unwrap().to_vec()
}

fn class(rates: [&str; 2], bursts: [u32; 2], role: Role) -> TcClass {
    TcClass {
        parent: Some(Minor::new(0x10).unwrap()),
        rate: rates[0].parse().unwrap(),
        ceil: rates[1].parse().unwrap(),
        burst: Ticks(bursts[0]),
        cburst: Ticks(bursts[1]),
        overhead: Overhead(0),
        link_layer: LinkLayer::Ethernet,
        role,
    }
}

fn role(priority: u8, quantum: u32) -> Role {
    Role::Leaf {
        priority: priority.try_into().unwrap(),
        quantum,
        leaf: None,
    }
}

#[test]
fn classes_that_tc_made_are_read() {
    for (kernel, dump) in KERNELS {
        let found = captured(dump, "40");
        let expected = [
            ("7a010010", {
                // `tc` gives a burst of 1,600 bytes and the kernel, for an inner class, a level.
                let mut class = class(["100mbit", "200mbit"], [2_000, 1_000], Role::Inner);
                class.parent = None;
                class
            }),
            (
                "7a010002",
                class(
                    ["1mbit", "100mbit"],
                    // 15 KiB at 1 mbit, and 30 KiB at 100 mbit as near as `tc` comes.
                    [1_920_000, 38_390],
                    role(0, 60_000),
                ),
            ),
            ("7a010030", {
                let mut class = class(["2mbit", "3mbit"], [0, 0], role(7, 1_514));
                class.overhead = Overhead(44);
                class.link_layer = LinkLayer::Atm;
                class
            }),
            ("7a0179ff", {
                let mut class = class(["40gbit", "1tbit"], [0, 0], role(3, 200_000));
                class.parent = None;
                class
            }),
        ];
        assert_eq!(found.len(), expected.len(), "{kernel}");
        for (handle, mut expected) in expected {
            let seen = found.iter().find(|seen| seen.handle == handle).unwrap();
            let parent = (seen.parent != 0xffff_ffff)
                .then(|| Minor::new(u16::try_from(seen.parent & 0xffff).unwrap()).unwrap());
            let class = htb::decode_class(parent, &seen.options).unwrap();
            // Where `tc` chose the burst, the oracle says which.
            let parms = HtbAttrs::new(&seen.options).get_parms().unwrap();
            if expected.burst == Ticks(0) {
                expected.burst = Ticks(parms.buffer);
                expected.cburst = Ticks(parms.cbuffer);
            }
            assert_eq!(class, expected, "{kernel} {handle}");
            if let Role::Leaf { .. } = class.role {
                // And written again, they are the very options that the kernel dumped.
                let again = options(|messages| htb::encode_class(messages, &class));
                let oracle = HtbAttrs::new(&again);
                assert_eq!(oracle.get_parms().unwrap(), parms, "{kernel} {handle}");
                let wide = HtbAttrs::new(&seen.options);
                assert_eq!(oracle.get_rate64().ok(), wide.get_rate64().ok());
                assert_eq!(oracle.get_ceil64().ok(), wide.get_ceil64().ok());
                assert_eq!(oracle.get_rate64().is_ok(), handle == "7a0179ff");
            }
        }
    }
}

#[test]
fn roots_that_tc_made_are_read() {
    for (kernel, dump) in KERNELS {
        let roots = captured(dump, "36");
        let root = roots.iter().find(|root| root.kind == b"htb").unwrap();
        assert_eq!(root.handle, "7a010000");
        assert_eq!(
            htb::decode_root(&root.options),
            Some(Minor::CONTROL),
            "{kernel}"
        );
        let again = options(|messages| htb::encode_root(messages, Minor::CONTROL));
        let (theirs, ours) = (HtbAttrs::new(&root.options), HtbAttrs::new(&again));
        let (theirs, ours) = (theirs.get_init().unwrap(), ours.get_init().unwrap());
        assert_eq!(ours.version, 3);
        assert_eq!(
            (ours.rate2quantum, ours.defcls),
            (theirs.rate2quantum, theirs.defcls)
        );
    }
}

#[test]
fn leaves_that_tc_made_are_read() {
    let mut seen = Vec::new();
    for (_, dump) in KERNELS {
        for leaf in captured(dump, "36") {
            if leaf.kind != b"htb" {
                seen.push((
                    String::from_utf8(leaf.kind.clone()).unwrap(),
                    leaves::decode(&leaf.kind, &leaf.options),
                ));
            }
        }
    }
    let expected = [
        ("pfifo", Leaf::Pfifo { limit: 77 }),
        ("pfifo", Leaf::Pfifo { limit: 77 }),
        ("sfq", Leaf::Sfq { limit: 100 }),
        (
            "fq_codel",
            Leaf::FqCodel {
                limit: 1_000,
                target_us: 5_000,
                // `tc` asked for 100 ms, and the kernel keeps a little less.
                interval_us: 99_999,
            },
        ),
        ("cake", Leaf::Cake),
        (
            "fq_codel",
            Leaf::FqCodel {
                limit: 10_240,
                target_us: 4_999,
                interval_us: 99_999,
            },
        ),
    ]
    .map(|(kind, leaf)| (kind.to_owned(), leaf));
    assert_eq!(seen, expected);
}

#[test]
fn what_is_no_leaf_of_ours_is_other() {
    for (kind, options) in [
        (&b"bfifo"[..], &[1, 0, 0, 0][..]),
        (b"pfifo", &[]),
        (b"pfifo", &[1, 0]),
        (b"sfq", &[0; 20]),
        (b"fq_codel", &[]),
        (b"fq_codel", &[8, 0, 1, 0]),
        (b"cake", &[0xff; 64]),
    ] {
        assert_eq!(leaves::decode(kind, options), Leaf::Other, "{kind:?}");
    }
}

fn any_leaf() -> impl Strategy<Value = Leaf> {
    let times = 0..=u32::MAX;
    prop_oneof![
        any::<u32>().prop_map(|limit| Leaf::Pfifo { limit }),
        any::<u32>().prop_map(|limit| Leaf::Sfq { limit }),
        (any::<u32>(), times.clone(), times).prop_map(|(limit, target_us, interval_us)| {
            Leaf::FqCodel {
                limit,
                target_us,
                interval_us,
            }
        }),
        (0..200_000_u32).prop_map(|us| Leaf::FqCodel {
            limit: 1,
            target_us: us,
            interval_us: us,
        }),
        Just(Leaf::Cake),
    ]
}

fn any_class() -> impl Strategy<Value = TcClass> {
    let rate = || (1..=Rate::MAX.bytes_per_second()).prop_map(Rate::from_bytes_per_second);
    let near = prop_oneof![
        rate(),
        (4_294_967_290..4_294_967_300_u64).prop_map(Rate::from_bytes_per_second)
    ];
    (
        near,
        rate(),
        any::<[u32; 3]>(),
        any::<u16>(),
        any::<bool>(),
        0..8_u8,
    )
        .prop_map(
            |(rate, ceil, [burst, cburst, quantum], overhead, atm, priority)| TcClass {
                parent: Minor::new(3),
                rate,
                ceil,
                burst: Ticks(burst),
                cburst: Ticks(cburst),
                overhead: Overhead(overhead),
                link_layer: if atm {
                    LinkLayer::Atm
                } else {
                    LinkLayer::Ethernet
                },
                role: Role::Leaf {
                    priority: Priority::try_from(priority).unwrap(),
                    quantum,
                    leaf: None,
                },
            },
        )
}

/// What the kernel tells of times that it was told: `fq_codel_change` and `codel_time_to_us`.
fn through_codel(us: u32) -> u32 {
    let kept = (u64::from(us) * 1_000) >> 10;
    u32::try_from((kept << 10) / 1_000).unwrap()
}

proptest! {
    #[test]
    fn a_class_comes_back(class in any_class()) {
        let written = options(|messages| htb::encode_class(messages, &class));
        prop_assert_eq!(htb::decode_class(class.parent, &written).unwrap(), class.clone());
        // The oracle reads the same.
        let oracle = HtbAttrs::new(&written);
        let parms = oracle.get_parms().unwrap();
        let rate = oracle.get_rate64().unwrap_or(u64::from(parms.rate.rate));
        prop_assert_eq!(rate, class.rate.bytes_per_second());
        let ceil = oracle.get_ceil64().unwrap_or(u64::from(parms.ceil.rate));
        prop_assert_eq!(ceil, class.ceil.bytes_per_second());
        prop_assert_eq!((parms.buffer, parms.cbuffer), (class.burst.0, class.cburst.0));
        // The kernel's description (6.x, `tc.yaml`) takes overhead for a byte; its header says two.
        prop_assert_eq!(u16::from(parms.rate.overhead), class.overhead.0 & 0xff);
        prop_assert_eq!(parms.rate.linklayer, parms.ceil.linklayer);
    }

    #[test]
    fn a_settled_leaf_is_its_own_settled_form(leaf in any_leaf()) {
        prop_assert_eq!(leaf.settled().settled(), leaf.settled());
        prop_assert_eq!(leaf.settled().kind(), leaf.kind());
    }

    #[test]
    fn a_leaf_is_written_as_the_oracle_reads_it(leaf in any_leaf()) {
        let leaf = leaf.settled();
        let mut messages = Messages::new();
        leaves::encode(&mut messages, leaf).unwrap();
        let kind = text(attribute(messages.bytes(), TCA_KIND).unwrap()).to_vec();
        let written = attribute(messages.bytes(), TCA_OPTIONS).unwrap();
        prop_assert_eq!(&kind[..], leaf.kind().unwrap().name().as_bytes());
        match leaf {
            Leaf::Pfifo { .. } | Leaf::Cake => prop_assert_eq!(leaves::decode(&kind, written), leaf),
            Leaf::Sfq { limit } => {
                let oracle = TcSfqQoptV1::new_from_slice(written).unwrap();
                prop_assert_eq!((oracle.v0.limit, oracle.v0.flows, oracle.depth), (limit, 128, 127));
                prop_assert_eq!((oracle.v0.quantum, oracle.v0.perturb_period, oracle.qth_min), (1_514, 0, 0));
            }
            Leaf::FqCodel { limit, target_us, interval_us } => {
                let oracle = FqCodelAttrs::new(written);
                prop_assert_eq!(oracle.get_limit().unwrap(), limit);
                prop_assert_eq!(through_codel(oracle.get_target().unwrap()), target_us);
                prop_assert_eq!(through_codel(oracle.get_interval().unwrap()), interval_us);
                prop_assert_eq!(oracle.get_ecn().unwrap(), 1);
                prop_assert_eq!(oracle.get_memory_limit().unwrap(), 32 << 20);
            }
            Leaf::Other => unreachable!(),
        }
        if leaf == Leaf::Cake {
            let oracle = CakeAttrs::new(written);
            prop_assert_eq!(oracle.get_base_rate64().unwrap(), 0);
            prop_assert_eq!(oracle.get_diffserv_mode().unwrap(), 3);
            prop_assert_eq!(oracle.get_flow_mode().unwrap(), 7);
        }
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = htb::decode_class(None, &bytes);
        let _ = htb::decode_root(&bytes);
        for kind in [&b"pfifo"[..], b"sfq", b"fq_codel", b"cake"] {
            let _ = leaves::decode(kind, &bytes);
        }
    }
}
