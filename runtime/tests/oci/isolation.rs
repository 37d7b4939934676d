//! What a container sees, looked at from inside.

use std::os::fd::AsFd as _;
use std::path::Path;

use holdall_runtime::oci::client::CreateOpts;
use holdall_runtime::oci::overlay;
use holdall_runtime::oci::spec::{
    IdMapping, MemoryLimits, Mount, Namespace, NamespaceType, PidsLimit, Rlimit, Root, TimeOffset,
    User,
};

use crate::Test;
use crate::fixture::{Bundle, bind};

pub(crate) const TESTS: &[Test] = &[
    ("a program's exit code is the runtime's", exit_code),
    (
        "a signal that ends the program is 128 and its number",
        killed,
    ),
    ("every namespace is new", namespaces),
    (
        "capabilities, no_new_privs and the filter are docker's",
        privileges,
    ),
    ("no descriptor of the caller is inside", descriptors),
    (
        "descriptors that are handed over arrive from 3 on",
        handed_over,
    ),
    (
        "/dev has the default nodes and links and nothing else",
        devices,
    ),
    (
        "what is masked shows nothing and what is protected can't be written",
        masked,
    ),
    (
        "a read-only root can't be written and /dev/shm can",
        read_only,
    ),
    (
        "working directory, umask, user and groups are as asked for",
        user,
    ),
    ("the host name is set inside only", hostname),
    ("the loopback interface is up", loopback),
    ("the filter refuses mounts and namespaces", filter),
    ("limits are enforced by the cgroup", limits),
    ("the cgroup can't be written from inside", cgroup_writes),
    (
        "a resource limit that can't be had is an error",
        rlimit_refused,
    ),
    (
        "a default resource limit that can't be had is lowered and said",
        rlimit_clamped,
    ),
    (
        "a user namespace maps root to somebody else",
        user_namespace,
    ),
    ("clocks are shifted in a time namespace", time_namespace),
    ("namespace sysctls are set and others refused", sysctls),
    ("a terminal is of the container's own devpts", terminal),
    ("a bind can be a file, made with its folders", binds),
    ("an idmapped bind shows other owners", idmapped),
    (
        "an overlay handed over as a descriptor is the root",
        rootfs_fd,
    ),
    (
        "programs that aren't there are 127, and ones that can't run 126",
        lookup,
    ),
];

fn exit_code() {
    let mut bundle = Bundle::new();
    assert_eq!(bundle.script("exit 7").run().status.code(), Some(7));
}

fn killed() {
    let mut bundle = Bundle::new();
    // PID 1 is immune to its own signals but for what it handles by default
    // from inside; a child of it isn't.
    let code = bundle
        .script("sh -c 'kill -TERM $$'; exit $?")
        .run()
        .status
        .code();
    assert_eq!(code, Some(143));
}

fn namespaces() {
    let mut bundle = Bundle::new();
    let text = bundle
        .script("for n in mnt net ipc uts pid cgroup; do readlink /proc/self/ns/$n; done")
        .printed();
    assert_eq!(text.lines().count(), 6);
    for line in text.lines() {
        let name = line.split(':').next().unwrap();
        let host = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(Path::new(line), host, "{name}");
    }
}

/// `Name: value` lines of /proc/self/status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    line.trim_start_matches(':').trim()
}

fn privileges() {
    let mut bundle = Bundle::new();
    let status = bundle.program(&["cat", "/proc/self/status"]).printed();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(&status, set), "00000000a80425fb", "{set}");
    }
    // CVE-2022-29162: inheritable ones come back with a file's.
    assert_eq!(field(&status, "CapInh"), "0000000000000000");
    assert_eq!(field(&status, "CapAmb"), "0000000000000000");
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    assert_eq!(field(&status, "Seccomp"), "2");
    assert_eq!(field(&status, "SigBlk"), "0000000000000000");
    assert_eq!(field(&status, "SigIgn"), "0000000000000000");
}

fn descriptors() {
    let mut bundle = Bundle::new();
    bundle.script("ls /proc/self/fd").write();
    // bash can both leave descriptors open and set argv[0].
    let script = "exec 7</etc/passwd 9</; exec -a holdall-runtime \"$0\" \"$@\"";
    let runtime = bundle.runtime("run");
    let output = std::process::Command::new("bash")
        .args(["-c", script])
        .arg(runtime.get_program())
        .args(runtime.get_args())
        .arg("-b")
        .arg(bundle.dir.path())
        .arg(&bundle.id)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    // 3 is ls's own.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n1\n2\n3\n");
    assert!(output.status.success());
}

