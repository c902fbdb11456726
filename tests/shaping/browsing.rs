//! Blocks that a daemon keeps, under traffic: what is refused, how soon, until when, and that nothing but its
//! condition lifts it.

use std::io::ErrorKind::{self, ConnectionRefused, HostUnreachable, PermissionDenied};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::blocked::{Download, FAMILIES, example, passes, servers};
use crate::daemon::{Daemon, PATIENCE};
use crate::host::Host;
use crate::lab::address::*;
use crate::lab::probe::open;
use crate::lab::socket::{tcp_connect, udp};
use crate::lab::time::{SECOND, nanos};
use crate::lab::{Lab, Namespace, now, ready, sleep};

/// Web servers of the test's own, on which nothing else listens.
pub const OWN: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0x203, 0, 0, 0, 0, 9)),
];
pub const SESSIONS: [IpAddr; 2] = [SESSION_HOST, SESSION_HOST6];
pub const TELEWORK: &str = "policy.d/20-telework.toml";
/// What the block is back in after it was flushed away.
pub const BACK: Duration = Duration::from_secs(1);

/// The phase goes on when the block's condition comes true, which then lifts the block alone.
pub fn without_end(host: &Host) {
    host.edit(
        TELEWORK,
        "until = \"uplink-upgraded\"\nthen = \"upgraded\"\n",
        "",
    );
}

#[track_caller]
pub fn refused(from: (&Namespace, IpAddr), to: IpAddr, port: u16) {
    assert_eq!(open(from, to, port), Err(ConnectionRefused), "{to} {port}");
}

/// The median of how long it took each time, which is judged; the worst is the machine's.
#[track_caller]
pub fn soon(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let median = times[times.len() / 2];
    eprintln!(
        "{what}: {median:?} in the median, {:?} at worst",
        times.last()
    );
    assert!(median < Duration::from_millis(100), "{what}: {times:?}");
}

/// How long it takes until a connection is refused.
#[track_caller]
pub fn time_to_refuse(from: (&Namespace, IpAddr), to: SocketAddr) -> Duration {
    from.0.make(|| {
        let begin = now();
        let came = tcp_connect(SocketAddr::new(from.1, 0), to, 0).map(|_| ());
        let took = Duration::from_nanos(now() - begin);
        assert_eq!(came.map_err(|error| error.kind()), Err(ConnectionRefused));
        took
    })
}

/// A conversation of datagrams on the port of QUIC, opened from inside.
struct Datagrams {
    client: std::net::UdpSocket,
    server: std::net::UdpSocket,
}

impl Datagrams {
    fn open(lab: &Lab, from: IpAddr, to: IpAddr) -> Self {
        let server = lab.internet().make(|| udp(SocketAddr::new(to, 443), 0));
        let client = lab.datacentre().make(|| udp(SocketAddr::new(from, 0), 0));
        client.connect(SocketAddr::new(to, 443)).unwrap();
        client
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        Self { client, server }
    }

    /// One question, and its answer.
    #[track_caller]
    fn answered(&self) {
        self.client.send(b"question").unwrap();
        let mut data = [0; 64];
        let (_, from) = self.server.recv_from(&mut data).unwrap();
        self.server.send_to(b"answer", from).unwrap();
        assert_eq!(self.client.recv(&mut data).unwrap(), 6);
    }

    /// What came of one question, and how soon.
    fn ask(&self) -> (Result<usize, ErrorKind>, Duration) {
        let begin = now();
        let told = self
            .client
            .send(b"question")
            .and_then(|_| self.client.recv(&mut [0; 64]));
        (
            told.map_err(|error| error.kind()),
            Duration::from_nanos(now() - begin),
        )
    }
}

#[test]
fn browsing_is_refused_within_a_tenth_of_a_second() {
    if !ready() {
        return;
    }
    let host = example("0s");
    let lab = &host.lab;
    let _servers = servers(lab);
    let mut daemon = Daemon::start(&host, "nominal");
    let talks: Vec<Datagrams> = SESSIONS
        .iter()
        .zip(OWN)
        .map(|(from, to)| Datagrams::open(lab, *from, to))
        .collect();
    for ([session, _, web, _], talk) in FAMILIES.iter().zip(&talks) {
        passes(lab.datacentre(), *session, *web, 443);
        talk.answered();
    }
    host.wanshift(&["phase", "telework"]);
    for [session, operations, web, shortcuts] in FAMILIES {
        for port in [80, 443] {
            let to = SocketAddr::new(web, port);
            let times = (0..20).map(|_| {
                let took = time_to_refuse((lab.datacentre(), session), to);
                // The exception and all that is no browsing work all the time.
                passes(lab.datacentre(), session, shortcuts, port);
                passes(lab.datacentre(), session, web, 8080);
                passes(lab.datacentre(), operations, web, port);
                took
            });
            soon(&format!("{session} to {to}"), times.collect());
        }
    }
    // The kernel tells a client of a prohibited datagram once a second, hence the pauses.
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..20 {
        sleep(Duration::from_millis(1_100));
        for ((talk, prohibited), times) in talks
            .iter()
            .zip([HostUnreachable, PermissionDenied])
            .zip(&mut times)
        {
            let (told, took) = talk.ask();
            assert_eq!(told, Err(prohibited));
            times.push(took);
        }
    }
    for (times, family) in times.into_iter().zip(["IPv4", "IPv6"]) {
        soon(&format!("datagrams over {family}"), times);
    }
    let status = daemon.wait_for_phase("telework");
    assert!(status["blocks"][0]["rejected_packets"].as_u64() >= Some(120));
    host.wanshift(&["phase", "nominal"]);
    talks.iter().for_each(Datagrams::answered);
    assert!(daemon.end().success());
}

