//! Debian's cloud kernel, fetched once on a machine and never installed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that always depends on the newest kernel.
const NEWEST: &str = "linux-image-cloud-amd64";

/// A kernel and its modules.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What qemu boots.
    pub(crate) image: PathBuf,
    /// Every module by name, `_` for `-` as the kernel has it.
    modules: BTreeMap<String, PathBuf>,
}

impl Kernel {
    /// Debian's, from below the target folder. The first call on a machine
    /// downloads it with apt and unpacks it there.
    pub(crate) fn of_debian() -> Self {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm");
        fs::create_dir_all(&cache).expect("a folder below target");
        // Stories run in processes of their own, several at once.
        let lock = File::create(cache.join("lock")).expect("a file below target");
        lock.lock().expect("the lock of the kernel");
        let dir = cache.join("kernel");
        if !dir.exists() {
            fetch(&cache, &dir);
        }
        let boot = fs::read_dir(dir.join("boot")).expect("an unpacked kernel");
        let mut names = boot.flatten().map(|entry| entry.path());
        let image = names
            .find(|path| file_name(path).starts_with("vmlinuz-"))
            .expect("a kernel package has a vmlinuz");
        let mut modules = BTreeMap::new();
        index(&dir.join("lib/modules"), &mut modules);
        Self { image, modules }
    }

    /// These modules and those they need, as files, in an order in which they
    /// can be loaded. What isn't a module is built in.
    pub(crate) fn modules(&self, wanted: &[&str]) -> Vec<(String, Vec<u8>)> {
        let mut ordered = Vec::new();
        for name in wanted {
            self.add(name, &mut ordered);
        }
        ordered
    }

    fn add(&self, name: &str, ordered: &mut Vec<(String, Vec<u8>)>) {
        let Some(path) = self.modules.get(name) else {
            return;
        };
        if ordered.iter().any(|(known, _)| known == name) {
            return;
        }
        let bytes = read_module(path);
        for needed in needs(&bytes) {
            self.add(&needed, ordered);
        }
        ordered.push((name.to_owned(), bytes));
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Downloads and unpacks beside `dir`, and takes its name when that is done.
fn fetch(cache: &Path, dir: &Path) {
    let draft = cache.join("draft");
    if draft.exists() {
        fs::remove_dir_all(&draft).expect("a folder below target");
    }
    fs::create_dir_all(&draft).expect("a folder below target");
    let _progress = printed(Command::new("apt-get").args(["-qq", "update"]));
    let depends = printed(Command::new("apt-cache").args(["depends", NEWEST]));
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
        .unwrap_or_else(|| panic!("{NEWEST} depends on a kernel: {depends}"));
    let _progress = printed(
        Command::new("apt-get")
            // Its own user could not write below a private folder.
            .args(["-o", "APT::Sandbox::User=root", "download"])
            .arg(format!("linux-image-{package}"))
            .current_dir(&draft),
    );
    let mut files = fs::read_dir(&draft).expect("the draft").flatten();
    let archive = files.next().expect("a package was downloaded").path();
    let unpacked = draft.join("unpacked");
    let _nothing = printed(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(&archive)
            .arg(&unpacked),
    );
    fs::rename(&unpacked, dir).expect("folders side by side");
    fs::remove_dir_all(&draft).expect("a folder below target");
}

/// What a program printed; it must have succeeded.
fn printed(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn index(dir: &Path, modules: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of modules").flatten() {
        let path = entry.path();
        if path.is_dir() {
            index(&path, modules);
        } else if let Some((name, _)) = file_name(&path).split_once(".ko") {
            modules.insert(name.replace('-', "_"), path);
        }
    }
}

/// A module as the kernel loads it: newer Debians compress the files.
fn read_module(path: &Path) -> Vec<u8> {
    if path.extension().is_some_and(|kind| kind == "xz") {
        let output = Command::new("xz").arg("-dc").arg(path).output();
        let output = output.expect("xz is part of Debian's base");
        assert!(output.status.success(), "{}", path.display());
        return output.stdout;
    }
    fs::read(path).expect("a module")
}

/// The modules that a module needs, by the `depends=` of its `.modinfo`.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|part| part == KEY) else {
        return Vec::new();
    };
    let value = module.get(at + KEY.len()..).unwrap_or_default();
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(|name| name.replace('-', "_")).collect()
}
