//! The child's whole life between fork and exec. Nothing here allocates, locks
//! or buffers: only what is safe in a signal handler is called.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, stat, umask};
use nix::unistd::{self, Gid, Pid, Uid};

use crate::launch::Launch;
use crate::spawn::{REPORT, Stage, Stdio, shell_code};
use crate::sys;

/// Becomes the program, or reports why not and ends.
pub(crate) fn become_program(launch: &mut Launch, stdio: &Stdio<'_>, reporter: &OwnedFd) -> ! {
    let mut candidate = 0;
    let announced = launch.announce.map_or(0, |(_, becomes)| becomes + 1);
    let first = announced.max(3 + RawFd::try_from(launch.handed.len()).unwrap_or(0));
    // Out of the way of what is put in its place below.
    let Ok(reporter) = sys::copy_above(reporter.as_raw_fd(), first) else {
        sys::exit_now(125)
    };
    let (stage, errno) = match prepare(launch, stdio, first) {
        Ok(()) if launch.looks => (Stage::Look, look(launch)),
        Ok(()) => (Stage::Execute, execute(launch, &mut candidate)),
        Err(failure) => failure,
    };
    let stage_code = Stage::ALL.iter().position(|s| *s == stage).unwrap_or(0);
    let mut bytes = [0; REPORT];
    let [a, b, errno_bytes @ ..] = &mut bytes;
    *a = u8::try_from(stage_code).unwrap_or(0);
    *b = u8::try_from(candidate).unwrap_or(u8::MAX);
    *errno_bytes = (errno as i32).to_le_bytes();
    let (reporter, code) = (sys::adopt(reporter), shell_code(errno));
    if let Some(reporter) = &reporter {
        let _ = unistd::write(reporter, &bytes);
    }
    sys::exit_now(if stage == Stage::Execute { code } else { 125 })
}

/// How soon the kernel's out-of-memory killer takes the process.
const OOM_SCORE_ADJ: &CStr = c"/proc/self/oom_score_adj";

