//! The way to a running wanshift: lines of JSON over unix sockets. A [`Request`](crate::api::Request) in one line, then
//! [`Reply`](crate::api::Reply) after `Reply`, a line each, of which the last says that it is done or has failed.
//!
//! There are two sockets. What is asked over the one may change something: only root, the daemon's own user and the
//! members of a group reach it, and each is looked at again. Over the other everybody may ask what holds, and
//! nothing else. Who asks is what the kernel says, never what the request says.
//!
//! Nobody can hold up the daemon or the others: there is a bound to the time and length of a request, to the
//! connections, and to what waits for one who does not read.

pub mod client;
mod connection;
mod files;
mod peer;
mod replies;
mod server;

use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group};

pub use files::BindError;
pub use replies::{Asker, Replies};
pub use server::{Ask, Server};

use crate::api::Order;

/// The group whose members may change something.
pub const GROUP: &str = "wanshift";

/// The number of that group; `None` where this host has none.
///
/// # Errors
/// Where the host's groups cannot be read.
pub fn group() -> Result<Option<Gid>, nix::Error> {
    Ok(Group::from_name(GROUP)?.map(|group| group.gid))
}

/// The socket for reading beside the one at `path`.
#[must_use]
pub fn for_reading(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".read");
    name.into()
}

/// The socket that an order goes to, of the two of which one is at `path`: what only reads is everybody's.
#[must_use]
pub fn socket_for(path: &Path, order: &Order) -> PathBuf {
    if order.only_reads() {
        for_reading(path)
    } else {
        path.to_owned()
    }
}
