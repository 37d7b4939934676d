//! A small project on the disk of a machine: busybox and nothing else, so that
//! a build needs no network.

use std::fs;
use std::path::Path;

use crate::disk::Tree;

/// Where it lies in the machine.
pub(crate) const DIR: &str = "/root/project";

/// `[image]` with a step, whose files have the date of the build.
const IMAGE: &str = r#"
[image]
from = "scratch"
copy = [
  { from = "busybox", to = "/bin/busybox" },
  { from = "busybox", to = "/bin/sh" },
  { from = "srv/", to = "/srv/" },
]
run = [
  "/bin/busybox --install -s /bin && mkdir -p /data /etc /tmp",
  "echo root:x:0:0::/:/bin/sh > /etc/passwd; sh /srv/step; cp /srv/step /tmp/copied",
]
"#;

/// Puts a project of this name with these services on the disk.
pub(crate) fn put(tree: &Tree, name: &str, services: &str) {
    add(
        tree,
        "holdall.toml",
        &format!("name = \"{name}\"\n{IMAGE}{services}"),
    );
    add(tree, "srv/step", "");
    tree.copy(Path::new("/bin/busybox"), &format!("{DIR}/busybox"));
}

/// Adds a file to it.
pub(crate) fn add(tree: &Tree, path: &str, text: &str) {
    let path = tree.at(&format!("{DIR}/{path}"));
    fs::create_dir_all(path.parent().expect("a path of a file")).expect("a folder");
    fs::write(path, text).expect("a file of the story's");
}

/// In the machine: makes the second step last, or not.
pub(crate) fn slow_step(slow: bool) {
    let script = if slow { "sleep 1000\n" } else { "true\n" };
    fs::write(format!("{DIR}/srv/step"), script).expect("a file of the project");
}
