//! The least that netlink takes: messages that are there already, sent packed; a dump that nobody reads.

use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;
use wanshift::kernel::tc::htb::encode_class;
use wanshift::kernel::tc::message::{Ack, HEADER, Messages, RTM_GETTCLASS, RTM_NEWTCLASS};
use wanshift::model::state::{ClassId, TcClass};

use crate::lab::socket::set;

const NLMSG_DONE: u16 = 3;
const NLMSG_ERROR: u16 = 2;
/// As many as wanshift packs, so that what is compared is what is done beside.
const BATCH: usize = 128;

/// A route socket, and nothing else.
pub struct Bare {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Bare {
    pub fn open() -> Self {
        // SAFETY: a plain system call; what it returns is ours alone.
        let socket = unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE);
            assert!(fd >= 0, "a netlink socket: {}", Error::last_os_error());
            OwnedFd::from_raw_fd(fd)
        };
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 1 << 20);
        set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 1 << 20);
        let buffer = vec![0; 64 * 1024];
        Self { socket, buffer }
    }

    /// Sends each batch, and waits for the answer to its last message.
    pub fn send(&mut self, batches: &[Vec<u8>]) {
        for batch in batches {
            self.put(batch);
            let length = self.get();
            assert_eq!(kind(&self.buffer), NLMSG_ERROR);
            let error = &self.buffer[HEADER..HEADER + 4];
            assert_eq!((error, length > HEADER), (&[0; 4][..], true), "refused");
        }
    }

    /// Dumps the classes of a device; returns how many bytes came.
    pub fn dump_classes(&mut self, index: u32) -> usize {
        let mut request = Messages::new();
        let dump = (libc::NLM_F_ROOT | libc::NLM_F_MATCH) as u16;
        request.begin(RTM_GETTCLASS, dump, Ack::WithBatch);
        request.tc_header(index, 0, 0);
        self.put(&sealed(&request, false)[0]);
        let mut bytes = 0;
        loop {
            let length = self.get();
            if kind(&self.buffer[..length]) == NLMSG_DONE {
                return bytes;
            }
            assert_ne!(kind(&self.buffer), NLMSG_ERROR, "no dump");
            bytes += length;
            // The end stands behind the last objects, or alone.
            if ends_with_done(&self.buffer[..length]) {
                return bytes;
            }
        }
    }

    fn put(&self, bytes: &[u8]) {
        // SAFETY: pointer and length are those of the slice.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                0,
            )
        };
        assert!(sent >= 0, "send: {}", Error::last_os_error());
    }

    fn get(&mut self) -> usize {
        // SAFETY: pointer and length are those of the buffer.
        let length = unsafe {
            libc::recv(
                self.socket.as_raw_fd(),
                self.buffer.as_mut_ptr().cast(),
                self.buffer.len(),
                0,
            )
        };
        assert!(length > 0, "receive: {}", Error::last_os_error());
        length as usize
    }
}

fn kind(message: &[u8]) -> u16 {
    u16::from_ne_bytes([message[4], message[5]])
}

fn ends_with_done(mut bytes: &[u8]) -> bool {
    while bytes.len() >= HEADER {
        if kind(bytes) == NLMSG_DONE {
            return true;
        }
        let length = u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize;
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    false
}

/// The messages that change these classes, ready to be sent.
pub fn class_changes(index: u32, classes: &[(ClassId, TcClass)]) -> Vec<Vec<u8>> {
    let mut messages = Messages::new();
    for (id, class) in classes {
        let handle = |minor: u16| u32::from(id.major.get()) << 16 | u32::from(minor);
        let parent = class.parent.map_or(0, |parent| parent.get());
        messages.begin(RTM_NEWTCLASS, 0, Ack::WithBatch);
        messages.tc_header(index, handle(id.minor.get()), handle(parent));
        encode_class(&mut messages, class);
    }
    sealed(&messages, true)
}

/// Batches with lengths filled in; the last message of each asks for an answer, where one is wanted.
fn sealed(messages: &Messages, answered: bool) -> Vec<Vec<u8>> {
    let all: Vec<usize> = (0..messages.len()).collect();
    all.chunks(BATCH)
        .map(|batch| {
            let mut bytes = Vec::new();
            let mut last = 0;
            for at in batch {
                last = bytes.len();
                let message = &messages.bytes()[messages.range(*at)];
                bytes.extend_from_slice(message);
                let length = message.len() as u32;
                bytes[last..last + 4].copy_from_slice(&length.to_ne_bytes());
            }
            if answered {
                bytes[last + 6] |= libc::NLM_F_ACK as u8;
            }
            bytes
        })
        .collect()
}
