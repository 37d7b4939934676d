//! How a terminal's master comes from the runtime.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::PollFlags;

use super::error::BoxError;
use super::files::make_private;
use super::name::BoxId;
use crate::process::wait_for;
use crate::sys;

/// How long a terminal that the runtime has sent may take to arrive, on a
/// machine that is starved.
pub(crate) const ARRIVAL: Duration = Duration::from_secs(10);

/// A socket that gets a terminal's master from the runtime. Gone when dropped.
pub(crate) struct Console {
    listener: UnixListener,
    folder: PathBuf,
    path: PathBuf,
    _open: File,
}

impl Console {
    pub(crate) fn listen(run: &Path) -> Result<Self, BoxError> {
        let id = BoxId::random().map_err(BoxError::system("draw a random name"))?;
        let folder = run.join(format!("console-{id}"));
        make_private(&folder)?;
        let open = File::open(&folder).map_err(BoxError::file("open", &folder))?;
        // Short enough for a socket's address, for us and for the runtime,
        // which must find it under our process.
        let path = format!(
            "/proc/{}/fd/{}/socket",
            std::process::id(),
            open.as_raw_fd()
        );
        let listener = UnixListener::bind(&path).map_err(BoxError::file("make", &folder))?;
        Ok(Self {
            listener,
            folder,
            path: path.into(),
            _open: open,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the master. The runtime sends it before it reports the program, so
    /// it comes soon or never.
    pub(crate) fn accept(&self, limit: Duration) -> Result<OwnedFd, BoxError> {
        let failed = || BoxError::system("get the program's terminal");
        let late = || failed()(io::ErrorKind::TimedOut.into());
        let came = wait_for(self.listener.as_fd(), PollFlags::POLLIN, Some(limit));
        if !came.map_err(failed())? {
            return Err(late());
        }
        let (stream, _) = self.listener.accept().map_err(failed())?;
        let came = wait_for(stream.as_fd(), PollFlags::POLLIN, Some(limit));
        if !came.map_err(failed())? {
            return Err(late());
        }
        let (_, mut fds) = sys::receive_with_fds(stream.as_fd(), &mut [0; 4096])
            .map_err(|errno| failed()(errno.into()))?;
        fds.pop()
            .ok_or_else(|| failed()(io::ErrorKind::UnexpectedEof.into()))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // With the run folder it goes at the latest.
        drop(fs::remove_dir_all(&self.folder));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_terminal_that_never_comes_is_an_error_and_not_a_hang() {
        let run = tempfile::tempdir().expect("a folder");
        let console = Console::listen(run.path()).expect("listening");
        let limit = Duration::from_millis(1);
        let is_late = |result: Result<OwnedFd, BoxError>| {
            let error = result.expect_err("nothing came");
            matches!(&error, BoxError::System { cause, .. } if cause.kind() == io::ErrorKind::TimedOut)
        };
        assert!(is_late(console.accept(limit)));
        // Nor does one who connects and is silent keep it.
        let _silent = UnixStream::connect(console.path()).expect("connected");
        assert!(is_late(console.accept(limit)));
    }
}
