//! Lint over policy, engine and plan.