/// A download whose client only listens: the next packet is the server's.
struct Silent {
    client: std::net::TcpStream,
    server: std::net::TcpStream,
}

impl Silent {
    fn open(lab: &Lab, from: IpAddr, to: IpAddr) -> Self {
        let to = SocketAddr::new(to, 443);
        let listener = lab
            .internet()
            .make(|| std::net::TcpListener::bind(to).unwrap());
        let client = lab
            .datacentre()
            .make(|| tcp_connect(SocketAddr::new(from, 0), to, 0).unwrap());
        let (server, _) = listener.accept().unwrap();
        for end in [&client, &server] {
            end.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Self { client, server }
    }

    fn server_speaks(&mut self) {
        use std::io::{Read, Write};
        self.server.write_all(b"news").unwrap();
        self.client.read_exact(&mut [0; 4]).unwrap();
    }

    /// The server speaks first and is told; then so is the client.
    fn until_cut(mut self) -> [Duration; 2] {
        [&mut self.server, &mut self.client].map(|end| {
            use std::io::{Read, Write};
            let begin = now();
            let told = end.write_all(b"more").and_then(|()| end.read(&mut [0; 4]));
            let told = told.map_err(|error| error.kind());
            assert_eq!(told, Err(ErrorKind::ConnectionReset));
            Duration::from_nanos(now() - begin)
        })
    }
}

#[test]
fn what_is_open_is_cut_at_once_whoever_speaks_next() {
    if !ready() {
        return;
    }
    let host = example("1s");
    let lab = &host.lab;
    let mut daemon = Daemon::start(&host, "nominal");
    let speaking: Vec<Download> = SESSIONS
        .iter()
        .zip([WEB, WEB6])
        .map(|(from, to)| Download::start(lab, *from, to, 443))
        .collect();
    let exempt: Vec<Download> = SESSIONS
        .iter()
        .zip([SHORTCUTS, SHORTCUTS6])
        .map(|(from, to)| Download::start(lab, *from, to, 443))
        .collect();
    let mut silent: Vec<Silent> = SESSIONS
        .iter()
        .cycle()
        .zip(OWN.iter().cycle())
        .take(20)
        .map(|(from, to)| Silent::open(lab, *from, *to))
        .collect();
    speaking.iter().for_each(Download::goes_on);
    silent.iter_mut().for_each(Silent::server_speaks);
    let ordered = now();
    std::thread::scope(|scope| {
        let ramp = scope.spawn(|| host.wanshift(&["phase", "telework"]));
        // As the ramp begins, not as it ends.
        speaking.into_iter().for_each(Download::ends_cut);
        assert!(
            !ramp.is_finished(),
            "after {} ms",
            (now() - ordered) / 1_000_000
        );
        ramp.join().unwrap();
    });
    let (servers, clients) = silent
        .into_iter()
        .map(Silent::until_cut)
        .map(|[a, b]| (a, b))
        .unzip();
    soon("servers", servers);
    soon("clients", clients);
    exempt.iter().for_each(Download::goes_on);
    daemon.wait_for_phase("telework");
}

#[test]
fn what_drains_goes_on_until_its_time_is_over_and_then_is_cut() {
    if !ready() {
        return;
    }
    const DRAIN: Duration = Duration::from_secs(6);
    let host = example("0s");
    host.edit(
        TELEWORK,
        "established = \"cut\"",
        "established = \"drain\"\ndrain_for = \"6s\"",
    );
    let lab = &host.lab;
    let _servers = servers(lab);
    let daemon = Daemon::start(&host, "nominal");
    let long: Vec<Download> = SESSIONS
        .iter()
        .zip(OWN)
        .map(|(from, to)| Download::start(lab, *from, to, 443))
        .collect();
    let before = now();
    host.wanshift(&["phase", "telework"]);
    let begun = now();
    let new_are_refused = || {
        for [session, _, web, _] in FAMILIES {
            refused((lab.datacentre(), session), web, 443);
        }
    };
    new_are_refused();
    long.iter().for_each(Download::goes_on);
    // Nobody who comes later begins the time anew.
    daemon.kill();
    new_are_refused();
    let mut daemon = Daemon::start(&host, "telework");
    let state = |status: &serde_json::Value| status["blocks"][0]["state"].clone();
    assert_eq!(state(&daemon.status().unwrap()), "draining");
    while now() + SECOND < before + nanos(DRAIN) {
        long.iter().for_each(Download::goes_on);
        new_are_refused();
    }
    long.into_iter().for_each(Download::ends_cut);
    let took = Duration::from_nanos(now() - begun);
    eprintln!("cut {took:?} after it began");
    assert!(now() >= before + nanos(DRAIN), "too early: {took:?}");
    assert!(took < DRAIN + Duration::from_secs(2), "too late: {took:?}");
    daemon.wait_for("the drain's end", |status| state(status) == "holding");
    new_are_refused();
}
