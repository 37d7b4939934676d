//! Control groups.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The cgroups of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    /// In the version 2 hierarchy.
    pub(crate) v2: Option<PathBuf>,
    /// In hierarchies of version 1.
    pub(crate) v1: Vec<PathBuf>,
}
