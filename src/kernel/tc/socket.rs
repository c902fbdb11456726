//! The socket: dumps read whole, batches sent packed and each failure told apart.
//!
//! The kernel carries out a batch within the call that sends it, message by message; a failing one
//! does not stop the others, and is answered with its own sequence number and the kernel's words
//! (extack). Where an answer is lost, what it would have said is [`Reply::Unknown`], never success.

use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_TRUNC};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::answer::{self, Entered, Parts, Reply};
use super::message::{Ack, Messages};

/// The most messages in a batch: the default receive buffer holds 256 answers.
pub const MOST_IN_BATCH: usize = 128;
/// The most bytes in a batch, well below the default send buffer (212,992 bytes, shared with the
/// kernel's bookkeeping).
pub const BYTES_IN_BATCH: usize = 64 * 1024;
/// What a dump is read into; the kernel fills up to 32 KiB of it at a time (`netlink_recvmsg`).
const RECEIVE: usize = 64 * 1024;
/// Wanted of the kernel for either direction.
const SOCKET_BUFFER: usize = 1 << 20;
/// How long an answer may take. All of them wait already when a send returns, so this only bounds
/// a hang.
const PATIENCE_SECONDS: i64 = 5;
/// How often a dump is begun again before it counts as failed.
const DUMP_TRIES: usize = 8;

/// A route netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Whether to wait for an answer.
#[derive(Debug, Clone, Copy)]
enum Wait {
    Patiently,
    Never,
}

