//! What should hold now.
