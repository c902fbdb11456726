//! Blocks that a daemon keeps, under traffic: what is refused, how soon, until when, and that nothing but its
//! condition lifts it.

use std::io::ErrorKind::{self, ConnectionRefused, HostUnreachable, PermissionDenied};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::blocked::{Download, FAMILIES, example, passes, servers};
use crate::daemon::{Daemon, PATIENCE};
use crate::host::Host;
use crate::lab::address::*;
use crate::lab::probe::open;
use crate::lab::socket::{tcp_connect, tcp_listener, udp};
use crate::lab::time::{Nanos, SECOND, nanos};
use crate::lab::{Lab, Namespace, now, ready, sleep};

/// Web servers of the test's own, on which nothing else listens.
const OWN: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0x203, 0, 0, 0, 0, 9)),
];
const SESSIONS: [IpAddr; 2] = [SESSION_HOST, SESSION_HOST6];
const TELEWORK: &str = "policy.d/20-telework.toml";
/// What the block is back in after it was flushed away.
const BACK: Duration = Duration::from_secs(1);

/// The phase goes on when the block's condition comes true, which then lifts the block alone.
fn without_end(host: &Host) {
    host.edit(
        TELEWORK,
        "until = \"uplink-upgraded\"\nthen = \"upgraded\"\n",
        "",
    );
}

#[track_caller]
fn refused(from: (&Namespace, IpAddr), to: IpAddr, port: u16) {
    assert_eq!(open(from, to, port), Err(ConnectionRefused), "{to} {port}");
}

