//! `policies/cd44` under traffic: two circuits of one access device, whose split follows demand.
//!
//! The VLANs are played by virtual MACs of the same names, which every kernel has; to the tree below they are the same: other
//! devices that stand on it. (`tests/stacks` has VLANs, on a kernel that has them.)

use std::io::ErrorKind::ConnectionRefused;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use wanshift::clock::{Clock, SystemClock};
use wanshift::model::readings::WallClock;

use crate::daemon::Daemon;
use crate::host::{Host, near};
use crate::lab::address::*;
use crate::lab::bulk::{Bulk, Running};
use crate::lab::capture::Capture;
use crate::lab::probe::{Listening, open};
use crate::lab::{Lab, Namespace, measure, quiet_machine, ready, sleep};

/// Somewhere on the internet that is not the office suite.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 200));

/// Another server of the suite.
const OFFICE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 8));

/// A desk at saint-nazaire, and one at chateaubriant.
const SITES: [IpAddr; 2] = [PROVINS, NEMOURS];

/// Where the phases are.
const PLAN: &str = "policy.d/20-continuity.toml";
/// The day on which the offices open.
const DAY: &str = "2020-05-11T00:00:00+02:00";
/// A day that is still to come.
const LATER: &str = "2100-01-01T00:00:00+01:00";

const EDGE: &str = "\
link del mpls0
link del wan0
link add fibre0 type veth peer name trunk0 netns CARRIER
link add link fibre0 name fibre0.10 type macvlan mode bridge
link add link fibre0 name fibre0.20 type macvlan mode bridge
address add 10.77.255.1/30 dev fibre0.10
address add 198.18.77.2/30 dev fibre0.20
link set fibre0 up
link set fibre0.10 up
link set fibre0.20 up
route add 10.77.101.0/24 via 10.77.255.2
route add 10.77.102.0/24 via 10.77.255.2
route add default via 198.18.77.1
";
const CARRIER: &str = "\
link set trunk0 up
link add link trunk0 name edge0 netns PROVIDER type macvlan mode bridge
link add link trunk0 name edge0 netns INTERNET type macvlan mode bridge
";
const PROVIDER_SIDE: &str = "\
address add 10.77.255.2/30 dev edge0
link set edge0 up
route add default via 10.77.255.1
";
const INTERNET_SIDE: &str = "\
address add 198.18.77.1/30 dev edge0
link set edge0 up
route add 192.0.2.0/24 via 198.18.77.2
";

fn ip(at: &Namespace, commands: &str) {
    at.feed("ip", &["-batch", "-"], commands);
}

/// Puts both circuits of the lab on one cable; what is returned is its far end.
fn on_one_fibre(lab: &Lab) -> Namespace {
    let carrier = Namespace::new("carrier");
    let path = Namespace::path;
    ip(lab.edge(), &EDGE.replace("CARRIER", &path(&carrier)));
    let far = CARRIER
        .replace("PROVIDER", &path(lab.provider()))
        .replace("INTERNET", &path(lab.internet()));
    ip(&carrier, &far);
    ip(lab.provider(), PROVIDER_SIDE);
    ip(lab.internet(), INTERNET_SIDE);
    let translate = "oifname fibre0.20 ip saddr 10.77.0.0/16 masquerade";
    let rule = format!("add rule inet lab postrouting {translate}");
    lab.edge()
        .run("nft", &rule.split_whitespace().collect::<Vec<_>>());
    sleep(Duration::from_secs(1));
    carrier
}

/// The policy with a block that holds at any hour of a test.
fn at_any_hour() -> Host {
    let host = Host::policy("cd44");
    host.edit(
        PLAN,
        "mon-fri 08:00-12:00, 13:30-18:00",
        "mon-sun 00:00-24:00",
    );
    host
}

/// More than the fibre, to some port of somebody's.
fn bulk(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr), port: u16) -> Running {
    Bulk::tcp(from, to, port).connections(4).start()
}

/// What passes on a wire to each of these ports, in bit/s, a second from now.
fn passes<const N: usize>(at: &Namespace, ports: [u16; N]) -> [f64; N] {
    let wire = Capture::start(at, "edge0");
    let (from, to) = measure(Duration::from_secs(1), Duration::from_secs(3));
    let wire = wire.stop();
    ports.map(|port| {
        wire.only(|packet| packet.target_port == port)
            .rate(from, to)
    })
}

