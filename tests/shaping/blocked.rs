//! The example's block: what its phase rejects, while it lasts, and nothing else.

use std::io::ErrorKind::ConnectionRefused;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::host::Host;
use crate::lab::address::*;
use crate::lab::probe::{Listening, open};
use crate::lab::{Lab, Namespace, ready};

/// The example, whose session hosts and shortcuts have addresses of either family.
pub fn example(ramp: &str) -> Host {
    let host = Host::cd77(ramp);
    host.edit(
        "policy.d/10-classes.toml",
        "[\"10.77.20.0/24\"]",
        "[\"10.77.20.0/24\", \"fd77:77:77:20::/64\"]",
    );
    host.edit(
        "policy.d/20-telework.toml",
        "\"203.0.113.80/32\"",
        "\"203.0.113.80/32\", \"2001:db8:203::80/128\"",
    );
    host
}

/// A download that goes on until an end of it is told otherwise.
pub struct Download {
    client: JoinHandle<ErrorKind>,
    server: JoinHandle<ErrorKind>,
    alive: mpsc::Receiver<()>,
}

impl Download {
    pub fn start(lab: &Lab, from: IpAddr, to: IpAddr, port: u16) -> Self {
        let listener = lab
            .internet()
            .make(|| TcpListener::bind((to, port)).unwrap());
        let client = lab.datacentre().make(|| {
            let source = std::net::SocketAddr::new(from, 0);
            connected(source, (to, port).into())
        });
        let (mut server, _) = listener.accept().unwrap();
        server
            .set_write_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let (tell, alive) = mpsc::channel();
        let server = std::thread::spawn(move || {
            loop {
                if let Err(error) = server.write_all(&[0; 4096]) {
                    return error.kind();
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let client = std::thread::spawn(move || {
            let mut client = client;
            client
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            loop {
                match client.read(&mut [0; 4096]) {
                    Ok(_) => drop(tell.send(())),
                    Err(error) => return error.kind(),
                }
                // A client that speaks, as of any protocol with more than one question.
                if let Err(error) = client.write_all(b"next") {
                    return error.kind();
                }
            }
        });
        Self {
            client,
            server,
            alive,
        }
    }

    /// That it goes on.
    #[track_caller]
    pub fn goes_on(&self) {
        while self.alive.try_recv().is_ok() {}
        for _ in 0..20 {
            self.alive.recv_timeout(Duration::from_secs(3)).unwrap();
        }
    }

    /// That both ends were told.
    #[track_caller]
    pub fn ends_cut(self) {
        let told = |end: JoinHandle<ErrorKind>| {
            let error = end.join().unwrap();
            assert!(
                matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                "{error}"
            );
        };
        told(self.client);
        told(self.server);
    }
}

fn connected(from: std::net::SocketAddr, to: std::net::SocketAddr) -> TcpStream {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket,
    };
    use std::os::fd::AsRawFd;
    let family = if to.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(family, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from)).unwrap();
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    TcpStream::from(socket)
}

pub const FAMILIES: [[IpAddr; 4]; 2] = [
    [SESSION_HOST, OPERATIONS, WEB, SHORTCUTS],
    [SESSION_HOST6, OPERATIONS6, WEB6, SHORTCUTS6],
];

pub fn servers(lab: &Lab) -> Vec<Listening> {
    let addresses = [WEB, WEB6, SHORTCUTS, SHORTCUTS6];
    let ports = [80, 443, 8080];
    let all = addresses
        .iter()
        .flat_map(|at| ports.map(|port| (*at, port)));
    all.map(|(at, port)| Listening::start((lab.internet(), at), port))
        .collect()
}

#[track_caller]
pub fn passes(from: &Namespace, source: IpAddr, to: IpAddr, port: u16) {
    open((from, source), to, port).unwrap_or_else(|error| panic!("{source} {to} {port}: {error}"));
}

#[test]
fn browsing_is_rejected_while_the_phase_lasts() {
    if !ready() {
        return;
    }
    let host = example("0s");
    let lab = &host.lab;
    let foreign = || {
        lab.edge()
            .run("nft", &["-s", "list", "table", "inet", "lab"])
    };
    let theirs = foreign();
    let _servers = servers(lab);
    host.wanshift(&["apply"]);
    let others = |lab: &Lab| {
        for [session, operations, web, shortcuts] in FAMILIES {
            let inside = lab.datacentre();
            passes(inside, session, shortcuts, 443);
            passes(inside, session, web, 8080);
            passes(inside, operations, web, 443);
        }
        passes(lab.edge(), "198.18.77.2".parse().unwrap(), WEB, 443);
    };
    let downloads: Vec<Download> = [
        (SESSION_HOST, SHORTCUTS, 81),
        (SESSION_HOST6, SHORTCUTS6, 81),
    ]
    .map(|(from, to, port)| Download::start(lab, from, to, port))
    .into();
    for [session, _, web, _] in FAMILIES {
        passes(lab.datacentre(), session, web, 443);
    }
    others(lab);
    let told = host.wanshift(&["phase", "telework"]);
    assert!(told.contains("block browsing-in-session"), "{told}");
    for [session, _, web, _] in FAMILIES {
        for port in [80, 443] {
            let refused = open((lab.datacentre(), session), web, port);
            assert_eq!(refused, Err(ConnectionRefused), "{web} {port}");
        }
    }
    others(lab);
    for download in &downloads {
        download.goes_on();
    }
    assert!(host.wanshift(&["plan"]).contains("Nothing to write"));
    let told = host.wanshift(&["phase", "nominal"]);
    assert!(told.contains("not in phase.nominal"), "{told}");
    for [session, _, web, _] in FAMILIES {
        passes(lab.datacentre(), session, web, 443);
    }
    assert_eq!(foreign(), theirs);
}

#[test]
fn what_is_open_is_cut_as_a_ramp_begins_or_drained() {
    if !ready() {
        return;
    }
    let host = example("2s");
    let lab = &host.lab;
    let _servers = servers(lab);
    host.wanshift(&["apply"]);
    let downloads = |ports: [u16; 2]| {
        [(SESSION_HOST, WEB), (SESSION_HOST6, WEB6)]
            .into_iter()
            .zip(ports)
            .map(|((from, to), port)| Download::start(lab, from, to, port))
            .collect::<Vec<_>>()
    };
    let block = "policy.d/20-telework.toml";
    host.edit(block, "[phase.nominal]", "[phase.nominal]\nramp = \"2s\"");
    let services = "[\"http\", \"https\", \"quic\"]";
    host.edit(
        block,
        services,
        "[\"http\", \"https\", \"quic\", \"tcp/9000-9100\"]",
    );
    host.edit(block, "\"cut\"", "\"drain\"");
    let old = downloads([9000, 9001]);
    let ramp = std::thread::scope(|scope| {
        let ramp = scope.spawn(|| host.wanshift(&["phase", "telework"]));
        // From its beginning on, not from its end.
        let refused = (0..100).position(|_| {
            let refused =
                open((lab.datacentre(), SESSION_HOST), WEB, 443) == Err(ConnectionRefused);
            refused || {
                std::thread::sleep(Duration::from_millis(10));
                false
            }
        });
        assert!(refused.is_some() && !ramp.is_finished(), "{refused:?}");
        ramp.join().unwrap()
    });
    assert!(ramp.contains("block browsing-in-session"), "{ramp}");
    for download in &old {
        download.goes_on();
    }
    host.edit(block, "\"drain\"", "\"cut\"");
    let told = host.wanshift(&["apply"]);
    assert!(told.contains("~ block browsing-in-session"), "{told}");
    for download in old {
        download.ends_cut();
    }
    // On the way back it holds to the end.
    std::thread::scope(|scope| {
        let ramp = scope.spawn(|| host.wanshift(&["phase", "nominal"]));
        std::thread::sleep(Duration::from_millis(1_000));
        let refused = open((lab.datacentre(), SESSION_HOST), WEB, 443);
        assert!(!ramp.is_finished(), "the ramp is over");
        assert_eq!(refused, Err(ConnectionRefused));
        ramp.join().unwrap();
    });
    passes(lab.datacentre(), SESSION_HOST, WEB, 443);
}
