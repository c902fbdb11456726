//! Network devices.

use std::io;

use netlink_packet_core::Emitable;
use netlink_packet_route::link::{LinkHeader, LinkLayerType};

use super::tc::message::{Ack, Messages, RTM_GETLINK, RTM_NEWLINK, attributes, text, u32_at};
use super::tc::socket::RouteSocket;
use crate::model::names::DeviceName;

/// `IFLA_IFNAME` of `linux/if_link.h`.
const IFLA_IFNAME: u16 = 3;
/// `IFLA_MTU` of `linux/if_link.h`.
const IFLA_MTU: u16 = 4;
/// `IFLA_QDISC` of `linux/if_link.h`: the kind of the root qdisc.
const IFLA_QDISC: u16 = 6;
/// `IFLA_EXT_MASK` of `linux/if_link.h`.
const IFLA_EXT_MASK: u16 = 29;
/// `IFLA_GSO_MAX_SIZE` of `linux/if_link.h`.
const IFLA_GSO_MAX_SIZE: u16 = 41;
/// `RTEXT_FILTER_SKIP_STATS` of `linux/rtnetlink.h`.
const SKIP_STATS: u32 = 1 << 3;
/// `GSO_LEGACY_MAX_SIZE` of the kernel's `linux/netdevice.h`, where a device does not say.
const GSO_DEFAULT: u32 = 65_536;
/// `ETH_HLEN` of `linux/if_ether.h`.
const ETHERNET_HEADER: u32 = 14;
/// The length of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: DeviceName,
    /// The kernel's index.
    pub index: u32,
    /// The largest packet, without the link's header.
    pub mtu: u32,
    /// The length of the header that a queueing discipline counts with each packet.
    pub header: u32,
    /// The largest packet that is handed down in one piece.
    pub gso_max: u32,
    /// The kind of its root qdisc.
    pub qdisc: String,
}

/// Every device of the socket's network namespace whose name is a [`DeviceName`]. One with another
/// name cannot stand in a policy.
///
/// # Errors
/// Where the dump fails.
pub fn links(socket: &mut RouteSocket) -> io::Result<Vec<Link>> {
    socket.dump(RTM_GETLINK, header, Vec::new, |links, payload| {
        links.extend(decode(payload));
    })
}

/// The index of a device by its name; `None` where there is none.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn index_of(socket: &mut RouteSocket, device: &DeviceName) -> io::Result<Option<u32>> {
    let mut messages = Messages::new();
    messages.begin(RTM_GETLINK, 0, Ack::Own);
    header(&mut messages);
    let mut name = device.as_str().as_bytes().to_vec();
    name.push(0);
    messages.attribute(IFLA_IFNAME, &name);
    let mut index = None;
    let answer = socket.get(&mut messages, |kind, payload| {
        if kind == RTM_NEWLINK {
            index = u32_at(payload, 4);
        }
    });
    match answer {
        Ok(()) => Ok(index),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn header(messages: &mut Messages) {
    let mut raw = [0; LINK_HEADER];
    LinkHeader::default().emit(&mut raw);
    messages.put(&raw);
    messages.attribute(IFLA_EXT_MASK, &SKIP_STATS.to_ne_bytes());
}

fn decode(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    let (mut name, mut mtu, mut gso_max, mut qdisc) = (None, 0, GSO_DEFAULT, String::new());
    for (kind, value) in attributes(payload.get(LINK_HEADER..)?) {
        match kind {
            IFLA_IFNAME => name = std::str::from_utf8(text(value)).ok()?.parse().ok(),
            IFLA_MTU => mtu = u32_at(value, 0)?,
            IFLA_GSO_MAX_SIZE => gso_max = u32_at(value, 0)?,
            IFLA_QDISC => qdisc = String::from_utf8_lossy(text(value)).into_owned(),
            _ => {}
        }
    }
    Some(Link {
        name: name?,
        index: header.index,
        mtu,
        header: header_length(header.link_layer_type),
        gso_max,
        qdisc,
    })
}

/// The kernel does not tell `hard_header_len`. What looks like Ethernet has its 14 bytes; what
/// carries bare IP (tunnels, tun, PPP, WireGuard) adds its header below the queueing discipline.
fn header_length(kind: LinkLayerType) -> u32 {
    let ethernet = matches!(
        kind,
        LinkLayerType::Ether | LinkLayerType::Loopback | LinkLayerType::Ieee80211
    );
    if ethernet { ETHERNET_HEADER } else { 0 }
}
