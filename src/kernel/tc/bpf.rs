//! The filters of ours: `cls_bpf` with classic BPF, a few instructions that the kernel compiles.
//!
//! Two programs, from the model to instructions and back: what is read counts as ours only where every
//! instruction is as we write it.

use super::message::{
    Messages, TCA_KIND, TCA_OPTIONS, attribute, attributes, text, u16_at, u32_at,
};
use crate::model::circuit::MarkMask;
use crate::model::state::{Major, Selector, Takes};

/// The kind, as the kernel calls it.
pub const KIND: &[u8] = b"bpf";

/// `TCA_BPF_ACT` of `linux/pkt_cls.h`.
const ACT: u16 = 1;
/// `TCA_BPF_POLICE` of `linux/pkt_cls.h`.
const POLICE: u16 = 2;
/// `TCA_BPF_CLASSID` of `linux/pkt_cls.h`.
const CLASSID: u16 = 3;
/// `TCA_BPF_OPS_LEN` of `linux/pkt_cls.h`.
const OPS_LEN: u16 = 4;
/// `TCA_BPF_OPS` of `linux/pkt_cls.h`.
const OPS: u16 = 5;
/// `TCA_BPF_FLAGS` of `linux/pkt_cls.h`: whether the program's result is the verdict.
const FLAGS: u16 = 8;
/// `TCA_BPF_FLAGS_GEN` of `linux/pkt_cls.h`: where it runs.
const FLAGS_GEN: u16 = 9;
/// `TCA_CLS_FLAGS_IN_HW`, `TCA_CLS_FLAGS_NOT_IN_HW` of `linux/pkt_cls.h`: what the kernel tells, not what it
/// was told.
const TOLD: u32 = 1 << 2 | 1 << 3;
/// `TCA_ACT_KIND` of `linux/pkt_cls.h`.
const ACT_KIND: u16 = 1;
/// `TCA_ACT_OPTIONS` of `linux/pkt_cls.h`.
const ACT_OPTIONS: u16 = 2;
/// `TCA_MIRRED_PARMS` of `linux/tc_act/tc_mirred.h`: `struct tc_mirred`.
const MIRRED_PARMS: u16 = 2;
/// `TCA_EGRESS_REDIR` of `linux/tc_act/tc_mirred.h`.
const EGRESS_REDIRECT: u32 = 1;
/// `TC_ACT_STOLEN` of `linux/pkt_cls.h`: the packet goes no further here.
const STOLEN: u32 = 4;

/// An instruction: `struct sock_filter` of `linux/filter.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many to skip where a comparison holds.
    pub jt: u8,
    /// How many to skip where it does not.
    pub jf: u8,
    /// Its operand.
    pub k: u32,
}

/// The length of `struct sock_filter`.
const INSTRUCTION: usize = 8;

