//! When the layers that were unpacked for a box get to the disk.
//!
//! Nobody waits for that while a box starts (see `holdall_image::Store`): its
//! keeper sees to it a minute later, or its monitor once the box is over and
//! nobody waits for it. Where both fail to, the layer keeps its mark, and is
//! unpacked again after the next boot.

use std::time::{Duration, SystemTime};

use holdall_image::Store;

use crate::clock::{Deadline, WallTime};
use crate::dirs::Dirs;

/// By then the kernel has written a file by itself (it looks every 5 s for those
/// of 30 s, unless an administrator said otherwise), and the sync finds little
/// to wait for.
const AGE: Duration = Duration::from_secs(60);

/// When what is in memory alone should be synced; `None` where nothing is.
pub(super) fn due(dirs: &Dirs) -> Option<Deadline> {
    // Marks that can't be read now are read for the next box.
    let since = images(dirs).unsynced_since().unwrap_or(None);
    since.map(|since| Deadline::after(AGE.saturating_sub(age(since))))
}

/// Syncs it. A layer that can't be keeps its mark, which says so.
pub(super) fn sync(dirs: &Dirs) {
    drop(images(dirs).sync_layers());
}

/// Syncs it where it is due.
pub(super) fn sync_if_due(dirs: &Dirs) {
    if due(dirs).is_some_and(|due| due.left().is_zero()) {
        sync(dirs);
    }
}

fn images(dirs: &Dirs) -> Store {
    Store::at(&dirs.store(), &dirs.layers())
}

/// Zero for a file of the future.
fn age(since: SystemTime) -> Duration {
    let since = since.duration_since(SystemTime::UNIX_EPOCH);
    let micros = since.map_or(0, |since| since.as_micros());
    WallTime(u64::try_from(micros).unwrap_or(u64::MAX)).elapsed()
}
