//! Traffic control over netlink: read, written and counted without `tc` and without a runtime.
//!
//! The messages are packed by hand ([`message`]) because 10,000 of them have to leave in a few
//! milliseconds; the options of HTB, of the leaves and of the filters have codecs of their own ([`htb`],
//! [`leaves`], [`bpf`]) because no library has them typed and right. Each decoder is its encoder's inverse.
//! What they send can be said in the words of `tc`, too, on paper ([`script`]).

pub mod answer;
pub mod apply;
pub mod bpf;
pub mod dump;
pub mod feed;
pub mod filter;
pub mod htb;
pub mod leaves;
pub mod message;
pub mod observe;
pub mod probe;
pub mod script;
pub mod socket;
pub mod stats;
