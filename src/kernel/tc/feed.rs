//! Feeds, written: [`Op::SetFeed`](crate::plan::op::Op::SetFeed).
//!
//! Each takes a look first and a few messages then. What belongs together goes in one batch, which the kernel
//! carries out within the call that sends it: a program that is killed leaves no `clsact` of ours without the feed by
//! which it is known, and takes no feed without its `clsact`.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;

use super::answer::{Reply, refusal, refused, unasked};
use super::filter::{self, Filter};
use super::message::{Ack, EDGE, Messages, RTM_DELQDISC, RTM_NEWQDISC, TCA_KIND};
use super::socket::RouteSocket;
use crate::kernel::{OpError, ifb, link};
use crate::model::circuit::MarkMask;
use crate::model::names::DeviceName;
use crate::model::state::{Clsact, Edge, Feed, Ifb, Takes};

/// `TC_H_MAKE(TC_H_CLSACT, 0)` of `linux/pkt_sched.h`: the handle that the kernel gives to what is there.
const HANDLE: u32 = 0xffff_0000;

/// Leads the packets that leave `device` as `to` says, from `from` on.
///
/// - From none: a `clsact` that is to be ours is added with the feed, and is an error where there is one (or an
///   `ingress`) already; somebody else's must be there.
/// - From one to another under the same handle: in place, so that each packet meets the one or the other. Under
///   another handle the new one is there before the old one goes.
/// - To none: what is gone already is as good. A `clsact` of ours goes too, unless somebody has put a filter into
///   it.
///
/// # Errors
/// Where the device or the IFB is not there, and what the kernel answers.
pub fn set(
    socket: &mut RouteSocket,
    device: &DeviceName,
    from: Option<Feed>,
    to: Option<Feed>,
) -> Result<(), OpError> {
    let index = link::index_of(socket, device)
        .map_err(|error| unasked(&error))?
        .ok_or_else(|| OpError::NoDevice {
            device: device.clone(),
        })?;
    let mut at = Place {
        socket,
        device,
        index,
    };
    match (from, to) {
        (_, None) => at.remove(from),
        (None, Some(to)) => at.add(to),
        (Some(from), Some(to)) => at.change(from, to),
    }
}

/// Where packets leave a device.
struct Place<'a> {
    socket: &'a mut RouteSocket,
    device: &'a DeviceName,
    index: u32,
}

