//! A fault at an exact system call: the tracer that the stories of faults use.
//!
//! A command is started under ptrace and its processes are told apart by the
//! name they run under. The calls of those in one role are counted, and at the
//! chosen one the process is killed, or the call isn't made and fails with the
//! chosen error. So "at any instant" is a number from 1 to the count of a run
//! without a fault, and a failure is found again by its number.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long a command with a fault in it may take, before it hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// Whose calls are counted: those of processes whose command line begins so.
/// A fork that has not yet become another program is in its parent's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The command itself.
    Command,
    /// A process that holdall starts.
    Named(&'static str),
}

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL instead of the call.
    Kill,
    /// The call fails.
    Error(Errno),
}

/// Which call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point<'a> {
    pub(crate) role: Role,
    /// Only these calls count; all where empty.
    pub(crate) calls: &'a [i64],
    /// From 1 on.
    pub(crate) at: u64,
    pub(crate) fault: Fault,
}

/// What came of it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ended {
    /// The command's own end; `None` where it had to be killed as hung.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) out: String,
    pub(crate) err: String,
    /// Calls that counted, up to the fault.
    pub(crate) counted: u64,
    /// The number of the call that the fault hit.
    pub(crate) hit: Option<i64>,
}

/// Runs the command with a fault at this point.
pub(crate) fn run(command: &Command, point: Point<'_>) -> Ended {
    let mut stopped = Command::new("/bin/sh");
    stopped.args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""]);
    stopped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            stopped.env(name, value);
        }
    }
    let mut out = tempfile::tempfile().expect("a file");
    let mut err = tempfile::tempfile().expect("a file");
    let share = |file: &File| Stdio::from(file.try_clone().expect("a descriptor"));
    stopped
        .stdin(Stdio::null())
        .stdout(share(&out))
        .stderr(share(&err));
    let traced = std::thread::scope(|scope| {
        let (started, first) = channel();
        let (over, end) = channel::<()>();
        // Only the thread that attached may trace. Its end lets go of whoever
        // is left, such as a monitor.
        let tracer = scope.spawn(move || {
            let traced = Tracer::start(&mut stopped, point, |pid| {
                started.send(pid).expect("somebody listens");
            });
            drop(over);
            traced
        });
        let first = first.recv().expect("it is started");
        let hung = end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        if hung {
            let _gone = kill(first, Signal::SIGKILL);
        }
        let traced = tracer.join().expect("the tracer works");
        if hung {
            Traced {
                status: None,
                ..traced
            }
        } else {
            traced
        }
    });
    let text = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().expect("a file");
        file.read_to_end(&mut bytes).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ended {
        status: traced.status,
        out: text(&mut out),
        err: text(&mut err),
        counted: traced.counted,
        hit: traced.hit,
    }
}

struct Traced {
    status: Option<ExitStatus>,
    counted: u64,
    hit: Option<i64>,
}

struct Tracer<'a> {
    point: Point<'a>,
    first: Pid,
    /// Whether a process is in the role.
    known: BTreeMap<Pid, bool>,
    /// The process whose call fails, until it returns.
    failing: Option<Pid>,
    traced: Traced,
}

