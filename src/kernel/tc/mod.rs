//! Traffic control over netlink.
