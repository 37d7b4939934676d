//! What a story may leave behind on the host: nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::eventually::{LONG, eventually};

/// Processes of the story: every process that `holdall` starts on the host
/// carries its root or the id of its box in its environment or arguments, and
/// every process in a box lies in the box's cgroup. A network namespace lives
/// as long as one of them, for nothing of holdall binds one to a file.
fn processes(root: &Path, ids: &BTreeSet<String>) -> Vec<String> {
    let ids = ids.iter().map(|id| id.as_bytes());
    let marks: Vec<&[u8]> = ids.chain([root.as_os_str().as_encoded_bytes()]).collect();
    let own = std::process::id();
    let mut found = Vec::new();
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == own {
            continue;
        }
        let dir = entry.path();
        // A process may end between the look at /proc and at its files.
        let marked = ["environ", "cmdline", "cgroup"].iter().any(|file| {
            fs::read(dir.join(file))
                .is_ok_and(|bytes| marks.iter().any(|mark| contains(&bytes, mark)))
        });
        if marked {
            let line = fs::read_to_string(dir.join("cmdline")).unwrap_or_default();
            found.push(format!("process {pid}: {}", line.replace('\0', " ")));
        }
    }
    found
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Mount points of the host that lie below the root.
fn mounts(root: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let root = root.to_str().expect("a temporary path is UTF-8");
    let below = table.lines().filter(|line| line.contains(root));
    below.map(|line| format!("mount {line}")).collect()
}

/// Folders of every cgroup hierarchy whose names carry one of `ids`.
fn cgroups(ids: &BTreeSet<String>) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let hierarchies = table.lines().filter(|line| line.contains(" - cgroup"));
    let mut found = Vec::new();
    for point in hierarchies.filter_map(|line| line.split(' ').nth(4)) {
        walk(Path::new(point), 3, &mut |dir| {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            if ids.iter().any(|id| name.contains(id.as_str())) {
                found.push(format!("cgroup {}", dir.display()));
            }
        });
    }
    found
}

fn walk(dir: &Path, depth: u32, see: &mut dyn FnMut(&Path)) {
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            see(&entry.path());
            walk(&entry.path(), depth - 1, see);
        }
    }
}

/// What lies in the run folder beyond its empty skeleton: sockets, FIFOs and
/// records of boxes that are gone; and half-made things in the others.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for dir in ["run/boxes", "run/runtime", "boxes"] {
        for entry in fs::read_dir(root.join(dir)).into_iter().flatten().flatten() {
            // Serialises the choice of names; empty, and there for good.
            if entry.file_name() == "names.lock" {
                continue;
            }
            found.push(format!("file {}", entry.path().display()));
        }
    }
    for dir in ["store", "layers", "cache", "packages"] {
        walk_files(&root.join(dir), &mut |path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("tmp-") || name.starts_with(".tmp") || name.ends_with(".part") {
                found.push(format!("half-made {}", path.display()));
            }
        });
    }
    found
}

fn walk_files(dir: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        see(&entry.path());
        // Layers hold whole systems: their insides are no work of the store.
        if dir.file_name().is_some_and(|name| name != "layers")
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
        {
            walk_files(&entry.path(), see);
        }
    }
}

/// Everything of the story at `root`, whose boxes had `ids`, that is still
/// there.
fn left(root: &Path, ids: &BTreeSet<String>) -> Vec<String> {
    let mut left = processes(root, ids);
    left.extend(mounts(root));
    left.extend(cgroups(ids));
    left.extend(files(root));
    left
}

/// Waits until nothing is left of the story at `root`, whose boxes had `ids`.
///
/// # Panics
/// With the list of what is still there.
pub(crate) fn none_left(root: &Path, ids: &BTreeSet<String>) {
    // The kernel frees namespaces and cgroups a little after the last process.
    eventually("nothing is left behind", LONG / 6, || {
        let left = left(root, ids);
        if left.is_empty() {
            Ok(())
        } else {
            Err(left.join("\n"))
        }
    });
}

#[test]
fn the_harness_sees_a_process_a_mount_a_cgroup_and_a_file() {
    use std::process::{Command, Stdio};

    let dir = tempfile::Builder::new()
        .prefix("holdall-leak-")
        .tempdir()
        .expect("a folder");
    let root = dir.path();
    let id = format!("leak{}", std::process::id());
    let ids = BTreeSet::from([id.clone()]);
    assert_eq!(left(root, &ids), Vec::<String>::new());
    // A process shows its environment a little after its start.
    let sees = |what: &str| {
        eventually(&format!("a {what} is seen"), LONG / 6, || {
            let left = left(root, &ids);
            let seen = left.iter().any(|line| line.starts_with(what));
            if seen {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        });
    };

    let mut child = Command::new("cat");
    let mut child = child
        .env("HOLDALL_ROOT", root)
        .stdin(Stdio::piped())
        .spawn()
        .expect("cat");
    sees("process");
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());

    let point = root.join("mnt");
    fs::create_dir(&point).expect("a folder");
    let run = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).arg(&point).status();
        assert!(done.expect("it can be started").success());
    };
    run("mount", &["-t", "tmpfs", "holdall-leak"]);
    sees("mount");
    run("umount", &[]);

    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let cgroup = table
        .lines()
        .find(|line| line.contains(" - cgroup"))
        .expect("a hierarchy");
    let cgroup = Path::new(cgroup.split(' ').nth(4).expect("a mount point")).join(&id);
    fs::create_dir(&cgroup).expect("a cgroup");
    sees("cgroup");
    fs::remove_dir(&cgroup).expect("an empty cgroup");

    fs::create_dir_all(root.join("run/boxes/x")).expect("a folder");
    sees("file");
    fs::remove_dir(root.join("run/boxes/x")).expect("an empty folder");
    fs::create_dir_all(root.join("cache/tmp-x")).expect("a folder");
    sees("half-made");
}
