//! From a decision to what the kernel should hold.

pub mod classify;
mod control;
mod criteria;
