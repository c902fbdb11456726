//! A wide area network in network namespaces, and traffic to try it with.
//!
//! ```text
//!                                              ┌ provins   10.77.101.0/24
//!             lan0          mpls0 ── provider ─┤
//! datacentre ────── edge ──┤                   └ nemours   10.77.102.0/24
//!                           wan0 ─── internet    198.51.100.0/24, 203.0.113.0/24
//! ```
//!
//! `edge` is the host to be shaped. Each of its three cables ends in a device called `edge0` on the
//! other side, which is where [`capture::Capture`] listens. Every host speaks IPv4 and IPv6, the
//! sites reach the internet through the edge, and the edge masquerades inside addresses on `wan0`
//! (but not the gateway's public ones) in an nftables table of the lab's own, `inet lab`.
//!
//! **Cleanup.** The namespaces have no name: they live as long as a descriptor of this process does.
//! Whatever ends the process, `kill -9` included, ends them, and processes spawned in them die with
//! it ([`namespace::Process`]). So there is nothing to reap, and no two labs can meet.
//!
//! To look into a lab that stands still: `nsenter --net=/proc/PID/fd/N`, as [`Namespace::path`] says.
//!
//! ```ignore
//! mod lab;
//! use lab::{Lab, address, bulk::Bulk, capture::Capture};
//!
//! #[test]
//! fn the_gateway_keeps_its_guarantee() {
//!     if !lab::ready() { return; }
//!     let _quiet = lab::quiet_machine();
//!     let lab = Lab::new();
//!     lab.edge().run("tc", &["qdisc", "add", "dev", "wan0", "root", "handle", "1:", "htb"]);
//!     let wire = Capture::start(lab.internet(), "edge0");
//!     let desktops = Bulk::tcp((lab.internet(), address::WORKER), (lab.datacentre(), address::GATEWAY), 443)
//!         .download().connections(4).start();
//!     let (from, to) = lab::measure(Duration::from_secs(1), Duration::from_secs(3));
//!     let received = desktops.stop();
//!     let wire = wire.stop();
//!     assert!(wire.rate(from, to) <= 100e6);
//! }
//! ```

// Each test binary uses its own part of the lab.
#![allow(dead_code, reason = "a module shared by several test binaries")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "test code outside of #[test] functions: a failure here fails the test"
)]

pub mod address;
pub mod bulk;
pub mod capture;
pub mod iperf;
pub mod machine;
pub mod namespace;
pub mod paced;
pub mod probe;
pub mod series;
pub mod snapshot;
pub mod socket;
pub mod time;
pub mod topology;
pub mod trace;
pub mod udp;

#[allow(unused_imports, reason = "each test binary names its own part")]
pub use machine::{quiet_machine, ready, skip};
pub use namespace::Namespace;
#[allow(unused_imports, reason = "each test binary names its own part")]
pub use time::{Nanos, measure, now, sleep};

/// The network, standing until it is dropped.
pub struct Lab {
    edge: Namespace,
    datacentre: Namespace,
    provider: Namespace,
    provins: Namespace,
    nemours: Namespace,
    internet: Namespace,
}

impl Lab {
    /// Builds the network. Ask [`ready`] first.
    pub fn new() -> Self {
        let lab = Self {
            edge: Namespace::new("edge"),
            datacentre: Namespace::new("datacentre"),
            provider: Namespace::new("provider"),
            provins: Namespace::new("provins"),
            nemours: Namespace::new("nemours"),
            internet: Namespace::new("internet"),
        };
        topology::build(&lab);
        lab
    }

    /// The host that is shaped, with `lan0`, `mpls0` and `wan0`.
    pub fn edge(&self) -> &Namespace {
        &self.edge
    }

    /// Session hosts, operations, the gateway and the VPN concentrator, behind `lan0`.
    pub fn datacentre(&self) -> &Namespace {
        &self.datacentre
    }

    /// The MPLS provider's router behind `mpls0`.
    pub fn provider(&self) -> &Namespace {
        &self.provider
    }

    /// The site mds-provins behind the provider.
    pub fn provins(&self) -> &Namespace {
        &self.provins
    }

    /// The site mds-nemours behind the provider.
    pub fn nemours(&self) -> &Namespace {
        &self.nemours
    }

    /// Workers at home and web servers, behind `wan0`.
    pub fn internet(&self) -> &Namespace {
        &self.internet
    }

    /// Every namespace.
    pub fn all(&self) -> [&Namespace; 6] {
        [
            &self.edge,
            &self.datacentre,
            &self.provider,
            &self.provins,
            &self.nemours,
            &self.internet,
        ]
    }
}
