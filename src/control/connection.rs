//! One who asks: his line is read, looked at and passed on, and he is told what becomes of it.

use std::io;
use std::time::Duration;

use nix::unistd::Gid;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::peer::Peer;
use super::replies::{Outgoing, replies};
use super::server::Ask;
use crate::api::{Failure, Reply, Request, SchemaVersion};

/// The longest request.
const LONGEST: usize = 64 * 1024;
/// How long it may take to send one.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one who reads may take for the next piece, once what the kernel keeps for him is full.
const READING: Duration = Duration::from_secs(30);

/// By which socket somebody came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Door {
    /// The one for those who may change something.
    Acting {
        /// The group whose members may.
        group: Option<Gid>,
    },
    /// The one for everybody.
    Reading,
}

/// Tells somebody that there is no room for him. Does not wait: nothing was sent to him before.
pub(super) fn turn_away(stream: &UnixStream, most: usize) {
    let failure = failure(format!(
        "{most} others are connected to the daemon already: try again"
    ));
    let told = line(&Reply::Failed(failure)).map(|line| stream.try_write(&line));
    tracing::info!(?told, "turned somebody away from the control socket");
}

/// Serves somebody to the end.
pub(super) async fn serve(mut stream: UnixStream, door: Door, asks: Sender<Ask>) {
    let outgoing = match receive(&mut stream, door, asks).await {
        Ok(Some(outgoing)) => outgoing,
        Ok(None) => return,
        Err(failure) => {
            let (replies, outgoing) = replies();
            replies.failed(failure);
            outgoing
        }
    };
    if let Err(error) = answer(&mut stream, outgoing).await {
        tracing::debug!(%error, "who asked was not told all");
    }
}

/// Reads what is asked and passes it on; nothing, where he went without a word.
async fn receive(
    stream: &mut UnixStream,
    door: Door,
    asks: Sender<Ask>,
) -> Result<Option<Outgoing>, Failure> {
    let peer = Peer::of(stream).map_err(|error| {
        let mut failure = Failure::from(error);
        "cannot find out who asks".clone_into(&mut failure.error);
        failure
    })?;
    if let Door::Acting { group } = door {
        peer.may_change(group)?;
    }
    let Some(text) = read_line(stream).await? else {
        return Ok(None);
    };
    let request = parse(&text)?;
    if let Door::Reading = door
        && !request.order.only_reads()
    {
        return Err(failure(format!(
            "`{}` changes something, and this socket is for reading: use the other, without .read at its end",
            request.order.words()
        )));
    }
    // Names may have to be fetched over the network: others do not wait for that.
    let known = peer.clone();
    let name = tokio::task::spawn_blocking(move || known.name());
    let name = name.await.unwrap_or_else(|_| peer.uid.to_string());
    let actor = peer.actor(&name, request.on_behalf_of.as_deref());
    let (uid, pid) = (peer.uid.as_raw(), peer.pid);
    if request.order.only_reads() {
        tracing::debug!(actor, uid, pid, order = request.order.words(), "asked");
    } else {
        tracing::info!(actor, uid, pid, order = request.order.words(), "ordered");
    }
    let (replies, outgoing) = replies();
    let ask = Ask {
        request,
        actor,
        replies,
    };
    match asks.send(ask).await {
        Ok(()) => Ok(Some(outgoing)),
        Err(_) => Err(failure(
            "the daemon is ending and takes no more orders".to_owned(),
        )),
    }
}

/// Reads up to the end of the first line.
async fn read_line(stream: &mut UnixStream) -> Result<Option<Vec<u8>>, Failure> {
    let mut text = Vec::new();
    let reading = async {
        loop {
            if text.len() > LONGEST {
                return Err(failure(format!(
                    "the request is longer than {LONGEST} bytes"
                )));
            }
            let start = text.len();
            let room = u64::try_from(LONGEST + 1 - start).unwrap_or_default();
            let got = (&mut *stream).take(room).read_buf(&mut text).await?;
            let end = text.iter().skip(start).position(|byte| *byte == b'\n');
            match (got, end) {
                (_, Some(end)) => {
                    text.truncate(start + end);
                    return Ok(());
                }
                (0, None) => {
                    return Err(failure("the request ends before its line does".to_owned()));
                }
                (_, None) => {}
            }
        }
    };
    let outcome = timeout(PATIENCE, reading).await.unwrap_or_else(|_| {
        Err(failure(format!(
            "no whole request came within {} s",
            PATIENCE.as_secs()
        )))
    });
    match outcome {
        Err(_) if text.is_empty() => Ok(None),
        other => other.map(|()| Some(text)),
    }
}

/// The version alone, of whatever else there may be.
#[derive(Deserialize)]
struct Versioned {
    schema_version: SchemaVersion,
}

/// Reads a request.
fn parse(text: &[u8]) -> Result<Request, Failure> {
    let unread =
        |error: serde_json::Error| failure(format!("the request is not understood: {error}"));
    let given: Value = serde_json::from_slice(text).map_err(unread)?;
    let Versioned { schema_version } = Versioned::deserialize(&given).map_err(unread)?;
    if schema_version != SchemaVersion::NOW {
        return Err(failure(format!(
            "the request is in version {} of the language, and this daemon speaks {}: \
             use the `wanshift` that belongs to it, or restart it after an upgrade",
            schema_version.0,
            SchemaVersion::NOW.0
        )));
    }
    let request = Request::deserialize(&given).map_err(unread)?;
    let known = serde_json::to_value(&request).map_err(unread)?;
    // Of an order, serde passes over what it does not know: a word that was meant to hold something back.
    match unknown(&given, &known) {
        Some(field) => Err(failure(format!(
            "the request is not understood: unknown field `{field}`"
        ))),
        None => Ok(request),
    }
}

/// The first field in `given` that what was understood of it does not have.
fn unknown<'a>(given: &'a Value, known: &Value) -> Option<&'a str> {
    let (given, known) = (given.as_object()?, known.as_object()?);
    given
        .iter()
        .find_map(|(name, value)| match known.get(name) {
            Some(known) => unknown(value, known),
            None => Some(name.as_str()),
        })
}

/// Sends what is said until the last word, as long as he listens.
async fn answer(stream: &mut UnixStream, outgoing: Outgoing) -> io::Result<()> {
    let Outgoing {
        mut queue,
        given_up,
    } = outgoing;
    let (mut input, mut output) = stream.split();
    let telling = async {
        while let Some(reply) = queue.recv().await {
            let bytes = line(&reply)?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let sent = timeout(READING, output.write(rest)).await??;
                rest = rest.get(sent..).unwrap_or_default();
            }
            match reply {
                Reply::Done(_) | Reply::Failed(_) => break,
                Reply::Say(_) | Reply::Text(_) | Reply::Progress(..) => {}
            }
        }
        Ok(())
    };
    let leaving = async {
        // What he says after his line is passed over; that he goes is not.
        while !matches!(input.read(&mut [0; 512]).await, Ok(0) | Err(_)) {}
        // He may only have no more to say.
        let ready = input.ready(Interest::WRITABLE).await;
        if !ready.is_ok_and(|ready| ready.is_write_closed()) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        told = telling => told,
        () = given_up.notified() => Err(io::ErrorKind::TimedOut.into()),
        () = leaving => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// A reply as a line.
fn line(reply: &Reply) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    Ok(line)
}

fn failure(error: String) -> Failure {
    error.into()
}
