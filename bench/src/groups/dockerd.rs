//! A docker daemon for as long as it is measured.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock;
use crate::process::{installed, output};

/// The parent of its containers' cgroups, so that they can be removed.
const CGROUP: &str = "holdall-bench";

/// How often its first answer is asked for, at most, 100 ms apart.
const TRIES: u32 = 300;

/// A daemon with everything in one folder. It makes no bridge and touches no
/// packet filter.
pub(super) struct Docker {
    daemon: Child,
    dir: PathBuf,
}

impl Docker {
    /// Starts it; none where docker is not installed.
    pub(super) fn start(dir: &Path) -> Result<Option<Self>> {
        if !installed("dockerd") {
            return Ok(None);
        }
        let own = |flag: &str, name: &str| format!("--{flag}={}", dir.join(name).display());
        let config = dir.join("daemon.json");
        fs::write(&config, "{}").with_context(|| format!("cannot write {config:?}"))?;
        let said = dir.join("log");
        let file = File::create(&said).with_context(|| format!("cannot create {said:?}"))?;
        let daemon = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "dockerd"])
            .args([
                own("config-file", "daemon.json"),
                own("data-root", "data"),
                own("exec-root", "exec"),
                own("pidfile", "pid"),
            ])
            .arg(format!("--host={}", socket(dir)))
            .arg(format!("--cgroup-parent=/{CGROUP}"))
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--bridge=none", "--iptables=false", "--ip-masq=false"])
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("cannot share a file")?)
            .stderr(file)
            .spawn()
            .context("cannot run dockerd")?;
        let mut docker = Self {
            daemon,
            dir: dir.to_owned(),
        };
        for _ in 0..TRIES {
            if output(docker.command().arg("version")).is_ok() {
                return Ok(Some(docker));
            }
            if let Some(status) = docker.daemon.try_wait().context("cannot see dockerd")? {
                let text = fs::read_to_string(&said).unwrap_or_default();
                bail!("dockerd ended with {status}:\n{text}");
            }
            clock::pass(Duration::from_millis(100));
        }
        bail!("dockerd doesn't answer: see {said:?}")
    }

    /// Its client.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("docker");
        // The builder of the daemon: Debian has no buildx.
        command
            .env("DOCKER_BUILDKIT", "0")
            .args(["--host", &socket(&self.dir)]);
        command
    }
}

fn socket(dir: &Path) -> String {
    format!("unix://{}", dir.join("socket").display())
}

impl Drop for Docker {
    fn drop(&mut self) {
        // No failure matters: what can't be ended or removed shows when the
        // scratch folder can't be removed.
        if let Ok(pid) = i32::try_from(self.daemon.id()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        self.daemon.wait().ok();
        for mount in ["exec/netns/default", "data"] {
            umount2(&self.dir.join(mount), MntFlags::MNT_DETACH).ok();
        }
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
        for hierarchy in hierarchies.flatten() {
            fs::remove_dir(hierarchy.path().join(CGROUP)).ok();
        }
    }
}
