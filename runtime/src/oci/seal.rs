//! Runs the runtime from a copy of itself that can't be written.
//!
//! A program in a container can reach the runtime's binary through
//! `/proc/PID/exe` while the runtime works there, or have `/proc/self/exe`
//! executed as its entrypoint; opened for writing, that is the host's binary
//! (CVE-2019-5736). So before a container is touched, the runtime executes
//! itself again from an overlay without an upper layer: there is nothing to
//! write to, and unlike a read-only bind nothing to unwrap. Where an overlay
//! can't be made, a sealed copy in memory does the same for more time.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, SealFlag, fcntl, open, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::FsFlags;
use nix::unistd::execveat;

use crate::sys::{self, NewFs, attr};

/// Why the runtime can't be sealed; nothing is run then.
#[derive(Debug, thiserror::Error)]
#[error("cannot seal the runtime's own program")]
pub(crate) struct SealError(#[from] io::Error);

impl From<Errno> for SealError {
    fn from(errno: Errno) -> Self {
        Self(errno.into())
    }
}

/// This program in a form that can be executed again and again without being
/// sealed each time.
#[derive(Debug)]
pub(crate) struct Sealed {
    program: OwnedFd,
    /// A mount that nobody holds any more is dissolved at once, and whoever
    /// closes it waits for that, some milliseconds: not before this goes.
    _mount: OwnedFd,
}

/// The lowest number of its descriptor: what is handed to a runtime process
/// takes those from 3 on, in the very process that then executes this.
const ABOVE_INHERITED: i32 = 64;

impl Sealed {
    /// Seals this program by an overlay.
    pub(crate) fn new() -> Result<Self, SealError> {
        let (program, mount) = overlay()?;
        let program = sys::dup_from(program.as_fd(), ABOVE_INHERITED)?;
        Ok(Self {
            program,
            _mount: mount,
        })
    }

    /// What this process, or a child of it, executes.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.program.as_raw_fd()).into()
    }
}

/// Returns once the process runs from a sealed copy: by executing it, unless
/// that was done.
pub(crate) fn ensure() -> Result<(), SealError> {
    let own = File::open("/proc/self/exe")?;
    if is_sealed(&own)? {
        return Ok(());
    }
    let sealed = match overlay() {
        Ok((sealed, _mount)) => sealed,
        Err(error) => {
            log::debug!("no overlay to seal by: {}", crate::causes::chain(&error));
            copy(own)?
        }
    };
    let text = |word: OsString| CString::new(word.into_vec()).map_err(|_| Errno::EINVAL);
    let arguments = std::env::args_os()
        .map(text)
        .collect::<Result<Vec<_>, _>>()?;
    #[expect(clippy::disallowed_methods, reason = "passed on as it is, not read")]
    let environment = std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            text(name)
        })
        .collect::<Result<Vec<_>, _>>()?;
    match execveat(
        &sealed,
        c"",
        &arguments,
        &environment,
        AtFlags::AT_EMPTY_PATH,
    ) {
        Ok(never) => match never {},
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a program's file can't be written by anybody.
fn is_sealed(program: &File) -> Result<bool, SealError> {
    let statistics = fstatfs(program)?;
    if statistics.filesystem_type() == OVERLAYFS_SUPER_MAGIC
        && statistics.flags().contains(FsFlags::ST_RDONLY)
    {
        return Ok(true);
    }
    // Only a file in memory has seals at all.
    Ok(fcntl(program, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE)))
}

/// The program through an overlay of its folder that has no upper layer, and
/// its mount.
fn overlay() -> Result<(OwnedFd, OwnedFd), SealError> {
    let path = std::fs::read_link("/proc/self/exe")?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::ENOENT.into());
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = open(folder, flags, Mode::empty())?;
    // The kernel wants two lower layers that don't lie in each other. The
    // second is whatever is there for sure and attached: kernels before 6.15
    // take no detached mount, and procfs is nowhere a layer.
    let sys = open("/sys", flags, Mode::empty())?;
    let fs = NewFs::open("overlay")?;
    let [program, second] = [&folder, &sys].map(|layer| layer.as_raw_fd());
    // One option for both: kernels before 6.8 know no other way.
    fs.set(
        "lowerdir",
        format!("/proc/self/fd/{program}:/proc/self/fd/{second}"),
    )?;
    let mount = fs.mount(attr::RDONLY | attr::NOSUID | attr::NODEV)?;
    let sealed = openat(
        &mount,
        name,
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    same_program(sealed.as_fd())?;
    Ok((sealed, mount))
}

/// The path may name another file by now (an update); the size and time then
/// differ, and a copy of what runs is made instead.
fn same_program(sealed: std::os::fd::BorrowedFd<'_>) -> Result<(), SealError> {
    let own = open(
        "/proc/self/exe",
        OFlag::O_PATH | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let (own, sealed) = (nix::sys::stat::fstat(&own)?, nix::sys::stat::fstat(sealed)?);
    let facts = |stat: &nix::sys::stat::FileStat| {
        (stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec)
    };
    if facts(&own) == facts(&sealed) {
        Ok(())
    } else {
        Err(Errno::ESTALE.into())
    }
}

/// A copy in memory that nobody can change.
fn copy(mut program: File) -> Result<OwnedFd, SealError> {
    let memory = memfd_create(
        c"holdall-runtime",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let mut memory = File::from(memory);
    io::copy(&mut program, &mut memory)?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(memory.into())
}
