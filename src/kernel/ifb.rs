//! The intermediate device (IFB): made, set up, deleted.
//!
//! It is left as the kernel makes it, because that fits:
//! - One transmit queue: HTB hands down under one lock, and one queue keeps each flow in order.
//! - Its queue of 32 packets (`TX_Q_LIMIT` of the kernel's `drivers/net/ifb.c`) is what it takes between
//!   two runs of its own; while it is full, packets wait in their classes.
//! - It takes GSO packets of up to 64 KiB whole (`IFB_FEATURES`), whatever its MTU: that bounds only what the
//!   host itself would send by it, and what is redirected is not asked.
//!
//! Set up, a device gets an IPv6 link-local address, from which the host would solicit routers, into the
//! classes. So it is told to make none, before it is set up. (A route for `ff00::/8` comes and goes with it.)
//!
//! **The module.** Where `ifb` is not in the kernel yet, making the first one loads it, and on loading it makes
//! `ifb0` and `ifb1` in the initial network namespace (`numifbs`, 2 by default), which are nobody's and would
//! stay. systemd's `modprobe.d/systemd.conf` sets `numifbs=0` since version 256, and in Debian 12; for hosts
//! without it `dist/modprobe.d/wanshift.conf` does. They are not deleted here: that they are nobody's cannot be
//! seen from the kernel. And the module is not loaded here with the option: that wants `CAP_SYS_MODULE`, which a
//! service should not have.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{LinkFlags, LinkHeader};

use super::OpError;
use super::link::{self, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, Link, terminated};
use super::tc::answer::{Reply, refused, unasked};
use super::tc::message::{Ack, Messages, RTM_DELLINK, RTM_NEWLINK, RTM_SETLINK};
use super::tc::socket::RouteSocket;
use crate::model::names::DeviceName;
use crate::model::state::Ifb;

/// `IFLA_AF_SPEC` of `linux/if_link.h`: what address families keep of a device.
const IFLA_AF_SPEC: u16 = 26;
/// `AF_INET6` of `linux/socket.h`, as an attribute.
const INET6: u16 = 10;
/// `IFLA_INET6_ADDR_GEN_MODE` of `linux/if_link.h`.
const ADDR_GEN_MODE: u16 = 8;
/// `IN6_ADDR_GEN_MODE_NONE` of `linux/if_link.h`: no link-local address.
const NO_ADDRESS: u8 = 1;

/// The IFB, where the device of its name is one.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn find(socket: &mut RouteSocket) -> std::io::Result<Option<Link>> {
    let Ok(name) = Ifb::NAME.parse() else {
        return Ok(None);
    };
    Ok(link::find(socket, &name)?.filter(is_ifb))
}

/// Whether it is of the kind.
#[must_use]
pub fn is_ifb(link: &Link) -> bool {
    link.kind == Ifb::KIND
}

/// Makes it and sets it up. Where only the first succeeds it is there, down, as a look will show.
///
/// # Errors
/// What the kernel answers: where a device has the name already, `EEXIST`.
pub fn add(socket: &mut RouteSocket, device: &DeviceName) -> Result<(), OpError> {
    let mut messages = Messages::new();
    messages.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, Ack::Own);
    link::put_header(&mut messages, &LinkHeader::default());
    messages.attribute(IFLA_IFNAME, &terminated(device.as_str()));
    messages.nest(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, &terminated(Ifb::KIND));
    });
    send_one(socket, &mut messages, device)?;
    raise(socket, device)
}

/// Sets it up.
///
/// # Errors
/// Where it is not there or the device of that name is of another kind, and what the kernel answers.
pub fn raise(socket: &mut RouteSocket, device: &DeviceName) -> Result<(), OpError> {
    let found = expect(socket, device)?;
    let mut messages = Messages::new();
    messages.begin(RTM_SETLINK, 0, Ack::Own);
    link::put_header(&mut messages, &header_of(&found));
    messages.nest(IFLA_AF_SPEC, |families| {
        families.nest(INET6, |inet6| inet6.attribute(ADDR_GEN_MODE, &[NO_ADDRESS]));
    });
    messages.begin(RTM_SETLINK, 0, Ack::Own);
    let up = LinkHeader {
        flags: LinkFlags::Up,
        change_mask: LinkFlags::Up,
        ..header_of(&found)
    };
    link::put_header(&mut messages, &up);
    let mut replies = socket.send(&mut messages).into_iter();
    // A kernel without IPv6 knows nothing of its addresses, and makes none.
    if let Some(Reply::Refused { errno, .. }) = replies.next() {
        tracing::debug!(%device, errno, "no say over IPv6 addresses");
    }
    answered(replies.next(), device)
}

/// Deletes it, and its tree with it.
///
/// # Errors
/// Where it is not there or the device of that name is of another kind, and what the kernel answers.
pub fn delete(socket: &mut RouteSocket, device: &DeviceName) -> Result<(), OpError> {
    let found = expect(socket, device)?;
    let mut messages = Messages::new();
    messages.begin(RTM_DELLINK, 0, Ack::Own);
    link::put_header(&mut messages, &header_of(&found));
    send_one(socket, &mut messages, device)
}

/// By index from here on, so that nobody else's device of that name is meant.
fn header_of(link: &Link) -> LinkHeader {
    LinkHeader {
        index: link.index,
        ..LinkHeader::default()
    }
}

fn expect(socket: &mut RouteSocket, device: &DeviceName) -> Result<Link, OpError> {
    let found = link::find(socket, device).map_err(|error| unasked(&error))?;
    let found = found.ok_or_else(|| OpError::NoDevice {
        device: device.clone(),
    })?;
    if is_ifb(&found) {
        Ok(found)
    } else {
        Err(refused("the device of that name is not an IFB"))
    }
}

fn send_one(
    socket: &mut RouteSocket,
    messages: &mut Messages,
    device: &DeviceName,
) -> Result<(), OpError> {
    answered(socket.send(messages).pop(), device)
}

fn answered(reply: Option<Reply>, device: &DeviceName) -> Result<(), OpError> {
    reply
        .unwrap_or(Reply::Unknown {
            why: "nothing was sent".to_owned(),
        })
        .outcome(device)
}
