//! The Debian package: what is in it, and what comes of installing, upgrading, removing and purging it on a machine
//! with systemd and real traffic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a test's helpers cannot do fails the test"
)]

mod content;
mod deb;
#[path = "../lab/mod.rs"]
mod lab;
mod life;
mod machine;
mod upgrade;
