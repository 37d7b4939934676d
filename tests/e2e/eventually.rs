//! Waiting for something outside: the workspace's only sleep.

use std::time::{Duration, Instant};

/// Between two looks. Short beside any program's start, long beside a look.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `probe` until it gives something, for at most `limit`.
///
/// # Panics
/// When the limit has passed, with `what` and the newest reason.
#[expect(
    clippy::disallowed_methods,
    reason = "the licensed sleep and clock of the tests"
)]
pub(crate) fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match probe() {
            Ok(found) => return found,
            Err(reason) => {
                assert!(
                    Instant::now() < deadline,
                    "not within {limit:?}: {what}; last: {reason}"
                );
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Long enough for anything that works on a loaded machine with two cores.
pub(crate) const LONG: Duration = Duration::from_secs(120);
