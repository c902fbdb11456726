//! The few words of nfnetlink that are spoken here without `nft`.

use crate::kernel::tc::message::{Messages, attribute, text};
use crate::model::filter::NAME;

/// `NFNL_SUBSYS_NFTABLES` of `linux/netfilter/nfnetlink.h`, where a message's type begins with it.
const SUBSYSTEM: u16 = 10 << 8;
/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`: who is told of each change.
pub(in crate::kernel) const GROUP: u32 = 7;
/// `NFT_MSG_GETOBJ` of `linux/netfilter/nf_tables.h`.
pub(super) const GET_OBJECT: u16 = SUBSYSTEM | 19;
/// `NFPROTO_INET` of `linux/netfilter.h`.
const INET: u8 = 1;
/// `NFT_MSG_NEWGEN` of `linux/netfilter/nf_tables.h`: a transaction is over. Its first attribute is a number.
const NEW_GENERATION: u16 = SUBSYSTEM | 15;
/// The length of `struct nfgenmsg`: family, version, a number of two bytes.
const HEADER: usize = 4;
/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, ... of `linux/netfilter/nf_tables.h`: the name of its table is the
/// first attribute of every object.
const TABLE: u16 = 1;

/// Writes the header of a question about our table, and its name.
pub(super) fn put_table(messages: &mut Messages) {
    messages.put(&[INET, 0, 0, 0]);
    messages.attribute(TABLE, &[NAME.as_bytes(), b"\0"].concat());
}

/// Whether a message of the packet filter tells of our table or something in it.
pub(in crate::kernel) fn tells_of_our_table(kind: u16, payload: &[u8]) -> bool {
    kind != NEW_GENERATION && of_our_table(payload).is_some()
}

/// The attributes of a message about our table or something in it; `None` of any other.
pub(super) fn of_our_table(payload: &[u8]) -> Option<&[u8]> {
    let attributes = payload.get(HEADER..)?;
    let name = attribute(attributes, TABLE)?;
    (payload.first() == Some(&INET) && text(name) == NAME.as_bytes()).then_some(attributes)
}
