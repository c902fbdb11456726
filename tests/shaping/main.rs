//! What a policy does to real traffic: the program in the lab's edge, the wire measured at the far end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what a test's helpers cannot do fails the test"
)]

mod arrival;
mod aside;
mod blocked;
mod browsing;
mod cd44;
mod cd76;
mod ceilings;
mod classification;
mod conservation;
mod control;
mod crossing;
mod daemon;
mod down;
mod explained;
mod foreign;
mod frames;
mod hand;
mod host;
#[path = "../lab/mod.rs"]
mod lab;
mod landing;
mod lending;
mod line;
mod paced;
mod saturation;
mod sharing;
mod stock;
mod tail;
mod teardown;
mod unlifted;
