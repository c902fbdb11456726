//! Serves metrics: on the socket that systemd opened, else on one of its own. Where that is not to be had the daemon does
//! all else, and tries again.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use sd_notify::listen_fds_with_names;
use tokio::task::JoinHandle;

use crate::api::Failure;
use crate::http::{self, Snapshots};
use crate::units::Moment;

/// How the socket is named in `wanshift.socket`.
const NAME: &str = "http";
/// So long after a failure it is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Serves metrics as long as it lives.
pub struct Serving {
    address: SocketAddr,
    given: Option<TcpListener>,
    snapshots: Snapshots,
    task: Option<JoinHandle<()>>,
    again: Moment,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Serving {
    /// Will serve `snapshots`, at `address` where systemd gave no socket.
    pub fn new(address: SocketAddr, snapshots: Snapshots) -> Self {
        Self {
            address,
            given: given(),
            snapshots,
            task: None,
            again: Moment::default(),
        }
    }

    /// Begins to serve where it does not, and the time has come. Says how that went, where it was tried.
    pub fn look(&mut self, now: Moment) -> Option<Result<(), Failure>> {
        let serves = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if serves || now < self.again {
            return None;
        }
        self.again = now.plus(PAUSE);
        Some(self.begin().map_err(Failure::from))
    }

    fn begin(&mut self) -> Result<(), http::HttpError> {
        let listener = match &self.given {
            Some(given) => http::take(given)?,
            None => http::bind(self.address)?,
        };
        if let Ok(address) = listener.local_addr() {
            tracing::info!("metrics are served at http://{address}/metrics");
        }
        let snapshots = self.snapshots.clone();
        self.task = Some(tokio::spawn(async move {
            if let Err(error) = http::serve(listener, snapshots).await {
                tracing::error!(%error, "no metrics for now");
            }
        }));
        Ok(())
    }
}

/// The socket that systemd opened for it.
fn given() -> Option<TcpListener> {
    let sockets = match listen_fds_with_names() {
        Ok(sockets) => sockets,
        Err(error) => {
            tracing::warn!(%error, "what systemd says of sockets is not understood");
            return None;
        }
    };
    let (descriptor, _) = sockets.into_iter().find(|(_, name)| name == NAME)?;
    // SAFETY: systemd gave it to this process (`LISTEN_PID`), which asks once and holds no other owner of it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Some(TcpListener::from(socket))
}
