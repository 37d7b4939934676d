//! The OCI runtime: runtime-spec 1.3 on plain system calls.
//!
//! What happens is decided by `plan` (a list that prints), done by `apply`
//! inside the new container, and led from outside by `create`. The order of
//! the steps is the whole point; `plan` holds it.

mod cgroup;
pub mod client;
pub mod defaults;
pub mod overlay;
pub(crate) mod report;
pub mod seccomp;
pub mod spec;
pub mod state;
