//! Any system call may fail: no room, no descriptor, no memory, a broken disk,
//! an interruption. Each is success or a clear error, never a panic and never
//! a hang; and then the next command works and all is whole.
//!
//! CI takes a few points of each, evenly spread; `make faults` takes every one.

use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;

use crate::env::Env;
use crate::inject::{self, Ended, Fault, Point, Role};
use crate::kills::{is_whole, tell, try_each};
use crate::small;

/// Calls that a disk can fail.
pub(crate) const DISK: &[i64] = &[
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_fsync,
    libc::SYS_syncfs,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_rename,
    libc::SYS_renameat2,
    libc::SYS_ftruncate,
    libc::SYS_copy_file_range,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fsetxattr,
    libc::SYS_mknodat,
];

/// Calls that make a descriptor.
pub(crate) const DESCRIPTORS: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_open,
    libc::SYS_pipe2,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_accept4,
    libc::SYS_epoll_create1,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_signalfd4,
    libc::SYS_memfd_create,
    libc::SYS_pidfd_open,
    libc::SYS_inotify_init1,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_open_tree,
];

/// Calls that make a process.
pub(crate) const PROCESSES: &[i64] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_fork,
    libc::SYS_vfork,
];

/// Calls that wait, and so may be interrupted.
pub(crate) const WAITS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_flock,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_accept4,
];

/// Calls that get a process its memory. Not brk(2), which says no by leaving all
/// as it is; the story of small address spaces has that.
pub(crate) const MEMORY: &[i64] = &[libc::SYS_mmap, libc::SYS_mremap];

/// Calls that read what a disk may no longer give.
const READS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_getdents64,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_readlinkat,
    libc::SYS_unlinkat,
    libc::SYS_fsync,
];

/// What fails with what.
const FAILURES: [(&[i64], Errno); 8] = [
    (DISK, Errno::ENOSPC),
    (DISK, Errno::EIO),
    (DESCRIPTORS, Errno::EMFILE),
    (DESCRIPTORS, Errno::ENFILE),
    (PROCESSES, Errno::EAGAIN),
    (WAITS, Errno::EINTR),
    (MEMORY, Errno::ENOMEM),
    (READS, Errno::EIO),
];

/// Points of one failure of one story in CI.
const SAMPLE: u64 = 1;

fn at_each_call(env: &Env, role: Role, begin: &dyn Fn() -> Command, after: &dyn Fn()) {
    for (calls, errno) in FAILURES {
        let point = |at| Point {
            role,
            calls,
            at,
            fault: Fault::Error(errno),
            times: 1,
        };
        let undisturbed = inject::run(&begin(), point(u64::MAX));
        let code = undisturbed.status.and_then(|status| status.code());
        assert_eq!(code, Some(0), "{undisturbed:?}");
        after();
        let (mut hit, mut failed) = (0, 0);
        try_each(undisturbed.counted, SAMPLE, |at| {
            let ended = inject::run(&begin(), point(at));
            hit += u64::from(ended.hit.is_some());
            failed += u64::from(!is_clear(&ended, role, errno, at));
            after();
            is_whole(env);
        });
        tell(&format!(
            "{role:?}: {errno} at {hit} of {} calls, {failed} commands failed",
            undisturbed.counted
        ));
    }
}

/// Whether the command succeeded; where it didn't, it must have said why.
fn is_clear(ended: &Ended, role: Role, errno: Errno, at: u64) -> bool {
    let what = || format!("{role:?}, {errno} at {at}: {ended:?}");
    let status = ended.status.unwrap_or_else(|| panic!("hangs: {}", what()));
    // Of the standard library's own, where a thread can't begin.
    let early = ended
        .err
        .contains("failed to allocate an alternative stack");
    for text in [&ended.out, &ended.err] {
        assert!(early || !text.contains("panicked"), "{}", what());
    }
    let Some(code) = status.code() else {
        // Where even the words for an error need memory that there isn't.
        let mute = early || ended.err.contains("memory allocation");
        assert!(
            errno == Errno::ENOMEM && mute,
            "ended by a signal: {}",
            what()
        );
        return false;
    };
    // Words that can't be written can't be read.
    let mute = ended.hit == Some(libc::SYS_write) && role == Role::Command;
    // The second are those of a container that was made and couldn't go on.
    let words = ["error:", "holdall-runtime: cannot"];
    let said = words.iter().any(|words| ended.err.contains(words));
    assert!(code == 0 || mute || said, "{}", what());
    code == 0
}

