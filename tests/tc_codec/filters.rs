//! Filters: read as `tc` made them, and written as the oracle reads them.

use netlink_bindings::tc::BpfAttrs;
use proptest::prelude::*;
use wanshift::kernel::tc::bpf;
use wanshift::kernel::tc::filter::{self, Filter};
use wanshift::kernel::tc::message::{TCA_OPTIONS, TcObject, attribute, u32_at};
use wanshift::model::circuit::MarkMask;
use wanshift::model::state::{Clsact, Feed, Major, Selector, Takes};

use super::options;

const KERNELS: [(&str, &str); 2] = [
    ("6.18", include_str!("../data/filters-6.18.txt")),
    ("6.1", include_str!("../data/filters-6.1.txt")),
];
/// The indexes of the IFB and of the device whose packets it is fed with.
const IFB: u32 = 70;
const WAN: u32 = 71;

fn major() -> Major {
    Major::new(0x7a01).unwrap()
}

fn mask(bits: u32) -> MarkMask {
    MarkMask::new(bits).unwrap()
}

/// The messages of a device.
fn payloads(dump: &str, index: u32) -> Vec<Vec<u8>> {
    let lines = dump.lines().filter(|line| !line.starts_with('#'));
    let payload = |line: &str| -> Vec<u8> {
        let (_, hex) = line.rsplit_once(' ').unwrap();
        (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    };
    lines
        .map(payload)
        .filter(|payload| TcObject::read(payload).unwrap().index == index)
        .collect()
}

fn filters(payloads: &[Vec<u8>]) -> Vec<Filter> {
    payloads.iter().map(|p| Filter::read(p).unwrap()).collect()
}

/// The options of the filter with a priority.
fn options_at(payloads: &[Vec<u8>], priority: u32) -> Vec<u8> {
    let mut found = payloads.iter().filter_map(|payload| {
        let object = TcObject::read(payload).unwrap();
        let there = object.info >> 16 == priority && object.handle != 0;
        attribute(object.attributes, TCA_OPTIONS).filter(|_| there)
    });
    found.next().unwrap().to_vec()
}

#[test]
fn filters_that_tc_made_are_read() {
    for (kernel, dump) in KERNELS {
        let ifb = payloads(dump, IFB);
        let found = filter::selector(&filters(&ifb), major()).unwrap();
        assert_eq!(found, Selector::Mark(MarkMask::UPPER_16), "{kernel}");
        for (priority, bits) in [(1, 0xffff_0000), (2, 0x00ff_ff00), (3, 0x0000_ffff)] {
            let theirs = options_at(&ifb, priority);
            let found = bpf::decode_selector(major(), &theirs);
            assert_eq!(found, Selector::Mark(mask(bits)), "{kernel} {priority}");
            let other = Major::new(0x7a02).unwrap();
            assert_eq!(bpf::decode_selector(other, &theirs), Selector::Drifted);
            // And written again, it is the very program.
            let ours = options(|messages| bpf::encode_selector(messages, major(), mask(bits)));
            let (theirs, ours) = (BpfAttrs::new(&theirs), BpfAttrs::new(&ours));
            assert_eq!(ours.get_ops().unwrap(), theirs.get_ops().unwrap());
            assert_eq!(ours.get_ops_len().unwrap(), theirs.get_ops_len().unwrap());
        }

        let wan = payloads(dump, WAN);
        let feed = |ifb| filter::feed(&filters(&wan), ifb).unwrap().unwrap();
        let takes = Takes::Marked(mask(0xffff));
        let clsact = Clsact::Ours;
        assert_eq!(feed(Some(IFB)), Feed { clsact, takes }, "{kernel}");
        for elsewhere in [Some(WAN), None] {
            assert_eq!(feed(elsewhere).takes, Takes::Drifted);
        }
        for (priority, bits) in [(64_000, 0xffff), (64_001, 0xffff_0000)] {
            let theirs = options_at(&wan, priority);
            let takes = bpf::decode_feed(&theirs, Some(IFB));
            assert_eq!(takes, Takes::Marked(mask(bits)), "{kernel} {priority}");
            let ours = options(|messages| bpf::encode_feed(messages, mask(bits), IFB));
            let (theirs, ours) = (BpfAttrs::new(&theirs), BpfAttrs::new(&ours));
            assert_eq!(ours.get_ops().unwrap(), theirs.get_ops().unwrap());
        }
        // A mirror is no redirection.
        let mirror = options_at(&wan, 64_002);
        assert_eq!(bpf::decode_feed(&mirror, Some(IFB)), Takes::Drifted);
    }
}

#[test]
fn what_came_twice_is_told() {
    let doubled = |index| {
        let mut all = payloads(KERNELS[0].1, index);
        all.extend(all.clone());
        filters(&all)
    };
    assert!(filter::selector(&doubled(IFB), major()).is_err());
    assert!(filter::feed(&doubled(WAN), Some(IFB)).is_err());
}

/// Contiguous, at least two bits.
fn any_mask() -> impl Strategy<Value = MarkMask> {
    (2..=32_u32).prop_flat_map(|width| {
        (0..=32 - width).prop_map(move |shift| mask((u32::MAX >> (32 - width)) << shift))
    })
}

/// What the kernel's interpreter would give for a packet with this mark, as far as our programs go.
fn run(program: &[bpf::Instruction], mark: u32) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let bpf::Instruction { code, jt, jf, k } = program[at];
        at += 1;
        match code {
            0x20 => accumulator = mark,
            0x54 => accumulator &= k,
            0x74 => accumulator >>= k,
            0x44 => accumulator |= k,
            0x15 => at += usize::from(if accumulator == k { jt } else { jf }),
            0x16 => return accumulator,
            0x06 => return k,
            other => panic!("{other:x}"),
        }
    }
}

