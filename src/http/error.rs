//! Why nothing is served.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

/// Why nothing is served over HTTP.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address can be reached from other hosts.
    #[error(
        "cannot serve metrics on {address}: other hosts could reach it, and who asks is not asked who he is; use a loopback address such as 127.0.0.1:{}, and a proxy that knows its users where others are to read it",
        address.port()
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address is not to be had.
    #[error(
        "cannot serve metrics on {address}; `http` in `[daemon]` of the host's file sets another address"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The socket failed.
    #[error("serving metrics came to an end")]
    Serve(#[source] io::Error),
}
