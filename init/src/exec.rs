//! Programs that a client has init run in the box.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use holdall_protocol::control::{ErrorKind, Exec, WindowSize};
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, fchown};

use crate::environment::Environment;
use crate::launch::Launch;
use crate::lineage::Mark;
use crate::spawn::{self, SpawnError, Spawned, Stdio};
use crate::sys;

/// The program that runs, and the master of its terminal where it has one.
pub(crate) struct Running {
    pub(crate) child: Spawned,
    pub(crate) master: Option<OwnedFd>,
}

/// Starts the program of a request. Without a terminal, `descriptors` are its
/// three.
pub(crate) fn start(
    exec: &Exec,
    descriptors: &[OwnedFd],
    base: &Environment,
    mark: Option<Mark>,
) -> Result<Running, SpawnError> {
    let (dir, user) = (exec.dir.as_deref(), exec.user.as_deref());
    let mut launch = Launch::exec(&exec.argv, &exec.env, dir, user, base)?;
    launch.mark = mark.map(|mark| mark.value);
    if let Some(size) = exec.tty {
        let owner = launch.account.as_ref().map(|account| account.uid);
        let (master, terminal) = open_terminal(size, owner).map_err(SpawnError::Terminal)?;
        let child = spawn::spawn(launch, &Stdio::Terminal(terminal.as_fd()))?;
        return Ok(Running {
            child,
            master: Some(master),
        });
    }
    let [stdin, stdout, stderr] = descriptors else {
        return Err(SpawnError::Descriptors);
    };
    let stdio = Stdio::Given([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]);
    Ok(Running {
        child: spawn::spawn(launch, &stdio)?,
        master: None,
    })
}

/// A new terminal of the box's own: its two ends, master first.
fn open_terminal(size: WindowSize, owner: Option<u32>) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = libc::O_NOCTTY | libc::O_CLOEXEC;
    let open = |path| {
        File::options()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
    };
    let master = open("/dev/ptmx").or_else(|_| open("/dev/pts/ptmx"));
    let master = master.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    let master = OwnedFd::from(master);
    let terminal = sys::open_peer(&master)?;
    sys::resize(&master, size)?;
    if let Some(uid) = owner {
        // Only root can, and only root needs to: it opens its terminal anew.
        let _ = fchown(&terminal, Some(Uid::from_raw(uid)), None::<Gid>);
    }
    Ok((master, terminal))
}

/// The kind of answer for a program that was not started.
pub(crate) fn kind(error: &SpawnError) -> ErrorKind {
    match (error, error.code()) {
        (SpawnError::Fork(_) | SpawnError::Pipe(_) | SpawnError::Terminal(_), _) => {
            ErrorKind::Exhausted
        }
        (_, 127) => ErrorKind::NotFound,
        (_, 126) => ErrorKind::NotExecutable,
        (_, _) => ErrorKind::Failed,
    }
}