/// The median of how long it took each time, which is judged; the worst is the machine's.
#[track_caller]
fn soon(what: &str, mut times: Vec<Duration>) {
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
fn time_to_refuse(from: (&Namespace, IpAddr), to: SocketAddr) -> Duration {
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
    fn is_cut(mut self) -> [Duration; 2] {
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
        .map(Silent::is_cut)
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

/// Somebody who opens connections without a pause.
struct Browsing {
    stop: Arc<AtomicBool>,
    tries: JoinHandle<Vec<(Nanos, Result<(), ErrorKind>)>>,
}

impl Browsing {
    fn start(lab: &Lab, from: IpAddr, to: IpAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let tries = lab.datacentre().thread(move || {
            let mut tries = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let begin = now();
                let came = tcp_connect(SocketAddr::new(from, 0), SocketAddr::new(to, 443), 0);
                tries.push((begin, came.map(|_| ()).map_err(|error| error.kind())));
                sleep(Duration::from_millis(2));
            }
            tries
        });
        Self { stop, tries }
    }

    /// When those began that came through; all others must have been refused.
    fn came_through(self) -> Vec<Nanos> {
        self.stop.store(true, Ordering::Relaxed);
        let tries = self.tries.join().unwrap();
        assert!(tries.len() > 50, "{} tries", tries.len());
        let mut through = Vec::new();
        for (at, came) in tries {
            match came {
                Ok(()) => through.push(at),
                Err(ConnectionRefused) => {}
                Err(other) => panic!("neither opened nor refused: {other}"),
            }
        }
        through
    }
}

/// Several who browse over IPv4, and several over IPv6: whose connection was opening at the moment that the block
/// came back waits a second until he tries again, and sees nothing meanwhile.
fn browsing(lab: &Lab) -> [Vec<Browsing>; 2] {
    [[SESSION_HOST, WEB], [SESSION_HOST6, WEB6]]
        .map(|[from, to]| (0..3).map(|_| Browsing::start(lab, from, to)).collect())
}

fn came_through(all: Vec<Browsing>) -> Vec<Nanos> {
    all.into_iter().flat_map(Browsing::came_through).collect()
}

/// Servers that take in whoever comes, however many.
struct Serving {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Serving {
    fn start(lab: &Lab) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let serve = |at: IpAddr| {
            let listener = lab.internet().make(|| tcp_listener((at, 443).into(), 0));
            listener.set_nonblocking(true).unwrap();
            let until = stop.clone();
            std::thread::spawn(move || {
                while !until.load(Ordering::Relaxed) {
                    while listener.accept().is_ok() {}
                    sleep(Duration::from_millis(1));
                }
            })
        };
        let threads = [WEB, WEB6].map(serve).into();
        Self { stop, threads }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .drain(..)
            .for_each(|thread| drop(thread.join()));
    }
}

/// Every rule of the machine goes, as with `systemctl reload nftables`; the lab's own come back with it. Says
/// when that began and ended.
fn reload_nftables(lab: &Lab) -> [Nanos; 2] {
    let theirs = lab.edge().run("nft", &["list", "table", "inet", "lab"]);
    let begin = now();
    lab.edge()
        .feed("nft", &["-f", "-"], &format!("flush ruleset\n{theirs}"));
    [begin, now()]
}

#[test]
fn nothing_but_its_condition_lifts_a_block() {
    if !ready() {
        return;
    }
    let host = example("0s");
    without_end(&host);
    host.edit(
        TELEWORK,
        "[condition.uplink-upgraded]",
        "[condition.other]\nany = [{ event = \"other\" }]\n[condition.uplink-upgraded]",
    );
    let lab = &host.lab;
    let _servers = servers(lab);
    let daemon = Daemon::start(&host, "nominal");
    host.wanshift(&["phase", "telework"]);
    let all = browsing(lab);
    daemon.kill();
    sleep(Duration::from_millis(200));
    let daemon = Daemon::start(&host, "telework");
    assert!(daemon.end().success());
    sleep(Duration::from_millis(200));
    let mut daemon = Daemon::start(&host, "telework");
    let said = host.wanshift(&["event", "other"]);
    assert!(said.contains("Condition other is true"), "{said}");
    let good = std::fs::read_to_string(host.file("config/policy.d/20-telework.toml")).unwrap();
    host.write(TELEWORK, &good.replace("except", "expect"));
    daemon.signal(Signal::SIGHUP);
    let policy_is_bad = |status: &serde_json::Value| status["problems"][0]["stage"] == "policy";
    daemon.wait_for("the bad policy", policy_is_bad);
    assert!(daemon.log().contains("not reloaded"), "{}", daemon.log());
    // Also where it starts with that.
    daemon.kill();
    let mut daemon = Daemon::start(&host, "telework");
    assert!(policy_is_bad(&daemon.status().unwrap()));
    host.write(TELEWORK, &good);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("a good policy", |status| status["healthy"] == true);
    host.wanshift(&["apply"]);
    for through in all.map(came_through) {
        assert_eq!(through, Vec::<Nanos>::new());
    }

    // Nor is it lifted after the time of the phase, nor the phase lost: by its own condition, and soon.
    let happened = now();
    let said = host.wanshift(&["event", "uplink-upgraded"]);
    assert!(
        said.contains("Block browsing-in-session is lifted"),
        "{said}"
    );
    for [session, _, web, _] in FAMILIES {
        while open((lab.datacentre(), session), web, 443).is_err() {
            assert!(now() < happened + SECOND, "{web} is still refused");
            sleep(Duration::from_millis(5));
        }
    }
    eprintln!("lifted within {} ms", (now() - happened) / 1_000_000);
    let status = daemon.wait_for_phase("telework");
    assert_eq!(status["blocks"][0]["state"], "lifted");
    // And it stays lifted.
    daemon.kill();
    let _daemon = Daemon::start(&host, "telework");
    for [session, _, web, _] in FAMILIES {
        passes(lab.datacentre(), session, web, 443);
    }
}

#[test]
fn a_block_that_ends_with_its_phase_is_lifted_as_the_next_one_begins() {
    if !ready() {
        return;
    }
    let host = example("0s");
    let lab = &host.lab;
    let _servers = servers(lab);
    let mut daemon = Daemon::start(&host, "nominal");
    host.wanshift(&["phase", "telework"]);
    refused((lab.datacentre(), SESSION_HOST), WEB, 443);
    let happened = now();
    let said = host.wanshift(&["event", "uplink-upgraded"]);
    assert!(said.contains("upgraded begins"), "{said}");
    for [session, _, web, _] in FAMILIES {
        while open((lab.datacentre(), session), web, 443).is_err() {
            assert!(now() < happened + SECOND, "{web} is still refused");
            sleep(Duration::from_millis(5));
        }
    }
    daemon.wait_for_phase("upgraded");
}

#[test]
fn a_block_that_was_flushed_away_is_back_within_a_second() {
    if !ready() {
        return;
    }
    let host = example("0s");
    let lab = &host.lab;
    let _servers = Serving::start(lab);
    let mut daemon = Daemon::start(&host, "nominal");
    host.wanshift(&["phase", "telework"]);
    let all = browsing(lab);
    // At different distances from what was done before: also so close together that looks are held apart.
    let mut flushes = Vec::new();
    for pause in [1_500, 150, 1_200, 50, 50, 1_300, 700, 1_500] {
        flushes.push(reload_nftables(lab));
        sleep(Duration::from_millis(pause));
    }
    for (through, family) in all.map(came_through).into_iter().zip(["IPv4", "IPv6"]) {
        let late = through.iter().map(|at| {
            let mut before = flushes.iter().rev().filter(|[begin, _]| begin <= at);
            let [_, end] = before.next().expect("open before the first flush");
            Duration::from_nanos(at.saturating_sub(*end))
        });
        let latest = late.max().unwrap_or_default();
        let count = through.len();
        eprintln!("{family}: {count} came through, the last {latest:?} after a flush");
        assert!(
            latest < BACK,
            "{family}: open {latest:?} after a flush\n{}",
            daemon.log()
        );
    }
    let status = daemon.wait_for_phase("telework");
    assert!(status["repairs"]["count"].as_u64() >= Some(4), "{status:#}");
    assert_eq!(status["healthy"], true, "{status:#}");
    // Without a daemon nobody brings it back: that it was refused was the daemon's doing.
    assert!(daemon.end().success());
    reload_nftables(lab);
    for [session, _, web, _] in FAMILIES {
        passes(lab.datacentre(), session, web, 443);
    }
    let _daemon = Daemon::start(&host, "telework");
    for [session, _, web, _] in FAMILIES {
        refused((lab.datacentre(), session), web, 443);
    }
}
