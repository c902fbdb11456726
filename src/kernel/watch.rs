//! What others change in the kernel, as it says so.
//!
//! Two sockets hear what is told to everybody: of devices and traffic control (route netlink), and of the packet
//! filter (nfnetlink). What is heard says only where to look again; what is there is read.
//!
//! They are read here and not through `rtnetlink`'s connection, which decodes every message whole and keeps it in a
//! queue without bound: where somebody else makes 20,000 classes, that is 20,000 objects of nobody's concern. Here
//! a message is looked at where the kernel put it, and what is the same as something that still waits to be told
//! is not told twice.
//!
//! Messages that do not fit into a socket's buffer are lost, and the kernel says so once (`ENOBUFS`); until the
//! buffer is empty it goes on losing others without a word. So [`Seen::Everything`] is told after it was emptied.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;

use netlink_sys::Socket;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_TRUNC};
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::MulticastGroup;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::tc::answer::Parts;
use super::tc::message::{
    RTM_DELLINK, RTM_DELQDISC, RTM_DELTCLASS, RTM_DELTFILTER, RTM_NEWLINK, RTM_NEWQDISC,
    RTM_NEWTCLASS, RTM_NEWTFILTER, TcObject,
};
use super::{KernelError, link, nft::wire};
use crate::model::names::DeviceName;

/// The longest message that is told to everybody is one of nftables, of some 16 KiB.
const LONGEST: usize = 64 * 1024;
/// How much the kernel may keep for a socket until it is read. Wanted only for a burst of others' changes.
const SOCKET_BUFFER: usize = 8 << 20;
/// How many messages are read before somebody else has a turn.
const AT_ONCE: usize = 4_096;
/// How many different things may wait to be told before it is simpler to look at everything.
const MOST_WAITING: usize = 256;

/// What may have changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Anything: messages were lost.
    Everything,
    /// Our table of the packet filter.
    Rules,
    /// A device: it came, went, has another name or other properties.
    Link {
        /// Its index.
        index: u32,
        /// Its name, the new one where that changed; none where it can stand in no policy.
        name: Option<DeviceName>,
    },
    /// Qdiscs, classes or filters of a device.
    Shaping {
        /// Its index.
        index: u32,
    },
}

/// Listens to the kernel.
#[derive(Debug)]
pub struct Watch {
    route: Ear,
    filter: Ear,
    buffer: Box<[u8]>,
    waiting: BTreeSet<Seen>,
    own: Option<u32>,
}

impl Watch {
    /// Begins to listen in the network namespace of the calling thread, within a runtime with I/O.
    ///
    /// # Errors
    /// Where the kernel gives no such sockets.
    pub fn open() -> Result<Self, KernelError> {
        let groups = [MulticastGroup::Link as u32, MulticastGroup::Tc as u32];
        Ok(Self {
            route: Ear::open(NETLINK_ROUTE, &groups).map_err(KernelError::Socket)?,
            filter: Ear::open(NETLINK_NETFILTER, &[wire::GROUP]).map_err(KernelError::Socket)?,
            buffer: vec![0; LONGEST].into_boxed_slice(),
            waiting: BTreeSet::new(),
            own: None,
        })
    }

    /// No longer tells what is changed in traffic control through the socket of this number
    /// ([`Host::port`](super::Host::port)): whoever has it knows what he does. Of devices and rules it still tells,
    /// for the kernel does not say who changed those.
    pub const fn mute(&mut self, port: u32) {
        self.own = Some(port);
    }

    /// Waits until something may have changed, and says what. May be given up at any time: nothing is lost.
    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.waiting.pop_first() {
                return seen;
            }
            tokio::select! {
                () = self.route.ready() => self.hear_route(),
                () = self.filter.ready() => self.hear_filter(),
            }
        }
    }

    fn hear_route(&mut self) {
        let (own, waiting) = (self.own, &mut self.waiting);
        self.route.hear(&mut self.buffer, |heard| match heard {
            Heard::Message {
                kind,
                port,
                payload,
            } => {
                if let Some(seen) = of_route(kind, payload)
                    && !(matches!(seen, Seen::Shaping { .. }) && own == Some(port))
                {
                    note(waiting, seen);
                }
            }
            Heard::Loss => note(waiting, Seen::Everything),
        });
    }

    fn hear_filter(&mut self) {
        let waiting = &mut self.waiting;
        self.filter.hear(&mut self.buffer, |heard| match heard {
            Heard::Message { kind, payload, .. } => {
                if wire::tells_of_our_table(kind, payload) {
                    note(waiting, Seen::Rules);
                }
            }
            Heard::Loss => note(waiting, Seen::Everything),
        });
    }
}

