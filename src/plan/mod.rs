//! From what the kernel holds to what it should hold, in stages that conserve.

pub mod op;
