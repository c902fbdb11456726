//! The socket: batches sent packed, and each failure told apart.
//!
//! The kernel carries out a batch within the call that sends it, message by message; a failing one
//! does not stop the others, and is answered with its own sequence number and the kernel's words
//! (extack). Where an answer is lost, what it would have said is [`Reply::Unknown`], never success.

use std::io;
use std::os::fd::AsFd;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_TRUNC};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::answer::{self, Entered, Reply};
use super::message::Messages;

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

/// A netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
    port: u32,
    sequence: u32,
    pub(super) buffer: Vec<u8>,
}

/// Whether to wait for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    Patiently,
    Never,
}

impl RouteSocket {
    /// Opens it.
    ///
    /// # Errors
    /// Where the kernel gives no such socket.
    pub fn open() -> io::Result<Self> {
        Self::of(NETLINK_ROUTE)
    }

    /// Opens one to the packet filter, which speaks in the same way.
    ///
    /// # Errors
    /// Where the kernel gives no such socket.
    pub(in crate::kernel) fn open_to_filter() -> io::Result<Self> {
        Self::of(NETLINK_NETFILTER)
    }

    fn of(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        let port = socket.bind_auto()?.port_number();
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
            port,
            sequence: 0,
            buffer: vec![0; RECEIVE],
        })
    }

    /// The number that the kernel knows it by, and that it tells others with what was changed through it.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.port
    }

    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.sequence
    }

    /// Reads one datagram of the kernel's into `buffer`, and drops those that are not the kernel's.
    pub(super) fn receive(&self, buffer: &mut [u8], wait: Wait) -> io::Result<usize> {
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
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
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

    pub(super) fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
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
}

#[cfg(test)]
mod tests {
    use std::os::fd::{FromRawFd, IntoRawFd};
    use std::os::unix::net::UnixDatagram;

    use netlink_packet_core::NLMSG_ERROR;

    use super::*;
    use crate::kernel::tc::message::{Ack, RTM_NEWTCLASS};

    /// A socket to a kernel that answers only what `answers` holds, datagram by datagram, as it gets
    /// the last batch.
    fn talk(answers: &[Vec<u8>], messages: usize) -> Vec<Reply> {
        let (kernel, ours) = UnixDatagram::pair().unwrap();
        let answers = answers.to_vec();
        let answering = std::thread::spawn(move || {
            for _ in 0..messages.div_ceil(MOST_IN_BATCH) {
                kernel.recv(&mut [0; RECEIVE]).unwrap();
            }
            for answer in answers {
                kernel.send(&answer).unwrap();
            }
            kernel
        });
        let patience = TimeVal::milliseconds(200);
        setsockopt(&ours, sockopt::ReceiveTimeout, &patience).unwrap();
        // SAFETY: the descriptor is open, and is given away.
        let socket = unsafe { Socket::from_raw_fd(ours.into_raw_fd()) };
        let mut socket = RouteSocket {
            socket,
            port: 0,
            sequence: 0,
            buffer: vec![0; RECEIVE],
        };
        let mut batch = Messages::new();
        for _ in 0..messages {
            batch.begin(RTM_NEWTCLASS, 0, Ack::WithBatch);
        }
        let replies = socket.send(&mut batch);
        answering.join().unwrap();
        replies
    }

    /// The answer to message `sequence`: its header, a number, the header that it quotes.
    fn answer(sequence: u32, errno: i32) -> Vec<u8> {
        let mut message = 36_u32.to_ne_bytes().to_vec();
        message.extend(NLMSG_ERROR.to_ne_bytes());
        message.extend(netlink_packet_core::NLM_F_CAPPED.to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend((-errno).to_ne_bytes());
        message.extend([0; 16]);
        message
    }

    fn in_short(replies: &[Reply]) -> String {
        let letter = |reply: &Reply| match reply {
            Reply::Done => 'd',
            Reply::Refused { .. } => 'r',
            Reply::Unknown { .. } => '?',
        };
        replies.iter().map(letter).collect()
    }

    #[test]
    fn silence_is_not_success() {
        assert_eq!(in_short(&talk(&[], 3)), "???");
        assert_eq!(in_short(&talk(&[answer(2, 22)], 3)), "?r?");
        assert_eq!(in_short(&talk(&[answer(2, 22), answer(3, 0)], 3)), "drd");
        assert_eq!(in_short(&talk(&[answer(3, 22)], 3)), "ddr");
        // An answer cut short tells nothing, and an answer to somebody else neither.
        assert_eq!(in_short(&talk(&[answer(3, 0)[..30].to_vec()], 3)), "???");
        assert_eq!(in_short(&talk(&[answer(4, 0)], 3)), "???");
    }

    #[test]
    fn a_batch_that_is_lost_does_not_take_the_next_with_it() {
        // 128 messages without an answer, then two with one.
        let replies = talk(&[answer(130, 0)], 130);
        assert_eq!(in_short(&replies[126..]), "??dd");
    }
}
