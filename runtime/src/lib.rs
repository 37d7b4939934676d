//! The OCI runtime, and boxes on top of it.
#![deny(unsafe_code)]

pub mod boxes;
pub mod control;
pub mod dirs;
pub mod ports;