fn prepare(launch: &mut Launch, stdio: &Stdio<'_>, first: RawFd) -> Result<(), (Stage, Errno)> {
    let at = |stage| move |errno| (stage, errno);
    sys::heed_signals();
    session(stdio)?;
    for cgroup in &launch.cgroups {
        let cgroup = sys::adopt(*cgroup).ok_or((Stage::Cgroup, Errno::EBADF))?;
        unistd::write(&cgroup, b"0").map_err(at(Stage::Cgroup))?;
    }
    descriptors(launch, stdio, first).map_err(at(Stage::Descriptors))?;
    if let Some(mark) = launch.mark {
        setrlimit(Resource::RLIMIT_LOCKS, mark, mark).map_err(at(Stage::Limit))?;
    }
    for (resource, soft, hard) in &launch.limits {
        setrlimit(*resource, *soft, *hard).map_err(at(Stage::Limit))?;
    }
    if let Some(nice) = launch.nice {
        sys::set_nice(nice).map_err(at(Stage::Nice))?;
    }
    if let Some(score) = &launch.oom_score_adj {
        let file = open(
            OOM_SCORE_ADJ,
            OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(at(Stage::OomScore))?;
        unistd::write(&file, score).map_err(at(Stage::OomScore))?;
    }
    if let Some(mask) = launch.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    if let Some(account) = &launch.account {
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        // Without privilege only init's own account can be had, and is.
        let own = unistd::geteuid() == uid && unistd::getegid() == gid;
        if !own || unistd::geteuid().is_root() {
            unistd::setgroups(&launch.groups).map_err(at(Stage::Become))?;
            unistd::setresgid(gid, gid, gid).map_err(at(Stage::Become))?;
            unistd::setresuid(uid, uid, uid).map_err(at(Stage::Become))?;
        }
    }
    if launch.account.is_none() && !launch.groups.is_empty() {
        unistd::setgroups(&launch.groups).map_err(at(Stage::Groups))?;
    }
    if let Some(dir) = &launch.dir {
        unistd::chdir(dir.as_c_str()).map_err(at(Stage::Enter))?;
    }
    let mut digits = [0; 10];
    let digits = decimal(unistd::getpid().as_raw(), &mut digits);
    for (index, at) in &launch.pid_slots {
        launch.env.patch(*index, *at, digits);
    }
    // Last: from here on a signal may end this process, as it should.
    SigSet::empty()
        .thread_set_mask()
        .map_err(at(Stage::Session))
}

fn session(stdio: &Stdio<'_>) -> Result<(), (Stage, Errno)> {
    let at = |stage| move |errno| (stage, errno);
    if let Stdio::Foreground = stdio {
        unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(at(Stage::Session))?;
        // TTOU, which this raises in a group that is not in front yet, is
        // still blocked.
        return unistd::tcsetpgrp(std::io::stdin(), unistd::getpid()).map_err(at(Stage::Terminal));
    }
    if let Stdio::OwnGroup = stdio {
        return unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(at(Stage::Session));
    }
    if let Stdio::Same = stdio {
        return Ok(());
    }
    unistd::setsid().map_err(at(Stage::Session))?;
    match stdio {
        Stdio::OwnTerminal => sys::take_terminal(0).map_err(at(Stage::Terminal)),
        Stdio::Terminal(fd) => sys::take_terminal(fd.as_raw_fd()).map_err(at(Stage::Terminal)),
        Stdio::Given(_) | Stdio::Inherited | Stdio::Foreground | Stdio::OwnGroup | Stdio::Same => {
            Ok(())
        }
    }
}

fn descriptors(launch: &mut Launch, stdio: &Stdio<'_>, first: RawFd) -> Result<(), Errno> {
    for fd in &mut launch.handed {
        *fd = sys::copy_above(*fd, first)?;
    }
    if let Some((fd, _)) = &mut launch.announce {
        *fd = sys::copy_above(*fd, first)?;
    }
    match stdio {
        Stdio::Given(three) => {
            for (to, fd) in (0..).zip(three) {
                sys::copy_to(fd.as_raw_fd(), to)?;
            }
        }
        Stdio::Terminal(fd) => {
            for to in 0..3 {
                sys::copy_to(fd.as_raw_fd(), to)?;
            }
        }
        Stdio::Inherited
        | Stdio::OwnTerminal
        | Stdio::Foreground
        | Stdio::OwnGroup
        | Stdio::Same => {}
    }
    for (to, fd) in (3..).zip(&launch.handed) {
        sys::copy_to(*fd, to)?;
    }
    if !launch.passes_all {
        // From the first that nothing was put at.
        sys::close_on_exec_from(3 + RawFd::try_from(launch.handed.len()).unwrap_or(0));
    }
    if let Some((fd, becomes)) = launch.announce {
        sys::copy_to(fd, becomes)?;
    }
    Ok(())
}

/// The number's digits, without `format!`, which may allocate.
fn decimal(number: i32, digits: &mut [u8; 10]) -> &[u8] {
    let mut rest = number.unsigned_abs();
    let mut at = digits.len();
    for (place, slot) in digits.iter_mut().enumerate().rev() {
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        at = place;
        if rest == 0 {
            break;
        }
    }
    digits.get(at..).unwrap_or(&[])
}

/// Looks whether the file is there, and ends with 0 if it is.
fn look(launch: &Launch) -> Errno {
    match launch.candidates.first().map(|path| stat(path.as_c_str())) {
        Some(Ok(_)) => sys::exit_now(0),
        Some(Err(errno)) => errno,
        None => Errno::ENOENT,
    }
}

/// Tries each path; a file that is there but can't be executed is remembered
/// over one that is missing, as `execvp` does.
fn execute(launch: &Launch, candidate: &mut usize) -> Errno {
    let mut failure = Errno::ENOENT;
    for (index, path) in launch.candidates.iter().enumerate() {
        match sys::execve(path, &launch.argv, &launch.env) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => (failure, *candidate) = (Errno::EACCES, index),
            other => {
                *candidate = index;
                return other;
            }
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 1, 9, 10, 4_194_304, i32::MAX] {
            let mut digits = [0; 10];
            assert_eq!(decimal(number, &mut digits), number.to_string().as_bytes());
        }
    }
}
