//! The OCI runtime, and boxes on top of it.
//!
//! This crate never clones a container inside the program that uses it: what
//! makes or enters one re-executes the program under the name
//! `holdall-runtime`, so that threads, open files and locks of the caller never
//! meet a container. It never runs an external program, and keeps no daemon.
#![deny(unsafe_code)]

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

pub mod boxes;
mod causes;
mod cli;
mod clock;
pub mod control;
pub mod dirs;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod oci;
pub mod ports;
mod process;
pub mod step;
#[expect(unsafe_code, reason = "system calls that nix does not have")]
mod sys;

/// The OCI runtime's command line, whatever name it was called by: all of the
/// program `holdall-runtime`.
#[must_use]
pub fn main() -> ExitCode {
    cli::main()
}

/// Becomes one of the crate's own programs if this process was started as one
/// of them (by the name in `argv[0]`): the first call of every `main`.
#[must_use]
pub fn multicall() -> Option<ExitCode> {
    let name = std::env::args_os().next()?;
    let name = Path::new(&name).file_name().and_then(OsStr::to_str)?;
    let main = match name {
        "holdall-runtime" => cli::main,
        boxes::MONITOR => boxes::monitor_main,
        boxes::KEEPER => boxes::keeper_main,
        _ => return None,
    };
    // The kernel has the name of the file it was executed from, "exe".
    if let Ok(name) = std::ffi::CString::new(name) {
        let _: nix::Result<()> = nix::sys::prctl::set_name(&name);
    }
    Some(main())
}
