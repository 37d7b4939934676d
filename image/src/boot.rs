//! Which boot of the machine this is.

use std::io;
use std::sync::OnceLock;

/// `/proc/sys/kernel/random/boot_id`: another one after each boot.
///
/// # Errors
/// Where it can't be read.
pub fn id() -> io::Result<&'static str> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(ID.get_or_init(|| id.trim().to_owned()))
}
