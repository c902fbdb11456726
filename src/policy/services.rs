//! The services and code points that need no definition.

use super::spec::nearest;
use crate::model::class::{Dscp, PortRange, Transport};

/// One transport, from a port to a port.
type Ports = (Transport, u16, u16);

const fn tcp(port: u16) -> Ports {
    (Transport::Tcp, port, port)
}

const fn udp(port: u16) -> Ports {
    (Transport::Udp, port, port)
}

/// The services that are built in, in alphabetical order. Ports as registered with IANA
/// (<https://www.iana.org/assignments/service-names-port-numbers>), unless said otherwise.
pub(super) const SERVICES: &[(&str, &[Ports])] = &[
    // Citrix ICA, alone and within session reliability (CGP), TCP and its UDP variant.
    ("citrix-ica", &[tcp(1494), tcp(2598), udp(1494), udp(2598)]),
    ("dns", &[udp(53), tcp(53)]),
    ("dns-over-tls", &[tcp(853)]),
    ("ftp", &[tcp(21)]),
    ("http", &[tcp(80)]),
    ("https", &[tcp(443)]),
    ("imap", &[tcp(143)]),
    ("imaps", &[tcp(993)]),
    ("ipsec-ike", &[udp(500)]),
    ("ipsec-nat-t", &[udp(4500)]),
    ("kerberos", &[tcp(88), udp(88)]),
    ("ldap", &[tcp(389), udp(389)]),
    ("ldaps", &[tcp(636)]),
    ("mosh", &[(Transport::Udp, 60_000, 61_000)]),
    ("nfs", &[tcp(2049), udp(2049)]),
    ("ntp", &[udp(123)]),
    ("openvpn", &[udp(1194), tcp(1194)]),
    ("pop3s", &[tcp(995)]),
    ("quic", &[udp(443)]),
    ("rdp", &[tcp(3389), udp(3389)]),
    ("rsync", &[tcp(873)]),
    ("rtsp", &[tcp(554)]),
    ("sip", &[udp(5060), tcp(5060)]),
    ("sips", &[tcp(5061)]),
    ("smb", &[tcp(445)]),
    ("smtp", &[tcp(25)]),
    ("snmp", &[udp(161)]),
    ("ssh", &[tcp(22)]),
    ("stun", &[udp(3478), tcp(3478)]),
    ("submission", &[tcp(587), tcp(465)]),
    ("syslog", &[udp(514)]),
    ("telnet", &[tcp(23)]),
    ("tftp", &[udp(69)]),
    ("vnc", &[(Transport::Tcp, 5900, 5909)]),
    // Not registered; the port of its documentation.
    ("wireguard", &[udp(51_820)]),
];

/// The names of the services that need no definition.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().map(|(name, _)| *name)
}

/// The ports of a service that needs no definition.
#[must_use]
pub fn built_in(name: &str) -> Option<Vec<PortRange>> {
    let (_, ports) = SERVICES.iter().find(|(known, _)| *known == name)?;
    Some(
        ports
            .iter()
            .map(|(transport, first, last)| PortRange {
                transport: *transport,
                ports: *first..=*last,
            })
            .collect(),
    )
}

/// Reads `tcp/443` or `udp/1000-2000`.
///
/// # Errors
/// Where it is neither: what is wrong, and what to do.
pub fn ports(text: &str) -> Result<PortRange, (String, String)> {
    const EXAMPLE: &str = "write \"tcp/443\" or \"udp/1000-2000\"";
    let short = super::cx::shorten(text);
    let (transport, ports) = text
        .split_once('/')
        .ok_or_else(|| (format!("`{short}` names no ports"), EXAMPLE.to_owned()))?;
    let transport = match transport {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        _ => {
            let help = match nearest(transport, ["tcp", "udp"]) {
                Some(known) => format!("did you mean \"{known}/{ports}\"?"),
                None => EXAMPLE.to_owned(),
            };
            let transport = super::cx::shorten(transport);
            return Err((format!("`{transport}` is neither tcp nor udp"), help));
        }
    };
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u16>() {
            Ok(port) if port > 0 && digits => Ok(port),
            _ => Err((
                format!("`{}` is no port", super::cx::shorten(text)),
                "ports go from 1 to 65535".to_owned(),
            )),
        }
    };
    let (first, last) = match ports.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(ports)?, port(ports)?),
    };
    if first > last {
        return Err((
            format!("`{short}` ends before it begins"),
            format!("write \"{transport}/{last}-{first}\""),
        ));
    }
    Ok(PortRange {
        transport,
        ports: first..=last,
    })
}

/// The code points that have names (RFC 2474, 2597, 3246, 5865, 8622).
const DSCP: &[(&str, u8)] = &[
    ("be", 0),
    ("le", 1),
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("ef", 46),
    ("va", 44),
];

/// The code point of that name.
#[must_use]
pub fn dscp(name: &str) -> Option<Dscp> {
    let lower = name.to_ascii_lowercase();
    let (_, point) = DSCP.iter().find(|(known, _)| *known == lower)?;
    Dscp::new(*point)
}

/// The names of code points.
pub fn dscp_names() -> impl Iterator<Item = &'static str> {
    DSCP.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_service_has_ports() {
        assert!(SERVICES.is_sorted_by_key(|(name, _)| *name));
        assert!(SERVICES.iter().all(|(_, ports)| !ports.is_empty()));
        assert_eq!(built_in("dns").unwrap().len(), 2);
        assert_eq!(dscp("AF41").unwrap().get(), 34);
    }

    #[test]
    fn ports_are_read_and_refused() {
        assert_eq!(*ports("udp/1000-2000").unwrap().ports.end(), 2000);
        for text in [
            "443",
            "tcp/",
            "tcp/0",
            "tcp/65536",
            "tcp/+1",
            "sctp/1",
            "tcp/2-1",
            "tcp/1-",
            "tcp/-1",
            "",
        ] {
            assert!(ports(text).is_err(), "{text} was read");
        }
    }
}
