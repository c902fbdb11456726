//! What one circuit of a pool does not use the other has, where the phase says so: the kernel lends within
//! the one tree for what arrives, and no daemon runs here.

use std::time::Duration;

use crate::host::{DOWN, Host, near};
use crate::lab::address::*;
use crate::lab::capture::Capture;
use crate::lab::udp::{Running, UdpFlood};
use crate::lab::{measure, quiet_machine, ready};

const HOST: &str = "name = \"lab\"\ntimezone = \"UTC\"\ninside = [\"lan0\"]\n\
                    [circuit.mpls]\ndevice = \"mpls0\"\n[circuit.internet]\ndevice = \"wan0\"\n\
                    [pool.access]\ncircuits = [\"mpls\", \"internet\"]\ncapacity = \"100mbit\"\n";

/// A split that moves has bounds.
const FOLLOW: &str = "follow.access = \"demand\"\n\
                      floor.access = { mpls = \"10mbit\", internet = \"10mbit\" }\n";

/// 40 and 60 mbit of 100, with further keys of the split.
fn pool(keys: &str) -> Host {
    let policy = format!(
        "[policy]\nstart = \"always\"\n[phase.always]\n\
         split.access = {{ mpls = \"40mbit\", internet = \"60mbit\" }}\n{keys}\n"
    );
    let host = Host::with(HOST, &policy);
    host.wanshift(&["apply"]);
    assert!(!host.counters(DOWN).is_empty(), "no class on {DOWN}");
    host
}

/// More than the pool, from behind either circuit.
fn flood(host: &Host, circuit: &str) -> Running {
    let lab = &host.lab;
    let (from, to, port) = match circuit {
        "mpls" => ((lab.provider(), PROVIDER), SESSION_HOST, 9100),
        _ => ((lab.internet(), WEB), GATEWAY, 9200),
    };
    UdpFlood::new(from, (lab.datacentre(), to), port)
        .rate(120_000_000)
        .bundled(4)
        .start()
}

/// What each circuit gets a second from now, in bit/s, over another second and a half.
fn shares(host: &Host) -> [f64; 2] {
    let wire = Capture::start(host.lab.datacentre(), "edge0");
    let (from, to) = measure(Duration::from_secs(1), Duration::from_millis(1500));
    let wire = wire.stop();
    [9100, 9200].map(|port| {
        let of = wire.only(|packet| packet.target_port == port);
        of.rate(from, to)
    })
}

#[test]
fn what_one_circuit_leaves_the_other_has_within_a_second_and_gives_back() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = pool(FOLLOW);
    let internet = flood(&host, "internet");
    near("internet alone", shares(&host)[1], 100e6, 2.0);
    let mpls = flood(&host, "mpls");
    let both = shares(&host);
    near("mpls beside internet", both[0], 40e6, 2.0);
    near("internet beside mpls", both[1], 60e6, 2.0);
    internet.stop();
    near("mpls alone", shares(&host)[0], 100e6, 2.0);
    mpls.stop();
}

#[test]
fn a_circuit_borrows_up_to_its_ceiling() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = pool(&format!(
        "{FOLLOW}ceiling.access = {{ internet = \"80mbit\" }}\n"
    ));
    let internet = flood(&host, "internet");
    near("internet alone", shares(&host)[1], 80e6, 2.0);
    internet.stop();
    let mpls = flood(&host, "mpls");
    near("mpls alone", shares(&host)[0], 100e6, 2.0);
    mpls.stop();
}

#[test]
fn under_a_fixed_split_nothing_is_lent() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = pool("");
    for (at, circuit, share) in [(0, "mpls", 40e6), (1, "internet", 60e6)] {
        let alone = flood(&host, circuit);
        near(circuit, shares(&host)[at], share, 2.0);
        alone.stop();
    }
}
