//! What the parts of holdall say to each other: service names, the service
//! manifest that the builder writes and the init reads, and control messages.
//!
//! This crate never does I/O: it turns bytes into checked values and back.
#![forbid(unsafe_code)]

pub mod account;
pub mod control;
pub mod cron;
pub mod decode;
pub mod diagnostic;
pub mod event;
pub mod frame;
pub mod log;
pub mod manifest;
pub mod millis;
pub mod moment;
pub mod name;
pub mod signal;
pub mod suggest;
pub mod template;

pub use diagnostic::Diagnostic;
pub use manifest::{Manifest, Reader};
pub use millis::Millis;
pub use moment::Moment;
pub use name::ServiceName;
pub use signal::Signal;

/// The version of the control protocol, sent in [`control::Hello`]. A newer
/// host drives an older init, so this grows only with messages that an older
/// peer would misread.
///
/// * 1: the first.
/// * 2: a status that is too long for one frame comes in pages
///   ([`control::Status::more`]), which an older client would take for the
///   whole. It gets an error instead, as it always did.
pub const PROTOCOL_VERSION: u32 = 2;

/// The first version whose clients know that a status may have more pages.
pub const PAGED_SINCE: u32 = 2;
