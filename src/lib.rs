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
//! # The rooms
//!
//! In the order in which data flows. A room imports only from those above it.
//!
//! | room | what happens there |
//! | --- | --- |
//! | [`units`] | rates, percents, directions: read, printed, exact |
//! | [`model`] | the vocabulary: what a policy speaks of, what should hold, what the kernel shows |
//! | [`policy`] | files as written → a policy, valid by construction, or all that is wrong |
//! | [`engine`] | what should hold now: a phase, or the way into it |
//! | [`lower`] | a decision → what the kernel should hold |
//! | [`plan`] | what separates the two, as stages of ops that conserve; told to people |
//! | [`check`] | notes on a valid policy |
//! | [`explain`] | which class and block a connection meets, and why |
//! | [`api`] | what may be asked of a running wanshift, and what it answers |
//!
//! Below here the world is touched; everything above is pure: no clock, no file, no socket.
//!
//! | room | what happens there |
//! | --- | --- |
//! | [`clock`] | the time |
//! | [`trust`] | whether a file or directory may be believed |
//! | [`load`] | policy files |
//! | [`kernel`] | tc over netlink and nftables: read and written; a kernel in memory for tests |
//! | [`store`] | what outlives a restart |
//! | [`executor`] | a change: on record, carried out, verified, or taken back |
//! | [`keeper`] | keeps what should hold: what is asked, what is due, what others changed |
//! | [`metrics`] | what holds, for Prometheus |
//! | [`http`] | what holds, for who asks on this host |
//! | [`control`] | the sockets over which a running wanshift is asked |
//! | [`daemon`] | the one loop |
//! | [`cli`] | a file a verb |

pub mod api;
pub mod check;
pub mod cli;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod engine;
pub mod executor;
pub mod explain;
pub mod http;
pub mod keeper;
pub mod kernel;
pub mod load;
pub mod lower;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod policy;
pub mod store;
pub mod trust;
pub mod units;
