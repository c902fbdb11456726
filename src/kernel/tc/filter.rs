//! Where the filters of ours hang, and what hangs there.
//!
//! A tree's selector hangs at its root. A feed hangs where packets leave a device, in its `clsact`, at a
//! priority behind all that the kernel gives by itself (those go down from 0xc000): **others' filters come
//! first**. When the IFB gives a packet back, it marks it so that the first action that it meets is skipped
//! (`tc_skip_classify`: `ifb_ri_tasklet`, `tcf_action_exec` in the kernel), else ours would lead it round again.
//! An action of somebody else's behind ours would so be met by no packet that we lead; before ours it is met
//! once, on the first pass, and skipped on the second. (A program that is its own verdict, `direct-action`, is no
//! action and runs on both.) Where another's filter says that a packet needs no further one, ours is not asked,
//! and the packet leaves unshaped: its filters stay its own.
//!
//! Who made the `clsact` is told by the feed's handle, so that it is known from the kernel alone.

use std::io;

use netlink_packet_core::NLM_F_ECHO;

use super::bpf;
use super::message::{
    Ack, EDGE, Messages, RTM_DELTFILTER, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWTFILTER, TCA_CHAIN,
    TCA_KIND, TCA_OPTIONS, TcObject, attribute, text, u32_at,
};
use super::socket::RouteSocket;
use crate::model::circuit::MarkMask;
use crate::model::state::{Clsact, Edge, Feed, Major, Selector, Takes};

/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)` of `linux/pkt_sched.h`: where packets enter a device.
pub const INGRESS: u32 = 0xffff_fff2;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)` of `linux/pkt_sched.h`: where packets leave it.
pub const EGRESS: u32 = 0xffff_fff3;
/// `ETH_P_ALL` of `linux/if_ether.h`.
const ALL: u16 = 3;
/// Before all others: the tree is ours.
pub(super) const SELECTOR_PRIORITY: u16 = 1;
/// The selector's handle.
pub(super) const SELECTOR: u32 = 1;
/// Behind the 0xc000 from which the kernel goes down (`TC_H_MAKE(0x80000000U, 0U)` and `tcf_auto_prio` of its
/// `net/sched/cls_api.c`).
pub const FEED_PRIORITY: u16 = 0xfa00;

/// A filter, or what filters of one priority hang at (its handle is 0 then).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    priority: u16,
    protocol: u16,
    chain: u32,
    handle: u32,
    kind: Vec<u8>,
    options: Vec<u8>,
}

impl Filter {
    /// Reads `struct tcmsg` and what follows it.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let object = TcObject::read(payload)?;
        let [high, low, ..] = object.info.to_be_bytes();
        let [_, _, upper, lower] = object.info.to_be_bytes();
        let chain = attribute(object.attributes, TCA_CHAIN);
        Some(Self {
            priority: u16::from_be_bytes([high, low]),
            // As it is on the wire.
            protocol: u16::from_be(u16::from_be_bytes([upper, lower])),
            chain: chain.and_then(|value| u32_at(value, 0)).unwrap_or(0),
            handle: object.handle,
            kind: text(attribute(object.attributes, TCA_KIND)?).to_vec(),
            options: attribute(object.attributes, TCA_OPTIONS)
                .unwrap_or_default()
                .to_vec(),
        })
    }

    /// Whether it hangs among the filters of a priority that may be ours.
    fn is_among(&self, priority: u16) -> bool {
        self.priority == priority && self.chain == 0 && self.kind == bpf::KIND
    }

    /// Who made the `clsact`, where it is in a feed's place.
    fn feeds(&self) -> Option<Clsact> {
        [Clsact::Ours, Clsact::Theirs]
            .into_iter()
            .find(|clsact| self.is_among(FEED_PRIORITY) && self.handle == feed_handle(*clsact))
    }
}

/// The handle that a feed has.
pub(super) const fn feed_handle(clsact: Clsact) -> u32 {
    match clsact {
        Clsact::Ours => 1,
        Clsact::Theirs => 2,
    }
}

/// All that hangs at `parent` of a device: nothing, where there is no such parent or device.
///
/// # Errors
/// Where the dump fails.
pub fn at(socket: &mut RouteSocket, index: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let header = |messages: &mut Messages| messages.tc_header(index, 0, parent);
    socket.dump(RTM_GETTFILTER, header, Vec::new, |filters, payload| {
        filters.extend(Filter::read(payload));
    })
}

