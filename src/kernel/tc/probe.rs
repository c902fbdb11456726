//! Which kinds of leaf the kernel can make, asked without making one.
//!
//! A qdisc of each kind is asked for with options that no kind takes. A kernel without the kind says
//! `ENOENT` before it looks at them; one that has it (perhaps loading its module, which is all that
//! this may leave behind) says that they are wrong. Four reasons stand against its ever being made:
//! `sfq` wants 20 bytes of options and gets 4; `fq_codel` and `cake` find, as attribute 2 (limit, rate),
//! a number of no bytes; and, for whatever kind, a size table without a base (`qdisc_get_stab`) and a
//! rate estimator without parameters (`gen_new_estimator`) fail in `qdisc_create`, before
//! anything is grafted. And it is asked of the loopback device, where no circuit is.

use std::collections::BTreeSet;
use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use nix::errno::Errno;

use super::answer::Reply;
use super::message::{
    Ack, Messages, ROOT, RTM_NEWQDISC, TCA_KIND, TCA_OPTIONS, TCA_RATE, TCA_STAB,
};
use super::socket::RouteSocket;
use crate::model::state::LeafKind;

/// `LOOPBACK_IFINDEX` of the kernel's `include/net/flow.h`: the same in every network namespace.
const LOOPBACK: u32 = 1;
/// A handle that is neither a leaf's nor a root's of ours, nor one that the kernel gives.
const UNUSED: u32 = 0x7fff_0000;

/// Asks for each kind. `pfifo` needs no question: HTB itself is built on it.
///
/// # Errors
/// Where the kernel refuses to be asked, such as without `CAP_NET_ADMIN`, or, against all of the
/// above, makes one.
pub fn leaves(socket: &mut RouteSocket) -> io::Result<BTreeSet<LeafKind>> {
    let asked = [LeafKind::Sfq, LeafKind::FqCodel, LeafKind::Cake];
    let mut messages = Messages::new();
    for kind in asked {
        // Replace, because somebody's root on the loopback device would else be the answer.
        messages.begin(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, Ack::Own);
        messages.tc_header(LOOPBACK, UNUSED, ROOT);
        let mut name = kind.name().as_bytes().to_vec();
        name.push(0);
        messages.attribute(TCA_KIND, &name);
        messages.nest(TCA_OPTIONS, |options| options.attribute(2, &[]));
        messages.attribute(TCA_RATE, &[]);
        messages.attribute(TCA_STAB, &[]);
    }
    let mut found = BTreeSet::from([LeafKind::Pfifo]);
    for (kind, reply) in asked.into_iter().zip(socket.send(&mut messages)) {
        match reply {
            Reply::Refused { errno, .. } if errno == Errno::ENOENT as i32 => {}
            Reply::Refused { errno, .. } if malformed(errno) => {
                found.insert(kind);
            }
            Reply::Refused { errno, .. } => return Err(io::Error::from_raw_os_error(errno)),
            Reply::Unknown { why } => return Err(io::Error::other(why)),
            Reply::Done => {
                return Err(io::Error::other(format!(
                    "a malformed {} was taken",
                    kind.name()
                )));
            }
        }
    }
    Ok(found)
}

/// What a kind says of options that it cannot read: `EINVAL`, or `ERANGE` from the attribute policy.
fn malformed(errno: i32) -> bool {
    [Errno::EINVAL as i32, Errno::ERANGE as i32].contains(&errno)
}
