//! Traffic control over netlink: read, written and counted without `tc` and without a runtime.
//!
//! The messages are packed by hand ([`message`]) because 10,000 of them have to leave in a few
//! milliseconds; the options of HTB and of the leaves have codecs of their own ([`htb`], [`leaves`])
//! because no library has them typed and right. Each decoder is its encoder's inverse.

pub mod answer;
pub mod apply;
pub mod dump;
pub mod htb;
pub mod leaves;
pub mod message;
pub mod observe;
pub mod probe;
pub mod socket;
pub mod stats;
