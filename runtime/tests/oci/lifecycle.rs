//! The verbs, from create to delete, and what becomes of a container when a
//! part of them dies.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;

use holdall_runtime::oci::client::ClientError;
use holdall_runtime::oci::spec::{Hook, Hooks, Process};
use holdall_runtime::oci::state::Status;
use nix::sys::signal::Signal;

use crate::Test;
use crate::fixture::{Bundle, Reaped, eventually};

pub(crate) const TESTS: &[Test] = &[
    (
        "a container goes from created to running to stopped to nothing",
        whole_life,
    ),
    ("a running container is not deleted unless forced", forced),
    ("an id is taken until it is deleted", taken),
    (
        "what doesn't exist is said by name, and deleting it by force is fine",
        missing,
    ),
    ("two hundred fast programs end, each seen", fast),
    ("signals to run are passed on", forwarded),
    (
        "exec joins every namespace with the container's own privileges",
        exec_joins,
    ),
    (
        "exec's exit code, user, directory and variables are as asked for",
        exec_options,
    ),
    (
        "exec in a user namespace is root there",
        exec_user_namespace,
    ),
    (
        "exec by the library waits and brings the code back",
        exec_library,
    ),
    ("hooks run in their order, each with the state", hooks),
    ("a failing hook undoes the container", failing_hook),
    (
        "create killed half-way leaves what delete --force removes",
        killed_in_create,
    ),
    (
        "create killed once its process waits leaves what delete --force removes",
        killed_in_the_wait,
    ),
    ("ps and list show what runs", shown),
    ("kill --all reaches what left the first process", kill_all),
    ("errors are logged in runc's format where asked for", logged),
];

/// Waits until a process that isn't our child has ended.
pub(crate) fn wait_for_end(pid: i32) {
    eventually("the process ended", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    });
}

fn status(bundle: &Bundle) -> Status {
    bundle.client().state(&bundle.id).unwrap().status
}

fn whole_life() {
    let mut bundle = Bundle::new();
    bundle.program(&["sleep", "1000"]).write();
    let pid_file = bundle.dir.path().join("pid");
    let options = [
        "-b",
        bundle.dir.path().to_str().unwrap(),
        "--pid-file",
        pid_file.to_str().unwrap(),
    ];
    assert!(bundle.call("create", &options).status.success());
    let state = bundle.client().state(&bundle.id).unwrap();
    assert_eq!(state.status, Status::Created);
    assert_eq!(
        fs::read_to_string(&pid_file).unwrap(),
        state.pid.to_string()
    );
    assert_eq!(state.bundle, fs::canonicalize(bundle.dir.path()).unwrap());
    // Everything is set up, but nothing of the image runs yet.
    let program = fs::read(format!("/proc/{}/cmdline", state.pid)).unwrap();
    assert!(String::from_utf8_lossy(&program).contains("holdall-runtime"));

    assert!(bundle.call("start", &[]).status.success());
    assert_eq!(status(&bundle), Status::Running);
    let again = bundle.call("start", &[]);
    let text = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(text.contains(": it is running"), "{text}");

    bundle.client().kill(&bundle.id, Signal::SIGKILL).unwrap();
    wait_for_end(state.pid);
    eventually("stopped", || status(&bundle) == Status::Stopped);
    assert!(bundle.client().kill(&bundle.id, Signal::SIGKILL).is_err());
    bundle.client().delete(&bundle.id, false).unwrap();
}

fn forced() {
    let mut bundle = Bundle::new();
    bundle.program(&["sleep", "1000"]).up();
    let text = bundle
        .client()
        .delete(&bundle.id, false)
        .unwrap_err()
        .to_string();
    assert_eq!(
        text,
        format!("cannot delete container {}: it is running", bundle.id)
    );
    bundle.client().delete(&bundle.id, true).unwrap();
}

fn taken() {
    let mut bundle = Bundle::new();
    bundle.program(&["sleep", "1000"]).up();
    let text = bundle.refusal();
    assert!(text.contains(&format!(
        "cannot create container {}: it exists already",
        bundle.id
    )));
    // The failed attempt took nothing of the first away.
    assert_eq!(status(&bundle), Status::Running);
    bundle.client().delete(&bundle.id, true).unwrap();
}

