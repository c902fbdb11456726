//! The ssh session from which something is ordered, as sshd tells it.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::names::DeviceName;

/// An ssh session into this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Where the administrator is.
    pub client: IpAddr,
    /// The client's port.
    pub client_port: u16,
    /// The device that a link-local client is at.
    pub zone: Option<DeviceName>,
    /// This host's address in it.
    pub server: IpAddr,
    /// This host's port in it.
    pub server_port: u16,
}

/// A text that is no `SSH_CONNECTION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a client's address and port, and a server's")]
pub struct SessionError;

impl FromStr for Session {
    type Err = SessionError;

    /// Reads `SSH_CONNECTION`: the client's address and port, the server's address and port.
    fn from_str(text: &str) -> Result<Self, SessionError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [client, client_port, server, server_port] = words.as_slice() else {
            return Err(SessionError);
        };
        let port = |text: &str| text.parse::<u16>().map_err(|_| SessionError);
        let (client, zone) = address(client)?;
        let (server, _) = address(server)?;
        Ok(Self {
            client,
            client_port: port(client_port)?,
            zone: zone.and_then(|zone| zone.parse().ok()),
            server,
            server_port: port(server_port)?,
        })
    }
}

/// An address, an IPv4 one also as IPv6 writes it, and the zone of a link-local one.
fn address(text: &str) -> Result<(IpAddr, Option<&str>), SessionError> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| SessionError)?;
    Ok((address.to_canonical(), zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_tells_is_read() {
        let session: Session = "198.51.100.7 50122 192.0.2.1 2222".parse().unwrap();
        assert_eq!(session.client.to_string(), "198.51.100.7");
        assert_eq!((session.client_port, session.server_port), (50_122, 2_222));
        let mapped: Session = "::ffff:198.51.100.7 1 2001:db8::1 22".parse().unwrap();
        assert_eq!(mapped.client.to_string(), "198.51.100.7");
        assert_eq!(mapped.server.to_string(), "2001:db8::1");
        let near: Session = "fe80::7%wan0 1 fe80::1%wan0 22".parse().unwrap();
        assert_eq!(near.zone, Some("wan0".parse().unwrap()));
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "UNKNOWN",
            "UNKNOWN 65535 UNKNOWN 65535",
            "198.51.100.7 50122 192.0.2.1",
            "198.51.100.7 50122 192.0.2.1 22 7",
            "198.51.100.7 70000 192.0.2.1 22",
            "198.51.100 1 192.0.2.1 22",
        ] {
            assert_eq!(text.parse::<Session>(), Err(SessionError), "{text}");
        }
    }
}
