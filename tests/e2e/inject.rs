//! A fault at an exact system call: the tracer that the stories of faults use.
//!
//! A command is started under ptrace and its processes are told apart by the
//! name they run under. The calls of those in one role are counted, and at the
//! chosen one the process is killed, or the call isn't made and fails with the
//! chosen error, and as many after it as are wanted. So "at any instant" is a
//! number from 1 to the count of a run without a fault, and a failure is found
//! again by its number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long a command with a fault in it may take, before it hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// How long a new process waits for its maker's report, in milliseconds: those
/// who live report at once.
const PATIENCE: u32 = 500;

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
    /// So many of these calls fail, one after the other, before the fault
    /// ends.
    pub(crate) times: u64,
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
    /// Processes and threads that the command itself has made.
    pub(crate) made: u64,
}

/// Runs the command with a fault at this point.
pub(crate) fn run(command: &Command, point: Point<'_>) -> Ended {
    run_beside(command, point, |_| {})
}

/// The same; `beside` is told the command's process and does its part while
/// the command runs. Where it panics, the command is killed.
pub(crate) fn run_beside(
    command: &Command,
    point: Point<'_>,
    beside: impl FnOnce(Pid) + Send,
) -> Ended {
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
        let beside = scope.spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(|| beside(first)));
            if done.is_err() {
                let _gone = kill(first, Signal::SIGKILL);
            }
            done
        });
        let hung = end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        if hung {
            let _gone = kill(first, Signal::SIGKILL);
        }
        let traced = tracer.join().expect("the tracer works");
        if let Err(panic) = beside.join().expect("it catches its panics") {
            resume_unwind(panic);
        }
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
        made: traced.made,
    }
}

struct Traced {
    status: Option<ExitStatus>,
    counted: u64,
    hit: Option<i64>,
    made: u64,
}

struct Tracer<'a> {
    point: Point<'a>,
    first: Pid,
    /// Whether a process is in the role.
    known: BTreeMap<Pid, bool>,
    /// New ones whose maker has not reported them yet: only its word says
    /// whether they are in the role. They wait before their first call.
    held: BTreeSet<Pid>,
    /// Processes whose call fails, until it returns.
    failing: BTreeSet<Pid>,
    /// Calls that are still to fail.
    left: u64,
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
            held: BTreeSet::new(),
            failing: BTreeSet::new(),
            left: match point.fault {
                Fault::Kill => 1,
                Fault::Error(_) => point.times,
            },
            traced: Traced {
                status: None,
                counted: 0,
                hit: None,
                made: 0,
            },
        };
        while tracer.traced.status.is_none() {
            let status = tracer.wait();
            tracer.step(status);
        }
        tracer.traced
    }

    /// The next thing that happens. A maker that was killed before it could
    /// report its child never will: then nobody is held any longer.
    fn wait(&mut self) -> WaitStatus {
        let wait = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        for _ in 0..PATIENCE {
            if self.held.is_empty() {
                break;
            }
            let now = waitpid(None, Some(wait | WaitPidFlag::WNOHANG));
            match now.expect("there is a tracee") {
                WaitStatus::StillAlive => {
                    let _slept = poll(&mut [], PollTimeout::from(1_u8));
                }
                status => return status,
            }
        }
        for orphan in std::mem::take(&mut self.held) {
            self.known.insert(orphan, false);
            self.resume(orphan, None);
        }
        waitpid(None, Some(wait)).expect("there is a tracee")
    }

    fn step(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Exited(pid, code) => self.ended(pid, code << 8),
            WaitStatus::Signaled(pid, signal, _) => self.ended(pid, signal as i32),
            WaitStatus::PtraceSyscall(pid) => self.call(pid),
            WaitStatus::PtraceEvent(pid, _, event) => self.event(pid, event),
            WaitStatus::Stopped(pid, signal) => self.resume(pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
    }

    fn ended(&mut self, pid: Pid, raw: i32) {
        self.known.remove(&pid);
        self.held.remove(&pid);
        self.failing.remove(&pid);
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
        } else if forked.iter().any(|kind| *kind as i32 == event) {
            self.traced.made += u64::from(pid == self.first);
            if let Ok(child) = ptrace::getevent(pid) {
                let role = self.known.get(&pid).copied().unwrap_or(false);
                let child = Pid::from_raw(i32::try_from(child).expect("a pid"));
                // The command's forks are processes of their own.
                let role = role && (self.point.role != Role::Command || is_thread(child, pid));
                self.known.insert(child, role);
                if self.held.remove(&child) {
                    self.resume(child, None);
                }
            }
        } else if !self.known.contains_key(&pid) {
            self.held.insert(pid);
            return;
        }
        self.resume(pid, None);
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
        if self.failing.remove(&pid) {
            if let Fault::Error(errno) = self.point.fault {
                registers.rax = (-i64::from(errno as i32)).cast_unsigned();
                let _gone = ptrace::setregs(pid, registers);
            }
            self.resume(pid, None);
            return;
        }
        let entry = ptrace::syscall_info(pid)
            .is_ok_and(|info| info.op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY);
        let number = registers.orig_rax.cast_signed();
        let counts = self.point.calls.is_empty() || self.point.calls.contains(&number);
        if entry && counts && self.left > 0 && self.known.get(&pid) == Some(&true) {
            self.traced.counted += 1;
            if self.traced.counted >= self.point.at {
                self.left -= 1;
                self.traced.hit.get_or_insert(number);
                match self.point.fault {
                    Fault::Kill => {
                        let _gone = kill(pid, Signal::SIGKILL);
                        return;
                    }
                    Fault::Error(_) => {
                        registers.orig_rax = u64::MAX;
                        let _gone = ptrace::setregs(pid, registers);
                        self.failing.insert(pid);
                    }
                }
            }
        }
        self.resume(pid, None);
    }

    /// Lets a process go on: to its next call where that may count.
    fn resume(&mut self, pid: Pid, signal: Option<Signal>) {
        let counts = self.known.get(&pid) == Some(&true) && self.left > 0;
        // One that was killed meanwhile is no error: its end comes next.
        let _gone = if counts || self.failing.contains(&pid) {
            ptrace::syscall(pid, signal)
        } else if self.left == 0 && pid != self.first {
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
        times: 1,
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
    fs::remove_dir(dir.path().join("a")).expect("made");

    let long = Point {
        times: 2,
        ..point(mkdir, 1, Fault::Error(Errno::ENOSPC))
    };
    let ended = run(&both, long);
    assert_eq!(ended.counted, 2);
    assert!(!there("a") && !there("b"));
}

#[test]
fn counts_are_the_same_from_run_to_run() {
    // Forks of forks in one role, each of which makes calls at once.
    let script = "for n in 1 2 3 4 5 6 7 8; do ( ( : ); : ) & done; wait";
    let mut command = Command::new("dash");
    command.args(["-c", script]);
    let point = Point {
        role: Role::Named("dash"),
        calls: &[nix::libc::SYS_exit_group],
        at: u64::MAX,
        fault: Fault::Kill,
        times: 1,
    };
    for _ in 0..20 {
        // Itself, eight children, and a child of each.
        assert_eq!(run(&command, point).counted, 17);
    }
}
