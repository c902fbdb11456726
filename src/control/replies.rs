//! What goes back to the one who asked, as far as he listens.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::api::{Answer, Failure, Milestone, Reply, Talk};

/// How many replies wait for one who reads slowly. One more, and he is given up.
const MOST_WAITING: usize = 1_024;

/// Whether the one who asked is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// He is, for all that is known.
    Listens,
    /// He is not: he went, or was given up because he did not read.
    Gone,
}

/// The way back to the one who asked. It never waits; what he cannot be told is lost, and what he ordered goes on.
///
/// Dropped without an end, it tells him nothing of how it went, as when the daemon dies.
#[derive(Debug)]
pub struct Replies {
    queue: Option<Sender<Reply>>,
    given_up: Arc<Notify>,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What is to be sent.
    pub queue: Receiver<Reply>,
    /// Told where it is not to be sent any more.
    pub given_up: Arc<Notify>,
}

/// A way back and its other end.
pub(super) fn replies() -> (Replies, Outgoing) {
    let (sender, receiver) = channel(MOST_WAITING);
    let given_up = Arc::new(Notify::new());
    let replies = Replies {
        queue: Some(sender),
        given_up: Arc::clone(&given_up),
    };
    let outgoing = Outgoing {
        queue: receiver,
        given_up,
    };
    (replies, outgoing)
}

impl Replies {
    /// It is done: the last that he hears.
    pub fn done(mut self, answer: Answer) {
        self.send(Reply::Done(answer));
    }

    /// It has failed: the last that he hears.
    pub fn failed(mut self, failure: Failure) {
        self.send(Reply::Failed(failure));
    }

    /// Whether he is still there.
    #[must_use]
    pub fn asker(&self) -> Asker {
        match &self.queue {
            Some(queue) if !queue.is_closed() => Asker::Listens,
            Some(_) | None => Asker::Gone,
        }
    }

    fn send(&mut self, reply: Reply) {
        match self.queue.as_ref().map(|queue| queue.try_send(reply)) {
            None | Some(Ok(())) => {}
            Some(Err(TrySendError::Closed(_))) => self.queue = None,
            Some(Err(TrySendError::Full(_))) => {
                tracing::info!("who asked does not read the answer, and is given up");
                self.queue = None;
                self.given_up.notify_one();
            }
        }
    }
}

impl Talk for Replies {
    fn say(&mut self, line: &str) {
        self.send(Reply::Say(line.to_owned()));
    }

    fn text(&mut self, text: &str) {
        self.send(Reply::Text(text.to_owned()));
    }

    fn progress(&mut self, line: &str, milestone: Milestone) {
        self.send(Reply::Progress(line.to_owned(), milestone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_read_is_given_up_and_nobody_waits_for_him() {
        let (mut replies, mut outgoing) = replies();
        for line in 0..MOST_WAITING {
            replies.say(&line.to_string());
            assert_eq!(replies.asker(), Asker::Listens);
        }
        replies.say("one more");
        assert_eq!(replies.asker(), Asker::Gone);
        replies.say("and none of these");
        replies.failed(Failure::from("no"));
        let mut waiting = 0;
        while let Ok(reply) = outgoing.queue.try_recv() {
            assert_eq!(reply, Reply::Say(waiting.to_string()));
            waiting += 1;
        }
        assert_eq!(waiting, MOST_WAITING);
    }

    #[test]
    fn who_goes_is_gone() {
        let (replies, outgoing) = replies();
        assert_eq!(replies.asker(), Asker::Listens);
        drop(outgoing);
        assert_eq!(replies.asker(), Asker::Gone);
        replies.failed(Failure::from("no"));
    }
}
