//! What this process gives up before it hears anybody: it looks at init, and
//! talks to whoever comes, and needs nothing else.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::sys;

/// Connections at a time.
pub(crate) const MAX_CONNECTIONS: usize = 256;

/// Descriptors beside those of connections.
const OTHERS: u64 = 32;

/// Address space. What it needs at most is the pages that are under way, a few
/// of them of some hundred kilobytes each.
const MEMORY: u64 = 256 << 20;

/// Why it would not be confined, and does not run.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb}")]
pub(crate) struct ConfineError {
    verb: &'static str,
    #[source]
    errno: Errno,
}

/// Gives up what it has, for good. How many connections may be had.
pub(crate) fn confine() -> Result<usize, ConfineError> {
    let failed = |verb| move |errno| ConfineError { verb, errno };
    prctl::set_no_new_privs().map_err(failed("give up new privileges"))?;
    sys::drop_capabilities().map_err(failed("drop the capabilities"))?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed("read a limit"))?;
    let connections = u64::try_from(MAX_CONNECTIONS).unwrap_or(u64::MAX);
    let files = hard.min(connections + OTHERS);
    let limits = [
        (Resource::RLIMIT_NOFILE, files),
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        // It makes no process.
        (Resource::RLIMIT_NPROC, 0),
    ];
    for (resource, limit) in limits {
        let (_, hard) = getrlimit(resource).map_err(failed("read a limit"))?;
        let limit = limit.min(hard);
        setrlimit(resource, limit, limit).map_err(failed("set a limit"))?;
    }
    Ok(usize::try_from(files.saturating_sub(OTHERS))
        .unwrap_or(1)
        .max(1))
}
