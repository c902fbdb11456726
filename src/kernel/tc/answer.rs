//! What the kernel answers: the messages of a datagram, and what each says of a message that was sent.

use std::io;

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR};
use nix::errno::Errno;

use super::message::{HEADER, attribute, text, u16_at, u32_at};
use crate::kernel::OpError;
use crate::model::names::DeviceName;

/// `NLMSGERR_ATTR_MSG` of `linux/netlink.h`: the kernel's words.
const ERROR_TEXT: u16 = 1;

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was carried out.
    Done,
    /// The kernel said no, and nothing happened.
    Refused {
        /// The error's number, positive.
        errno: i32,
        /// The kernel's words, where it had some.
        message: Option<String>,
    },
    /// No answer: it may have happened.
    Unknown {
        /// What was missing.
        why: String,
    },
}

impl Reply {
    /// What it says of an op on `device`.
    pub(in crate::kernel) fn outcome(self, device: &DeviceName) -> Result<(), OpError> {
        match self {
            Self::Done => Ok(()),
            Self::Refused { errno, .. } if errno == Errno::ENODEV as i32 => {
                Err(OpError::NoDevice {
                    device: device.clone(),
                })
            }
            Self::Refused { errno, message } => Err(refusal(errno, message)),
            Self::Unknown { why } => Err(OpError::Unknown { why }),
        }
    }

    /// The same, where what the op takes away may be gone already.
    pub(in crate::kernel) fn gone(self, device: &DeviceName) -> Result<(), OpError> {
        match self {
            Self::Refused { errno, .. } if errno == Errno::ENOENT as i32 => Ok(()),
            Self::Done | Self::Refused { .. } | Self::Unknown { .. } => self.outcome(device),
        }
    }
}

/// An op that is refused before the kernel sees it.
pub(in crate::kernel) fn refused(why: &str) -> OpError {
    refusal(Errno::EINVAL as i32, Some(why.to_owned()))
}

/// An op that a number stands against, and perhaps words.
pub(in crate::kernel) fn refusal(errno: i32, message: Option<String>) -> OpError {
    OpError::Refused {
        errno,
        why: Errno::from_raw(errno).desc().to_owned(),
        message,
    }
}

/// An op that could not be carried out because the kernel could not be asked what it needs to know.
pub(in crate::kernel) fn unasked(error: &io::Error) -> OpError {
    refusal(error.raw_os_error().unwrap_or(Errno::EIO as i32), None)
}

/// Whether a batch is answered to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entered {
    /// The answer to its last message was among these.
    Last,
    /// More will come.
    NotLast,
}

/// Enters the answers in a datagram with the replies of the batch whose first sequence number is
/// `base`. Answers to others, late ones, are passed over.
///
/// # Errors
/// Where an answer is cut short.
pub(super) fn enter(datagram: &[u8], base: u32, replies: &mut [Reply]) -> io::Result<Entered> {
    let count = replies.len();
    for part in Parts(datagram).filter(|part| part.kind == NLMSG_ERROR) {
        let place = usize::try_from(part.sequence.wrapping_sub(base)).unwrap_or(usize::MAX);
        let Some(reply) = replies.get_mut(place) else {
            continue;
        };
        let (errno, message) = part.error()?;
        if errno != 0 {
            *reply = Reply::Refused { errno, message };
        } else if let Some(message) = message {
            tracing::warn!(%message, "the kernel did it with a warning");
        }
        if place + 1 == count {
            return Ok(Entered::Last);
        }
    }
    Ok(Entered::NotLast)
}

/// The messages of a datagram.
pub(in crate::kernel) struct Parts<'a>(pub &'a [u8]);

/// One of them.
pub(in crate::kernel) struct Part<'a> {
    /// `RTM_…` or `NLMSG_…`.
    pub kind: u16,
    /// `NLM_F_…`.
    pub flags: u16,
    /// That of the message which it answers.
    pub sequence: u32,
    /// The number of the socket that it answers, or that asked for what it tells of; 0 for none.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let length = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let part = Part {
            kind: u16_at(self.0, 4)?,
            flags: u16_at(self.0, 6)?,
            sequence: u32_at(self.0, 8)?,
            port: u32_at(self.0, 12)?,
            payload: self.0.get(HEADER..length)?,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    }
}

