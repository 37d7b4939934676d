//! The disk of a machine: a small system around this program.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder that becomes the disk's file system.
#[derive(Debug)]
pub(crate) struct Tree {
    dir: TempDir,
}

impl Tree {
    /// A system of busybox, with `holdall` and this program as its init.
    pub(crate) fn new() -> Self {
        let tree = Self {
            dir: tempfile::Builder::new()
                .prefix("holdall-vm-")
                .tempdir()
                .expect("a temporary folder"),
        };
        for dir in [
            "dev",
            "etc",
            "proc",
            "run",
            "sys",
            "root",
            "tmp",
            "usr/bin",
            "usr/sbin",
            "usr/lib",
            "usr/lib64",
            "var/lib",
        ] {
            fs::create_dir_all(tree.at(dir)).expect("a folder of the story's");
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), tree.at(name)).expect("a link of the story's");
        }
        tree.copy(Path::new("/bin/busybox"), "/usr/bin/busybox");
        let list = Command::new("/bin/busybox").arg("--list").output();
        let list = list.expect("busybox-static is installed").stdout;
        for name in String::from_utf8_lossy(&list).lines() {
            if name != "busybox" {
                symlink("busybox", tree.at("usr/bin").join(name)).expect("a link");
            }
        }
        tree.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        tree.write("/etc/group", "root:x:0:\n");
        let own = std::env::current_exe().expect("this program");
        tree.copy(&own, "/guest");
        let holdall = Path::new(env!("CARGO_BIN_EXE_holdall"));
        tree.copy(holdall, "/usr/bin/holdall");
        tree
    }

    /// Where a path of the machine lies here.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn copy(&self, from: &Path, to: &str) {
        let to = self.at(to);
        fs::create_dir_all(to.parent().expect("a path of a file")).expect("a folder");
        let copied = fs::copy(from, &to);
        copied.unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).expect("a file of the story's");
    }

    /// A program of the host's with the libraries that it needs, at the same
    /// path.
    pub(crate) fn program(&self, path: &str) {
        let list = Command::new("ldd").arg(path).output();
        let list = list.expect("ldd is part of Debian's libc");
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        // `name => /path (address)`, or the interpreter's path alone.
        let libraries = list.split_whitespace().filter(|word| word.starts_with('/'));
        for file in libraries.chain([path]) {
            // /lib64/x is a link that leads to /usr/lib/…/x.
            let at = self.at(file);
            fs::create_dir_all(at.parent().expect("a path of a file")).expect("a folder");
            if at.is_symlink() || at.exists() {
                fs::remove_file(&at).expect("a file of the story's");
            }
            fs::copy(file, &at).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }

    /// Makes a disk of it.
    pub(crate) fn into_disk(self) -> Disk {
        // A story's temporary folder is private; the machine's root is not.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.dir.path(), open).expect("a folder of the story's");
        let sticky = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(self.at("tmp"), sticky).expect("a folder of the story's");
        let dir = tempfile::Builder::new().prefix("holdall-vm-").tempdir();
        let dir = dir.expect("a temporary folder");
        let image = dir.path().join("disk");
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-d"])
            .arg(self.dir.path())
            .arg(&image)
            .arg(SIZE)
            .output()
            .expect("mkfs.ext4 is part of Debian's base");
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{errors}");
        Disk { dir }
    }
}

/// Only what is written takes room on the host.
const SIZE: &str = "1G";

/// A disk with a system on it. It outlives the machines that boot from it.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: TempDir,
}

impl Disk {
    pub(crate) fn image(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// For files of the machine that runs from it.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }
}
