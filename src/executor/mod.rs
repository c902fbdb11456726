//! Runs the stages of a plan, re-reads, verifies.
