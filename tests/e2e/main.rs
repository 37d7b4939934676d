//! End to end: the real command, real programs, one file a story.
//!
//! Every story gets a root of its own ([`env::Env`]), and fails when it leaves
//! a process, mount, cgroup, network namespace or file behind.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a missing key fails the story")]

mod env;
mod eventually;
mod http;
mod inject;
mod leaks;
mod shop;
mod small;
mod status;

mod bad_input;
mod build_cache;
mod command_line;
mod docs;
mod exhausted;
mod failures;
mod fsck;
mod heal;
mod images;
mod import;
mod init_failures;
mod interrupt;
mod kills;
mod life_cycle;
mod listen;
mod load;
mod reproducible;
mod templates;
mod told;
