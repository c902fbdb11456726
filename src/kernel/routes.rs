//! Routes, read: where packets leave this host.
//!
//! All tables but `local` are read. A route that leads to a next hop object names its device as well, unless
//! the sysctl `net.ipv4.nexthop_compat_mode` is 0: then it is not seen here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::errno::Errno;

use super::tc::message::{
    Ack, Messages, RTM_GETROUTE, RTM_NEWROUTE, attribute, attributes, u16_at, u32_at,
};
use super::tc::socket::RouteSocket;
use crate::model::surroundings::{Surroundings, Through};

/// `AF_INET` of `linux/socket.h`.
const INET: u8 = 2;
/// `AF_INET6` of `linux/socket.h`.
const INET6: u8 = 10;
/// The length of `struct rtmsg` of `linux/rtnetlink.h`.
const ROUTE_HEADER: usize = 12;
/// The length of `struct rtnexthop` of `linux/rtnetlink.h`.
const HOP_HEADER: usize = 8;
/// `RTN_UNICAST` of `linux/rtnetlink.h`.
const UNICAST: u8 = 1;
/// `RTN_LOCAL` of `linux/rtnetlink.h`.
const LOCAL: u8 = 2;
/// `RT_TABLE_LOCAL` of `linux/rtnetlink.h`.
const TABLE_LOCAL: u32 = 255;
/// `RTM_F_CLONED` of `linux/rtnetlink.h`: what the kernel remembers of a destination, not a route.
const CLONED: u32 = 0x200;
/// `RTA_DST` of `linux/rtnetlink.h`.
const RTA_DST: u16 = 1;
/// `RTA_SRC` of `linux/rtnetlink.h`.
const RTA_SRC: u16 = 2;
/// `RTA_IIF` of `linux/rtnetlink.h`.
const RTA_IIF: u16 = 3;
/// `RTA_OIF` of `linux/rtnetlink.h`.
const RTA_OIF: u16 = 4;
/// `RTA_GATEWAY` of `linux/rtnetlink.h`.
const RTA_GATEWAY: u16 = 5;
/// `RTA_MULTIPATH` of `linux/rtnetlink.h`.
const RTA_MULTIPATH: u16 = 9;
/// `RTA_TABLE` of `linux/rtnetlink.h`.
const RTA_TABLE: u16 = 15;
/// `RTA_VIA` of `linux/rtnetlink.h`: a gateway of the other family.
const RTA_VIA: u16 = 18;

/// Adds all routes to `around`, of both families.
///
/// # Errors
/// Where a dump fails. A kernel without IPv6 has no such routes.
pub fn read(socket: &mut RouteSocket, around: &mut Surroundings) -> io::Result<()> {
    for family in [INET, INET6] {
        let header = |messages: &mut Messages| put_header(messages, family, 0, 0);
        // Into an empty one at each try; only then beside the devices.
        let found = socket.dump(
            RTM_GETROUTE,
            header,
            Surroundings::default,
            |found, payload| {
                let _ = decode(payload, family, |index, prefix, through| {
                    found.add_route(index, prefix, through);
                });
            },
        )?;
        for (index, routes) in found.routes {
            let known = around.routes.entry(index).or_default();
            known.near = known.near.and(&routes.near);
            known.far = known.far.and(&routes.far);
        }
    }
    Ok(())
}

/// The index of the device by which packets leave from an address of this host to that of another; `None` where
/// they go nowhere, or stay here.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn find(socket: &mut RouteSocket, from: IpAddr, to: IpAddr) -> io::Result<Option<u32>> {
    // From an address that is not this host's (any more) there is no way anywhere; without it there may be.
    let leaves = |found: Found| match found {
        Found::Out(device) => Some(device),
        Found::Here | Found::Nowhere => None,
    };
    match leaves(look_up(socket, None, Some(from), to)?) {
        Some(device) => Ok(Some(device)),
        None => Ok(leaves(look_up(socket, None, None, to)?)),
    }
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is for this host.
    Here,
    /// It leaves by the device with this index.
    Out(u32),
    /// It goes nowhere.
    Nowhere,
}