#[test]
fn cd44_lends_what_is_idle_and_keeps_what_is_promised() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = at_any_hour();
    let lab = &host.lab;
    let _carrier = on_one_fibre(lab);
    let gateway = (lab.datacentre(), GATEWAY);
    let inside = (lab.datacentre(), SESSION_HOST);
    let (suite, elsewhere) = ((lab.internet(), WEB), (lab.internet(), ELSEWHERE));
    let branches = (lab.provider(), PROVIDER);
    let _servers = [suite, elsewhere].map(|at| Listening::start(at, 443));
    let browses = |to: IpAddr| open(inside, to, 443);

    host.wanshift(&["apply"]);
    // A fixed split: nothing is lent, and the suite's class has a ceiling within it.
    let other = bulk(gateway, elsewhere, 9000);
    near(
        "normal: internet alone",
        passes(lab.internet(), [9000])[0],
        80e6,
        5.0,
    );
    other.stop();
    let office = bulk(gateway, (lab.internet(), OFFICE), 443);
    near(
        "normal: the suite alone",
        passes(lab.internet(), [443])[0],
        48e6,
        5.0,
    );
    office.stop();
    assert!(browses(ELSEWHERE).is_ok());

    host.wanshift(&["phase", "continuity"]);
    let other = bulk(gateway, elsewhere, 9000);
    near(
        "internet alone, to its ceiling",
        passes(lab.internet(), [9000])[0],
        180e6,
        5.0,
    );
    // Everybody at once: each its share, and within the one what is promised.
    let mpls = bulk(inside, branches, 9100);
    let desktops = Bulk::tcp((lab.internet(), WORKER), gateway, 443)
        .connections(4)
        .download()
        .start();
    let office = bulk(gateway, (lab.internet(), OFFICE), 443);
    let wires = [
        Capture::start(lab.internet(), "edge0"),
        Capture::start(lab.provider(), "edge0"),
    ];
    let (from, to) = measure(Duration::from_secs(1), Duration::from_secs(3));
    let [internet, provider] = wires.map(Capture::stop);
    let of = |port: u16| {
        internet
            .only(|packet| packet.target_port == port)
            .rate(from, to)
    };
    let screens = internet
        .only(|packet| packet.source_port == 443)
        .rate(from, to);
    let all = internet.rate(from, to);
    near("internet beside mpls", all, 140e6, 5.0);
    near("mpls beside internet", provider.rate(from, to), 60e6, 5.0);
    near("the suite: a fifth of the circuit", of(443), 28e6, 5.0);
    near("the rest", of(9000), 2.8e6, 20.0);
    assert!(screens > 0.95 * 70e6, "desktops get {screens:.0}");
    for flow in [other, mpls, desktops, office] {
        flow.stop();
    }
    // Down the same, where the figures are others.
    let down = bulk(elsewhere, gateway, 9200);
    near(
        "down: internet alone",
        passes(lab.datacentre(), [9200])[0],
        176e6,
        5.0,
    );
    down.stop();

    assert_eq!(browses(ELSEWHERE), Err(ConnectionRefused));
    assert!(browses(WEB).is_ok(), "the suite works");
    host.wanshift(&["phase", "normal"]);
    assert!(browses(ELSEWHERE).is_ok());
    let other = bulk(gateway, elsewhere, 9000);
    near("normal again", passes(lab.internet(), [9000])[0], 80e6, 5.0);
    other.stop();
}

/// Has the day be as it is written; where nobody keeps this machine's clock right, no date is believed, and the event
/// has to do.
fn on_the_day(host: &Host) {
    match SystemClock.wall() {
        WallClock::Trusted(_) => host.edit(PLAN, LATER, DAY),
        WallClock::Untrusted(_) => {
            let date = format!("{{ after = \"{LATER}\" }}, ");
            host.edit(PLAN, &date, "");
        }
    }
}

