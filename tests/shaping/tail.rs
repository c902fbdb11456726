//! Classes inside a site's tail: what is promised there is had there, and the tail holds over all of it.

use std::time::Duration;

use crate::host::{ALWAYS, DOWN, Host, Way, near};
use crate::lab::address::*;
use crate::lab::bulk::Bulk;
use crate::lab::capture::Capture;
use crate::lab::udp::UdpFlood;
use crate::lab::{measure, quiet_machine, ready};

const HOST: &str = r#"
name = "lab"
timezone = "UTC"
inside = ["lan0"]
[circuit.mpls]
device = "mpls0"
capacity = "100mbit"
"#;

/// The class on the circuit would take the files, were the site not outside of it.
const SITE: &str = r#"
[class.files]
circuit = "mpls"
match = [{ service = ["tcp/445"] }]
guarantee = "50mbit"
priority = 0

[site.provins]
circuit = "mpls"
prefixes = ["10.77.101.0/24", "fd77:77:77:101::/64"]
capacity = { up = "10mbit", down = "5mbit" }
guarantee = { up = "8mbit", down = "4mbit" }

[site.provins.class.desktops]
match = [{ service = ["udp/1494"] }]
guarantee = "60%"
priority = 1

[site.provins.class.files]
match = [{ service = ["tcp/445"] }]
guarantee = "10%"
"#;

#[test]
fn classes_inside_a_site_share_its_tail_up() {
    shared(Way::Up, 10e6);
}

#[test]
fn classes_inside_a_site_share_its_tail_down() {
    shared(Way::Down, 5e6);
}

fn shared(way: Way, tail: f64) {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = Host::with(HOST, &format!("{ALWAYS}{SITE}"));
    host.wanshift(&["apply"]);
    let inside = (host.lab.datacentre(), SESSION_HOST);
    let site = (host.lab.provins(), PROVINS);
    let ([from, to], wire) = match way {
        Way::Up => ([inside, site], host.lab.provider()),
        Way::Down => ([site, inside], host.lab.datacentre()),
    };
    let wire = Capture::start(wire, "edge0");
    // More than it is promised, and less than the tail; the files take what is left, the rest its own.
    let wanted = tail * 0.7;
    let desktops = UdpFlood::new(from, to, 1494)
        .payload(1_000)
        .rate((wanted * 1_000.0 / 1_042.0) as u64)
        .first()
        .start();
    let files = Bulk::tcp(from, to, 445).connections(3).start();
    let other = UdpFlood::new(from, to, 9000).rate(20_000_000).start();
    let (start, end) = measure(Duration::from_millis(2500), Duration::from_secs(5));
    desktops.stop();
    files.stop();
    other.stop();
    let wire = wire.stop();
    let rate = |port| wire.only(|packet| packet.port(port)).paid_rate(start, end);
    let all = wire
        .only(|packet| packet.address(PROVINS))
        .paid_rate(start, end);
    let counters = host.counters(match way {
        Way::Up => "mpls0",
        Way::Down => DOWN,
    });
    let place = |place: &str| counters[place];
    near("the tail", all, tail, 2.0);
    near("desktops", rate(1494), wanted, 3.0);
    let files = rate(445);
    assert!(files > 0.1 * 0.8 * tail * 0.97, "files have {files:.0}");
    assert_eq!(
        place("mpls.class.files"),
        0,
        "the site is outside of every class"
    );
    for inner in ["class.desktops", "class.files", "rest"] {
        assert!(
            place(&format!("mpls.site.provins.{inner}")) > 40_000,
            "{inner}"
        );
    }
}