/// The codes of `linux/bpf_common.h` that are used, and the place of a packet's mark.
mod code {
    /// `BPF_LD | BPF_W | BPF_ABS`.
    pub const LOAD: u16 = 0x20;
    /// `BPF_ALU | BPF_AND | BPF_K`.
    pub const AND: u16 = 0x54;
    /// `BPF_ALU | BPF_RSH | BPF_K`.
    pub const SHIFT_RIGHT: u16 = 0x74;
    /// `BPF_ALU | BPF_OR | BPF_K`.
    pub const OR: u16 = 0x44;
    /// `BPF_JMP | BPF_JEQ | BPF_K`.
    pub const IF_EQUAL: u16 = 0x15;
    /// `BPF_RET | BPF_A`.
    pub const RETURN_IT: u16 = 0x16;
    /// `BPF_RET | BPF_K`.
    pub const RETURN: u16 = 0x06;
    /// `SKF_AD_OFF + SKF_AD_MARK` of `linux/filter.h`.
    pub const MARK: u32 = 0xffff_f014;
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// The program that gives a packet its class: `mask`'s bits of its mark, shifted down, below `major`.
///
/// Without any of these bits it gives 0, which is no match, and the packet is HTB's default's. It would else
/// be the class id of the tree itself, which for HTB means that the packet goes unshaped (`HTB_DIRECT` of
/// the kernel's `net/sched/sch_htb.c`).
#[must_use]
pub fn selector_program(major: Major, mask: MarkMask) -> Vec<Instruction> {
    let (bits, shift) = (mask.bits(), mask.bits().trailing_zeros());
    let mut program = vec![plain(code::LOAD, code::MARK)];
    // What reaches up to the last bit needs no mask: the shift leaves nothing else.
    if bits.leading_zeros() > 0 {
        program.push(plain(code::AND, bits));
    }
    if shift > 0 {
        program.push(plain(code::SHIFT_RIGHT, shift));
    }
    program.push(Instruction {
        code: code::IF_EQUAL,
        jt: 1,
        jf: 0,
        k: 0,
    });
    program.push(plain(code::OR, u32::from(major.get()) << 16));
    program.push(plain(code::RETURN_IT, 0));
    program
}

/// The program that matches packets whose mark has any of `mask`'s bits.
#[must_use]
pub fn feed_program(mask: MarkMask) -> Vec<Instruction> {
    vec![
        plain(code::LOAD, code::MARK),
        plain(code::AND, mask.bits()),
        Instruction {
            code: code::IF_EQUAL,
            jt: 0,
            jf: 1,
            k: 0,
        },
        plain(code::RETURN, 0),
        plain(code::RETURN, u32::MAX),
    ]
}

/// A program as `tc` takes it: how many instructions, then each as four numbers.
#[must_use]
pub fn bytecode(program: &[Instruction]) -> String {
    let mut text = program.len().to_string();
    for Instruction { code, jt, jf, k } in program {
        text.push_str(&format!(",{code} {jt} {jf} {k}"));
    }
    text
}

/// Writes kind and options of the filter that says how a tree's packets find their class.
pub fn encode_selector(messages: &mut Messages, major: Major, mask: MarkMask) {
    messages.attribute(TCA_KIND, b"bpf\0");
    messages.nest(TCA_OPTIONS, |options| {
        put_program(options, &selector_program(major, mask));
    });
}

/// Writes kind and options of the filter that leads packets to the device with the index `ifb`.
pub fn encode_feed(messages: &mut Messages, mask: MarkMask, ifb: u32) {
    messages.attribute(TCA_KIND, b"bpf\0");
    messages.nest(TCA_OPTIONS, |options| {
        options.nest(ACT, |actions| {
            actions.nest(1, |first| {
                first.attribute(ACT_KIND, b"mirred\0");
                first.nest(ACT_OPTIONS, |own| {
                    own.nest(MIRRED_PARMS, |parms| {
                        // `tc_gen`: index and capabilities (given by the kernel), verdict, references,
                        // bindings.
                        for field in [0, 0, STOLEN, 0, 0, EGRESS_REDIRECT, ifb] {
                            parms.put(&field.to_ne_bytes());
                        }
                    });
                });
            });
        });
        put_program(options, &feed_program(mask));
    });
}

fn put_program(options: &mut Messages, program: &[Instruction]) {
    let length = u16::try_from(program.len()).unwrap_or(u16::MAX);
    options.attribute(OPS_LEN, &length.to_ne_bytes());
    options.nest(OPS, |ops| {
        for Instruction { code, jt, jf, k } in program {
            ops.put(&code.to_ne_bytes());
            ops.put(&[*jt, *jf]);
            ops.put(&k.to_ne_bytes());
        }
    });
}

/// What a filter in the place of a tree's selector is, from its options.
#[must_use]
pub fn decode_selector(major: Major, options: &[u8]) -> Selector {
    let program = program(options).filter(|_| attribute(options, ACT).is_none());
    program
        .and_then(|program| {
            // The mask stands in the program, or is what the shift leaves.
            let bits = program
                .get(1)
                .map(|second| match second.code {
                    code::AND => Some(second.k),
                    code::SHIFT_RIGHT => u32::MAX.checked_shl(second.k),
                    _ => Some(u32::MAX),
                })?
                .and_then(MarkMask::new)?;
            (program == selector_program(major, bits)).then_some(Selector::Mark(bits))
        })
        .unwrap_or(Selector::Drifted)
}

/// What a filter in the place of a feed takes, from its options, where the IFB has the index `ifb`.
#[must_use]
pub fn decode_feed(options: &[u8], ifb: Option<u32>) -> Takes {
    let to_ifb = ifb.is_some() && attribute(options, ACT).and_then(redirected_to) == ifb;
    program(options)
        .filter(|_| to_ifb)
        .and_then(|program| {
            let mask = MarkMask::new(program.get(1)?.k)?;
            (program == feed_program(mask)).then_some(Takes::Marked(mask))
        })
        .unwrap_or(Takes::Drifted)
}

/// The program of a filter that runs in software, gives no verdict itself and has nothing beside.
fn program(options: &[u8]) -> Option<Vec<Instruction>> {
    let flags = |kind| {
        attribute(options, kind)
            .and_then(|value| u32_at(value, 0))
            .unwrap_or(0)
    };
    let beside = [POLICE, CLASSID]
        .iter()
        .any(|kind| attribute(options, *kind).is_some());
    if beside || flags(FLAGS) != 0 || flags(FLAGS_GEN) & !TOLD != 0 {
        return None;
    }
    let instruction = |raw: &[u8]| {
        let [_, _, jt, jf, ..] = *raw else {
            return None;
        };
        Some(Instruction {
            code: u16_at(raw, 0)?,
            jt,
            jf,
            k: u32_at(raw, 4)?,
        })
    };
    let ops = attribute(options, OPS)?.chunks(INSTRUCTION);
    ops.map(instruction).collect()
}

/// Where the only action redirects to; `None` where it does anything else, or is not the only one.
fn redirected_to(actions: &[u8]) -> Option<u32> {
    let mut actions = attributes(actions);
    let (_, action) = actions.next()?;
    if actions.next().is_some() || text(attribute(action, ACT_KIND)?) != b"mirred" {
        return None;
    }
    let parms = attribute(attribute(action, ACT_OPTIONS)?, MIRRED_PARMS)?;
    let redirects = u32_at(parms, 8)? == STOLEN && u32_at(parms, 20)? == EGRESS_REDIRECT;
    redirects.then_some(u32_at(parms, 24)?)
}
