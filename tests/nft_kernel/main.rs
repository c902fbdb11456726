//! The packet filter on the real kernel, in network namespaces of its own.

#![allow(missing_docs)]
// Helpers of tests stand outside of what clippy takes for a test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arrivals;
mod blocked;
mod counted;
mod foreign;
mod limits;
mod many_sites;
mod namespace;
mod net;
mod packets;
mod policies;
mod random;
mod roundtrip;
mod tampering;
