//! wanshift keeps a Linux edge host's traffic control and packet filter equal to what its policy
//! files say should hold *now*, moves capacity between its circuits, and can always put it back.
//!
//! # The way of a decision
//!
//! ```text
//!  *.toml ─▶ policy ─▶ engine ─▶ Desired ─▶ lower ─▶ KernelState ─┐
//!              │                                                  ├─▶ plan: stages of ops ─▶ executor ─▶ kernel
//!            check                     kernel ──observe──▶ KernelState ┘
//! ```
//!
//! The rooms are listed in the order in which data flows. A room imports only from those above it,
//! and everything above [`clock`] is pure: no clock, no file, no socket.

pub mod check;
pub mod engine;
pub mod lower;
pub mod model;
pub mod plan;
pub mod policy;
pub mod units;
// ─── below this line the world is touched ───
pub mod cli;
pub mod clock;
pub mod executor;
pub mod kernel;
pub mod load;
pub mod store;
pub mod trust;
