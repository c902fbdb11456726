//! From a decision to what the kernel should hold.