fn handed_over() {
    let mut bundle = Bundle::new();
    bundle.script("cat <&3; ls /proc/self/fd").write();
    let run = |script: &str| {
        let runtime = bundle.runtime("run");
        std::process::Command::new("bash")
            .args(["-c", script])
            .arg(runtime.get_program())
            .args(runtime.get_args())
            .args(["--preserve-fds", "1", "-b"])
            .arg(bundle.dir.path())
            .arg(&bundle.id)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    };
    let output = run("exec 3<<<handed; exec -a holdall-runtime \"$0\" \"$@\"");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "handed\n0\n1\n2\n3\n4\n"
    );
    // With 3 closed, a descriptor of the runtime's own must not take its place
    // (runc 1.1.5 gave a directory away).
    let output = run("exec 3<&-; exec -a holdall-runtime \"$0\" \"$@\"");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("cannot use descriptor 3: it is not open"),
        "{errors}"
    );
}

fn devices() {
    let mut bundle = Bundle::new();
    let text = bundle
        .script("cd /dev && stat -c '%n %F %t:%T %a' * && readlink fd ptmx")
        .printed();
    assert_eq!(
        text,
        "core symbolic link 0:0 777\n\
         fd symbolic link 0:0 777\n\
         full character special file 1:7 666\n\
         mqueue directory 0:0 1777\n\
         null character special file 1:3 666\n\
         ptmx symbolic link 0:0 777\n\
         pts directory 0:0 755\n\
         random character special file 1:8 666\n\
         shm directory 0:0 1777\n\
         stderr symbolic link 0:0 777\n\
         stdin symbolic link 0:0 777\n\
         stdout symbolic link 0:0 777\n\
         tty character special file 5:0 666\n\
         urandom character special file 1:9 666\n\
         zero character special file 1:5 666\n\
         /proc/self/fd\npts/ptmx\n"
    );
}

fn masked() {
    let mut bundle = Bundle::new();
    let text = bundle
        .script(
            "wc -c </proc/timer_list; ls /sys/firmware | wc -l; \
             (echo 1 >/proc/sys/kernel/dmesg_restrict) 2>/dev/null || echo sys; \
             (echo h >/proc/sysrq-trigger) 2>/dev/null || echo sysrq; \
             grep -c ' /proc/sys ro' /proc/self/mounts; grep ' /proc/sys ' /proc/self/mounts",
        )
        .printed();
    assert!(text.starts_with("0\n0\nsys\nsysrq\n"), "{text}");
    assert!(text.contains("proc /proc/sys proc ro,"), "{text}");
}

fn read_only() {
    let mut bundle = Bundle::new();
    bundle.spec.root = Some(Root {
        path: "rootfs".into(),
        readonly: true,
    });
    let text = bundle
        .script("(touch /tmp/x) 2>/dev/null || echo ro; touch /dev/shm/x && echo rw")
        .printed();
    assert_eq!(text, "ro\nrw\n");
}

fn user() {
    let mut bundle = Bundle::new();
    bundle.process().cwd = "/made/here".into();
    bundle.process().user = User {
        uid: 7,
        gid: 8,
        umask: Some(0o77),
        additional_gids: vec![20, 30],
    };
    let text = bundle
        .script("pwd; umask; id -u; id -g; id -G; echo $HOME; grep CapEff /proc/self/status")
        .printed();
    assert_eq!(
        text,
        "/made/here\n0077\n7\n8\n8 20 30\n/tmp\nCapEff:\t0000000000000000\n"
    );
}

fn hostname() {
    let mut bundle = Bundle::new();
    bundle.spec.hostname = Some("inside".into());
    bundle.spec.domainname = Some("domain".into());
    let text = bundle
        .script("hostname; cat /proc/sys/kernel/domainname")
        .printed();
    assert_eq!(text, "inside\ndomain\n");
    assert_ne!(nix::unistd::gethostname().unwrap(), "inside");
}

fn loopback() {
    let mut bundle = Bundle::new();
    let text = bundle
        .script("cat /sys/class/net/lo/flags; ls /sys/class/net")
        .printed();
    assert_eq!(text, "0x9\nlo\n");
}

fn filter() {
    let mut bundle = Bundle::new();
    let text = bundle
        .script(
            "mount -t tmpfs t /tmp 2>/dev/null || echo mount; \
             unshare -U true 2>/dev/null || echo unshare; \
             keyctl show 2>/dev/null; true",
        )
        .printed();
    assert_eq!(text, "mount\nunshare\n");
}

