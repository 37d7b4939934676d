//! One line of a box's log, as it travels from init to the monitor (NDJSON on
//! a descriptor of its own, so that no service can forge a prefix) and lies in
//! the log file.

use serde::{Deserialize, Serialize};

use crate::ServiceName;

/// The longest text of one record, in bytes. A longer line is cut there and
/// its pieces are marked [`LogRecord::partial`].
pub const MAX_LINE: usize = 16 * 1024;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// The program's standard output.
    Stdout,
    /// The program's standard error.
    Stderr,
    /// The init itself, about the service or about the box.
    Init,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Microseconds since 1970-01-01 UTC.
    pub time: u64,
    /// Whose line it is; none for the foreground command and for init's own
    /// words about the whole box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Where it came from.
    pub stream: Stream,
    /// The line without its end; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// The line goes on in the next record of this service and stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}