fn a_failing_build(role: Role) {
    let env = Env::new();
    let services = "[service.a]\ncommand = \"sleep 1000\"\n";
    let dir = small::project(&env, "steady", services);
    let build = || env.command(["build".as_ref(), dir.as_os_str()]);
    let fresh = || {
        for folder in ["store", "layers", "cache"] {
            // There is none before the first.
            let _none = std::fs::remove_dir_all(env.root().join(folder));
        }
        build()
    };
    at_each_call(&env, role, &fresh, &|| {
        let _built = env.run(["build".as_ref(), dir.as_os_str()]).ok();
    });
}

#[test]
fn a_builder_whose_calls_fail_says_so_and_leaves_a_store_that_is_whole() {
    a_failing_build(Role::Command);
}

#[test]
fn a_build_step_whose_runtime_fails_says_so_and_leaves_a_store_that_is_whole() {
    a_failing_build(Role::Named("holdall-runtime"));
}

fn a_failing_run(role: Role) {
    let env = Env::new();
    small::build(&env, "steady", "[service.a]\ncommand = \"sleep 1000\"\n");
    let run = || env.command(["run", "--rm", "steady", "true"]);
    at_each_call(&env, role, &run, &|| {
        let _ran = env.run(["run", "--rm", "steady", "true"]).ok();
        for id in env.boxes() {
            let ran = env.run(["rm", "-f", &id]);
            assert!(ran.code == 0 || ran.err.contains("cannot find"), "{ran:?}");
        }
    });
}

#[test]
fn a_run_whose_calls_fail_says_so_and_the_next_works() {
    a_failing_run(Role::Command);
}

#[test]
fn a_runtime_whose_calls_fail_says_so_and_the_next_run_works() {
    a_failing_run(Role::Named("holdall-runtime"));
}

#[test]
fn a_monitor_whose_calls_fail_says_so_and_the_next_run_works() {
    a_failing_run(Role::Named("holdall-monitor"));
}

#[test]
fn a_build_with_too_few_descriptors_or_too_little_memory_says_so() {
    let env = Env::new();
    let services = "[service.a]\ncommand = \"sleep 1000\"\n";
    let dir = small::project(&env, "steady", services);
    let under = |limit: &str, verb: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("{limit}; exec \"$0\" {verb}")]);
        command
            .arg(env!("CARGO_BIN_EXE_holdall"))
            .current_dir(&dir)
            .env("HOLDALL_ROOT", env.root())
            .stdin(Stdio::null());
        command.output().expect("a shell")
    };
    let descriptors = [4, 6, 8, 10, 12, 16].map(|count| format!("ulimit -n {count}"));
    // KiB of address space.
    let memory = [32, 64, 80, 96, 112, 128, 160].map(|mib| format!("ulimit -v {}", mib * 1024));
    let mut tried = 0;
    for limit in descriptors.iter().chain(&memory) {
        // The kernel refuses to load a program that is larger.
        if !under(limit, "--version").status.success() {
            continue;
        }
        tried += 1;
        let ended = under(limit, "build");
        let err = String::from_utf8_lossy(&ended.stderr);
        assert!(!err.contains("panicked"), "{limit}: {err}");
        let said = err.contains("error:") || err.contains("memory allocation");
        assert!(ended.status.success() || said, "{limit}: {ended:?}");
    }
    assert!(tried > 6, "{tried} limits let it load");
    let _built = env.run(["build".as_ref(), dir.as_os_str()]).ok();
    is_whole(&env);
}
