//! Blocks that a daemon keeps: nothing but its condition, or the end of its phase, lifts one.

use std::io::ErrorKind::{self, ConnectionRefused, ConnectionReset};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::blocked::{FAMILIES, example, passes, servers};
use crate::daemon::Daemon;
use crate::lab::address::*;
use crate::lab::probe::open;
use crate::lab::socket::{tcp_connect, tcp_listener};
use crate::lab::time::{Nanos, SECOND};
use crate::lab::{Lab, now, ready, sleep};

use crate::browsing::*;

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
                // Reset: it had just been answered when the block came back, which cuts it.
                Err(ConnectionRefused | ConnectionReset) => {}
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
