//! How a terminal's master comes from the runtime.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::error::BoxError;
use super::files::make_private;
use super::name::BoxId;
use crate::sys;

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

    pub(crate) fn accept(&self) -> Result<OwnedFd, BoxError> {
        let failed = || BoxError::system("get the program's terminal");
        let (stream, _) = self.listener.accept().map_err(failed())?;
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
