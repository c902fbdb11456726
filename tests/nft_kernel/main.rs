//! The packet filter on the real kernel, in network namespaces of its own.

#![allow(missing_docs)]

mod namespace;
mod packets;
mod policies;
mod random;
mod roundtrip;
mod tampering;
