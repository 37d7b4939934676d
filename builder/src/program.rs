//! External programs: apt and mmdebstrap, which are Debian's own way of
//! choosing and unpacking its packages.
//!
//! Each runs in a process and mount namespace of its own by `setpriv` and
//! `unshare` of util-linux, so that whatever it started and mounted is gone
//! when it is, and it is gone when the build is, even by SIGKILL.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::lines::Lines;

/// How often a wish to stop is looked at, in milliseconds. The flag has no
/// descriptor to wait on.
const STOP_CHECK: u8 = 50;

/// The last lines of output that an error carries.
pub(crate) const TAIL: usize = 20;

/// Where programs are looked for, the same for every build.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program didn't do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not installed.
    #[error("cannot find {program}: install the package {package}")]
    Absent {
        /// The program.
        program: &'static str,
        /// The package of Debian that has it.
        package: &'static str,
    },
    /// It can't be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It can't be watched.
    #[error("cannot wait for {program}")]
    Wait {
        /// The program.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("{program} failed ({status}):\n{}", tail.join("\n"))]
    Failed {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        tail: Vec<String>,
    },
    /// The build was told to stop.
    #[error("stopped")]
    Stopped,
}

/// A program to run.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Its name.
    pub(crate) name: &'static str,
    /// The package of Debian that has it.
    pub(crate) package: &'static str,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its environment, beside a fixed one.
    pub(crate) env: Vec<(String, String)>,
    /// Its folder for temporary files.
    pub(crate) temporary: &'a Path,
}

impl Program<'_> {
    /// Runs it to its end and returns its standard output; standard error goes
    /// to `progress` line by line.
    pub(crate) fn run(
        &self,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Vec<u8>, ProgramError> {
        for (program, package) in [
            ("setpriv", "util-linux"),
            ("unshare", "util-linux"),
            (self.name, self.package),
        ] {
            if !installed(program) {
                return Err(ProgramError::Absent { program, package });
            }
        }
        let program = self.name;
        let mut child = self
            .command()
            .spawn()
            .map_err(|source| ProgramError::Start { program, source })?;
        let watched = watch(&mut child, stop, progress);
        if !matches!(watched, Ok(Some(_))) {
            end(&mut child).map_err(|source| ProgramError::Wait { program, source })?;
        }
        let status = child
            .wait()
            .map_err(|source| ProgramError::Wait { program, source })?;
        let Some(output) = watched.map_err(|source| ProgramError::Wait { program, source })? else {
            return Err(ProgramError::Stopped);
        };
        if status.success() {
            return Ok(output.bytes);
        }
        Err(ProgramError::Failed {
            program,
            status,
            tail: output.tail.into(),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--kill-child=KILL",
            "--fork",
        ]);
        command.args(["--pid", "--mount-proc", "--uts", "--ipc", "--"]);
        command.arg(self.name).args(&self.args);
        command.env_clear();
        command
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("TMPDIR", self.temporary);
        command
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir("/").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C on the terminal is for us to pass on.
        command.process_group(0);
        command
    }
}

/// Kills the program's whole namespace, so that the wait for `child`, which is
/// `unshare`, ends when the last process in it has.
///
/// Killing `unshare` would do it too, but nobody could wait for the rest. While
/// it is stopped it can't reap, so the number of its child stays its child's.
fn end(child: &mut Child) -> io::Result<()> {
    let number = i32::try_from(child.id()).map_err(io::Error::other)?;
    let unshare = Pid::from_raw(number);
    kill(unshare, Signal::SIGSTOP)?;
    let halted = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(unshare), halted)?;
    let children = std::fs::read_to_string(format!("/proc/{number}/task/{number}/children"));
    let children: Vec<i32> = children
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    for inner in &children {
        kill(Pid::from_raw(*inner), Signal::SIGKILL)?;
    }
    if children.is_empty() {
        child.kill()
    } else {
        Ok(kill(unshare, Signal::SIGCONT)?)
    }
}

fn installed(program: &str) -> bool {
    PATH.split(':')
        .any(|dir| Path::new(dir).join(program).is_file())
}

struct Output {
    bytes: Vec<u8>,
    tail: VecDeque<String>,
}

/// More than any of them prints to standard output.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;

