//! Who has which address. A host answers at *every* address of its prefixes, so that a test may take
//! three hundred workers without configuring one; the constants are merely well-known ones.
//!
//! Public addresses are of the documentation ranges, inside ones of 10.77.0.0/16 and fd77:77:77::/48.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn inside(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd77, 0x77, 0x77, net, 0, 0, 0, host))
}

const fn public(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host))
}

/// A session host in the datacentre.
pub const SESSION_HOST: IpAddr = v4(10, 77, 20, 11);
/// The same over IPv6.
pub const SESSION_HOST6: IpAddr = inside(0x20, 0x11);
/// A host of operations in the datacentre.
pub const OPERATIONS: IpAddr = v4(10, 77, 9, 5);
/// The same over IPv6.
pub const OPERATIONS6: IpAddr = inside(0x9, 0x5);
/// The remote desktop gateway's public address, in the datacentre.
pub const GATEWAY: IpAddr = v4(192, 0, 2, 10);
/// The same over IPv6.
pub const GATEWAY6: IpAddr = public(0x2, 0x10);
/// The VPN concentrator's public address, in the datacentre.
pub const VPN: IpAddr = v4(192, 0, 2, 20);
/// The same over IPv6.
pub const VPN6: IpAddr = public(0x2, 0x20);
/// A desk at the site mds-provins.
pub const PROVINS: IpAddr = v4(10, 77, 101, 11);
/// The same over IPv6.
pub const PROVINS6: IpAddr = inside(0x101, 0x11);
/// A desk at the site mds-nemours.
pub const NEMOURS: IpAddr = v4(10, 77, 102, 11);
/// The same over IPv6.
pub const NEMOURS6: IpAddr = inside(0x102, 0x11);
/// A worker at home; any of 198.51.100.0/24 is one.
pub const WORKER: IpAddr = v4(198, 51, 100, 21);
/// The same over IPv6; any of 2001:db8:51::/64 is one.
pub const WORKER6: IpAddr = public(0x51, 0x21);
/// A web server; any of 203.0.113.0/24 is one.
pub const WEB: IpAddr = v4(203, 0, 113, 7);
/// The same over IPv6; any of 2001:db8:203::/64 is one.
pub const WEB6: IpAddr = public(0x203, 0x7);
/// The web applications behind the shortcuts.
pub const SHORTCUTS: IpAddr = v4(203, 0, 113, 80);
/// The same over IPv6.
pub const SHORTCUTS6: IpAddr = public(0x203, 0x80);

/// The edge on `lan0`; the datacentre is .2.
pub const EDGE_LAN: IpAddr = v4(10, 77, 0, 1);
/// The same over IPv6.
pub const EDGE_LAN6: IpAddr = inside(0, 1);
/// The edge on `mpls0`.
pub const EDGE_MPLS: IpAddr = v4(10, 77, 255, 1);
/// The same over IPv6.
pub const EDGE_MPLS6: IpAddr = inside(0xff, 1);
/// The edge on `wan0`: what inside addresses are masqueraded as.
pub const EDGE_WAN: IpAddr = v4(198, 18, 77, 2);
/// The same over IPv6.
pub const EDGE_WAN6: IpAddr = public(0x77, 2);
/// The provider's router, next hop on `mpls0`.
pub const PROVIDER: IpAddr = v4(10, 77, 255, 2);
/// The same over IPv6.
pub const PROVIDER6: IpAddr = inside(0xff, 2);
/// The internet's router, next hop on `wan0`.
pub const INTERNET: IpAddr = v4(198, 18, 77, 1);
/// The same over IPv6.
pub const INTERNET6: IpAddr = public(0x77, 1);
