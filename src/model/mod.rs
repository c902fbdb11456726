//! The vocabulary: what a policy speaks of, what should hold, and what the kernel shows.

pub mod calendar;
pub mod circuit;
pub mod class;
pub mod counters;
pub mod daemon;
pub mod desired;
pub mod filter;
pub mod hold;
pub mod ids;
pub mod leaf;
pub mod names;
pub mod node;
pub mod phase;
pub mod readings;
pub mod session;
pub mod state;
pub mod surroundings;