/// Reads both outputs to their ends; `None` where `stop` turned true before.
fn watch(
    child: &mut Child,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> io::Result<Option<Output>> {
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let mut output = Output {
        bytes: Vec::new(),
        tail: VecDeque::new(),
    };
    let mut lines = Lines::default();
    let mut buffer = vec![0; 64 * 1024];
    while stdout.is_some() || stderr.is_some() {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (ready_out, ready_err) = {
            let out = stdout
                .as_ref()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            let err = stderr
                .as_ref()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            let has_out = out.is_some();
            let mut fds: Vec<PollFd<'_>> = out.into_iter().chain(err).collect();
            match poll(&mut fds, PollTimeout::from(STOP_CHECK)) {
                Ok(_) => {}
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
            let ready_out = has_out && ready.next().unwrap_or(false);
            (ready_out, ready.next().unwrap_or(false))
        };
        if ready_out && let Some(pipe) = &mut stdout {
            match pipe.read(&mut buffer)? {
                0 => stdout = None,
                count => output.bytes.extend(buffer.get(..count).unwrap_or_default()),
            }
            if output.bytes.len() > MAX_OUTPUT {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
        }
        if ready_err && let Some(pipe) = &mut stderr {
            let mut line = |line: &str| {
                keep(&mut output.tail, line);
                progress(line);
            };
            match pipe.read(&mut buffer)? {
                0 => {
                    lines.finish(&mut line);
                    stderr = None;
                }
                count => lines.push(buffer.get(..count).unwrap_or_default(), &mut line),
            }
        }
    }
    Ok(Some(output))
}

/// Keeps the last lines.
pub(crate) fn keep(tail: &mut VecDeque<String>, line: &str) {
    if tail.len() == TAIL {
        tail.pop_front();
    }
    tail.push_back(line.to_owned());
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    fn shell(
        script: &str,
        temporary: &Path,
        stop: &AtomicBool,
    ) -> (Result<Vec<u8>, ProgramError>, Vec<String>) {
        let program = Program {
            name: "sh",
            package: "dash",
            args: vec!["-c".into(), script.into()],
            env: Vec::new(),
            temporary,
        };
        let mut lines = Vec::new();
        let result = program.run(stop, &mut |line| {
            lines.push(line.to_owned());
            stop.store(line == "stop now", Ordering::Relaxed);
        });
        (result, lines)
    }

    #[test]
    fn output_comes_back_and_errors_line_by_line() {
        let stop = AtomicBool::new(false);
        let (output, lines) = shell(
            "echo a; echo one >&2; echo two >&2",
            Path::new("/tmp"),
            &stop,
        );
        assert_eq!(output.unwrap(), b"a\n");
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn a_failure_carries_the_last_lines() {
        let stop = AtomicBool::new(false);
        let (output, _) = shell(
            "for i in $(seq 100); do echo $i >&2; done; exit 3",
            Path::new("/tmp"),
            &stop,
        );
        let error = output.unwrap_err().to_string();
        assert!(
            error.starts_with("sh failed (exit status: 3):\n81\n"),
            "{error}"
        );
        assert!(error.ends_with("\n100"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_names_its_package() {
        let program = Program {
            name: "mmdebootstrap",
            package: "mmdebstrap",
            args: Vec::new(),
            env: Vec::new(),
            temporary: Path::new("/tmp"),
        };
        let error = program
            .run(&AtomicBool::new(false), &mut |_| {})
            .unwrap_err();
        insta::assert_snapshot!(error, @"cannot find mmdebootstrap: install the package mmdebstrap");
    }

    #[test]
    fn a_stop_ends_the_program_and_what_it_left_in_the_background() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let stop = AtomicBool::new(false);
        let script = format!(
            "exec 7<>{0}; setsid sleep 1000 & echo stop now >&2; wait",
            fifo.display()
        );
        let (output, _) = shell(&script, Path::new("/tmp"), &stop);
        assert!(matches!(output, Err(ProgramError::Stopped)));
        // With a writer left, the read would fail with EAGAIN.
        let mut options = std::fs::File::options();
        options.read(true).custom_flags(nix::libc::O_NONBLOCK);
        assert_eq!(options.open(&fifo).unwrap().read(&mut [0]).unwrap(), 0);
    }
}