/// What stands beside the root of a device.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn edge(socket: &mut RouteSocket, index: u32) -> io::Result<Edge> {
    let mut messages = Messages::new();
    // The kernel answers everybody who listens (`qdisc_get_notify`), and whoever asks only where told so.
    messages.begin(RTM_GETQDISC, NLM_F_ECHO, Ack::Own);
    messages.tc_header(index, 0, EDGE);
    let mut edge = Edge::None;
    let answer = socket.get(&mut messages, |_, payload| {
        edge = TcObject::read(payload)
            .and_then(|qdisc| edge_of(text(attribute(qdisc.attributes, TCA_KIND)?)))
            .unwrap_or(edge);
    });
    match answer {
        Ok(()) => Ok(edge),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(Edge::None),
        Err(error) => Err(error),
    }
}

/// What a qdisc at [`EDGE`] is, by its kind.
pub(super) fn edge_of(kind: &[u8]) -> Option<Edge> {
    match kind {
        b"clsact" => Some(Edge::Clsact),
        b"ingress" => Some(Edge::Ingress),
        _ => None,
    }
}

/// How the packets of a tree find their class, from what hangs at its root.
///
/// # Errors
/// Says what contradicts itself.
pub fn selector(filters: &[Filter], major: Major) -> Result<Selector, String> {
    let mut ours = filters
        .iter()
        .filter(|filter| filter.is_among(SELECTOR_PRIORITY) && filter.handle == SELECTOR);
    let Some(found) = ours.next() else {
        return Ok(Selector::Priority);
    };
    if ours.next().is_some() {
        return Err("a selector came twice".to_owned());
    }
    Ok(if found.protocol == ALL {
        bpf::decode_selector(major, &found.options)
    } else {
        Selector::Drifted
    })
}

/// The feed of a device, from what hangs where packets leave it, where the IFB has the index `ifb`.
///
/// # Errors
/// Says what contradicts itself.
pub fn feed(filters: &[Filter], ifb: Option<u32>) -> Result<Option<Feed>, String> {
    let mut found: Option<Feed> = None;
    for (filter, clsact) in filters
        .iter()
        .filter_map(|filter| Some((filter, filter.feeds()?)))
    {
        found = Some(match found {
            Some(before) if before.clsact == clsact => return Err("a feed came twice".to_owned()),
            // One handle is being made the other, or somebody copied it.
            Some(_) => Feed {
                clsact: Clsact::Ours,
                takes: Takes::Drifted,
            },
            None => Feed {
                clsact,
                takes: if filter.protocol == ALL {
                    bpf::decode_feed(&filter.options, ifb)
                } else {
                    Takes::Drifted
                },
            },
        });
    }
    Ok(found)
}

/// The handles of feeds that hang there.
pub(super) fn feeds(filters: &[Filter]) -> Vec<Clsact> {
    filters.iter().filter_map(Filter::feeds).collect()
}

/// Whether anything but feeds of ours hangs there.
pub(super) fn has_others(filters: &[Filter]) -> bool {
    filters.iter().any(|filter| {
        let head = filter.is_among(FEED_PRIORITY) && filter.handle == 0;
        !head && filter.feeds().is_none()
    })
}

/// Writes the message that adds or, without flags, changes in place a tree's selector.
pub fn put_selector(messages: &mut Messages, index: u32, major: Major, mask: MarkMask, flags: u16) {
    messages.begin(RTM_NEWTFILTER, flags, Ack::Own);
    put_selector_header(messages, index, major);
    bpf::encode_selector(messages, major, mask);
}

/// Writes the message that deletes it.
pub fn put_selector_deletion(messages: &mut Messages, index: u32, major: Major) {
    messages.begin(RTM_DELTFILTER, 0, Ack::Own);
    put_selector_header(messages, index, major);
    messages.attribute(TCA_KIND, b"bpf\0");
}

fn put_selector_header(messages: &mut Messages, index: u32, major: Major) {
    let parent = u32::from(major.get()) << 16;
    messages.filter_header(index, SELECTOR, parent, info(SELECTOR_PRIORITY));
}

/// Writes the message that adds or, without flags, changes in place a device's feed.
pub fn put_feed(
    messages: &mut Messages,
    index: u32,
    clsact: Clsact,
    mask: MarkMask,
    ifb: u32,
    flags: u16,
) {
    messages.begin(RTM_NEWTFILTER, flags, Ack::Own);
    messages.filter_header(index, feed_handle(clsact), EGRESS, info(FEED_PRIORITY));
    bpf::encode_feed(messages, mask, ifb);
}

/// Writes the message that deletes it.
pub fn put_feed_deletion(messages: &mut Messages, index: u32, clsact: Clsact) {
    messages.begin(RTM_DELTFILTER, 0, Ack::Own);
    messages.filter_header(index, feed_handle(clsact), EGRESS, info(FEED_PRIORITY));
    messages.attribute(TCA_KIND, b"bpf\0");
}

/// Priority and, as it is on the wire, protocol.
const fn info(priority: u16) -> u32 {
    (priority as u32) << 16 | ALL.to_be() as u32
}
