//! A root of its own for each test, and proof that nothing of it is left.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall_image::document::{ImageConfig, RootFs, RunConfig};
use holdall_image::store::Image;
use holdall_image::{Reference, Store};
use holdall_runtime::boxes::{
    BoxError, BoxId, BoxState, Boxes, CreateOptions, LogQuery, Network, Record, Started,
};
use holdall_runtime::dirs::Dirs;
use tempfile::TempDir;

/// One static program that is all of them (Debian's `busybox-static`).
const BUSYBOX: &str = "/usr/bin/busybox";

/// A root with its boxes. Dropped, it removes every box and fails the test
/// that leaves a process, a cgroup, a mount or a run folder behind.
pub(crate) struct World {
    pub(crate) dirs: Dirs,
    pub(crate) boxes: Boxes,
    pub(crate) store: Store,
    /// Its name, which is in the command line of nothing else.
    root: TempDir,
}

/// What differs between images here.
#[derive(Default)]
pub(crate) struct Content<'a> {
    pub(crate) files: &'a [(&'a str, &'a str)],
    pub(crate) config: RunConfig,
    pub(crate) init: Option<&'a Path>,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("holdall-boxes-")
            .tempdir()
            .expect("a root");
        let dirs = Dirs::under(root.path());
        let boxes = Boxes::open(dirs.clone()).expect("boxes");
        let store = Store::open(&dirs.store(), &dirs.layers()).expect("a store");
        Self {
            dirs,
            boxes,
            store,
            root,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// An image of one layer with busybox and these files.
    pub(crate) fn image(&self, content: Content<'_>) -> Image {
        let tree = tempfile::tempdir_in(self.path()).expect("a tree");
        let at = |path: &str| tree.path().join(path.trim_start_matches('/'));
        for dir in ["bin", "etc", "tmp", "run", "proc", "sys", "dev"] {
            fs::create_dir(at(dir)).expect(dir);
        }
        fs::copy(BUSYBOX, at("bin/busybox")).expect("busybox-static is installed");
        for name in [
            "sh", "cat", "sleep", "echo", "id", "hostname", "httpd", "kill", "tty", "stty", "ls",
            "touch", "true", "env", "head", "nc", "ip", "wc", "printf", "ps", "grep", "rm",
        ] {
            symlink("busybox", at("bin").join(name)).expect(name);
        }
        fs::write(
            at("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nshop:x:1234:4321::/:/bin/sh\n",
        )
        .expect("passwd");
        fs::write(at("etc/group"), "root:x:0:\nshop:x:4321:\n").expect("group");
        for (path, text) in content.files {
            fs::create_dir_all(at(path).parent().expect("a parent")).expect(path);
            fs::write(at(path), text).expect(path);
        }
        if let Some(init) = content.init {
            fs::copy(init, at("init")).expect("the init");
        }
        let dir = fs::File::open(tree.path()).expect("the tree");
        let layer = self.store.pack_layer(dir.as_fd(), 0).expect("packed");
        let config = ImageConfig {
            architecture: "amd64".into(),
            os: "linux".into(),
            config: content.config,
            rootfs: RootFs::new(vec![layer.diff_id]),
            ..ImageConfig::default()
        };
        let image = self
            .store
            .put_image(&config, &[layer.descriptor])
            .expect("an image");
        let reference: Reference = "shop:latest".parse().expect("a reference");
        self.store.tag(&reference, &image).expect("tagged");
        image
    }

    /// A box that will run a shell's `script`.
    pub(crate) fn script(&self, script: &str) -> CreateOptions {
        let image = self.image(Content::default());
        options(image, &["sh", "-c", script])
    }

    pub(crate) fn create(&self, options: CreateOptions) -> Record {
        self.boxes
            .create(options)
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn start(&self, id: &BoxId) -> Started {
        self.boxes
            .start(id)
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn state(&self, id: &BoxId) -> BoxState {
        self.boxes
            .summary(id)
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
            .state
    }

    /// Follows the log until this line comes.
    pub(crate) fn wait_for_line(&self, id: &BoxId, line: &str) {
        let (mut found, mut seen) = (false, Vec::new());
        let query = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        let followed = self.boxes.logs(id, &query, &mut |record| {
            seen.push(record.text.clone());
            found = record.text == line;
            if found {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        followed.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!(found, "no line {line:?} in {seen:?}");
    }

    /// Every line of the log.
    pub(crate) fn lines(&self, id: &BoxId) -> Vec<String> {
        let mut lines = Vec::new();
        let read = self.boxes.logs(id, &LogQuery::default(), &mut |record| {
            lines.push(record.text.clone());
            ControlFlow::Continue(())
        });
        read.unwrap_or_else(|error| panic!("{}", chain(&error)));
        lines
    }

    /// The processes that mind a box under this name.
    pub(crate) fn minders(&self, role: &str, id: &BoxId) -> BTreeSet<i32> {
        processes(|line| line.starts_with(&format!("{role}\0{id}")))
    }

    /// The one that minds it, once there is one and it has its orders: before
    /// that it can replace nobody.
    pub(crate) fn minder(&self, role: &str, id: &BoxId) -> i32 {
        let mut found = None;
        eventually(&format!("a {role} of {id}"), || {
            let minders = self.minders(role, id);
            found = minders.first().copied();
            minders.len() == 1 && found.is_some_and(|pid| self.holds_files(pid))
        });
        found.expect("one")
    }

    /// Whether a process has a file of this root open: a box's FIFO, say.
    fn holds_files(&self, pid: i32) -> bool {
        let open = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let mut links = open
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        links.any(|link| link.starts_with(self.path()))
    }

    /// Kills it as nobody can prevent, and waits until it is gone.
    pub(crate) fn kill_minder(&self, role: &str, id: &BoxId) {
        kill(self.minder(role, id));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let ids: Vec<BoxId> = self
            .boxes
            .list()
            .map(|boxes| boxes.into_iter().map(|summary| summary.record.id).collect())
            .unwrap_or_default();
        let mut left = Vec::new();
        for id in &ids {
            match self.boxes.remove(id, true) {
                Ok(()) | Err(BoxError::NotFound { .. }) => {}
                Err(error) => left.push(chain(&error)),
            }
        }
        // The last breath of a keeper comes a moment after the guard falls.
        eventually("all minders to end", || {
            ids.iter()
                .all(|id| processes(|line| line.contains(id.as_str())).is_empty())
        });
        // What a box with `--rm` has there goes after its name.
        let runs = || {
            let mut left = entries(&self.dirs.run_boxes());
            left.extend(entries(&self.dirs.runtime_state()));
            left
        };
        if !std::thread::panicking() {
            eventually("the run folders to be empty", || runs().is_empty());
        }
        left.extend(runs());
        left.extend(ids.iter().flat_map(|id| cgroups(id.as_str())));
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let root = self.path().to_string_lossy().into_owned();
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&root))
                .map(str::to_owned),
        );
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:#?}");
        }
    }
}

/// Options that a test changes where it cares.
pub(crate) fn options(image: Image, command: &[&str]) -> CreateOptions {
    CreateOptions {
        image,
        image_name: "shop".into(),
        name: None,
        publish: Vec::new(),
        env: Vec::new(),
        volumes: Vec::new(),
        remove: false,
        read_only: false,
        user: None,
        profile: None,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        hostname: None,
        network: Network::Private,
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Waits for what no event tells, with a bound.
pub(crate) fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if probe() {
            return;
        }
        let pause = nix::poll::PollTimeout::try_from(Duration::from_millis(10)).expect("short");
        nix::poll::poll(&mut [], pause).expect("waited");
    }
    panic!("no sign of {what} after 20 s");
}

/// Processes whose command line (words ended by NUL) is one of these.
pub(crate) fn processes(wanted: impl Fn(&str) -> bool) -> BTreeSet<i32> {
    let pids = fs::read_dir("/proc")
        .expect("proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| !line.is_empty() && wanted(&String::from_utf8_lossy(&line)))
    })
    .collect()
}

/// SIGKILL, and what it held is free.
pub(crate) fn kill(pid: i32) {
    let id = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).expect("killed");
    eventually("a killed process to end", || has_ended(pid));
}

/// Whether no thread of it is left, except a zombie that nobody has reaped. Its
/// command line goes first: its files are still open then, and its locks held.
fn has_ended(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    stat.contains(") Z ") && threads <= 1
}

fn entries(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path().display().to_string()))
        .collect()
}

/// Cgroups of that name in any hierarchy.
pub(crate) fn cgroups(id: &str) -> Vec<String> {
    let tops = fs::read_dir("/sys/fs/cgroup").expect("cgroups");
    let mut roots: Vec<PathBuf> = tops.filter_map(|top| Some(top.ok()?.path())).collect();
    roots.push("/sys/fs/cgroup".into());
    roots
        .into_iter()
        .map(|root| root.join("holdall").join(id))
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect()
}
