//! What a container sees, looked at from inside.

use std::path::Path;

use holdall_runtime::oci::spec::Root;

use crate::Test;
use crate::fixture::Bundle;

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
    ("the host name is set inside only", hostname),
    ("the loopback interface is up", loopback),
    ("the filter refuses mounts and namespaces", filter),
    ("a terminal is of the container's own devpts", terminal),
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

fn lookup() {
    let mut bundle = Bundle::new();
    let output = bundle.program(&["nothing-like-it"]).run();
    assert_eq!(output.status.code(), Some(127));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains(
            "cannot find the program: nothing-like-it: executable file not found in the container"
        ),
        "{errors}"
    );
    let output = bundle.program(&["/etc/passwd"]).run();
    assert_eq!(output.status.code(), Some(126));
    let output = bundle.program(&["/etc"]).run();
    assert_eq!(output.status.code(), Some(126));
}
