//! The packet filter's table, by meaning.

use serde::{Deserialize, Serialize};

/// The one `inet` table of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table {}
