//! The same services under each supervisor, as PID 1 of a pid namespace.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::clock;
use crate::measure::OURS;
use crate::process::installed;
use crate::world::World;

/// How to start everyone; the same for all, so only named once on the page.
pub(super) const COMMANDS: [(&str, &str); 5] = [
    (OURS, "holdall-init --config holdall.toml run"),
    ("supervisord", "supervisord -n -c supervisord.conf"),
    ("s6", "s6-svscan -c 2000 SCAN"),
    ("runit", "runsvdir -P SCAN"),
    ("all", "unshare --pid --fork --mount-proc …"),
];

/// One who keeps services up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Supervisor {
    Holdall,
    Supervisord,
    S6,
    Runit,
}

impl Supervisor {
    /// Those that are installed, ours first.
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Self::Holdall];
        let peers = [
            (Self::Supervisord, "supervisord"),
            (Self::S6, "s6-svscan"),
            (Self::Runit, "runsvdir"),
        ];
        all.extend(peers.iter().filter(|(_, p)| installed(p)).map(|(s, _)| *s));
        all
    }

    pub(super) fn who(self) -> &'static str {
        match self {
            Self::Holdall => OURS,
            Self::Supervisord => "supervisord",
            Self::S6 => "s6",
            Self::Runit => "runit",
        }
    }
}

/// One service: its name, and what `holdall-bench load` is to do.
pub(super) struct Service {
    pub(super) name: String,
    pub(super) load: Vec<String>,
}

/// Where what the services print goes.
pub(super) enum Output<'a> {
    /// Read by the supervisor and dropped behind it. s6 and runit pass it on
    /// unread.
    Null,
    /// Into `log` in this folder, through the supervisor's own logger.
    Logged(&'a Path),
}

/// Where the services say what they do.
pub(super) struct Fifo {
    pub(super) path: PathBuf,
    file: File,
    left: String,
}

/// What a service said: a word, its name, and when on the monotonic clock.
pub(super) struct Said {
    pub(super) word: String,
    pub(super) name: String,
    pub(super) at: i64,
}

impl Fifo {
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let path = dir.join("fifo");
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
            .with_context(|| format!("cannot make {path:?}"))?;
        // Opened for writing too: it has no end while services come and go.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .with_context(|| format!("cannot open {path:?}"))?;
        Ok(Self {
            path,
            file,
            left: String::new(),
        })
    }

    /// The next word of a service.
    pub(super) fn next(&mut self) -> Result<Said> {
        loop {
            if let Some((line, rest)) = self.left.split_once('\n') {
                let words: Vec<&str> = line.split(' ').collect();
                let [word, name, at] = words.as_slice() else {
                    bail!("a service said {line:?}");
                };
                let said = Said {
                    word: (*word).to_owned(),
                    name: (*name).to_owned(),
                    at: at
                        .parse()
                        .with_context(|| format!("a service said {line:?}"))?,
                };
                self.left = rest.to_owned();
                return Ok(said);
            }
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            let patience = PollTimeout::from(30_000_u16);
            if poll(&mut fds, patience).context("cannot poll")? == 0 {
                bail!("no service said anything for 30 s");
            }
            let mut bytes = [0; 4096];
            let got = self.file.read(&mut bytes).context("cannot read the FIFO")?;
            let text = bytes.get(..got).unwrap_or_default();
            self.left.push_str(&String::from_utf8_lossy(text));
        }
    }
}

/// A supervisor that runs; its whole pid namespace ends with this.
pub(super) struct Running {
    unshare: Child,
}

impl Running {
    /// The supervisor's process.
    pub(super) fn pid1(&self) -> Result<i32> {
        let id = self.unshare.id();
        let path = format!("/proc/{id}/task/{id}/children");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        text.trim().parse().context("the supervisor is gone")
    }

    /// Asks it to stop everything; returns the seconds until nothing is left.
    pub(super) fn stop(mut self) -> Result<f64> {
        let pid1 = self.pid1()?;
        let start = clock::now();
        kill(Pid::from_raw(pid1), Signal::SIGTERM).context("cannot signal the supervisor")?;
        self.unshare.wait().context("cannot wait for unshare")?;
        Ok(start.elapsed().as_secs_f64())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // With PID 1 the kernel ends its namespace, and unshare ends after it:
        // nothing of it meets the next contestant. No failure matters: there is
        // nothing left to end then.
        if let Ok(pid1) = self.pid1() {
            kill(Pid::from_raw(pid1), Signal::SIGKILL).ok();
        } else {
            self.unshare.kill().ok();
        }
        self.unshare.wait().ok();
    }
}