proptest! {
    #[test]
    fn programs_do_what_they_say(mask in any_mask(), mark in any::<u32>(), minor in 1..0x79ff_u32) {
        let feed = bpf::feed_program(mask);
        prop_assert_eq!(run(&feed, mark), if mark & mask.bits() == 0 { 0 } else { u32::MAX });
        let selector = bpf::selector_program(major(), mask);
        prop_assert_eq!(run(&selector, mark & !mask.bits()), 0);
        // Whatever stands in the bits that are not ours.
        let shifted = minor.checked_shl(mask.bits().trailing_zeros()).unwrap();
        if shifted & mask.bits() == shifted && shifted >> mask.bits().trailing_zeros() == minor {
            let mark = shifted | mark & !mask.bits();
            prop_assert_eq!(run(&selector, mark), 0x7a01_0000 | minor);
        }
    }

    #[test]
    fn filters_come_back(mask in any_mask(), ifb in 1..1_000_u32) {
        let written = options(|messages| bpf::encode_selector(messages, major(), mask));
        prop_assert_eq!(bpf::decode_selector(major(), &written), Selector::Mark(mask));
        let written = options(|messages| bpf::encode_feed(messages, mask, ifb));
        prop_assert_eq!(bpf::decode_feed(&written, Some(ifb)), Takes::Marked(mask));
        prop_assert_eq!(bpf::decode_feed(&written, Some(ifb + 1)), Takes::Drifted);
    }

    #[test]
    fn any_bit_that_is_bent_in_the_program_is_drift(mask in any_mask(), bit in 0..320_usize) {
        let written = options(|messages| bpf::encode_feed(messages, mask, 1));
        let ops = BpfAttrs::new(&written).get_ops().unwrap().to_vec();
        let start = written.windows(ops.len()).position(|part| part == ops).unwrap();
        let mut bent = written.clone();
        bent[start + bit / 8 % ops.len()] ^= 1 << (bit % 8);
        let found = bpf::decode_feed(&bent, Some(1));
        // Unless it is the program of another mask.
        let other = u32_at(&bent[start..], 12).and_then(MarkMask::new);
        let expected = match other {
            Some(other) if other != mask => Takes::Marked(other),
            _ => Takes::Drifted,
        };
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = bpf::decode_selector(major(), &bytes);
        let _ = bpf::decode_feed(&bytes, Some(1));
        if let Some(found) = Filter::read(&bytes) {
            let _ = filter::feed(std::slice::from_ref(&found), Some(1));
            let _ = filter::selector(&[found], major());
        }
    }
}
