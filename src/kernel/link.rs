//! Network devices, read.

use std::io;

use netlink_packet_core::Emitable;
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkLayerType};

use super::tc::message::{
    Ack, Messages, RTM_GETLINK, RTM_NEWLINK, attribute, attributes, text, u32_at,
};
use super::tc::socket::RouteSocket;
use crate::model::names::DeviceName;

/// `IFLA_IFNAME` of `linux/if_link.h`.
pub(super) const IFLA_IFNAME: u16 = 3;
/// `IFLA_MTU` of `linux/if_link.h`.
const IFLA_MTU: u16 = 4;
/// `IFLA_LINK` of `linux/if_link.h`: the index of the device below.
const IFLA_LINK: u16 = 5;
/// `IFLA_QDISC` of `linux/if_link.h`: the kind of the root qdisc.
const IFLA_QDISC: u16 = 6;
/// `IFLA_LINKINFO` of `linux/if_link.h`.
pub(super) const IFLA_LINKINFO: u16 = 18;
/// `IFLA_EXT_MASK` of `linux/if_link.h`.
const IFLA_EXT_MASK: u16 = 29;
/// `IFLA_LINK_NETNSID` of `linux/if_link.h`: there, the device below is in another namespace.
const IFLA_LINK_NETNSID: u16 = 37;
/// `IFLA_GSO_MAX_SIZE` of `linux/if_link.h`.
const IFLA_GSO_MAX_SIZE: u16 = 41;
/// `IFLA_MASTER` of `linux/if_link.h`.
const IFLA_MASTER: u16 = 10;
/// `IFLA_INFO_KIND` of `linux/if_link.h`.
pub(super) const IFLA_INFO_KIND: u16 = 1;
/// `IFLA_INFO_DATA` of `linux/if_link.h`: what a kind has of its own.
const IFLA_INFO_DATA: u16 = 2;
/// `IFLA_VLAN_EGRESS_QOS` of `linux/if_link.h`.
const IFLA_VLAN_EGRESS_QOS: u16 = 3;
/// `IFLA_VLAN_QOS_MAPPING` of `linux/if_link.h`.
const IFLA_VLAN_QOS_MAPPING: u16 = 1;
/// `RTEXT_FILTER_SKIP_STATS` of `linux/rtnetlink.h`.
const SKIP_STATS: u32 = 1 << 3;
/// `GSO_LEGACY_MAX_SIZE` of the kernel's `linux/netdevice.h`, where a device does not say.
const GSO_DEFAULT: u32 = 65_536;
/// `ETH_HLEN` of `linux/if_ether.h`.
const ETHERNET_HEADER: u32 = 14;
/// The length of `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// The kinds whose `IFLA_LINK` is not what they stand on: it is the other end (`veth_get_iflink`,
/// `netkit_get_iflink`, `vxcan_get_iflink` of the kernel's `drivers/net`).
const PAIRS: [&str; 3] = ["veth", "netkit", "vxcan"];
/// The kinds whose `IFLA_LINK` is only the device that they are bound to (`ip_tunnel_get_iflink` and the like of
/// the kernel's `net`): what goes down to it is another packet, that the host sends, and meets the packet filter anew.
const TUNNELS: [&str; 12] = [
    "gre",
    "gretap",
    "erspan",
    "ip6gre",
    "ip6gretap",
    "ip6erspan",
    "ipip",
    "sit",
    "ip6tnl",
    "vti",
    "vti6",
    "xfrm",
];

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
    /// Its kind; empty for hardware.
    pub kind: String,
    /// The index of the device that it stands on, where that is in the same network namespace.
    pub lower: Option<u32>,
    /// The index of the device that it is a port of.
    pub master: Option<u32>,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it is a VLAN that maps packets' priorities to its own.
    pub priority_map: bool,
}

/// Every device of the socket's network namespace whose name is a [`DeviceName`]. One with another
/// name cannot stand in a policy.
///
/// # Errors
/// Where the dump fails.
pub fn links(socket: &mut RouteSocket) -> io::Result<Vec<Link>> {
    socket.dump(RTM_GETLINK, request, Vec::new, |links, payload| {
        links.extend(decode(payload));
    })
}

