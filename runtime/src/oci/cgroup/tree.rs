//! A cgroup with everything below it.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

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
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // Sub-cgroups, or tasks that are ending.
            Err(error) if error.kind() == ErrorKind::ResourceBusy && tries < REMOVE_TRIES => {
                for child in children(path) {
                    remove(&child)?;
                }
                tries += 1;
                if tries > 1 {
                    wait_for_change(path);
                }
            }
            Err(error) => return Err(failed("remove", path)(error)),
        }
    }
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