impl<'a> Tracer<'a> {
    fn start(command: &mut Command, point: Point<'a>, started: impl FnOnce(Pid)) -> Traced {
        #[expect(
            clippy::zombie_processes,
            reason = "the tracer waits for all it traces"
        )]
        let child = command.spawn().expect("a shell");
        let first = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        started(first);
        let own = WaitPidFlag::__WNOTHREAD | WaitPidFlag::WUNTRACED;
        waitpid(first, Some(own)).expect("it stops itself");
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::seize(first, options).expect("it can be traced");
        kill(first, Signal::SIGCONT).expect("it goes on");
        let mut tracer = Tracer {
            point,
            first,
            known: BTreeMap::from([(first, false)]),
            failing: None,
            traced: Traced {
                status: None,
                counted: 0,
                hit: None,
            },
        };
        while tracer.traced.status.is_none() {
            let wait = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            let status = waitpid(None, Some(wait)).expect("there is a tracee");
            tracer.step(status);
        }
        tracer.traced
    }

    fn step(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Exited(pid, code) => self.ended(pid, code << 8),
            WaitStatus::Signaled(pid, signal, _) => self.ended(pid, signal as i32),
            WaitStatus::PtraceSyscall(pid) => self.call(pid),
            WaitStatus::PtraceEvent(pid, _, event) => {
                self.event(pid, event);
                self.resume(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => {
                self.known.entry(pid).or_insert(false);
                self.resume(pid, Some(signal));
            }
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
    }

    fn ended(&mut self, pid: Pid, raw: i32) {
        self.known.remove(&pid);
        if pid == self.first {
            self.traced.status = Some(ExitStatus::from_raw(raw));
        }
    }

    fn event(&mut self, pid: Pid, event: i32) {
        let forked = [
            ptrace::Event::PTRACE_EVENT_FORK,
            ptrace::Event::PTRACE_EVENT_VFORK,
            ptrace::Event::PTRACE_EVENT_CLONE,
        ];
        if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 {
            let is_it = self.is_in_role(pid);
            self.known.insert(pid, is_it);
        } else if forked.iter().any(|kind| *kind as i32 == event)
            && let Ok(child) = ptrace::getevent(pid)
        {
            let role = self.known.get(&pid).copied().unwrap_or(false);
            let child = Pid::from_raw(i32::try_from(child).expect("a pid"));
            // The command's forks are processes of their own.
            let role = role && (self.point.role != Role::Command || is_thread(child, pid));
            self.known.insert(child, role);
        } else {
            self.known.entry(pid).or_insert(false);
        }
    }

    fn is_in_role(&self, pid: Pid) -> bool {
        match self.point.role {
            Role::Command => pid == self.first,
            Role::Named(name) => {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.split(|byte| *byte == 0).next() == Some(name.as_bytes())
            }
        }
    }

    /// A process stands before or after a call.
    fn call(&mut self, pid: Pid) {
        let Ok(mut registers) = ptrace::getregs(pid) else {
            // Killed meanwhile by somebody else.
            return;
        };
        if self.failing == Some(pid) {
            if let Fault::Error(errno) = self.point.fault {
                registers.rax = (-i64::from(errno as i32)).cast_unsigned();
                let _gone = ptrace::setregs(pid, registers);
            }
            self.failing = None;
            self.resume(pid, None);
            return;
        }
        let entry = ptrace::syscall_info(pid)
            .is_ok_and(|info| info.op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY);
        let number = registers.orig_rax.cast_signed();
        let counts = self.point.calls.is_empty() || self.point.calls.contains(&number);
        if entry && counts && self.traced.hit.is_none() && self.known.get(&pid) == Some(&true) {
            self.traced.counted += 1;
            if self.traced.counted == self.point.at {
                self.traced.hit = Some(number);
                match self.point.fault {
                    Fault::Kill => {
                        let _gone = kill(pid, Signal::SIGKILL);
                        return;
                    }
                    Fault::Error(_) => {
                        registers.orig_rax = u64::MAX;
                        let _gone = ptrace::setregs(pid, registers);
                        self.failing = Some(pid);
                    }
                }
            }
        }
        self.resume(pid, None);
    }

    /// Lets a process go on: to its next call where that may count.
    fn resume(&mut self, pid: Pid, signal: Option<Signal>) {
        let counts = self.known.get(&pid) == Some(&true) && self.traced.hit.is_none();
        // One that was killed meanwhile is no error: its end comes next.
        let _gone = if counts || self.failing == Some(pid) {
            ptrace::syscall(pid, signal)
        } else if self.traced.hit.is_some() && pid != self.first {
            ptrace::detach(pid, signal)
        } else {
            ptrace::cont(pid, signal)
        };
    }
}

fn is_thread(child: Pid, of: Pid) -> bool {
    fs::exists(format!("/proc/{of}/task/{child}")).unwrap_or(false)
}

#[test]
fn the_tracer_counts_kills_and_fails_calls() {
    let point = |calls, at, fault| Point {
        role: Role::Command,
        calls,
        at,
        fault,
    };
    let mkdir: &[i64] = &[nix::libc::SYS_mkdir];
    let dir = tempfile::tempdir().expect("a folder");
    let mut both = Command::new("mkdir");
    both.args(["a", "b"].map(|name| dir.path().join(name)));
    let there = |name: &str| dir.path().join(name).exists();
    let ended = run(&both, point(mkdir, 9, Fault::Kill));
    assert_eq!((ended.counted, ended.hit), (2, None));
    assert_eq!(ended.status.and_then(|status| status.code()), Some(0));
    fs::remove_dir(dir.path().join("a")).expect("made");
    fs::remove_dir(dir.path().join("b")).expect("made");

    let ended = run(&both, point(mkdir, 1, Fault::Error(Errno::ENOSPC)));
    assert_eq!(ended.hit, Some(nix::libc::SYS_mkdir));
    assert_eq!(ended.status.and_then(|status| status.code()), Some(1));
    assert!(ended.err.contains("No space left"), "{}", ended.err);
    assert!(!there("a") && there("b"));
    fs::remove_dir(dir.path().join("b")).expect("made");

    let ended = run(&both, point(mkdir, 2, Fault::Kill));
    assert_eq!(ended.status.and_then(|status| status.signal()), Some(9));
    assert!(there("a") && !there("b"));
}