#[test]
fn cd44_goes_back_to_normal_once_the_offices_open_and_not_before() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = at_any_hour();
    host.edit(PLAN, DAY, LATER);
    let lab = &host.lab;
    let _carrier = on_one_fibre(lab);
    let gateway = (lab.datacentre(), GATEWAY);
    let inside = (lab.datacentre(), SESSION_HOST);
    let (suite, elsewhere) = ((lab.internet(), WEB), (lab.internet(), ELSEWHERE));
    let _servers = [suite, elsewhere].map(|at| Listening::start(at, 443));
    let browses = |to: IpAddr| open(inside, to, 443);
    let mut daemon = Daemon::start(&host, "normal");
    host.wanshift(&["phase", "continuity"]);
    daemon.wait_for_phase("continuity");
    let other = bulk(gateway, elsewhere, 9000);
    let lent = || passes(lab.internet(), [9000])[0];
    near("before: internet alone, lent to", lent(), 180e6, 5.0);

    // Somebody says so too early: the day has not come, and nothing is otherwise.
    host.wanshift(&["event", "offices-open"]);
    near("too early: internet alone, lent to", lent(), 180e6, 5.0);
    let status = daemon.wait_for_phase("continuity");
    assert_eq!(status["conditions"][0]["true"], false, "{status:#}");
    assert_eq!(browses(ELSEWHERE), Err(ConnectionRefused));
    assert!(browses(WEB).is_ok(), "the suite works");

    // It comes: what was said is on record, and the rest follows by itself, while traffic goes on.
    on_the_day(&host);
    host.wanshift(&["apply"]);
    let status = daemon.wait_for_phase("normal");
    assert_eq!(status["phase"]["by"], "wanshift", "{status:#}");
    assert!(browses(ELSEWHERE).is_ok(), "nothing is blocked any more");
    assert!(browses(WEB).is_ok(), "the suite works");
    near("internet alone, lent nothing", lent(), 80e6, 5.0);

    // Everybody at once: each circuit its share, and within it each class what it is promised.
    let mpls = bulk(inside, (lab.provider(), PROVIDER), 9100);
    let desktops = Bulk::tcp((lab.internet(), WORKER), gateway, 443)
        .connections(4)
        .download()
        .start();
    let office = bulk(gateway, (lab.internet(), OFFICE), 443);
    let wires = [
        Capture::start(lab.internet(), "edge0"),
        Capture::start(lab.provider(), "edge0"),
    ];
    let (from, to) = measure(Duration::from_secs(1), Duration::from_secs(3));
    let [internet, provider] = wires.map(Capture::stop);
    let to_port = |port: u16| {
        internet
            .only(|packet| packet.target_port == port)
            .rate(from, to)
    };
    let screens = internet.only(|packet| packet.source_port == 443);
    near("internet", internet.rate(from, to), 80e6, 5.0);
    near("mpls", provider.rate(from, to), 120e6, 5.0);
    near("the suite: a fifth of the circuit", to_port(443), 16e6, 5.0);
    near("the rest", to_port(9000), 1.6e6, 20.0);
    // First among those that want more, and nothing keeps them from it.
    near("desktops", screens.rate(from, to), 62.4e6, 5.0);
    for flow in [other, desktops, office] {
        flow.stop();
    }
    // The lines of the sites hold no more, and what they have the rest of the circuit has not.
    let lines = [
        (SITES[0], lab.provins(), 9101),
        (SITES[1], lab.nemours(), 9102),
    ];
    let lines = lines.map(|(desk, site, port)| bulk(inside, (site, desk), port));
    let [first, second, all] = passes(lab.provider(), [9101, 9102, 9100]);
    near("saint-nazaire", first, 20e6, 5.0);
    near("chateaubriant", second, 16e6, 5.0);
    near("mpls beside its sites", first + second + all, 120e6, 5.0);
    for flow in lines.into_iter().chain([mpls]) {
        flow.stop();
    }
    let down = bulk(elsewhere, gateway, 9200);
    let gets = passes(lab.datacentre(), [9200])[0];
    near("down: internet alone", gets, 78e6, 5.0);
    down.stop();

    // What is over cannot be entered, until that is reset.
    let again = host.try_wanshift(&["phase", "continuity"]);
    let why = String::from_utf8_lossy(&again.stderr);
    assert!(
        !again.status.success() && why.contains("offices-open"),
        "{why}"
    );
    assert!(browses(ELSEWHERE).is_ok());
    host.wanshift(&["condition", "reset", "offices-open"]);
    host.wanshift(&["phase", "continuity"]);
    assert_eq!(browses(ELSEWHERE), Err(ConnectionRefused));
    assert!(daemon.end().success());
}
