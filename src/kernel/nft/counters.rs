//! What blocks rejected: the counters of the table, read without `nft`.
//!
//! They are read at every sample: 0.1 ms where there are few, 2 ms for 500 of them, where starting `nft` takes 8.

use std::collections::BTreeMap;

use super::wire::{self, GET_OBJECT};
use crate::kernel::KernelError;
use crate::kernel::tc::message::{Messages, attribute, text, u64_at};
use crate::kernel::tc::socket::RouteSocket;
use crate::model::filter::CounterName;
use crate::model::names::BlockName;

/// `NFTA_OBJ_NAME` of `linux/netfilter/nf_tables.h`.
const NAME: u16 = 2;
/// `NFTA_OBJ_TYPE` of `linux/netfilter/nf_tables.h`.
const TYPE: u16 = 3;
/// `NFTA_OBJ_DATA` of `linux/netfilter/nf_tables.h`.
const DATA: u16 = 4;
/// `NFT_OBJECT_COUNTER` of `linux/netfilter/nf_tables.h`.
const COUNTER: u32 = 1;
/// `NFTA_COUNTER_PACKETS` of `linux/netfilter/nf_tables.h`.
const PACKETS: u16 = 2;

/// How many packets each block rejected. None, where there is no table of ours.
///
/// # Errors
/// Where the kernel cannot be asked.
pub fn rejected() -> Result<BTreeMap<BlockName, u64>, KernelError> {
    let failed = |cause| KernelError::Read {
        what: "the counters of the packet filter",
        cause,
    };
    let mut socket = RouteSocket::open_to_filter().map_err(KernelError::Socket)?;
    let asked = |messages: &mut Messages| {
        wire::put_table(messages);
        messages.attribute(TYPE, &COUNTER.to_be_bytes());
    };
    let dump = socket.dump(GET_OBJECT, asked, BTreeMap::new, |found, payload| {
        found.extend(decode(payload));
    });
    dump.map_err(failed)
}

/// The block and the packets of a counter; `None` where it is not of a block of ours.
fn decode(payload: &[u8]) -> Option<(BlockName, u64)> {
    let attributes = wire::of_our_table(payload)?;
    let name = std::str::from_utf8(text(attribute(attributes, NAME)?)).ok()?;
    let block = CounterName::new(name).block()?;
    let packets = attribute(attribute(attributes, DATA)?, PACKETS)?;
    // As all numbers of nfnetlink, in the network's order.
    Some((block, u64::from_be(u64_at(packets, 0)?)))
}