fn limits() {
    let mut bundle = Bundle::new();
    let resources = bundle.linux().resources.get_or_insert_default();
    resources.pids = Some(PidsLimit { limit: 5 });
    resources.memory = Some(MemoryLimits {
        limit: Some(64 << 20),
        ..MemoryLimits::default()
    });
    let text = bundle
        .script(
            "cat /sys/fs/cgroup/*/memory.limit_in_bytes /sys/fs/cgroup/memory.max \
               /sys/fs/cgroup/*/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; \
             for i in 1 2 3 4 5 6 7 8; do sleep 5 & done 2>/dev/null; echo never",
        )
        .run();
    let printed = String::from_utf8_lossy(&text.stdout).into_owned();
    // dash gives up when it can't fork.
    assert_eq!(printed, "67108864\n5\n");
    assert!(!text.status.success());
}

fn cgroup_writes() {
    let mut bundle = Bundle::new();
    // CVE-2022-0492, CVE-2023-25809.
    let text = bundle
        .script(
            "for f in /sys/fs/cgroup /sys/fs/cgroup/*; do \
               mkdir $f/x 2>/dev/null && echo made $f; \
               (echo 1 >$f/cgroup.procs) 2>/dev/null && echo wrote $f; done; \
             cut -d: -f3 /proc/self/cgroup | grep -c holdall",
        )
        .run();
    // No line about anything made or written, and no path of the host.
    assert_eq!(String::from_utf8_lossy(&text.stdout), "0\n");
}

fn impossible_limit() -> Rlimit {
    Rlimit {
        kind: "RLIMIT_NOFILE".into(),
        hard: 1 << 40,
        soft: 1 << 40,
    }
}

fn rlimit_refused() {
    let mut bundle = Bundle::new();
    bundle.process().rlimits = vec![impossible_limit()];
    let text = bundle.program(&["true"]).refusal();
    assert!(
        text.contains("cannot set RLIMIT_NOFILE to 1099511627776:"),
        "{text}"
    );
}

fn rlimit_clamped() {
    let mut bundle = Bundle::new();
    bundle.process().rlimits = vec![
        Rlimit {
            kind: "RLIMIT_NPROC".into(),
            hard: u64::MAX - 1,
            soft: 77,
        },
        Rlimit {
            kind: "RLIMIT_CORE".into(),
            hard: 0,
            soft: 0,
        },
    ];
    let clamp = holdall_runtime::oci::defaults::CLAMP_LIMITS;
    bundle.spec.annotations.insert(clamp.into(), "true".into());
    let output = bundle
        .script("ulimit -c; ulimit -H -p 2>/dev/null; true")
        .run();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // A host with CAP_SYS_RESOURCE grants it without a word.
    if !errors.is_empty() {
        assert_eq!(errors.matches("lowered limits").count(), 1, "{errors}");
        assert!(
            errors.contains("RLIMIT_NPROC from 18446744073709551614 to"),
            "{errors}"
        );
    }
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("0\n"));
}

/// A user namespace where root is 300000.
fn map_ids(bundle: &mut Bundle) {
    let map = IdMapping {
        container_id: 0,
        host_id: 300_000,
        size: 65_536,
    };
    let linux = bundle.linux();
    linux.uid_mappings = vec![map];
    linux.gid_mappings = vec![map];
    linux.namespaces.push(Namespace {
        kind: NamespaceType::User,
        path: None,
    });
    // Reachable for the mapped root.
    for path in [bundle.dir.path(), &bundle.rootfs()] {
        std::os::unix::fs::chown(path, Some(300_000), Some(300_000)).unwrap();
    }
}

fn user_namespace() {
    let mut bundle = Bundle::new();
    map_ids(&mut bundle);
    let text = bundle
        .script(
            "id -u; cat /proc/self/uid_map; stat -c '%u' /; grep CapEff /proc/self/status; \
             echo x >/dev/null && stat -c %t:%T /dev/null; wc -c </proc/timer_list; \
             touch /new && echo made",
        )
        .printed();
    assert_eq!(
        text,
        "0\n         0     300000      65536\n0\nCapEff:\t00000000a80425fb\n1:3\n0\nmade\n"
    );
    let made = std::fs::metadata(bundle.rootfs().join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 300_000);
}