impl RouteSocket {
    /// Opens it.
    ///
    /// # Errors
    /// Where the kernel gives no such socket.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both are older than any kernel that matters (4.3, 4.12); without them errors have no words.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        let fd = socket.as_fd();
        // FORCE wants CAP_NET_ADMIN, which reading does not; without it the kernel's bound holds.
        if setsockopt(&fd, sockopt::RcvBufForce, &SOCKET_BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &SOCKET_BUFFER)?;
        }
        if setsockopt(&fd, sockopt::SndBufForce, &SOCKET_BUFFER).is_err() {
            setsockopt(&fd, sockopt::SndBuf, &SOCKET_BUFFER)?;
        }
        let patience = TimeVal::seconds(PATIENCE_SECONDS);
        setsockopt(&fd, sockopt::ReceiveTimeout, &patience)?;
        setsockopt(&fd, sockopt::SendTimeout, &patience)?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; RECEIVE],
        })
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.sequence
    }

    /// Reads one datagram of the kernel's into `buffer`, and drops those that are not the kernel's.
    fn receive(&self, buffer: &mut [u8], wait: Wait) -> io::Result<usize> {
        let flags = match wait {
            Wait::Patiently => MSG_TRUNC,
            Wait::Never => MSG_TRUNC | MSG_DONTWAIT,
        };
        loop {
            let (length, sender) = match self.socket.recv_from(&mut &mut *buffer, flags) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if sender.port_number() != 0 {
                tracing::warn!(
                    port = sender.port_number(),
                    "dropped a netlink message that is not the kernel's"
                );
                continue;
            }
            if length > buffer.len() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an answer longer than the buffer",
                ));
            }
            return Ok(length);
        }
    }

    /// Sends all of `messages` in batches and says of each what became of it.
    ///
    /// A batch that cannot even be sent is refused as a whole; the next is tried all the same.
    pub fn send(&mut self, messages: &mut Messages) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(messages.len());
        while replies.len() < messages.len() {
            let first = replies.len();
            let start = messages.range(first).start;
            let mut end = first + 1;
            while end < messages.len()
                && end - first < MOST_IN_BATCH
                && messages.range(end).end - start <= BYTES_IN_BATCH
            {
                end += 1;
            }
            self.send_batch(messages, first, end, &mut replies);
        }
        replies
    }

    fn send_batch(
        &mut self,
        messages: &mut Messages,
        first: usize,
        end: usize,
        replies: &mut Vec<Reply>,
    ) {
        let base = self.sequence_block(end - first);
        for (at, sequence) in (first..end).zip(base..) {
            messages.seal(at, sequence);
        }
        messages.demand_ack(end - 1);
        let bytes = messages.range(first).start..messages.range(end - 1).end;
        let bytes = messages.bytes().get(bytes).unwrap_or_default();
        if let Err(error) = self.send_bytes(bytes) {
            // Nothing of a datagram that was not taken is carried out.
            let reply = Reply::Refused {
                errno: error.raw_os_error().unwrap_or(Errno::EIO as i32),
                message: Some(format!("the batch could not be sent: {error}")),
            };
            replies.resize(end, reply);
            return;
        }
        replies.resize(end, Reply::Done);
        let batch = replies.get_mut(first..).unwrap_or_default();
        if let Err(error) = self.collect(base, batch) {
            for reply in batch.iter_mut().filter(|reply| **reply == Reply::Done) {
                *reply = Reply::Unknown {
                    why: error.to_string(),
                };
            }
        }
    }

    /// As many sequence numbers as asked, none of them 0, and the first of them.
    fn sequence_block(&mut self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.sequence.checked_add(count).is_none() {
            self.sequence = 0;
        }
        let base = self.sequence + 1;
        self.sequence += count;
        base
    }

    fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send(bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Reads answers up to the last message's, and enters those that are refusals.
    fn collect(&mut self, base: u32, replies: &mut [Reply]) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.collect_into(&mut buffer, base, replies);
        self.buffer = buffer;
        result
    }

    fn collect_into(
        &mut self,
        buffer: &mut [u8],
        base: u32,
        replies: &mut [Reply],
    ) -> io::Result<()> {
        let mut lost = None;
        loop {
            let wait = if lost.is_some() {
                Wait::Never
            } else {
                Wait::Patiently
            };
            let length = match self.receive(buffer, wait) {
                Ok(length) => length,
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    // What still stands in the queue is read, so that refusals are known.
                    lost = Some(error);
                    continue;
                }
                Err(error) => return Err(lost.unwrap_or(error)),
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            if let Entered::Last = answer::enter(datagram, base, replies)? {
                return lost.map_or(Ok(()), Err);
            }
        }
    }

    /// Sends one request that is answered by objects and an acknowledgement, such as `RTM_GETLINK`
    /// by name.
    ///
    /// # Errors
    /// What the kernel answers, or what the socket does.
    pub fn get(
        &mut self,
        messages: &mut Messages,
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        let sequence = self.next_sequence();
        messages.seal(0, sequence);
        messages.demand_ack(0);
        self.send_bytes(messages.bytes())?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.get_into(&mut buffer, sequence, &mut each);
        self.buffer = buffer;
        result
    }

    fn get_into(
        &mut self,
        buffer: &mut [u8],
        sequence: u32,
        each: &mut impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        loop {
            let length = self.receive(buffer, Wait::Patiently)?;
            for answer in Parts(buffer.get(..length).unwrap_or_default()) {
                if answer.sequence != sequence {
                    continue;
                }
                if answer.kind == NLMSG_ERROR {
                    return match answer.error()? {
                        (0, _) => Ok(()),
                        (errno, _) => Err(io::Error::from_raw_os_error(errno)),
                    };
                }
                each(answer.kind, answer.payload);
            }
        }
    }

    /// Dumps, and gathers what `each` makes of every object into what `start` gives.
    ///
    /// A dump that the kernel marks as interrupted, or of which a part is lost, is begun again.
    ///
    /// # Errors
    /// What the kernel answers, or where no try was whole.
    pub fn dump<T>(
        &mut self,
        kind: u16,
        header: impl Fn(&mut Messages),
        start: impl Fn() -> T,
        mut each: impl FnMut(&mut T, &[u8]),
    ) -> io::Result<T> {
        let mut messages = Messages::new();
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut result = Err(io::Error::other("the dump was interrupted at every try"));
        for _ in 0..DUMP_TRIES {
            messages.clear();
            messages.begin(kind, NLM_F_DUMP, Ack::WithBatch);
            header(&mut messages);
            let sequence = self.next_sequence();
            messages.seal(0, sequence);
            let mut gathered = start();
            let attempt = self.send_bytes(messages.bytes()).and_then(|()| {
                self.dump_into(&mut buffer, sequence, &mut |payload| {
                    each(&mut gathered, payload);
                })
            });
            match attempt {
                Ok(Dump::Whole) => {
                    result = Ok(gathered);
                    break;
                }
                Ok(Dump::Torn) => {}
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.buffer = buffer;
        result
    }

    fn dump_into(
        &mut self,
        buffer: &mut [u8],
        sequence: u32,
        each: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Dump> {
        let mut found = Dump::Whole;
        loop {
            let length = match self.receive(buffer, Wait::Patiently) {
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    found = Dump::Torn;
                    continue; // To the end, else the kernel takes no next dump.
                }
                other => other?,
            };
            for part in Parts(buffer.get(..length).unwrap_or_default()) {
                if part.sequence != sequence {
                    continue;
                }
                if part.flags & NLM_F_DUMP_INTR != 0 {
                    found = Dump::Torn;
                }
                match part.kind {
                    NLMSG_NOOP => {}
                    NLMSG_OVERRUN => found = Dump::Torn,
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match part.errno() {
                            0 => Ok(found),
                            errno => Err(io::Error::from_raw_os_error(errno)),
                        };
                    }
                    _ => each(part.payload),
                }
            }
        }
    }
}

/// How a dump came.
#[derive(Debug, Clone, Copy)]
enum Dump {
    Whole,
    Torn,
}
