//! Images and callers that want out. Named after the holes of others.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use holdall_runtime::oci::spec::Root;

use crate::Test;
use crate::fixture::{Bundle, bind};

pub(crate) const TESTS: &[Test] = &[
    (
        "CVE-2026-41579: /dev that is a link writes nothing outside",
        dev_link,
    ),
    (
        "CVE-2026-88264: /dev that is a link, without a mount for it",
        dev_link_unmounted,
    ),
    ("CVE-2019-19921: /proc that is a link is refused", proc_link),
    ("CVE-2025-62596: /sys that is a link is refused", sys_link),
    (
        "CVE-2019-16884: a volume over /proc or a part of it is refused",
        over_proc,
    ),
    (
        "CVE-2025-31133: a /dev/null that is something else masks nothing",
        fake_null,
    ),
    (
        "CVE-2024-21626: a working directory on a leaked descriptor stays inside",
        leaked_cwd,
    ),
    (
        "CVE-2019-5736: the runtime's program can't be opened for writing",
        sealed,
    ),
    (
        "CVE-2024-45310: mount points behind links are made inside",
        mount_point_link,
    ),
    (
        "/dev, /proc and /sys that are all links write nothing outside",
        all_links,
    ),
    ("a mount over the root itself is refused", over_root),
    ("a root that isn't there is said by its path", no_root),
    (
        "a configuration that is none is said with its place",
        no_configuration,
    ),
    ("what isn't built is refused by name", not_built),
];

/// A folder of the host with a file in it, both of which must stay as they are:
/// bytes, mode, owner, links and times, and nothing beside them.
struct Victim {
    path: PathBuf,
    before: String,
}

impl Victim {
    fn new(bundle: &Bundle) -> Self {
        let path = bundle.dir.path().join("victim");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("canary"), "alive").unwrap();
        let mut victim = Self {
            path,
            before: String::new(),
        };
        victim.before = victim.state();
        victim
    }

    fn state(&self) -> String {
        let mut state: String = [&self.path, &self.path.join("canary")]
            .map(|path| {
                let meta = fs::symlink_metadata(path).unwrap();
                format!(
                    "{} {:o} {}:{} {} {}.{} {}.{}\n",
                    meta.ino(),
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.nlink(),
                    meta.mtime(),
                    meta.mtime_nsec(),
                    meta.ctime(),
                    meta.ctime_nsec(),
                )
            })
            .concat();
        for entry in fs::read_dir(&self.path).unwrap() {
            state += &entry.unwrap().file_name().to_string_lossy();
        }
        state + &fs::read_to_string(self.path.join("canary")).unwrap()
    }

    fn assert_untouched(&self) {
        assert_eq!(self.state(), self.before);
    }
}

fn link(bundle: &Bundle, name: &str, target: &Path) {
    fs::remove_dir(bundle.rootfs().join(name)).unwrap();
    symlink(target, bundle.rootfs().join(name)).unwrap();
}

fn dev_link() {
    let mut bundle = Bundle::new();
    let victim = Victim::new(&bundle);
    link(&bundle, "dev", &victim.path);
    let text = bundle.program(&["true"]).refusal();
    assert!(
        text.contains("at /dev: it is no real directory in the image"),
        "{text}"
    );
    victim.assert_untouched();
}

fn dev_link_unmounted() {
    let mut bundle = Bundle::new();
    let victim = Victim::new(&bundle);
    link(&bundle, "dev", &victim.path);
    bundle
        .spec
        .mounts
        .retain(|mount| !mount.destination.starts_with("/dev"));
    let text = bundle.program(&["true"]).refusal();
    assert!(
        text.contains("at /dev: it is no real directory in the image"),
        "{text}"
    );
    victim.assert_untouched();
}

fn proc_link() {
    kernel_tree_link("proc");
}

fn sys_link() {
    kernel_tree_link("sys");
}

/// A link to a folder of the host by its path there, and to ones that are in
/// the image as well.
fn kernel_tree_link(name: &str) {
    for target in [None, Some("/tmp"), Some("tmp"), Some(".")] {
        let mut bundle = Bundle::new();
        let victim = Victim::new(&bundle);
        let target = target.map_or_else(|| victim.path.clone(), PathBuf::from);
        link(&bundle, name, &target);
        let text = bundle.program(&["true"]).refusal();
        assert!(
            text.contains(&format!("at /{name}: it is no real directory in the image")),
            "{}: {text}",
            target.display()
        );
        victim.assert_untouched();
    }
}

fn all_links() {
    let mut bundle = Bundle::new();
    let victim = Victim::new(&bundle);
    for name in ["dev", "proc", "sys"] {
        link(&bundle, name, &victim.path);
    }
    for readonly in [false, true] {
        bundle.spec.root = Some(Root {
            path: "rootfs".into(),
            readonly,
        });
        let text = bundle.program(&["true"]).refusal();
        assert!(
            text.contains("it is no real directory in the image"),
            "{text}"
        );
        victim.assert_untouched();
    }
}

