//! Asks a running wanshift, and waits for its answer.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::unistd::{Gid, Group};
use thiserror::Error;

use crate::api::{Answer, Failure, Reply, Request, Talk};

/// How long a daemon may take to take in a request. What it then does may take any time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest line that can be an answer: the state of 10,000 classes takes some 10 MiB.
const LONGEST: u64 = 1 << 28;

/// How often is looked whether the user still waits.
const GLANCE: Duration = Duration::from_millis(200);

/// Why there is no good answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No daemon listens.
    #[error("no daemon listens at {}", path.display())]
    NotRunning {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// The user may not ask.
    #[error("cannot speak to the daemon at {}: {}", path.display(), excluded(group.as_deref()))]
    NotAllowed {
        /// Where it listens.
        path: PathBuf,
        /// The group whose members may; none where only root may.
        group: Option<String>,
    },
    /// It was not reached for another reason.
    #[error("cannot speak to the daemon at {}", path.display())]
    Unreachable {
        /// Where it listens.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It stopped answering before it was done.
    #[error(
        "the daemon ended, or gave up telling, while it was at `{words}`: what it had begun, it finishes or takes back \
         at its next start; see `wanshift status` and `journalctl -u wanshift`"
    )]
    Gone {
        /// What was asked.
        words: String,
    },
    /// The user no longer waits for it.
    #[error("no longer waiting for `{words}`: the daemon goes on with it")]
    Left {
        /// What was asked.
        words: String,
    },
    /// What it says is no answer.
    #[error(
        "what answers at {} does not speak as wanshift does ({why}): is it another program, or another version?",
        path.display()
    )]
    Garbage {
        /// Where it listens.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It says no.
    #[error("{0}")]
    Failed(Failure),
}

/// Why somebody is refused, and what to do.
fn excluded(group: Option<&str>) -> String {
    match group {
        Some(group) => format!(
            "you are not in group {group}: have root add you to it (`usermod -aG {group} YOU`) and log in again, \
             or use sudo"
        ),
        None => "only root may: use sudo".to_owned(),
    }
}

/// Asks the daemon that listens at `path` (see [`socket_for`](super::socket_for)), tells `talk` what it says
/// meanwhile, and gives its answer.
///
/// # Errors
/// Where there is no daemon, it may not be asked, it says no, or it ends.
pub fn ask(path: &Path, request: &Request, talk: &mut dyn Talk) -> Result<Answer, ClientError> {
    ask_while(path, request, talk, || Ok(Arc::default()))
}

/// The same for somebody who may leave: once there is a daemon that is asked, `leaves` gives the flag that says so.
///
/// # Errors
/// As [`ask`], and where he has left.
pub fn ask_while(
    path: &Path,
    request: &Request,
    talk: &mut dyn Talk,
    leaves: impl FnOnce() -> io::Result<Arc<AtomicBool>>,
) -> Result<Answer, ClientError> {
    let unreachable = |cause: io::Error| ClientError::Unreachable {
        path: path.to_owned(),
        cause,
    };
    let mut stream = UnixStream::connect(path).map_err(|cause| {
        let path = path.to_owned();
        if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&cause.kind()) {
            ClientError::NotRunning { path }
        } else if cause.kind() == io::ErrorKind::PermissionDenied {
            let group = group_of(&path);
            ClientError::NotAllowed { path, group }
        } else {
            ClientError::Unreachable { path, cause }
        }
    })?;
    stream
        .set_write_timeout(Some(PATIENCE))
        .map_err(unreachable)?;
    let left = leaves().map_err(unreachable)?;
    stream.set_read_timeout(Some(GLANCE)).map_err(unreachable)?;
    let mut line = serde_json::to_vec(request).map_err(|error| unreachable(error.into()))?;
    line.push(b'\n');
    let sent = stream.write_all(&line);
    // Who turns somebody away says so and does not listen: what he says comes before what became of the request.
    let answer = listen(stream, path, request, &left, talk);
    match (sent, answer) {
        (Err(cause), Err(ClientError::Gone { .. })) => Err(unreachable(cause)),
        (_, answer) => answer,
    }
}

fn listen(
    stream: UnixStream,
    path: &Path,
    request: &Request,
    left: &AtomicBool,
    talk: &mut dyn Talk,
) -> Result<Answer, ClientError> {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = loop {
            match (&mut reader).take(LONGEST).read_until(b'\n', &mut line) {
                // What came so far stays in the line.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => going_on(request, left)?,
                read => break read,
            }
        };
        // A connection that breaks is one that ends.
        if read.is_err() || line.is_empty() {
            return Err(ClientError::Gone {
                words: request.order.words(),
            });
        }
        let reply = serde_json::from_slice(&line).map_err(|error| {
            if error.is_eof() && !line.ends_with(b"\n") {
                ClientError::Gone {
                    words: request.order.words(),
                }
            } else {
                ClientError::Garbage {
                    path: path.to_owned(),
                    why: error.to_string(),
                }
            }
        })?;
        match reply {
            Reply::Say(line) => talk.say(&line),
            Reply::Text(text) => talk.text(&text),
            Reply::Progress(line, milestone) => talk.progress(&line, milestone),
            Reply::Done(answer) => return Ok(answer),
            Reply::Failed(failure) => return Err(ClientError::Failed(failure)),
        }
        // An answer that is there counts, though somebody leaves as it comes.
        going_on(request, left)?;
    }
}

/// An error once who asked has `left`.
fn going_on(request: &Request, left: &AtomicBool) -> Result<(), ClientError> {
    if left.load(Ordering::Relaxed) {
        let words = request.order.words();
        return Err(ClientError::Left { words });
    }
    Ok(())
}

/// The name of the group that a socket is for; none where it is root's alone, or cannot be looked at.
fn group_of(path: &Path) -> Option<String> {
    let file = fs::metadata(path).ok()?;
    if file.mode() & 0o060 == 0 {
        return None;
    }
    let group = Group::from_gid(Gid::from_raw(file.gid())).ok().flatten();
    Some(group.map_or_else(|| file.gid().to_string(), |group| group.name))
}
