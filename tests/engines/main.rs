//! The image that `holdall build` makes, unchanged under docker, podman and
//! containerd; and `holdall-runtime` in the place of theirs.
//!
//! Each story starts its engine by hand, with every folder of the engine's in
//! a root of the story, and fails when a process, mount, cgroup or network
//! namespace of it stays behind.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a missing key fails the story")]

#[path = "../e2e/env.rs"]
#[expect(dead_code, reason = "shared with the stories of the command")]
mod env;
#[path = "../e2e/eventually.rs"]
mod eventually;
#[path = "../e2e/http.rs"]
mod http;
#[path = "../e2e/leaks.rs"]
mod leaks;
#[path = "../e2e/load.rs"]
mod load;
#[path = "../e2e/shop.rs"]
#[expect(dead_code, reason = "shared with the stories of the command")]
mod shop;
#[path = "../e2e/small.rs"]
mod small;
#[path = "../e2e/status.rs"]
#[expect(dead_code, reason = "shared with the stories of the command")]
mod status;

mod containerd;
mod docker;
mod engine;
mod place;
mod podman;
mod terminal;

mod archives;
mod dockerfile;
mod flags;
mod foreign;
mod health;
mod job_control;
mod limits;
mod same_image;
mod whole_shop;
