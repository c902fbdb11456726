//! Everything that arrives at a device, with the kernel's time of it: a packet socket with a ring.
//!
//! A veth carries GSO packets of up to 64 KB as one. The ring gives each with its segment size (the
//! virtio-net header), so that it is counted as the segments that a real line would carry, which is
//! also how HTB charges it. Beside 1,448 bytes of payload the headers are 4.5 %.

use super::Namespace;
use super::series::Gauge;
use super::socket::set;
use super::time::{Nanos, real_ahead};
use super::trace::{Packet, Trace};
use nix::libc;
use std::io::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::thread::JoinHandle;

// 65,536 frames of 256 bytes: headers are kept and payload is not. At a gigabit per second of full
// packets that is most of a second until it must have been read.
const FRAME: usize = 256;
const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 16;
const FRAMES: usize = BLOCK / FRAME * BLOCKS;
/// Size of `struct virtio_net_hdr`, which precedes the Ethernet header.
const VNET: usize = 10;

// Not in libc.
const PACKET_VNET_HDR: libc::c_int = 15;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// A capture in progress.
pub struct Capture {
    gauge: Gauge,
    reading: JoinHandle<Trace>,
}

impl Capture {
    /// Listens to what arrives at a device. `edge0` of the namespace at a cable's far end sees what
    /// the edge sent.
    pub fn start(namespace: &Namespace, device: &str) -> Self {
        let socket = namespace.make(|| open(device));
        let ring = Ring::new(&socket);
        let gauge = Gauge::new();
        let of = gauge.clone();
        let name = format!("{} of {}", device, namespace.label());
        let reading = std::thread::spawn(move || read(&socket, &ring, &of, &name));
        Self { gauge, reading }
    }

    /// Bytes seen so far.
    pub fn seen(&self) -> u64 {
        self.gauge.received()
    }

    /// Ends the capture. It fails if the kernel had to drop anything of it.
    pub fn stop(self) -> Trace {
        self.gauge.stop();
        match self.reading.join() {
            Ok(trace) => trace,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn open(device: &str) -> OwnedFd {
    // SAFETY: a plain system call; what it returns is ours alone.
    let socket = unsafe {
        // Protocol 0: nothing is received before the ring stands and the device is bound.
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0, "a packet socket: {}", Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    };
    let version = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
    set(&socket, libc::SOL_PACKET, libc::PACKET_VERSION, version);
    set(&socket, libc::SOL_PACKET, PACKET_VNET_HDR, 1);
    set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    // Has the kernel stamp a packet as it comes from the cable. Else its time is the one at which the
    // receiving CPU got to it: on a busy machine several at once, where the line had them one by one.
    set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    let request = libc::tpacket_req {
        tp_block_size: BLOCK as u32,
        tp_block_nr: BLOCKS as u32,
        tp_frame_size: FRAME as u32,
        tp_frame_nr: FRAMES as u32,
    };
    let name = std::ffi::CString::new(device).expect("a name without NUL");
    // SAFETY: pointers and lengths are those of the structures; all zeroes is a valid sockaddr_ll.
    unsafe {
        let done = libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_RX_RING,
            (&raw const request).cast(),
            size_of_val(&request) as libc::socklen_t,
        );
        assert!(done == 0, "a packet ring: {}", Error::last_os_error());
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        assert!(address.sll_ifindex > 0, "no device {device}");
        let done = libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        );
        assert!(done == 0, "bind to {device}: {}", Error::last_os_error());
    }
    socket
}

/// The ring's memory, shared with the kernel.
struct Ring {
    memory: *mut u8,
}

// SAFETY: the memory belongs to the mapping, which any thread may use; one thread reads it.
unsafe impl Send for Ring {}

impl Ring {
    fn new(socket: &OwnedFd) -> Self {
        // SAFETY: a new mapping of the ring's whole length, undone on drop.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BLOCK * BLOCKS,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        let error = Error::last_os_error();
        assert!(memory != libc::MAP_FAILED, "mapping the ring: {error}");
        Self {
            memory: memory.cast(),
        }
    }

