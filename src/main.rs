//! The binary `wanshift`.

fn main() {}