impl Part<'_> {
    /// The number that begins an error's or an end's payload, made positive; 0 for none.
    pub(super) fn errno(&self) -> i32 {
        self.payload
            .first_chunk()
            .map_or(0, |bytes| i32::from_ne_bytes(*bytes).saturating_neg())
    }

    /// The number and the words of an answer (`struct nlmsgerr` and what follows it).
    pub(super) fn error(&self) -> io::Result<(i32, Option<String>)> {
        let short = || io::Error::new(io::ErrorKind::InvalidData, "an answer cut short");
        let header = self.payload.get(4..4 + HEADER).ok_or_else(short)?;
        let quoted = if self.flags & NLM_F_CAPPED == 0 {
            usize::try_from(u32_at(header, 0).ok_or_else(short)?)
                .map_err(|_| short())?
                .next_multiple_of(4)
        } else {
            HEADER
        };
        let words = (self.flags & NLM_F_ACK_TLVS != 0)
            .then(|| self.payload.get(quoted.saturating_add(4)..))
            .flatten()
            .and_then(|tail| attribute(tail, ERROR_TEXT))
            .map(|value| String::from_utf8_lossy(text(value)).into_owned());
        Ok((self.errno(), words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel answers to message `sequence`: header, number, quoted header, words.
    fn answer(sequence: u32, errno: i32, quoted: &[u8], words: Option<&str>) -> Vec<u8> {
        let mut flags = if quoted.is_empty() { NLM_F_CAPPED } else { 0 };
        let mut payload = errno.wrapping_neg().to_ne_bytes().to_vec();
        payload.extend(u32::try_from(HEADER + quoted.len()).unwrap().to_ne_bytes());
        payload.extend([0; 12]);
        payload.extend(quoted);
        if let Some(words) = words {
            flags |= NLM_F_ACK_TLVS;
            payload.extend(u16::try_from(4 + words.len() + 1).unwrap().to_ne_bytes());
            payload.extend(ERROR_TEXT.to_ne_bytes());
            payload.extend(words.as_bytes());
            payload.push(0);
            payload.resize(payload.len().next_multiple_of(4), 0);
        }
        let mut message = u32::try_from(HEADER + payload.len())
            .unwrap()
            .to_ne_bytes()
            .to_vec();
        message.extend(NLMSG_ERROR.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(payload);
        message
    }

    fn refused(errno: i32, message: Option<&str>) -> Reply {
        Reply::Refused {
            errno,
            message: message.map(str::to_owned),
        }
    }

    #[test]
    fn answers_find_their_messages() {
        let mut replies = vec![Reply::Done; 4];
        let late = answer(9, 1, &[], None);
        assert_eq!(enter(&late, 10, &mut replies).unwrap(), Entered::NotLast);
        let two = [
            answer(11, 22, &[1; 8], Some("quoted whole")),
            answer(12, 2, &[], Some("odd")),
        ]
        .concat();
        assert_eq!(enter(&two, 10, &mut replies).unwrap(), Entered::NotLast);
        let last = answer(13, 0, &[], Some("a warning"));
        assert_eq!(enter(&last, 10, &mut replies).unwrap(), Entered::Last);
        let expected = [
            Reply::Done,
            refused(22, Some("quoted whole")),
            refused(2, Some("odd")),
            Reply::Done,
        ];
        assert_eq!(replies, expected);
    }

    #[test]
    fn the_last_message_may_be_the_one_that_fails() {
        let mut replies = vec![Reply::Done];
        let last = answer(10, 17, &[], None);
        assert_eq!(enter(&last, 10, &mut replies).unwrap(), Entered::Last);
        assert_eq!(replies, [refused(17, None)]);
    }

    #[test]
    fn an_answer_cut_anywhere_is_no_panic_and_no_success() {
        let whole = answer(10, 17, &[], Some("words"));
        for length in 0..whole.len() {
            let mut replies = vec![Reply::Done];
            let outcome = enter(&whole[..length], 10, &mut replies);
            assert!(!matches!(outcome, Ok(Entered::Last)), "{length}");
        }
        // Lengths that lie.
        for lie in [0_u32, 15, 17, 0xffff_ffff] {
            let mut bent = whole.clone();
            bent[..4].copy_from_slice(&lie.to_ne_bytes());
            let mut replies = vec![Reply::Done];
            let outcome = enter(&bent, 10, &mut replies);
            assert!(!matches!(outcome, Ok(Entered::Last)), "{lie}");
        }
    }
}
