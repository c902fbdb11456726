//! `policies/cd76` under traffic: kinds of traffic beside each other, inside the line of a site too, and phases that
//! follow each other.

use std::io::ErrorKind::ConnectionRefused;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::daemon::Daemon;
use crate::host::{Host, near};
use crate::lab::address::*;
use crate::lab::bulk::{Bulk, Running};
use crate::lab::capture::Capture;
use crate::lab::probe::{Listening, open};
use crate::lab::trace::Trace;
use crate::lab::udp::UdpFlood;
use crate::lab::{Namespace, measure, quiet_machine, ready};

/// Where desktops are reached by browser.
const BROWSER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
/// Where films come from.
const STREAMING: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 130));
/// The code point of voice.
const EF: u8 = 46;

/// What a worker at home gets from a server inside.
fn screens(host: &Host, server: IpAddr, port: u16) -> Running {
    let lab = &host.lab;
    Bulk::tcp((lab.internet(), WORKER), (lab.datacentre(), server), port)
        .connections(4)
        .download()
        .start()
}

/// Three seconds of what arrives on a wire, a second from now.
fn seen(at: &Namespace) -> impl Fn(&dyn Fn(&Trace) -> Trace) -> f64 {
    let wire = Capture::start(at, "edge0");
    let (from, to) = measure(Duration::from_secs(1), Duration::from_secs(3));
    let wire = wire.stop();
    move |wanted| wanted(&wire).rate(from, to)
}

/// What came from an address and a port.
fn from(address: IpAddr, port: u16) -> impl Fn(&Trace) -> Trace {
    move |wire| wire.only(|it| it.source == Some(address) && it.source_port == port)
}

/// What goes to a port.
fn to(port: u16) -> impl Fn(&Trace) -> Trace {
    move |wire| wire.only(|it| it.target_port == port)
}

#[test]
fn cd76_serves_each_kind_as_promised_and_goes_on_as_equipment_arrives() {
    if !ready() {
        return;
    }
    let _quiet = quiet_machine();
    let host = Host::policy("cd76");
    let lab = &host.lab;
    let gateway = (lab.datacentre(), GATEWAY);
    let web = (lab.internet(), WEB);
    let _films = Listening::start((lab.internet(), STREAMING), 443);
    let films = || open((lab.datacentre(), SESSION_HOST), STREAMING, 443);
    let mut daemon = Daemon::start(&host, "office");

    // The rest by itself takes half.
    assert!(films().is_ok());
    let rest = Bulk::tcp(gateway, web, 9000).connections(4).start();
    near(
        "the rest alone",
        seen(lab.internet())(&to(9000)),
        250e6,
        5.0,
    );
    assert!(films().is_ok());

    host.wanshift(&["phase", "first-weeks"]);
    assert_eq!(films(), Err(ConnectionRefused));
    let browser = screens(&host, BROWSER, 443);
    let desktops = screens(&host, GATEWAY, 443);
    let voice = UdpFlood::new(gateway, web, 5004)
        .rate(60_000_000)
        .dscp(EF)
        .start();
    let got = seen(lab.internet());
    near("voice, to its ceiling", got(&to(5004)), 40e6, 5.0);
    near("desktops by browser", got(&from(BROWSER, 443)), 60e6, 5.0);
    near("the rest", got(&to(9000)), 25e6, 5.0);
    // Nobody else wants anything, and they are before browser and rest.
    near("desktops", got(&from(GATEWAY, 443)), 375e6, 5.0);
    voice.stop();

    // Two and three parts of what is left over.
    host.wanshift(&["event", "thin-clients-delivered"]);
    daemon.wait_for_phase("equipped");
    assert!(films().is_ok());
    let vpn = Bulk::tcp((lab.internet(), WORKER), (lab.datacentre(), VPN), 1194)
        .connections(4)
        .download()
        .start();
    let got = seen(lab.internet());
    near("desktops by browser", got(&from(BROWSER, 443)), 60e6, 5.0);
    near("the rest", got(&to(9000)), 25e6, 5.0);
    let (desktops_get, vpn_gets) = (got(&from(GATEWAY, 443)), got(&from(VPN, 1194)));
    near("desktops and VPN", desktops_get + vpn_gets, 415e6, 5.0);
    let left = |gets: f64, guarantee: f64| gets - guarantee;
    let parts = left(desktops_get, 126e6) / left(vpn_gets, 90e6);
    near(
        "in a thousandth, desktops to VPN",
        parts * 1000.0,
        1500.0,
        15.0,
    );
    for flow in [rest, browser, desktops, vpn] {
        flow.stop();
    }

    // Inside the line of a site.
    let branch = (lab.provins(), PROVINS);
    let inside = (lab.datacentre(), SESSION_HOST);
    // First: once desktops take all but its guarantee, what fits nowhere gets no connection through in time.
    let files = Bulk::tcp(inside, branch, 9100).connections(4).start();
    let citrix = Bulk::tcp(inside, branch, 1494).connections(4).start();
    let voice = UdpFlood::new(inside, branch, 5004)
        .rate(5_000_000)
        .dscp(EF)
        .start();
    let got = seen(lab.provider());
    let all = |wire: &Trace| wire.only(|it| [1494, 9100, 5004].contains(&it.target_port));
    near("the site", got(&all), 20e6, 5.0);
    // Beside packets of 64 KB, each of which takes 26 ms here, what is above the guarantee comes late.
    let voice_gets = got(&to(5004));
    let promised = 0.97e6..2.05e6;
    assert!(promised.contains(&voice_gets), "voice gets {voice_gets:.0}");
    assert!(got(&to(1494)) > 0.9 * 17e6, "{:.0}", got(&to(1494)));
    voice.stop();
    for flow in [citrix, files] {
        flow.stop();
    }
    host.wanshift(&["phase", "office"]);
    assert!(daemon.end().success());
}
