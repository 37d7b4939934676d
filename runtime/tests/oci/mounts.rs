//! Options of mounts, as the kernel shows them.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use holdall_runtime::oci::spec::{IdMapping, Mount};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::Test;
use crate::fixture::{Bundle, bind};
use crate::requests::map_ids;

pub(crate) const TESTS: &[Test] = &[
    (
        "a new filesystem takes the attributes that are for a tree",
        tree_attributes,
    ),
    (
        "the kernel takes every mount option of the specification on a tmpfs",
        every_word,
    ),
    ("a remount changes the mount that is there", remount),
    (
        "ids are mapped on the mount alone or with ridmap on the tree",
        idmapped_tree,
    ),
    (
        "an idmapped bind shows the ids of the user namespace",
        idmapped_by_namespace,
    ),
];

fn tmpfs(target: &str, options: &[&str]) -> Mount {
    Mount {
        destination: target.into(),
        kind: Some("tmpfs".into()),
        source: Some("tmpfs".into()),
        options: options.iter().map(|word| (*word).to_owned()).collect(),
        ..Mount::default()
    }
}

/// A script that prints a mount's own options.
fn show(target: &str) -> String {
    format!("grep ' {target} ' /proc/self/mountinfo | cut -d' ' -f6; ")
}

fn tree_attributes() {
    let mut bundle = Bundle::new();
    bundle.spec.mounts.extend([
        tmpfs("/t", &["rro", "rnosuid", "rnoexec"]),
        tmpfs("/u", &["nosuid", "rsuid", "rnoatime"]),
    ]);
    let text = bundle
        .script(&format!(
            "{}{}(echo x >/t/f) 2>/dev/null || echo read-only",
            show("/t"),
            show("/u")
        ))
        .printed();
    assert_eq!(text, "ro,nosuid,noexec,relatime\nrw,noatime\nread-only\n");
}

fn every_word() {
    let mut bundle = Bundle::new();
    let output = bundle.runtime("features").output().unwrap();
    let features: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let words = features
        .pointer("/mountOptions")
        .unwrap()
        .as_array()
        .unwrap();
    // What is no new tmpfs.
    let others = ["bind", "rbind", "remount", "idmap", "ridmap"];
    let mut mounts = 0;
    for word in words.iter().map(|word| word.as_str().unwrap()) {
        if !others.contains(&word) {
            let target = format!("/t/{word}");
            bundle.spec.mounts.push(tmpfs(&target, &[word]));
            mounts += 1;
        }
    }
    assert!(mounts > 50, "{words:?}");
    bundle.spec.mounts.extend([
        tmpfs("/u", &["sync", "async"]),
        tmpfs("/v", &["async", "sync"]),
    ]);
    let text = bundle
        .script(
            "grep -c ' /t/' /proc/self/mounts; for m in /t/sync /u /v; do \
             grep \" $m \" /proc/self/mounts | grep -c -w sync; done",
        )
        .run();
    let (printed, errors) = (
        String::from_utf8_lossy(&text.stdout),
        String::from_utf8_lossy(&text.stderr),
    );
    assert_eq!(printed, format!("{mounts}\n1\n0\n1\n"), "{errors}");
}

fn remount() {
    let mut bundle = Bundle::new();
    let dir = bundle.dir.path().join("data");
    fs::create_dir(&dir).unwrap();
    let again = |target: &str, options: &[&str]| Mount {
        kind: None,
        source: None,
        ..tmpfs(target, options)
    };
    bundle.spec.mounts.extend([
        tmpfs("/t", &["nosuid"]),
        again("/t", &["remount", "ro"]),
        bind(&dir, "/data", "rw"),
        again("/data", &["bind", "remount", "ro", "noexec"]),
        again("/dev", &["remount", "ro", "noexec"]),
        again("/", &["remount", "ro"]),
        tmpfs("/made/later", &[]),
    ]);
    let text = bundle
        .script(&format!(
            "{}{}(echo x >/data/f) 2>/dev/null || echo read-only; \
             (echo x >/dev/f) 2>/dev/null || echo read-only; \
             (echo x >/f) 2>/dev/null || echo read-only; echo x >/made/later/f && \
             echo x >/dev/null && echo null",
            show("/t"),
            show("/dev"),
        ))
        .printed();
    assert_eq!(
        text,
        "ro,nosuid,relatime\nro,nosuid,noexec\nread-only\nread-only\nread-only\nnull\n"
    );
    // The source is the host's, and stays as it is.
    fs::write(dir.join("f"), "").unwrap();

    bundle.spec.mounts.push(again("/tmp", &["remount", "ro"]));
    let text = bundle.refusal();
    assert!(
        text.contains("cannot change the mount at /tmp: nothing is mounted there"),
        "{text}"
    );
}

/// A mount to take away, so that the folder below it can be removed.
struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

fn idmapped_tree() {
    // What is mounted below the source is so for one thread and its children.
    std::thread::spawn(idmapped_tree_apart).join().unwrap();
}

fn idmapped_tree_apart() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let nothing = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, private, nothing).unwrap();
    let source = tempfile::tempdir().unwrap();
    let (top, other) = (&source.path().join("top"), &source.path().join("other"));
    for folder in [top, &top.join("below"), other] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("f"), "").unwrap();
    }
    // Binds: a tmpfs can be idmapped since Linux 6.3 only.
    let flags = MsFlags::MS_BIND;
    mount(Some(top), top, nothing, flags, nothing).unwrap();
    let _mounted = Mounted(top);
    mount(Some(other), &top.join("below"), nothing, flags, nothing).unwrap();
    let map = vec![IdMapping {
        container_id: 0,
        host_id: 500,
        size: 10,
    }];
    for (word, below) in [(None, 0), (Some("idmap"), 0), (Some("ridmap"), 500)] {
        let mut bundle = Bundle::new();
        let mut mount: Mount = bind(top, "/data", "rw");
        mount.options.extend(word.map(str::to_owned));
        mount.uid_mappings.clone_from(&map);
        mount.gid_mappings.clone_from(&map);
        bundle.spec.mounts.push(mount);
        let text = bundle
            .script("stat -c %u:%g /data/f /data/below/f")
            .printed();
        assert_eq!(text, format!("500:500\n{below}:{below}\n"), "{word:?}");
    }
}

fn idmapped_by_namespace() {
    let mut bundle = Bundle::new();
    let dir = bundle.dir.path().join("data");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("f"), "").unwrap();
    chown(dir.join("f"), Some(7), Some(8)).unwrap();
    map_ids(&mut bundle);
    for (target, word) in [("/mapped", Some("idmap")), ("/plain", None)] {
        let mut mount: Mount = bind(&dir, target, "rw");
        mount.options.extend(word.map(str::to_owned));
        bundle.spec.mounts.push(mount);
    }
    let text = bundle
        .script("stat -c %u:%g /mapped/f /plain/f; touch /mapped/new")
        .printed();
    assert_eq!(text, "7:8\n65534:65534\n");
    let made = fs::metadata(dir.join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 0);
}