fn time_namespace() {
    let mut bundle = Bundle::new();
    let linux = bundle.linux();
    linux.namespaces.push(Namespace {
        kind: NamespaceType::Time,
        path: None,
    });
    linux.time_offsets = [(
        "boottime".to_owned(),
        TimeOffset {
            secs: 1_000_000,
            nanosecs: 0,
        },
    )]
    .into();
    let text = bundle.script("cut -d. -f1 /proc/uptime").printed();
    assert!(text.trim().parse::<u64>().unwrap() >= 1_000_000, "{text}");
}

fn sysctls() {
    let mut bundle = Bundle::new();
    bundle.linux().sysctl = [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into();
    assert_eq!(
        bundle
            .program(&["cat", "/proc/sys/net/ipv4/ip_forward"])
            .printed(),
        "1\n"
    );
    // CVE-2022-0811: a second one smuggled into the first, and host-wide ones.
    for (key, value) in [
        ("kernel.core_pattern", "|/x"),
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/x"),
        ("kernel.shm_rmid_forced+kernel.core_pattern", "1"),
        ("net/../kernel/core_pattern", "|/x"),
    ] {
        bundle.linux().sysctl = [(key.to_owned(), value.to_owned())].into();
        let text = bundle.refusal();
        assert!(
            text.contains("cannot use the configuration: linux.sysctl"),
            "{text}"
        );
    }
}

fn terminal() {
    let mut bundle = Bundle::new();
    bundle.process().terminal = true;
    let text = bundle
        .script(
            "tty; ls /dev/pts; stat -c %t:%T /dev/console; ps -o tty= -p $$; test -t 0 && echo yes",
        )
        .printed();
    assert_eq!(text, "/dev/pts/0\r\n0  ptmx\r\n88:0\r\npts/0\r\nyes\r\n");
}

fn binds() {
    let mut bundle = Bundle::new();
    let file = bundle.dir.path().join("file");
    std::fs::write(&file, "hello\n").unwrap();
    bundle
        .spec
        .mounts
        .push(bind(&file, "/deep/down/file", "ro"));
    let text = bundle
        .script("cat /deep/down/file; (echo x >/deep/down/file) 2>/dev/null || echo ro")
        .printed();
    assert_eq!(text, "hello\nro\n");
}

fn idmapped() {
    let mut bundle = Bundle::new();
    // Root's own tmpfs: not every filesystem of a host can be idmapped.
    let dir = bundle.dir.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("f"), "").unwrap();
    let map = vec![IdMapping {
        container_id: 0,
        host_id: 500,
        size: 10,
    }];
    let mut mount: Mount = bind(&dir, "/data", "rw");
    mount.uid_mappings.clone_from(&map);
    mount.gid_mappings = map;
    bundle.spec.mounts.push(mount);
    let text = bundle.script("stat -c %u:%g /data/f").printed();
    assert_eq!(text, "500:500\n");
}

fn rootfs_fd() {
    let mut bundle = Bundle::new();
    bundle.script("echo changed >/etc/new; cat /etc/passwd | wc -l; grep ' / ' /proc/self/mounts | cut -d' ' -f1");
    bundle.write();
    let (upper, work) = (
        bundle.dir.path().join("upper"),
        bundle.dir.path().join("work"),
    );
    std::fs::create_dir(&upper).unwrap();
    std::fs::create_dir(&work).unwrap();
    let root = overlay::mount(&[bundle.rootfs()], Some((&upper, &work))).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let out = bundle.dir.path().join("out");
    let output = std::fs::File::create(&out).unwrap();
    let client = bundle.client();
    let created = client
        .create(
            &bundle.id,
            bundle.dir.path(),
            &CreateOpts {
                pid_file: None,
                console_socket: None,
                preserve_fds: &[],
                rootfs: Some(root.as_fd()),
                stdio: [null.as_fd(), output.as_fd(), output.as_fd()],
            },
        )
        .unwrap();
    drop(root);
    client.start(&bundle.id).unwrap();
    crate::lifecycle::wait_for_end(created.pid);
    client.delete(&bundle.id, false).unwrap();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "2\noverlay\n");
    assert_eq!(
        std::fs::read_to_string(upper.join("etc/new")).unwrap(),
        "changed\n"
    );
    assert!(!bundle.rootfs().join("etc/new").exists());
}

fn lookup() {
    let mut bundle = Bundle::new();
    let output = bundle.program(&["nothing-like-it"]).run();
    assert_eq!(output.status.code(), Some(127));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("nothing-like-it: not found in the container"),
        "{errors}"
    );
    let output = bundle.program(&["/etc/passwd"]).run();
    assert_eq!(output.status.code(), Some(126));
    let output = bundle.program(&["/etc"]).run();
    assert_eq!(output.status.code(), Some(126));
}