/// Writes the supervisor's files into `dir`, which is empty, and starts it.
pub(super) fn start(
    world: &World,
    supervisor: Supervisor,
    dir: &Path,
    services: &[Service],
    output: &Output<'_>,
) -> Result<Running> {
    let mut out = Stdio::null();
    if let (Supervisor::Holdall, Output::Logged(dir)) = (supervisor, output) {
        let path = dir.join("log");
        let file = File::create(&path).with_context(|| format!("cannot create {path:?}"))?;
        out = file.into();
    }
    let words = match supervisor {
        Supervisor::Holdall => holdall(world, dir, services)?,
        Supervisor::Supervisord => supervisord(world, dir, services, output)?,
        Supervisor::S6 => {
            let mut words = scan(world, dir, services, output)?;
            words.splice(0..0, ["s6-svscan".into(), "-c".into(), "2000".into()]);
            words
        }
        Supervisor::Runit => {
            let mut words = scan(world, dir, services, output)?;
            words.splice(0..0, ["runsvdir".into(), "-P".into()]);
            words
        }
    };
    let unshare = namespace()
        .args(words)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run unshare")?;
    Ok(Running { unshare })
}

fn holdall(world: &World, dir: &Path, services: &[Service]) -> Result<Vec<OsString>> {
    let mut text = String::new();
    for service in services {
        let mut words = vec![world.bench.display().to_string(), "load".to_owned()];
        words.extend(service.load.iter().cloned());
        // Writing to a String can't fail. An array of TOML strings is printed
        // as Rust prints it.
        write!(
            text,
            "[service.{}]\ncommand = {words:?}\nbackoff = {{ initial = \"1ms\", max = \"1ms\" }}\ngive_up = {{ failures = 0 }}\n",
            service.name
        )
        .ok();
    }
    let config = dir.join("holdall.toml");
    fs::write(&config, text).with_context(|| format!("cannot write {config:?}"))?;
    Ok(vec![
        world.init.clone().into(),
        "--config".into(),
        config.into(),
        "--run-dir".into(),
        dir.into(),
        "run".into(),
    ])
}

fn supervisord(
    world: &World,
    dir: &Path,
    services: &[Service],
    output: &Output<'_>,
) -> Result<Vec<OsString>> {
    let log = match output {
        Output::Null => PathBuf::from("/dev/null"),
        Output::Logged(dir) => dir.join("log"),
    };
    let mut text = format!(
        "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={}\n",
        dir.join("pid").display()
    );
    for service in services {
        write!(
            text,
            "[program:{}]\ncommand={} load {}\nstartsecs=0\nautorestart=true\nredirect_stderr=true\nstdout_logfile={}\nstdout_logfile_maxbytes=0\n",
            service.name,
            world.bench.display(),
            service.load.join(" "),
            log.display()
        )
        .ok();
    }
    let config = dir.join("supervisord.conf");
    fs::write(&config, text).with_context(|| format!("cannot write {config:?}"))?;
    Ok(vec![
        "supervisord".into(),
        "-n".into(),
        "-c".into(),
        config.into(),
    ])
}

/// A folder for s6-svscan and runsvdir. `run` is a link to this program, which
/// then reads `load` beside it: no shell stands between.
fn scan(
    world: &World,
    dir: &Path,
    services: &[Service],
    output: &Output<'_>,
) -> Result<Vec<OsString>> {
    let scan = dir.join("scan");
    for service in services {
        let home = scan.join(&service.name);
        fs::create_dir_all(&home).with_context(|| format!("cannot create {home:?}"))?;
        std::os::unix::fs::symlink(&world.bench, home.join("run"))
            .with_context(|| format!("cannot fill {home:?}"))?;
        fs::write(home.join("load"), service.load.join("\n"))
            .with_context(|| format!("cannot fill {home:?}"))?;
        if let Output::Logged(dir) = output {
            let log = home.join("log");
            fs::create_dir_all(&log).with_context(|| format!("cannot create {log:?}"))?;
            let kept = dir.join("s6-log");
            fs::create_dir_all(&kept).with_context(|| format!("cannot create {kept:?}"))?;
            std::os::unix::fs::symlink(kept.join("current"), dir.join("log"))
                .with_context(|| format!("cannot fill {dir:?}"))?;
            let run = log.join("run");
            let script = format!("#!/bin/sh\nexec s6-log n2 s268435455 {}\n", kept.display());
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o755)
                .open(&run)
                .with_context(|| format!("cannot create {run:?}"))?;
            std::io::Write::write_all(&mut file, script.as_bytes())
                .with_context(|| format!("cannot write {run:?}"))?;
        }
    }
    Ok(vec![scan.into()])
}

/// An empty folder, in memory so that no disk takes part, for one run.
pub(super) fn fresh() -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("holdall-bench.")
        .tempdir_in("/dev/shm")
        .context("cannot make a folder in /dev/shm")
}

/// `unshare` of a pid namespace that ends with this program; the command of its
/// PID 1 follows.
pub(super) fn namespace() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork"]);
    command.args(["--kill-child", "--mount-proc"]);
    command
}
