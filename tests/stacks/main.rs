//! Circuits whose devices stand on others: VLANs, VRFs, virtual MACs, tunnels. What such a device makes of a
//! packet's name, priority and mark is the kernel's, so it is asked of Debian's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod esp;
mod flow;
#[allow(dead_code, reason = "a module shared by two test binaries")]
#[path = "../shaping/host.rs"]
mod host;
#[path = "../lab/mod.rs"]
mod lab;
mod macvlan;
mod plain;
mod priorities;
mod vlans;
mod vrf;
mod wireguard;
