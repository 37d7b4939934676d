//! The image of examples/shop, built once on a machine and loaded into each
//! story's root.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::env::{Env, free_port};
use crate::eventually::{LONG, eventually};
use crate::http::{self, Answer};
use crate::status;

/// A running box of the shop.
#[derive(Debug)]
pub(crate) struct Shop {
    address: SocketAddr,
}

/// Copies the example into `dir`, so that its lock is written there and not
/// into the source tree.
pub(crate) fn copy_project(dir: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop");
    fs::create_dir_all(dir).expect("a folder");
    for name in ["holdall.toml", "nginx.conf", "app"] {
        let mut copy = Command::new("cp");
        let done = copy.arg("-a").arg(source.join(name)).arg(dir).status();
        assert!(done.expect("cp can be started").success());
    }
}

/// An archive of the image. The root it is built in stays, as a user's would,
/// so that only the first run on a machine downloads anything.
fn archive() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shop");
    fs::create_dir_all(&dir).expect("a folder below target");
    // Stories run in processes of their own, several at once.
    let lock = File::create(dir.join("lock")).expect("a file below target");
    lock.lock().expect("the lock of the fixture");
    let project = dir.join("project");
    copy_project(&project);
    let holdall = |args: &[&std::ffi::OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdall"));
        let output = command
            .args(args)
            .env("HOLDALL_ROOT", dir.join("root"))
            .output();
        let output = output.expect("holdall can be started");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "holdall {args:?}: {err}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let id = holdall(&["build".as_ref(), "-q".as_ref(), project.as_os_str()]);
    let hex = id.trim().trim_start_matches("sha256:").to_owned();
    let archive = dir.join(format!("{hex}.tar"));
    if !archive.exists() {
        holdall(&[
            "save".as_ref(),
            "-o".as_ref(),
            archive.as_os_str(),
            "shop".as_ref(),
        ]);
    }
    archive
}

/// Puts the image into `env`, as `shop`.
pub(crate) fn load(env: &Env) {
    let _names = env
        .run(["load".as_ref(), "-i".as_ref(), archive().as_os_str()])
        .ok();
}

impl Shop {
    /// Runs it as box `shop` and waits until it is ready.
    #[must_use]
    pub(crate) fn run(env: &Env) -> Self {
        load(env);
        let port = free_port();
        let publish = format!("{port}:80");
        let _name = env
            .run(["run", "-d", "--name", "shop", "-p", &publish, "shop"])
            .ok();
        status::until_ready(env, "shop");
        Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
        }
    }

    /// The page, once it answers with 200.
    pub(crate) fn page(&self) -> Answer {
        eventually("the page answers", LONG, || {
            match http::get(self.address, "/") {
                Ok(answer) if answer.status == 200 => Ok(answer),
                Ok(answer) => Err(format!("{answer:?}")),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// How many visits redis has counted, this one included.
    pub(crate) fn visits(&self) -> u64 {
        let body = self.page().body;
        let digits: String = body
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        digits
            .parse()
            .unwrap_or_else(|_| panic!("no count in the page: {body}"))
    }
}
