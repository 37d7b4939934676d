//! A state root and a project, both temporary.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use holdall_builder::{Build, BuildError, Built, Init, Progress};
use holdall_image::{Reference, Store, Tree};
use holdall_runtime::dirs::Dirs;

/// What stands for the init: nothing here starts it.
pub(crate) const INIT: &[u8] = b"the init";

/// A service that any root with a busybox can run.
pub(crate) const SERVICE: &str = "[service.a]\ncommand = \"/bin/busybox sleep 1000\"\n";

/// A state root.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) dirs: Dirs,
    pub(crate) store: Store,
    /// None where another process owns the folder.
    _temporary: Option<tempfile::TempDir>,
}

/// What a build said and did.
pub(crate) struct Outcome {
    pub(crate) result: Result<Built, BuildError>,
    pub(crate) output: Vec<String>,
}

impl Outcome {
    /// The image, of a build that must succeed.
    #[track_caller]
    pub(crate) fn built(self) -> Built {
        match self.result {
            Ok(built) => built,
            Err(error) => panic!("{}\n{}", chain(&error), self.output.join("\n")),
        }
    }

    /// The error, of a build that must fail.
    #[track_caller]
    pub(crate) fn error(self) -> BuildError {
        match self.result {
            Ok(built) => panic!("built {} steps", built.ran),
            Err(error) => error,
        }
    }
}

/// An error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl World {
    pub(crate) fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let world = Self::at(&temporary.path().join("state"));
        Self {
            root: temporary.path().to_owned(),
            _temporary: Some(temporary),
            ..world
        }
    }

    /// Of a state root that is another process's own.
    pub(crate) fn at(state: &Path) -> Self {
        let dirs = Dirs::under(state);
        let store = Store::open(&dirs.store(), &dirs.layers()).unwrap();
        Self {
            root: state.to_owned(),
            dirs,
            store,
            _temporary: None,
        }
    }

    /// Builds the project in `context`.
    #[must_use]
    pub(crate) fn build(&self, context: &Path) -> Outcome {
        self.build_until(context, &AtomicBool::new(false), &mut |_| {})
    }

    /// Builds it, telling of every event.
    #[must_use]
    pub(crate) fn build_until(
        &self,
        context: &Path,
        stop: &AtomicBool,
        each: &mut dyn FnMut(&Progress),
    ) -> Outcome {
        let mut output = Vec::new();
        let result = holdall_builder::build(&self.request(context, stop), &mut |event| {
            each(&event);
            if let Progress::Output { line } = event {
                output.push(line);
            }
        });
        Outcome { result, output }
    }

    pub(crate) fn request<'a>(&'a self, context: &'a Path, stop: &'a AtomicBool) -> Build<'a> {
        Build {
            context,
            file: None,
            tags: Vec::new(),
            dirs: &self.dirs,
            store: &self.store,
            init: Init::of(INIT),
            no_cache: false,
            stop,
        }
    }

    /// The files of an image.
    pub(crate) fn tree(&self, built: &Built) -> Tree {
        Tree::open(&self.store.unpacked_layers(&built.image).unwrap()).unwrap()
    }

    /// The files of the one layer that a step made.
    pub(crate) fn layer(&self, built: &Built, index: usize) -> Vec<PathBuf> {
        let folder = self
            .store
            .unpacked_layers(&built.image)
            .unwrap()
            .remove(index);
        let mut files = Vec::new();
        let mut todo = vec![folder.clone()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                files.push(Path::new("/").join(path.strip_prefix(&folder).unwrap()));
                if path.symlink_metadata().unwrap().is_dir() {
                    todo.push(path);
                }
            }
        }
        files.sort();
        files
    }

    /// Fails if a build has left anything half-made, or has tagged anything.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let left: Vec<_> = std::fs::read_dir(self.dirs.cache())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().starts_with("tmp-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(self.names().is_empty(), "{:?}", self.names());
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let root = self.root.display().to_string();
        assert!(!mounts.contains(&root), "{mounts}");
    }

    /// The names of all images.
    pub(crate) fn names(&self) -> Vec<Reference> {
        self.store
            .list()
            .unwrap()
            .into_iter()
            .filter_map(|image| image.reference)
            .collect()
    }

    /// A project with these files; those whose content begins with `#!` are
    /// executable.
    pub(crate) fn project(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.root.join(name);
        for (path, content) in files {
            write(&dir.join(path), content.as_bytes());
        }
        dir
    }

    /// A project over a root of busybox, for commands.
    pub(crate) fn busybox(&self, name: &str, more: &str) -> PathBuf {
        let toml = format!(
            "name = \"{name}\"\n[image]\nfrom = \"scratch\"\n\
             copy = [{{ from = \"root/\", to = \"/\" }}]\n{more}\n{SERVICE}"
        );
        let dir = self.project(name, &[("holdall.toml", &toml)]);
        let busybox =
            std::fs::read("/bin/busybox").expect("the package busybox-static is installed");
        write(&dir.join("root/bin/busybox"), &busybox);
        executable(&dir.join("root/bin/busybox"));
        for applet in [
            "sh", "cat", "sleep", "mkdir", "chmod", "env", "id", "rm", "ln", "seq",
        ] {
            std::os::unix::fs::symlink("busybox", dir.join("root/bin").join(applet)).unwrap();
        }
        write(
            &dir.join("root/etc/passwd"),
            b"root:x:0:0:root:/root:/bin/sh\nshop:x:7:8::/:/bin/sh\n",
        );
        write(&dir.join("root/etc/group"), b"root:x:0:\nshop:x:8:\n");
        dir
    }
}

pub(crate) fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    if content.starts_with(b"#!") {
        executable(path);
    }
}

pub(crate) fn executable(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes another holdall.toml.
pub(crate) fn edit(dir: &Path, old: &str, new: &str) {
    let path = dir.join("holdall.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{text}");
    std::fs::write(path, text.replace(old, new)).unwrap();
}
