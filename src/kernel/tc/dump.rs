//! What is asked of the kernel and answered by objects: dumps, read whole, and single objects.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
};
use nix::errno::Errno;

use super::answer::Parts;
use super::message::{Ack, Messages};
use super::socket::{RouteSocket, Wait};

/// How often a dump is begun again before it counts as failed.
const DUMP_TRIES: usize = 8;

impl RouteSocket {
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
