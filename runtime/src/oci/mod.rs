//! The OCI runtime: runtime-spec 1.3 on plain system calls.
//!
//! What happens is decided by `plan` (a list that prints), done by `apply`
//! inside the new container, and led from outside by `create`. The order of
//! the steps is the whole point; `plan` holds it.

mod apply;
pub(crate) mod call;
mod cgroup;
mod channel;
pub mod client;
pub(crate) mod config;
mod console;
mod copy_up;
pub(crate) mod create;
pub mod defaults;
pub(crate) mod exec;
mod failure;
pub(crate) mod foreground;
mod hooks;
pub(crate) mod lifecycle;
mod mounts;
pub mod overlay;
pub(crate) mod plan;
mod prepare;
mod privileges;
mod program;
pub(crate) mod report;
mod rootfs;
pub(crate) mod seal;
pub mod seccomp;
pub mod spec;
pub mod state;
