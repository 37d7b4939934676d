//! A root of its own for each story, and the command in it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::leaks;

/// The folder `HOLDALL_ROOT` of one story. Dropped, it removes every box that
/// is left and then fails the story if anything stayed behind.
#[derive(Debug)]
pub(crate) struct Env {
    root: Root,
}

#[derive(Debug)]
enum Root {
    /// Goes with the story.
    Own(TempDir),
    /// Stays, as a user's would, so that only the first run on a machine makes
    /// or downloads anything. Locked: stories with it run one after the other.
    Kept { path: PathBuf, _lock: File },
}

/// What a run of the command printed and returned.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its standard output; it must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self.out
    }

    /// Its standard error; it must have failed with `code`.
    #[track_caller]
    #[must_use]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self.err
    }
}

impl Env {
    /// A fresh, empty root.
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("holdall-e2e-").tempdir();
        Self {
            root: Root::Own(root.expect("a temporary folder")),
        }
    }

    /// The root of this name, as the last story left it: without a box.
    pub(crate) fn kept(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a folder below target");
        let lock = File::create(path.join("lock")).expect("a file below target");
        lock.lock().expect("the lock of the root");
        let env = Self {
            root: Root::Kept { path, _lock: lock },
        };
        // A story that was killed may have left some.
        for id in env.boxes() {
            let _id = env.run(["rm", "-f", &id]).ok();
        }
        env
    }

    pub(crate) fn root(&self) -> &Path {
        match &self.root {
            Root::Own(dir) => dir.path(),
            Root::Kept { path, .. } => path,
        }
    }

    /// The command, not yet run.
    #[must_use]
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdall"));
        command
            .args(args)
            .env("HOLDALL_ROOT", self.root())
            .stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(self.command(args).output().expect("holdall can be started"))
    }

    /// A folder for a project, with a holdall.toml.
    #[must_use]
    pub(crate) fn project(&self, name: &str, toml: &str) -> PathBuf {
        let dir = self.root().join("projects").join(name);
        std::fs::create_dir_all(&dir).expect("a folder below the root");
        std::fs::write(dir.join("holdall.toml"), toml).expect("a file below the root");
        dir
    }

    /// Every box of this root by id.
    #[must_use]
    pub(crate) fn boxes(&self) -> BTreeSet<String> {
        let listed = self.run(["ps", "-a", "-q"]);
        listed.out.lines().map(str::to_owned).collect()
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        let ids = self.boxes();
        for id in &ids {
            let removed = self.run(["rm", "-f", id]);
            if !std::thread::panicking() {
                let _id = removed.ok();
            }
        }
        // A second panic would abort and hide the first.
        if !std::thread::panicking() {
            leaks::none_left(self.root(), &ids);
        }
    }
}

/// A port that was free a moment ago, in both address families.
#[must_use]
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
    listener.local_addr().expect("a bound socket").port()
}
