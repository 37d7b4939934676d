//! The program: looked for as the user it runs as, then executed.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, execve, faccessat};

use super::spec::Process;

/// Where programs are looked for when the environment doesn't say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Most of /etc/passwd that is read, in bytes: it belongs to the image.
const PASSWD_LIMIT: u64 = 1 << 20;

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// No arguments at all.
    #[error("process.args is empty")]
    Empty,
    /// Not in the container. Docker and podman look for "executable file not
    /// found" in a runtime's words, and then end with 127.
    #[error("{0}: executable file not found in the container")]
    NotFound(String),
    /// There, but not to be run by this user, or a folder. Docker looks for
    /// "permission denied", in lower case, and then ends with 126.
    #[error("{0}: cannot be run, permission denied")]
    Denied(String),
    /// There, and the kernel has another objection.
    #[error("{0}: cannot be run")]
    NotRunnable(String, #[source] Errno),
    /// An argument or variable with a NUL in it.
    #[error("{0:?} holds a NUL byte")]
    Nul(String),
}

impl ProgramError {
    /// As shells have it: 127 not found, 126 not runnable.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::Denied(_) | Self::NotRunnable(..) => 126,
            Self::Empty | Self::Nul(_) => 125,
        }
    }
}

/// Finds the program as execvp(3) does, so that a missing one shows before
/// anything is said to be created.
pub(crate) fn find(process: &Process) -> Result<PathBuf, ProgramError> {
    let name = process
        .args
        .first()
        .filter(|name| !name.is_empty())
        .ok_or(ProgramError::Empty)?;
    if name.contains('/') {
        return runnable(Path::new(name))
            .map(|()| PathBuf::from(name))
            .map_err(|errno| failure(name, errno));
    }
    let path = process
        .env
        .iter()
        .rev()
        .find_map(|pair| pair.strip_prefix("PATH="))
        .filter(|path| !path.is_empty())
        .unwrap_or(DEFAULT_PATH);
    let mut refused = None;
    for folder in path.split(':') {
        // An empty entry means the working directory.
        let candidate = Path::new(if folder.is_empty() { "." } else { folder }).join(name);
        match runnable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(errno @ (Errno::EACCES | Errno::EPERM)) => refused = Some(errno),
            Err(_) => {}
        }
    }
    Err(failure(name, refused.unwrap_or(Errno::ENOENT)))
}

fn failure(name: &str, errno: Errno) -> ProgramError {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => ProgramError::NotFound(name.to_owned()),
        Errno::EACCES | Errno::EPERM | Errno::EISDIR => ProgramError::Denied(name.to_owned()),
        other => ProgramError::NotRunnable(name.to_owned(), other),
    }
}

fn runnable(path: &Path) -> Result<(), Errno> {
    let metadata = fs::metadata(path)
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    if metadata.is_dir() {
        return Err(Errno::EISDIR);
    }
    if !metadata.is_file() {
        return Err(Errno::EACCES);
    }
    faccessat(
        nix::fcntl::AT_FDCWD,
        path,
        AccessFlags::X_OK,
        AtFlags::AT_EACCESS,
    )
}

/// An exec, with everything allocated.
#[derive(Debug)]
pub(crate) struct Call {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Call {
    /// Prepares the exec of a program that was found.
    pub(crate) fn new(path: &Path, process: &Process) -> Result<Self, ProgramError> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| ProgramError::Nul(text.escape_default().to_string()))
        };
        let mut environment = process
            .env
            .iter()
            .map(|pair| text(pair))
            .collect::<Result<Vec<_>, _>>()?;
        if !process.env.iter().any(|pair| pair.starts_with("HOME=")) {
            environment.push(text(&format!("HOME={}", home(process.user.uid)))?);
        }
        Ok(Self {
            path: CString::new(path.as_os_str().as_bytes())
                .map_err(|_| ProgramError::Nul(path.display().to_string()))?,
            arguments: process
                .args
                .iter()
                .map(|word| text(word))
                .collect::<Result<_, _>>()?,
            environment,
        })
    }

    /// Becomes the program.
    pub(crate) fn execute(&self) -> ProgramError {
        let done: Result<Infallible, Errno> =
            execve(&self.path, &self.arguments, &self.environment);
        match done {
            Ok(never) => match never {},
            Err(errno) => failure(&self.path.to_string_lossy(), errno),
        }
    }
}

/// The user's home by the image's /etc/passwd; `/` where it doesn't say.
fn home(uid: u32) -> String {
    let mut text = Vec::new();
    // Non-blocking: a FIFO that an image put there would wait for a writer.
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/etc/passwd");
    if let Ok(file) = opened
        && file.metadata().is_ok_and(|metadata| metadata.is_file())
        && file.take(PASSWD_LIMIT).read_to_end(&mut text).is_ok()
    {
        let text = String::from_utf8_lossy(&text);
        for line in text.lines() {
            let mut fields = line.split(':');
            if fields.nth(2).and_then(|field| field.parse().ok()) == Some(uid)
                && let Some(home) = fields.nth(2).filter(|home| home.starts_with('/'))
            {
                return home.to_owned();
            }
        }
    }
    "/".to_owned()
}