/// Remembers what is to be told.
fn note(waiting: &mut BTreeSet<Seen>, seen: Seen) {
    if waiting.first() == Some(&Seen::Everything) {
        return;
    }
    if seen == Seen::Everything || waiting.len() >= MOST_WAITING {
        waiting.clear();
        waiting.insert(Seen::Everything);
        return;
    }
    waiting.insert(seen);
}

/// What a message of route netlink is about.
fn of_route(kind: u16, payload: &[u8]) -> Option<Seen> {
    match kind {
        RTM_NEWLINK | RTM_DELLINK => {
            let (index, name) = link::told(payload)?;
            Some(Seen::Link { index, name })
        }
        RTM_NEWQDISC | RTM_DELQDISC | RTM_NEWTCLASS | RTM_DELTCLASS | RTM_NEWTFILTER
        | RTM_DELTFILTER => {
            let index = TcObject::read(payload)?.index;
            Some(Seen::Shaping { index })
        }
        _ => None,
    }
}

/// What an ear takes in.
enum Heard<'a> {
    /// A message of the kernel's.
    Message {
        kind: u16,
        port: u32,
        payload: &'a [u8],
    },
    /// There were others.
    Loss,
}

/// Whether messages were lost since the buffer was last empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    None,
    Some,
}

/// A socket that listens.
#[derive(Debug)]
struct Ear {
    socket: AsyncFd<Socket>,
    lost: Lost,
}

impl Ear {
    fn open(protocol: isize, groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.set_non_blocking(true)?;
        let fd = socket.as_fd();
        // FORCE wants CAP_NET_ADMIN; without it the kernel's bound holds.
        if setsockopt(&fd, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &SOCKET_BUFFER)?;
        }
        socket.bind_auto()?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        // SAFETY: `Socket` owns its descriptor, which is neither replaced nor closed as long as this lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE)? };
        Ok(Self {
            socket,
            lost: Lost::None,
        })
    }

    /// Waits until there is something to read.
    async fn ready(&self) {
        if let Err(error) = self.socket.readable().await {
            // Only where the runtime comes to its end.
            tracing::debug!(%error, "no longer listening to the kernel");
            std::future::pending::<()>().await;
        }
    }

    /// Reads what is there, as long as others can wait.
    fn hear(&mut self, buffer: &mut [u8], mut take: impl FnMut(Heard<'_>)) {
        for _ in 0..AT_ONCE {
            match self.receive(buffer) {
                Ok(Datagram::Whole(length)) => {
                    // After a loss no single message matters.
                    if self.lost == Lost::None {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        for part in Parts(datagram) {
                            take(Heard::Message {
                                kind: part.kind,
                                port: part.port,
                                payload: part.payload,
                            });
                        }
                    }
                }
                Ok(Datagram::Cut) => self.lost = Lost::Some,
                Ok(Datagram::Forged) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.lost == Lost::Some {
                        self.lost = Lost::None;
                        take(Heard::Loss);
                    }
                    return;
                }
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    tracing::debug!("messages of the kernel's were lost");
                    self.lost = Lost::Some;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot listen to the kernel");
                    take(Heard::Loss);
                    return;
                }
            }
        }
        // It never ends: to be told now, and again at the end.
        if self.lost == Lost::Some {
            take(Heard::Loss);
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Datagram> {
        let mut failed = None;
        let received = self.socket.try_io(Interest::READABLE, |socket| {
            let flags = MSG_TRUNC | MSG_DONTWAIT;
            loop {
                match socket.recv_from(&mut &mut *buffer, flags) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error)
                        if error.kind() != io::ErrorKind::WouldBlock
                            && error.raw_os_error() != Some(Errno::ENOBUFS as i32) =>
                    {
                        // As if nothing were there, so that it is not tried again at once for ever.
                        failed = Some(error);
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    other => return other,
                }
            }
        });
        let (length, sender) = match failed {
            Some(error) => return Err(error),
            None => received?,
        };
        if sender.port_number() != 0 {
            tracing::warn!(
                port = sender.port_number(),
                "dropped a netlink message that is not the kernel's"
            );
            return Ok(Datagram::Forged);
        }
        Ok(if length > buffer.len() {
            Datagram::Cut
        } else {
            Datagram::Whole(length)
        })
    }
}

/// What was received.
enum Datagram {
    /// So many bytes.
    Whole(usize),
    /// More than there is room for.
    Cut,
    /// Something that a process sent.
    Forged,
}