fn over_proc() {
    for target in [
        "/proc",
        "/proc/self",
        "/proc/sys/kernel",
        "/proc/../proc/self/attr",
    ] {
        let mut bundle = Bundle::new();
        bundle
            .spec
            .mounts
            .push(bind(Path::new("/tmp"), target, "rw"));
        let text = bundle.program(&["true"]).refusal();
        assert!(
            text.contains("it would hide what the kernel says"),
            "{target}: {text}"
        );
    }
}

fn fake_null() {
    let mut bundle = Bundle::new();
    // The user's own /dev, whose null is the host's core_pattern.
    let dev = bundle.dir.path().join("dev");
    fs::create_dir(&dev).unwrap();
    symlink("/proc/sys/kernel/core_pattern", dev.join("null")).unwrap();
    bundle
        .spec
        .mounts
        .retain(|mount| !mount.destination.starts_with("/dev"));
    bundle.spec.mounts.push(bind(&dev, "/dev", "rw"));
    let text = bundle.program(&["true"]).refusal();
    // The link is refused as one: a mask would make what it names writable.
    assert!(
        text.contains("cannot mask /proc/") || text.contains("/dev/null"),
        "{text}"
    );
    fs::remove_file(dev.join("null")).unwrap();
    fs::write(dev.join("null"), "").unwrap();
    let text = bundle.refusal();
    assert!(
        text.contains("/dev/null of the container is not the null device"),
        "{text}"
    );
}

fn leaked_cwd() {
    for number in 3..20 {
        let mut bundle = Bundle::new();
        bundle.process().cwd = format!("/proc/self/fd/{number}").into();
        let output = bundle.script("cat /etc/passwd").run();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Refused, or inside: never the host's.
        assert!(
            !output.status.success() || text.contains("u:x:7:8"),
            "{number}: {text}"
        );
    }
    let mut bundle = Bundle::new();
    bundle.program(&["sleep", "1000"]).up();
    for number in 3..20 {
        let cwd = format!("/proc/self/fd/{number}");
        let output = bundle.exec(
            &["-w", &cwd],
            &["cat", "etc/passwd", "../../../../etc/passwd"],
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            !output.status.success() || text.contains("u:x:7:8"),
            "{number}: {text}"
        );
    }
    bundle.client().delete(&bundle.id, true).unwrap();
}

fn sealed() {
    let mut bundle = Bundle::new();
    bundle.program(&["true"]).write();
    let options = ["-b", bundle.dir.path().to_str().unwrap()];
    assert!(bundle.call("create", &options).status.success());
    // It waits for start, and still is the runtime: what a program in the
    // container would open through /proc.
    let pid = bundle.client().state(&bundle.id).unwrap().pid;
    let program = format!("/proc/{pid}/exe");
    let own = std::env::current_exe().unwrap();
    assert_eq!(
        fs::metadata(&program).unwrap().len(),
        fs::metadata(&own).unwrap().len()
    );
    let error = fs::OpenOptions::new()
        .write(true)
        .open(&program)
        .unwrap_err();
    let errno = error.raw_os_error().map(nix::Error::from_raw);
    assert!(
        matches!(errno, Some(nix::Error::EROFS | nix::Error::EPERM)),
        "{errno:?}: ETXTBSY would hold only as long as it runs"
    );
    bundle.client().delete(&bundle.id, true).unwrap();
}

fn mount_point_link() {
    let mut bundle = Bundle::new();
    let victim = Victim::new(&bundle);
    symlink(&victim.path, bundle.rootfs().join("data")).unwrap();
    bundle
        .spec
        .mounts
        .push(bind(Path::new("/etc"), "/data/a/b", "ro"));
    let text = bundle
        .script("ls /data/a; test -e /data/a/b/passwd && echo mounted")
        .printed();
    assert_eq!(text, "b\nmounted\n");
    victim.assert_untouched();
}

fn over_root() {
    let mut bundle = Bundle::new();
    bundle.spec.mounts.push(bind(Path::new("/tmp"), "/", "rw"));
    let text = bundle.program(&["true"]).refusal();
    assert!(text.contains("it would cover the root"), "{text}");
}

fn no_root() {
    let mut bundle = Bundle::new();
    bundle.spec.root = Some(Root {
        path: "elsewhere".into(),
        readonly: false,
    });
    let text = bundle.program(&["true"]).refusal();
    assert!(
        text.contains("cannot open the root filesystem") && text.contains("/elsewhere: "),
        "{text}"
    );
}

fn no_configuration() {
    let bundle = Bundle::new();
    fs::write(bundle.dir.path().join("config.json"), "{\"ociVersion\": 1}").unwrap();
    let output = bundle.call("run", &["-b", bundle.dir.path().to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("cannot understand") && text.contains("line 1 column"),
        "{text}"
    );
}

fn not_built() {
    let mut bundle = Bundle::new();
    bundle.process().apparmor_profile = Some("strict".into());
    let text = bundle.program(&["true"]).refusal();
    assert!(
        text.contains("process.apparmorProfile is not supported"),
        "{text}"
    );
    let output = bundle.runtime("pause").arg("x").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("cannot pause: it is not built into this runtime yet"),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(2));
}
