//! The verb `condition` and what stands behind it.

use clap::Subcommand;

use crate::model::names::ConditionName;

#[derive(Debug, Subcommand)]
pub enum What {
    /// Show which conditions are true, and what the others wait for
    List,
    /// Make a condition false again; what made it true no longer counts
    Reset {
        /// The condition, as the policy names it
        name: ConditionName,
    },
}
