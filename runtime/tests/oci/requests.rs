//! What a configuration asks for and the container gets: limits, users,
//! namespaces, mounts.

use std::os::fd::AsFd as _;

use holdall_runtime::oci::client::CreateOpts;
use holdall_runtime::oci::overlay::{self, Upper};
use holdall_runtime::oci::spec::{
    IdMapping, MemoryLimits, Mount, Namespace, NamespaceType, PidsLimit, Rlimit, TimeOffset, User,
};

use crate::Test;
use crate::fixture::{Bundle, bind};

pub(crate) const TESTS: &[Test] = &[
    (
        "working directory, umask, user and groups are as asked for",
        user,
    ),
    ("limits are enforced by the cgroup", limits),
    ("the cgroup can't be written from inside", cgroup_writes),
    (
        "a resource limit that can't be had is an error",
        rlimit_refused,
    ),
    (
        "a resource limit with two values is an error in a container and in an exec",
        rlimit_twice,
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
    ("a bind can be a file, made with its folders", binds),
    ("an idmapped bind shows other owners", idmapped),
    (
        "an overlay handed over as a descriptor is the root",
        rootfs_fd,
    ),
];

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

fn rlimit_twice() {
    let mut bundle = Bundle::new();
    let limit = |soft| Rlimit {
        kind: "RLIMIT_CORE".into(),
        hard: 9,
        soft,
    };
    bundle.process().rlimits = vec![limit(1), limit(2)];
    let refused = "cannot use limit \"RLIMIT_CORE\": process.rlimits has it twice, keep one";
    let text = bundle.program(&["sleep", "1000"]).refusal();
    assert!(text.contains(refused), "{text}");

    let process = bundle.dir.path().join("process.json");
    std::fs::write(&process, serde_json::to_vec(bundle.process()).unwrap()).unwrap();
    bundle.process().rlimits.clear();
    bundle.up();
    let output = bundle.exec(&["-p", process.to_str().unwrap()], &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(refused), "{text}");
    assert!(!output.status.success());
    bundle.client().delete(&bundle.id, true).unwrap();
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

/// A user namespace where root is 300000.
pub(crate) fn map_ids(bundle: &mut Bundle) {
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
    let changes = Upper {
        dir: &upper,
        work: &work,
        lasting: true,
    };
    let root = overlay::mount(&[bundle.rootfs()], Some(changes)).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let out = bundle.dir.path().join("out");
    let output = std::fs::File::create(&out).unwrap();
    let client = bundle.client();
    let created = client
        .create(
            &bundle.id,
            bundle.dir.path(),
            &CreateOpts {
                config: None,
                pid_file: None,
                console_socket: None,
                preserve_fds: &[],
                rootfs: Some(root.as_fd()),
                stdio: [null.as_fd(), output.as_fd(), output.as_fd()],
                parent_death: None,
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