/// Where a packet to `to` goes: one of this host's own, or one that arrived from an address by the device with that
/// index.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn forward(
    socket: &mut RouteSocket,
    arrived: Option<(u32, IpAddr)>,
    to: IpAddr,
) -> io::Result<Found> {
    let (device, from) = arrived.unzip();
    look_up(socket, device, from, to)
}

fn look_up(
    socket: &mut RouteSocket,
    arrival: Option<u32>,
    from: Option<IpAddr>,
    to: IpAddr,
) -> io::Result<Found> {
    let (family, length) = if to.is_ipv4() {
        (INET, 32)
    } else {
        (INET6, 128)
    };
    let from = from.filter(|from| from.is_ipv4() == to.is_ipv4());
    let mut messages = Messages::new();
    messages.begin(RTM_GETROUTE, 0, Ack::Own);
    put_header(&mut messages, family, length, from.map_or(0, |_| length));
    messages.attribute(RTA_DST, &octets(to));
    if let Some(from) = from {
        messages.attribute(RTA_SRC, &octets(from));
    }
    if let Some(arrival) = arrival {
        messages.attribute(RTA_IIF, &arrival.to_ne_bytes());
    }
    let mut found = Found::Nowhere;
    let answer = socket.get(&mut messages, |kind, payload| {
        if kind != RTM_NEWROUTE {
            return;
        }
        found = match payload.get(7) {
            Some(&LOCAL) => Found::Here,
            Some(&UNICAST) => {
                let rest = payload.get(ROUTE_HEADER..);
                let device = rest.and_then(|rest| attribute(rest, RTA_OIF));
                let device = device.and_then(|device| u32_at(device, 0));
                device.map_or(Found::Nowhere, Found::Out)
            }
            Some(_) | None => Found::Nowhere,
        };
    });
    let nowhere = [
        Errno::ENETUNREACH,
        Errno::EHOSTUNREACH,
        Errno::EACCES,
        Errno::EAGAIN,
        Errno::EINVAL,
    ];
    match answer {
        Ok(()) => Ok(found),
        // Where there is none, and what routes and rules of the kinds unreachable, prohibit, throw and blackhole
        // answer.
        Err(error)
            if nowhere
                .iter()
                .any(|e| error.raw_os_error() == Some(*e as i32)) =>
        {
            Ok(Found::Nowhere)
        }
        Err(error) => Err(error),
    }
}

