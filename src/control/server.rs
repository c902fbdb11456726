//! Listens at both sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Gid;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::connection::{self, Door};
use super::files::{self, Access, BindError, SocketFile};
use super::replies::Replies;
use crate::api::Request;

/// How many may be connected at once, to each of the two sockets: those who read cannot keep out those who act.
const MOST_CONNECTIONS: usize = 32;
/// How long to wait where nobody can be let in, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Something asked by somebody who may ask it.
#[derive(Debug)]
pub struct Ask {
    /// What.
    pub request: Request,
    /// By whom: a user's name, his number where he has none; behind root, who became root for it.
    pub actor: String,
    /// The way back to him.
    pub replies: Replies,
}

/// Listens as long as it lives. Who was let in is answered even after.
#[derive(Debug)]
pub struct Server {
    listening: Vec<JoinHandle<()>>,
    _files: [SocketFile; 2],
}

impl Server {
    /// Listens at `path` to those who may change something, root and the members of `group`, and beside it to everybody
    /// ([`for_reading`](super::for_reading)). Within a runtime with I/O and time.
    ///
    /// What is asked comes out of the receiver, at once unless others wait there too.
    ///
    /// # Errors
    /// Where somebody listens there already, where something stands there that is not a socket, and where the system
    /// says no.
    pub fn bind(path: &Path, group: Option<Gid>) -> Result<(Self, Receiver<Ask>), BindError> {
        let reading = super::for_reading(path);
        files::make_directory(path)?;
        files::clear(path)?;
        files::clear(&reading)?;
        let (acting, acting_file) = files::make(path, group.map_or(Access::Owner, Access::Group))?;
        let (asking, asking_file) = files::make(&reading, Access::All)?;
        let (asks, asked) = channel(MOST_CONNECTIONS);
        let doors = [
            (path, acting, Door::Acting { group }),
            (&reading, asking, Door::Reading),
        ];
        let mut server = Self {
            listening: Vec::new(),
            _files: [acting_file, asking_file],
        };
        for (path, listener, door) in doors {
            let listener = UnixListener::from_std(listener).map_err(|cause| BindError::Failed {
                what: "listen at",
                path: path.to_owned(),
                cause,
            })?;
            let listening = tokio::spawn(listen(listener, door, asks.clone()));
            server.listening.push(listening);
        }
        Ok((server, asked))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for listening in &self.listening {
            listening.abort();
        }
    }
}

/// Lets in whoever comes, as long as there is room.
async fn listen(listener: UnixListener, door: Door, asks: Sender<Ask>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let asks = asks.clone();
                    tokio::spawn(async move {
                        connection::serve(stream, door, asks).await;
                        drop(place);
                    });
                }
                Err(_) => connection::turn_away(&stream, MOST_CONNECTIONS),
            },
            Err(error) => {
                tracing::warn!(%error, "nobody can be let in at the control socket");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