fn missing() {
    let bundle = Bundle::new();
    let text = bundle.client().start("nobody").unwrap_err().to_string();
    assert_eq!(text, "cannot find container nobody: it does not exist");
    assert!(bundle.client().delete("nobody", false).is_err());
    bundle.client().delete("nobody", true).unwrap();
    let text = bundle.client().start("../x").unwrap_err().to_string();
    assert!(
        text.starts_with("cannot use \"../x\" as a container id"),
        "{text}"
    );
}

fn fast() {
    let mut bundle = Bundle::new();
    bundle.program(&["true"]).write();
    for round in 0..200 {
        let mut child = Reaped(
            bundle
                .runtime("run")
                .arg("-b")
                .arg(bundle.dir.path())
                .arg(&bundle.id)
                .spawn()
                .unwrap(),
        );
        let mut status = None;
        eventually("run returned", || {
            status = child.0.try_wait().unwrap();
            status.is_some()
        });
        assert!(
            status.is_some_and(|status| status.success()),
            "round {round}: {status:?}"
        );
    }
}

fn forwarded() {
    let mut bundle = Bundle::new();
    bundle
        .script("trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.05; done")
        .write();
    let mut child = bundle
        .runtime("run")
        .arg("-b")
        .arg(bundle.dir.path())
        .arg(&bundle.id)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, Signal::SIGUSR1).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

