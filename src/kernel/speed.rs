//! How fast a device is, as its driver tells.

use std::io;
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::model::names::DeviceName;
use crate::units::Rate;

/// `ETHTOOL_GSET` of `linux/ethtool.h`.
const GET_SETTINGS: u32 = 1;
/// `SPEED_UNKNOWN` of `linux/ethtool.h`.
const UNKNOWN: u32 = u32::MAX;

/// `struct ethtool_cmd` of `linux/ethtool.h`.
#[repr(C)]
#[derive(Default)]
struct Settings {
    command: u32,
    supported: u32,
    advertised: u32,
    speed_low: u16,
    duplex: u8,
    port: u8,
    phy_address: u8,
    transceiver: u8,
    autonegotiation: u8,
    mdio: u8,
    max_tx: u32,
    max_rx: u32,
    speed_high: u16,
    crossed: u8,
    crossing: u8,
    partner: u32,
    reserved: [u32; 2],
}

/// The speed of `device` in the network namespace of this thread; `None` where it has no carrier, does not
/// tell one, or is not there.
///
/// # Errors
/// Where there is no socket to ask by.
pub fn speed(device: &DeviceName) -> io::Result<Option<Rate>> {
    let socket = socket(
        // Any kind of socket will do; a service that is confined has this one.
        AddressFamily::Unix,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut name = [0; libc::IFNAMSIZ];
    // A device's name is shorter than that, so the last stays zero.
    for (to, from) in name.iter_mut().zip(device.as_str().bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let request = |data| libc::ifreq {
        ifr_name: name,
        ifr_ifru: data,
    };
    let mut flags = request(libc::__c_anonymous_ifr_ifru { ifru_flags: 0 });
    // SAFETY: this request reads the name of an `ifreq` and writes its flags; both live to the end of the call.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut flags) };
    // SAFETY: every bit pattern is a number.
    let flags = i32::from(unsafe { flags.ifr_ifru.ifru_flags });
    if asked != 0 || flags & libc::IFF_RUNNING == 0 {
        return Ok(None);
    }
    let mut settings = Settings {
        command: GET_SETTINGS,
        ..Settings::default()
    };
    let mut ask = request(libc::__c_anonymous_ifr_ifru {
        ifru_data: (&raw mut settings).cast(),
    });
    // SAFETY: this request has the kernel write an `ethtool_cmd` to where `ifru_data` points, which is one; all
    // live to the end of the call.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut ask) };
    let mbit = u32::from(settings.speed_high) << 16 | u32::from(settings.speed_low);
    if asked != 0 || mbit == UNKNOWN || mbit == 0 {
        return Ok(None);
    }
    Ok(Some(Rate::floor(u64::from(mbit) * 1_000_000)))
}