    /// Takes the frame at that place, if the kernel has filled it, and gives it back.
    fn take(&self, index: usize, ahead: Nanos) -> Option<Packet> {
        // SAFETY: the index is below FRAMES, so the frame lies in the mapping. The kernel writes it
        // only while the status says so; the fences order our reads between the two accesses to it.
        unsafe {
            let frame = self.memory.add(index * FRAME);
            let header = frame.cast::<libc::tpacket2_hdr>();
            let status = &raw mut (*header).tp_status;
            if status.read_volatile() & libc::TP_STATUS_USER == 0 {
                return None;
            }
            fence(Ordering::Acquire);
            let begin = usize::from((*header).tp_mac);
            let kept = ((*header).tp_snaplen as usize).min(FRAME - begin);
            let vnet = std::slice::from_raw_parts(frame.add(begin - VNET), VNET);
            let data = std::slice::from_raw_parts(frame.add(begin), kept);
            let segment = u16::from_ne_bytes([vnet[4], vnet[5]]);
            let real =
                Nanos::from((*header).tp_sec) * 1_000_000_000 + Nanos::from((*header).tp_nsec);
            let packet = decode(real - ahead, (*header).tp_len, segment, data);
            fence(Ordering::Release);
            status.write_volatile(libc::TP_STATUS_KERNEL);
            Some(packet)
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        unsafe { libc::munmap(self.memory.cast(), BLOCK * BLOCKS) };
    }
}

fn read(socket: &OwnedFd, ring: &Ring, gauge: &Gauge, name: &str) -> Trace {
    let ahead = real_ahead();
    let mut trace = Trace::default();
    let mut next = 0;
    loop {
        // Looked at before the ring is emptied: what was there when it was set is still read.
        let last = gauge.stopped();
        while let Some(packet) = ring.take(next % FRAMES, ahead) {
            gauge.add(packet.bytes);
            trace.packets.push(packet);
            next += 1;
        }
        if last {
            break;
        }
        // Woken by time, not by packets: a wake-up for each would be a load of its own.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(lost(socket), 0, "the capture at {name} lost packets");
    trace.packets.sort_by_key(|packet| packet.at);
    trace
}

fn lost(socket: &OwnedFd) -> u32 {
    let mut statistics = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut length = size_of_val(&statistics) as libc::socklen_t;
    // SAFETY: pointer and length are those of the structure.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    assert!(done == 0, "PACKET_STATISTICS: {}", Error::last_os_error());
    statistics.tp_drops
}

/// Reads the headers. `length` is the whole packet's with the Ethernet header, `segment` the payload
/// of one segment, 0 for a packet that is not to be cut.
pub fn decode(at: Nanos, length: u32, segment: u16, data: &[u8]) -> Packet {
    let byte = |index: usize| data.get(index).copied().unwrap_or_default();
    let word = |index: usize| u16::from_be_bytes([byte(index), byte(index + 1)]);
    let mut packet = Packet {
        at,
        bytes: u64::from(length),
        segments: 1,
        ether_type: word(12),
        protocol: 0,
        dscp: 0,
        source: None,
        target: None,
        source_port: 0,
        target_port: 0,
    };
    let four =
        |index: usize| IpAddr::V4(Ipv4Addr::from([0, 1, 2, 3usize].map(|i| byte(index + i))));
    let sixteen = |index: usize| {
        IpAddr::V6(Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|i| {
            byte(index + i)
        })))
    };
    let transport = match packet.ether_type {
        0x0800 => {
            packet.dscp = byte(15) >> 2;
            packet.protocol = byte(23);
            (packet.source, packet.target) = (Some(four(26)), Some(four(30)));
            14 + usize::from(byte(14) & 0xf) * 4
        }
        0x86dd => {
            packet.dscp = ((word(14) >> 4) as u8) >> 2;
            packet.protocol = byte(20);
            (packet.source, packet.target) = (Some(sixteen(22)), Some(sixteen(38)));
            54
        }
        _ => return packet,
    };
    let header = match packet.protocol {
        6 => usize::from(byte(transport + 12) >> 4) * 4,
        17 => 8,
        _ => return packet,
    };
    packet.source_port = word(transport);
    packet.target_port = word(transport + 2);
    if segment > 0 {
        let headers = (transport + header) as u32;
        packet.segments = length
            .saturating_sub(headers)
            .div_ceil(segment.into())
            .max(1);
        packet.bytes += u64::from((packet.segments - 1) * headers);
    }
    packet
}
