//! Docker's default filter.
use crate::oci::spec::Seccomp;

/// Docker's default profile.
#[must_use]
pub fn default() -> Seccomp {
    Seccomp::default()
}