impl Place<'_> {
    fn add(&mut self, to: Feed) -> Result<(), OpError> {
        let (mask, ifb) = self.target(to)?;
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let index = self.index;
        match (to.clsact, self.edge()?) {
            (Clsact::Ours, Edge::None) => {
                let mut messages = Messages::new();
                messages.begin(RTM_NEWQDISC, flags, Ack::Own);
                messages.tc_header(index, HANDLE, EDGE);
                messages.attribute(TCA_KIND, b"clsact\0");
                filter::put_feed(&mut messages, index, to.clsact, mask, ifb, flags);
                let mut replies = self.socket.send(&mut messages).into_iter();
                let clsact = self.outcome(replies.next());
                let feed = self.outcome(replies.next());
                match (&clsact, &feed) {
                    (Ok(()), Err(_)) => self.tidy(|place| place.remove(Some(to))),
                    // Somebody was faster, and our feed hangs in theirs.
                    (Err(_), Ok(())) => self.tidy(|place| place.delete(to.clsact)),
                    (Ok(()), Ok(())) | (Err(_), Err(_)) => {}
                }
                clsact.and(feed)
            }
            (Clsact::Ours, Edge::Clsact | Edge::Ingress) => Err(refusal(
                Errno::EEXIST as i32,
                Some("there is a clsact or an ingress already".to_owned()),
            )),
            (Clsact::Theirs, edge) => {
                expect_clsact(edge)?;
                if !filter::feeds(&self.filters(filter::EGRESS)?).is_empty() {
                    let why = "there is a feed already".to_owned();
                    return Err(refusal(Errno::EEXIST as i32, Some(why)));
                }
                self.send(|messages| {
                    filter::put_feed(messages, index, to.clsact, mask, ifb, flags);
                })
            }
        }
    }

    fn change(&mut self, from: Feed, to: Feed) -> Result<(), OpError> {
        let (mask, ifb) = self.target(to)?;
        expect_clsact(self.edge()?)?;
        let index = self.index;
        let found = filter::feeds(&self.filters(filter::EGRESS)?);
        if !found.contains(&from.clsact) {
            return Err(refusal(
                Errno::ENOENT as i32,
                Some("the feed is gone".to_owned()),
            ));
        }
        // Without a flag only what is there: a clsact that was made anew meanwhile is not taken for ours.
        let flags = if found.contains(&to.clsact) {
            0
        } else {
            NLM_F_CREATE | NLM_F_EXCL
        };
        self.send(|messages| filter::put_feed(messages, index, to.clsact, mask, ifb, flags))?;
        for other in found.into_iter().filter(|clsact| *clsact != to.clsact) {
            self.delete(other)?;
        }
        Ok(())
    }

    fn remove(&mut self, from: Option<Feed>) -> Result<(), OpError> {
        // In the place of a clsact there may be an `ingress` by now, whose filters the kernel shows at whatever
        // place is asked for.
        if self.edge()? != Edge::Clsact {
            return Ok(());
        }
        let leaving = self.filters(filter::EGRESS)?;
        let found = filter::feeds(&leaving);
        let ours = from.is_some_and(|from| from.clsact == Clsact::Ours)
            && found.as_slice() != [Clsact::Theirs];
        // The kernel cannot be told to delete only what is empty: a filter that comes between the look and the
        // deletion goes with it.
        if ours && !filter::has_others(&leaving) && self.filters(filter::INGRESS)?.is_empty() {
            let mut messages = Messages::new();
            messages.begin(RTM_DELQDISC, 0, Ack::Own);
            messages.tc_header(self.index, HANDLE, EDGE);
            // Not an `ingress` that has taken its place.
            messages.attribute(TCA_KIND, b"clsact\0");
            let reply = self.socket.send(&mut messages).pop();
            return reply.map_or_else(silence, |reply| reply.gone(self.device));
        }
        for clsact in found {
            self.delete(clsact)?;
        }
        Ok(())
    }

    /// Deletes a feed; one that is gone is as good.
    fn delete(&mut self, clsact: Clsact) -> Result<(), OpError> {
        let mut messages = Messages::new();
        filter::put_feed_deletion(&mut messages, self.index, clsact);
        let reply = self.socket.send(&mut messages).pop();
        reply.map_or_else(silence, |reply| reply.gone(self.device))
    }

    /// Takes back what was half done. The error that is told is why it was; this one can only be logged.
    fn tidy(&mut self, take_back: impl FnOnce(&mut Self) -> Result<(), OpError>) {
        if let Err(error) = take_back(self) {
            tracing::warn!(device = %self.device, %error, "a feed that failed could not be taken back");
        }
    }

    /// Which packets are taken, and the index of where they go.
    fn target(&mut self, to: Feed) -> Result<(MarkMask, u32), OpError> {
        let Takes::Marked(mask) = to.takes else {
            return Err(refused(
                "what somebody else made of a feed cannot be written",
            ));
        };
        let found = ifb::find(self.socket).map_err(|error| unasked(&error))?;
        match (found, Ifb::NAME.parse()) {
            (Some(ifb), _) => Ok((mask, ifb.index)),
            (None, Ok(device)) => Err(OpError::NoDevice { device }),
            (None, Err(_)) => Err(refusal(Errno::ENODEV as i32, None)),
        }
    }

    fn edge(&mut self) -> Result<Edge, OpError> {
        filter::edge(self.socket, self.index).map_err(|error| unasked(&error))
    }

    fn filters(&mut self, parent: u32) -> Result<Vec<Filter>, OpError> {
        filter::at(self.socket, self.index, parent).map_err(|error| unasked(&error))
    }

    fn send(&mut self, write: impl FnOnce(&mut Messages)) -> Result<(), OpError> {
        let mut messages = Messages::new();
        write(&mut messages);
        let reply = self.socket.send(&mut messages).pop();
        self.outcome(reply)
    }

    fn outcome(&self, reply: Option<Reply>) -> Result<(), OpError> {
        reply.map_or_else(silence, |reply| reply.outcome(self.device))
    }
}

/// What hangs at an `ingress` takes what enters, even where the kernel was asked for the other side.
fn expect_clsact(edge: Edge) -> Result<(), OpError> {
    match edge {
        Edge::Clsact => Ok(()),
        Edge::None | Edge::Ingress => Err(refused("there is no clsact")),
    }
}

/// As many replies come as messages are sent, so that this is never asked.
fn silence() -> Result<(), OpError> {
    Err(OpError::Unknown {
        why: "no reply".to_owned(),
    })
}
