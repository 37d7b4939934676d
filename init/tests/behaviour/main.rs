//! What the built init does to real processes. Each test runs one of its own,
//! in a folder of its own, and fails if it leaves a process behind.

mod anywhere;
mod boot;
mod browser;
mod cgroups;
mod child;
mod control;
mod crowd;
mod demand;
mod edges;
mod events;
mod exec;
mod foreground;
mod given;
mod handed;
mod health;
mod interfaces;
mod job;
mod kill;
mod listener;
mod log_files;
mod log_forms;
mod logs;
mod memory;
mod readiness;
mod reload;
mod sockets;
mod standin;
mod start;
mod stop;
mod supervisord;
mod wire;
mod world;