fn exec_joins() {
    let mut bundle = Bundle::new();
    bundle.program(&["sleep", "1000"]).up();
    let script = "for n in mnt net ipc uts pid cgroup; do \
                    test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) || echo $n; done; \
                  grep -E 'CapInh|CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; \
                  ls /proc/self/fd; pwd";
    let output = bundle.exec(&[], &["sh", "-c", script]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "CapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n\
         NoNewPrivs:\t1\nSeccomp:\t2\n0\n1\n2\n3\n/\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    bundle.client().delete(&bundle.id, true).unwrap();
}

fn exec_options() {
    let mut bundle = Bundle::new();
    bundle.program(&["sleep", "1000"]).up();
    let output = bundle.exec(
        &["-u", "7:8", "-w", "/tmp", "-e", "A=b c"],
        &["sh", "-c", "id -u; id -g; pwd; echo $A; exit 4"],
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "7\n8\n/tmp\nb c\n");
    assert_eq!(output.status.code(), Some(4));
    // CVE-2026-30892: what isn't a user must not become one.
    for user in ["+1", "1foo", "", "4294967296", "1:", "4294967295"] {
        let output = bundle.exec(&["-u", user], &["id"]);
        assert_eq!(output.status.code(), Some(2), "{user:?}");
        assert!(output.stdout.is_empty());
    }
    let output = bundle.exec(&[], &["nothing-like-it"]);
    assert_eq!(output.status.code(), Some(127));
    let output = bundle.exec(&["-t"], &["tty"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/dev/pts/0\r\n");
    bundle.client().delete(&bundle.id, true).unwrap();
}

fn exec_user_namespace() {
    use holdall_runtime::oci::spec::{IdMapping, Namespace, NamespaceType};
    let mut bundle = Bundle::new();
    let map = IdMapping {
        container_id: 0,
        host_id: 300_000,
        size: 65_536,
    };
    bundle.linux().uid_mappings = vec![map];
    bundle.linux().gid_mappings = vec![map];
    bundle.linux().namespaces.push(Namespace {
        kind: NamespaceType::User,
        path: None,
    });
    std::os::unix::fs::chown(bundle.rootfs(), Some(300_000), Some(300_000)).unwrap();
    bundle.program(&["sleep", "1000"]).up();
    let output = bundle.exec(&[], &["sh", "-c", "id -u; readlink /proc/self/ns/user"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("0\nuser:"),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let host = fs::read_link("/proc/self/ns/user").unwrap();
    assert!(!text.contains(host.to_str().unwrap()));
    bundle.client().delete(&bundle.id, true).unwrap();
}

fn exec_library() {
    let mut bundle = Bundle::new();
    bundle.program(&["sleep", "1000"]).up();
    let null = fs::File::open("/dev/null").unwrap();
    let out = bundle.dir.path().join("out");
    let file = fs::File::create(&out).unwrap();
    let stdio = [null.as_fd(), file.as_fd(), file.as_fd()];
    let process = Process {
        args: ["sh", "-c", "echo hello; exit 3"]
            .map(str::to_owned)
            .to_vec(),
        cwd: "/".into(),
        ..Process::default()
    };
    let running = bundle
        .client()
        .exec(&bundle.id, &process, stdio, None)
        .unwrap();
    assert!(running.pid > 0);
    assert_eq!(running.wait().unwrap(), 3);
    assert_eq!(fs::read_to_string(out).unwrap(), "hello\n");
    let process = Process {
        args: vec!["nothing-like-it".into()],
        cwd: "/".into(),
        ..process
    };
    match bundle.client().exec(&bundle.id, &process, stdio, None) {
        Err(ClientError::Runtime {
            message: text,
            code,
        }) => {
            assert_eq!(code, 127);
            assert!(text.contains("not found in the container"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    bundle.client().delete(&bundle.id, true).unwrap();
}

/// A hook that appends its name and the state's status to a file.
fn hook(bundle: &Bundle, name: &str) -> Vec<Hook> {
    let file = bundle.dir.path().join("hooks");
    let script = format!(
        "s=$(grep -o '\"status\":\"[a-z]*\"' | cut -d'\"' -f4); echo {name} $s >>{}",
        file.display()
    );
    vec![Hook {
        path: "/bin/sh".into(),
        args: vec!["sh".into(), "-c".into(), script],
        env: vec!["PATH=/usr/bin".into()],
        timeout: Some(10),
    }]
}

fn hooks() {
    let mut bundle = Bundle::new();
    let mut all = Hooks {
        prestart: hook(&bundle, "prestart"),
        create_runtime: hook(&bundle, "createRuntime"),
        create_container: hook(&bundle, "createContainer"),
        poststart: hook(&bundle, "poststart"),
        poststop: hook(&bundle, "poststop"),
        start_container: Vec::new(),
    };
    // Inside: the host's file isn't reachable, the image's is.
    all.start_container = vec![Hook {
        path: "/bin/sh".into(),
        args: ["sh", "-c", "echo startContainer >/tmp/hook"]
            .map(str::to_owned)
            .to_vec(),
        ..Hook::default()
    }];
    bundle.spec.hooks = Some(all);
    assert_eq!(
        bundle.program(&["cat", "/tmp/hook"]).printed(),
        "startContainer\n"
    );
    assert_eq!(
        fs::read_to_string(bundle.dir.path().join("hooks")).unwrap(),
        "prestart creating\ncreateRuntime creating\ncreateContainer creating\n\
         poststart running\npoststop stopped\n"
    );
}

fn failing_hook() {
    let mut bundle = Bundle::new();
    let failing = Hook {
        path: "/bin/false".into(),
        ..Hook::default()
    };
    bundle.spec.hooks = Some(Hooks {
        create_runtime: vec![failing],
        ..Hooks::default()
    });
    let text = bundle.program(&["true"]).refusal();
    assert!(
        text.contains("cannot go on after the hook /bin/false"),
        "{text}"
    );
}

fn killed_in_create() {
    let mut bundle = Bundle::new();
    let fifo = bundle.dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The hook tells that it runs, and then never ends by itself.
    let script = format!("echo here >{}; exec sleep 1000", fifo.display());
    bundle.spec.hooks = Some(Hooks {
        create_container: vec![Hook {
            path: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), script],
            env: vec!["PATH=/usr/bin".into()],
            timeout: None,
        }],
        ..Hooks::default()
    });
    bundle.program(&["true"]).write();
    let mut runtime = bundle
        .runtime("create")
        .arg("-b")
        .arg(bundle.dir.path())
        .arg(&bundle.id)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(fs::read_to_string(&fifo).unwrap(), "here\n");
    runtime.kill().unwrap();
    runtime.wait().unwrap();
    // The half-made first process dies with the runtime, and in its pid
    // namespace the hook with it.
    eventually("everything in it ended", || bundle.processes().is_empty());
    bundle.client().delete(&bundle.id, true).unwrap();
}

fn killed_in_the_wait() {
    let mut bundle = Bundle::new();
    bundle.program(&["sleep", "1000"]).write();
    // The pid file is written last. Written to a FIFO that is full, `create`
    // stays there, with its process waiting for the start.
    let pid_file = bundle.dir.path().join("pid");
    let fresh = bundle.dir.path().join("pid.new");
    nix::unistd::mkfifo(&fresh, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let full = fs::File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&fresh)
        .unwrap();
    while nix::unistd::write(&full, &[0; 4096]).is_ok() {}
    let mut child = Reaped(
        bundle
            .runtime("create")
            .arg("-b")
            .arg(bundle.dir.path())
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&bundle.id)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let descriptors = format!("/proc/{}/fd", child.0.id());
    eventually("the pid file to be opened", || {
        fs::read_dir(&descriptors)
            .into_iter()
            .flatten()
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|path| path == fresh))
    });
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    drop(full);

    // In a process of its own, so that a `delete` that hangs is ended.
    let err = bundle.dir.path().join("err");
    let mut delete = Reaped(
        bundle
            .runtime("delete")
            .arg("--force")
            .arg(&bundle.id)
            .stderr(fs::File::create(&err).unwrap())
            .spawn()
            .unwrap(),
    );
    eventually("delete to end", || delete.0.try_wait().unwrap().is_some());
    let status = delete.0.wait().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(err).unwrap());
}

fn shown() {
    let mut bundle = Bundle::new();
    bundle.program(&["sleep", "1000"]).up();
    let pid = bundle.client().state(&bundle.id).unwrap().pid;
    let json = bundle.call("ps", &["--format", "json"]).stdout;
    assert_eq!(serde_json::from_slice::<Vec<i32>>(&json).unwrap(), [pid]);
    // The container is started a moment before its process is another program.
    eventually("its program in the table", || {
        let table = String::from_utf8(bundle.call("ps", &[]).stdout).unwrap();
        table.contains("sleep 1000")
    });
    let list = bundle.runtime("list").output().unwrap().stdout;
    let list = String::from_utf8(list).unwrap();
    assert!(
        list.contains(&bundle.id) && list.contains("running"),
        "{list}"
    );
    bundle.client().delete(&bundle.id, true).unwrap();
}

fn kill_all() {
    let mut bundle = Bundle::new();
    let ready = bundle.dir.path().join("ready");
    nix::unistd::mkfifo(&ready, nix::sys::stat::Mode::S_IRWXU).unwrap();
    bundle
        .spec
        .mounts
        .push(crate::fixture::bind(&ready, "/ready", "rw"));
    // Without a pid namespace, orphans live on after the first process.
    bundle
        .linux()
        .namespaces
        .retain(|n| n.kind != holdall_runtime::oci::spec::NamespaceType::Pid);
    bundle
        .spec
        .mounts
        .retain(|mount| mount.destination != std::path::Path::new("/proc"));
    bundle.spec.mounts.push(crate::fixture::bind(
        std::path::Path::new("/tmp"),
        "/mnt",
        "ro",
    ));
    bundle.linux().masked_paths.clear();
    bundle.linux().readonly_paths.clear();
    bundle
        .script("setsid sleep 1000 >/dev/null & echo go >/ready; exec true")
        .up();
    assert_eq!(fs::read_to_string(&ready).unwrap(), "go\n");
    eventually("stopped", || status(&bundle) == Status::Stopped);
    assert_eq!(bundle.processes().len(), 1);
    bundle
        .client()
        .kill_all(&bundle.id, Signal::SIGKILL)
        .unwrap();
    eventually("the orphan ended", || bundle.processes().is_empty());
    bundle.client().delete(&bundle.id, false).unwrap();
}

fn logged() {
    let bundle = Bundle::new();
    let log = bundle.dir.path().join("log");
    let output = bundle.call(
        "--log",
        &[log.to_str().unwrap(), "--log-format", "json", "start"],
    );
    assert_eq!(output.status.code(), Some(1));
    let line: serde_json::Value = serde_json::from_slice(&fs::read(&log).unwrap()).unwrap();
    assert_eq!(line.pointer("/level").unwrap(), "error");
    assert_eq!(
        line.pointer("/msg").unwrap().as_str().unwrap(),
        format!("cannot find container {}: it does not exist", bundle.id)
    );
}
