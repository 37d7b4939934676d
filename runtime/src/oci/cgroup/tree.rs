//! A cgroup with everything below it.

use std::ffi::CString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};

use super::{CgroupError, failed};

/// How often a removal is tried while the kernel still counts dying tasks,
/// and how long each wait is, in milliseconds: 2 s in all. Past it somebody
/// else holds the cgroup.
const REMOVE_TRIES: u32 = 200;
const REMOVE_WAIT: u16 = 10;

pub(super) fn collect(path: &Path, pids: &mut Vec<Pid>) {
    if let Ok(text) = fs::read_to_string(path.join("cgroup.procs")) {
        pids.extend(
            text.lines()
                .filter_map(|line| line.parse().ok())
                .map(Pid::from_raw),
        );
    }
    for child in children(path) {
        collect(&child, pids);
    }
}

/// The cgroup at or below `path` that a process is in.
pub(super) fn find(path: &Path, pid: i32) -> Option<PathBuf> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    if text.lines().any(|line| line.parse() == Ok(pid)) {
        return Some(path.to_owned());
    }
    children(path).iter().find_map(|child| find(child, pid))
}

fn children(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

pub(super) fn remove(path: &Path) -> Result<(), CgroupError> {
    let mut tries = 0;
    loop {
        match remove_idle(path) {
            Ok(()) => return Ok(()),
            // Tasks that are ending.
            Err(error) if error.kind() == ErrorKind::ResourceBusy && tries < REMOVE_TRIES => {
                tries += 1;
                if tries > 1 {
                    wait_for_change(path);
                }
            }
            Err(error) => return Err(failed("remove", path)(error)),
        }
    }
}

/// Removes a cgroup with those below it, as far as nobody is in them.
pub(super) fn remove_idle(path: &Path) -> io::Result<()> {
    let removed = || match fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    match removed() {
        Err(error) if error.kind() == ErrorKind::ResourceBusy => {
            remove_below(path)?;
            removed()
        }
        other => other,
    }
}

/// What is below was made by the container, as deep as it liked: deeper than a
/// path can be, and than there are descriptors. So one directory is open at a
/// time, and the way back is `..`.
fn remove_below(top: &Path) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut here = open(top, flags, Mode::empty())?;
    // Each with its name in the one before, and what is left to remove in it.
    let mut way = vec![(CString::default(), below(&here)?)];
    while let Some((_, left)) = way.last_mut() {
        if let Some(child) = left.pop() {
            let remove = || unlinkat(&here, child.as_c_str(), UnlinkatFlags::RemoveDir);
            if remove() == Err(Errno::EBUSY)
                && let Ok(deeper) = openat(&here, child.as_c_str(), flags, Mode::empty())
            {
                way.push((child, below(&deeper)?));
                here = deeper;
            }
        } else if let Some((name, _)) = way.pop()
            && !way.is_empty()
        {
            here = openat(&here, "..", flags, Mode::empty())?;
            // Whoever is in it is seen by the caller: what is above stays too.
            let _ = unlinkat(&here, name.as_c_str(), UnlinkatFlags::RemoveDir);
        }
    }
    Ok(())
}

/// The names of the cgroups in an open one.
fn below(cgroup: &OwnedFd) -> nix::Result<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listed = Dir::openat(cgroup, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in listed.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Waits until the kernel reports that the population changed, or a little.
fn wait_for_change(path: &Path) {
    let timeout = PollTimeout::from(REMOVE_WAIT);
    let events = fs::File::open(path.join("cgroup.events"));
    let waited = match &events {
        Ok(file) => poll(
            &mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)],
            timeout,
        ),
        // Version 1 has no such file.
        Err(_) => poll(&mut [], timeout),
    };
    if let Err(errno) = waited {
        log::debug!("cannot wait for {}: {errno}", path.display());
    }
}