/// A device by its name; `None` where there is none.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn find(socket: &mut RouteSocket, device: &DeviceName) -> io::Result<Option<Link>> {
    let mut messages = Messages::new();
    messages.begin(RTM_GETLINK, 0, Ack::Own);
    request(&mut messages);
    messages.attribute(IFLA_IFNAME, &terminated(device.as_str()));
    let mut found = None;
    let answer = socket.get(&mut messages, |kind, payload| {
        if kind == RTM_NEWLINK {
            found = decode(payload);
        }
    });
    match answer {
        // The kernel finds a device by its alternative names too; a dump knows it by its name alone.
        Ok(()) => Ok(found.filter(|link| link.name == *device)),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The index of a device by its name; `None` where there is none.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn index_of(socket: &mut RouteSocket, device: &DeviceName) -> io::Result<Option<u32>> {
    Ok(find(socket, device)?.map(|link| link.index))
}

/// As the kernel takes a text: with a NUL at its end.
pub(super) fn terminated(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// Writes `struct ifinfomsg`.
pub(super) fn put_header(messages: &mut Messages, header: &LinkHeader) {
    let mut raw = [0; LINK_HEADER];
    header.emit(&mut raw);
    messages.put(&raw);
}

fn request(messages: &mut Messages) {
    put_header(messages, &LinkHeader::default());
    messages.attribute(IFLA_EXT_MASK, &SKIP_STATS.to_ne_bytes());
}

fn decode(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    let (mut name, mut mtu, mut gso_max, mut qdisc) = (None, 0, GSO_DEFAULT, String::new());
    let (mut below, mut elsewhere, mut master) = (None, false, None);
    let (mut kind, mut data): (String, &[u8]) = (String::new(), &[]);
    for (attribute_kind, value) in attributes(payload.get(LINK_HEADER..)?) {
        match attribute_kind {
            IFLA_IFNAME => name = std::str::from_utf8(text(value)).ok()?.parse().ok(),
            IFLA_MTU => mtu = u32_at(value, 0)?,
            // A tunnel that is bound to no device says 0.
            IFLA_LINK => below = u32_at(value, 0).filter(|index| *index != 0),
            IFLA_LINK_NETNSID => elsewhere = true,
            IFLA_MASTER => master = u32_at(value, 0).filter(|index| *index != 0),
            IFLA_GSO_MAX_SIZE => gso_max = u32_at(value, 0)?,
            IFLA_QDISC => qdisc = String::from_utf8_lossy(text(value)).into_owned(),
            IFLA_LINKINFO => {
                if let Some(value) = attribute(value, IFLA_INFO_KIND) {
                    kind = String::from_utf8_lossy(text(value)).into_owned();
                }
                data = attribute(value, IFLA_INFO_DATA).unwrap_or_default();
            }
            _ => {}
        }
    }
    let stands = !elsewhere && !PAIRS.iter().chain(&TUNNELS).any(|other| *other == kind);
    let priority_map = kind == "vlan" && maps_priorities(data);
    Some(Link {
        name: name?,
        index: header.index,
        mtu,
        header: header_length(header.link_layer_type),
        gso_max,
        qdisc,
        kind,
        lower: below.filter(|_| stands),
        master,
        up: header.flags.contains(LinkFlags::Up),
        priority_map,
    })
}

/// The index and the name that a message about a device tells; no name where it is no [`DeviceName`].
pub(super) fn told(payload: &[u8]) -> Option<(u32, Option<DeviceName>)> {
    let index = u32_at(payload, 4)?;
    let name = attribute(payload.get(LINK_HEADER..)?, IFLA_IFNAME);
    let name = name.and_then(|name| std::str::from_utf8(text(name)).ok()?.parse().ok());
    Some((index, name))
}

/// Whether a VLAN's own attributes have a mapping of priorities in them.
fn maps_priorities(data: &[u8]) -> bool {
    attribute(data, IFLA_VLAN_EGRESS_QOS)
        .is_some_and(|map| attribute(map, IFLA_VLAN_QOS_MAPPING).is_some())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A device's message with these attributes.
    fn made(write: impl FnOnce(&mut Messages)) -> Link {
        let mut messages = Messages::new();
        put_header(&mut messages, &LinkHeader::default());
        messages.attribute(IFLA_IFNAME, b"port0\0");
        write(&mut messages);
        decode(messages.bytes()).unwrap()
    }

    #[test]
    fn a_vlan_tells_its_map_and_what_it_stands_on() {
        let vlan = |map: &[u8]| {
            made(|messages| {
                messages.attribute(IFLA_LINK, &7_u32.to_ne_bytes());
                messages.nest(IFLA_LINKINFO, |info| {
                    info.attribute(IFLA_INFO_KIND, b"vlan\0");
                    info.nest(IFLA_INFO_DATA, |data| {
                        data.attribute(1, &5_u16.to_ne_bytes());
                        data.put(map);
                    });
                });
            })
        };
        let mut map = Messages::new();
        map.nest(IFLA_VLAN_EGRESS_QOS, |map| {
            map.attribute(IFLA_VLAN_QOS_MAPPING, &[0; 8]);
        });
        let found = vlan(map.bytes());
        assert_eq!((found.kind.as_str(), found.lower), ("vlan", Some(7)));
        assert!(found.priority_map && !found.up);
        let mut empty = Messages::new();
        empty.nest(IFLA_VLAN_EGRESS_QOS, |_| {});
        assert!(!vlan(&[]).priority_map && !vlan(empty.bytes()).priority_map);
    }

    #[test]
    fn what_is_elsewhere_or_the_other_end_or_carries_a_tunnel_is_nothing_to_stand_on() {
        let below = |messages: &mut Messages| messages.attribute(IFLA_LINK, &7_u32.to_ne_bytes());
        assert_eq!(made(below).lower, Some(7));
        assert_eq!(made(|m| m.attribute(IFLA_LINK, &[0; 4])).lower, None);
        let elsewhere = |messages: &mut Messages| {
            below(messages);
            messages.attribute(IFLA_LINK_NETNSID, &[0; 4]);
        };
        assert_eq!(made(elsewhere).lower, None);
        for (kind, stands) in [("veth", None), ("xfrm", None), ("macvlan", Some(7))] {
            let of_kind = |messages: &mut Messages| {
                below(messages);
                messages.nest(IFLA_LINKINFO, |info| {
                    info.attribute(IFLA_INFO_KIND, &terminated(kind));
                });
            };
            assert_eq!(made(of_kind).lower, stands, "{kind}");
        }
    }
}