/// Writes `struct rtmsg`.
fn put_header(messages: &mut Messages, family: u8, to: u8, from: u8) {
    messages.put(&[family, to, from, 0, 0, 0, 0, 0]);
    messages.put(&0_u32.to_ne_bytes());
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Tells `each` the device, the prefix and whether there is a gateway, once for each next hop of a unicast route.
fn decode(payload: &[u8], family: u8, mut each: impl FnMut(u32, IpNet, Through)) -> Option<()> {
    let [of, length, _, _, table, _, _, kind] = *payload.first_chunk::<8>()?;
    let flags = u32_at(payload, 8)?;
    let mut table = u32::from(table);
    let mut address = None;
    let (mut device, mut gateway) = (None, false);
    let mut hops: &[u8] = &[];
    for (attribute, value) in attributes(payload.get(ROUTE_HEADER..)?) {
        match attribute {
            RTA_DST => address = address_in(value),
            RTA_OIF => device = u32_at(value, 0),
            RTA_GATEWAY | RTA_VIA => gateway = true,
            RTA_MULTIPATH => hops = value,
            RTA_TABLE => table = u32_at(value, 0)?,
            _ => {}
        }
    }
    // A kernel that does not know the family dumps all families instead.
    if of != family || kind != UNICAST || table == TABLE_LOCAL || flags & CLONED != 0 {
        return None;
    }
    let everything = match family {
        INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let prefix = IpNet::new(address.unwrap_or(everything), length).ok()?;
    let through = |gateway| {
        if gateway {
            Through::Gateway
        } else {
            Through::Link
        }
    };
    if let Some(device) = device {
        each(device, prefix, through(gateway));
    }
    while let Some(size) = u16_at(hops, 0).map(usize::from) {
        let hop = hops.get(..size).filter(|hop| hop.len() >= HOP_HEADER)?;
        let inside = hop.get(HOP_HEADER..)?;
        let gateway = [RTA_GATEWAY, RTA_VIA]
            .iter()
            .any(|kind| attribute(inside, *kind).is_some());
        each(u32_at(hop, 4)?, prefix, through(gateway));
        hops = hops.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(())
}

fn address_in(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(value).ok()?;
    Some(Ipv6Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(header: [u8; 8], flags: u32, write: impl FnOnce(&mut Messages)) -> Vec<String> {
        let mut messages = Messages::new();
        messages.put(&header);
        messages.put(&flags.to_ne_bytes());
        write(&mut messages);
        let mut found = Vec::new();
        let _ = decode(messages.bytes(), INET, |device, prefix, through| {
            found.push(format!("{prefix} {device} {through:?}"));
        });
        found
    }

    #[test]
    fn a_route_is_told_once_for_each_next_hop() {
        let header = [INET, 8, 0, 0, 254, 0, 0, UNICAST];
        let plain = |messages: &mut Messages| {
            messages.attribute(RTA_DST, &[10, 0, 0, 0]);
            messages.attribute(RTA_OIF, &7_u32.to_ne_bytes());
        };
        assert_eq!(told(header, 0, plain), ["10.0.0.0/8 7 Link"]);
        let several = |messages: &mut Messages| {
            messages.nest(RTA_MULTIPATH, |hops| {
                hops.put(&8_u16.to_ne_bytes());
                hops.put(&[0, 0]);
                hops.put(&7_u32.to_ne_bytes());
                hops.put(&16_u16.to_ne_bytes());
                hops.put(&[0, 0]);
                hops.put(&9_u32.to_ne_bytes());
                hops.attribute(RTA_GATEWAY, &[192, 0, 2, 1]);
            });
        };
        let default = [INET, 0, 0, 0, 254, 0, 0, UNICAST];
        assert_eq!(
            told(default, 0, several),
            ["0.0.0.0/0 7 Link", "0.0.0.0/0 9 Gateway"]
        );
        // Cut short in the second.
        let cut = |messages: &mut Messages| {
            messages.nest(RTA_MULTIPATH, |hops| hops.put(&[16, 0, 0, 0, 7, 0, 0, 0]));
        };
        assert!(told(default, 0, cut).is_empty());
    }

    #[test]
    fn what_is_no_route_out_is_not_told() {
        let by = |device: u32| move |m: &mut Messages| m.attribute(RTA_OIF, &device.to_ne_bytes());
        let unreachable = [INET, 8, 0, 0, 254, 0, 0, 7];
        assert!(told(unreachable, 0, by(7)).is_empty());
        assert!(told([INET, 8, 0, 0, 255, 0, 0, UNICAST], 0, by(7)).is_empty());
        assert!(told([INET, 8, 0, 0, 254, 0, 0, UNICAST], CLONED, by(7)).is_empty());
        assert!(told([INET6, 8, 0, 0, 254, 0, 0, UNICAST], 0, by(7)).is_empty());
        // The number of a VRF's table stands in the attribute where it is large.
        let numbered = |messages: &mut Messages| {
            by(7)(messages);
            messages.attribute(RTA_TABLE, &1_000_u32.to_ne_bytes());
        };
        assert_eq!(
            told([INET, 0, 0, 0, 252, 0, 0, UNICAST], 0, numbered).len(),
            1
        );
        assert!(told([INET, 0, 0, 0, 252, 0, 0, UNICAST], 0, |_| {}).is_empty());
    }
}
