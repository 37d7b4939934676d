//! One step of a build: a program run over a stack of layers.
//!
//! It leaves nothing by construction: the overlay is a mount attached to no
//! path, the configuration lies in memory, no state is recorded and no cgroup
//! made. The runtime process dies with its caller, and the step with it.

use std::io::BufReader;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::oci::call::{Call, failure, next_report, sealed_json};
use crate::oci::client::ClientError;
use crate::oci::overlay::{self, OverlayError, Upper};
use crate::oci::report::Report;
use crate::oci::spec::{Mount, NamespaceType, Process, Root, Spec, User};

/// How often the caller's wish to stop is looked at while a step runs, in
/// milliseconds. The flag has no descriptor to wait on; what Ctrl-C feels like
/// hangs on this.
const STOP_CHECK: u16 = 50;

/// A program to run over layers.
#[derive(Debug)]
pub struct Step<'a> {
    /// Unpacked layers, bottom first.
    pub layers: &'a [PathBuf],
    /// Where changes go: the new layer.
    pub upper: &'a Path,
    /// An empty directory on the same filesystem, for the kernel.
    pub work: &'a Path,
    /// The program (looked up in `env`'s PATH) and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its working directory; made if it isn't there.
    pub dir: PathBuf,
    /// Who it runs as; root when absent.
    pub user: Option<User>,
    /// Host files and directories it sees, beside the kernel's own.
    pub binds: Vec<Bind>,
    /// Standard output and error.
    pub output: BorrowedFd<'a>,
}

/// A host path shown to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// Inside; made in the upper directory if it isn't there.
    pub target: PathBuf,
    /// Whether the step may not write it.
    pub read_only: bool,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself: the exit code, or 128 + the signal.
    Code(u8),
    /// Because `stop` turned true.
    Stopped,
}

/// Why a step couldn't run.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Its layers don't stack.
    #[error("cannot stack the layers")]
    Overlay(#[source] OverlayError),
    /// The runtime refused.
    #[error("cannot run the step")]
    Runtime(#[source] ClientError),
    /// The step can't be watched.
    #[error("cannot wait for the step")]
    Wait(#[source] std::io::Error),
}

/// Runs a step to its end, or until `stop` turns true.
///
/// It runs as docker's containers do (capabilities, filter, masked paths),
/// but on the host's network. `/etc/resolv.conf` and the like are the caller's
/// to bind. Everything it started is gone when this returns, and soon after
/// this process dies, however it dies.
///
/// # Errors
/// Where the step can't be set up; a failing program is an [`Exit`].
pub fn run(step: &Step<'_>, stop: &AtomicBool) -> Result<Exit, StepError> {
    let upper = Upper {
        dir: step.upper,
        work: step.work,
        // It becomes a layer, which is synced, or nothing.
        lasting: false,
    };
    let rootfs = overlay::mount(step.layers, Some(upper)).map_err(StepError::Overlay)?;
    let document = sealed_json(&spec(step)).map_err(StepError::Wait)?;
    let null = open_null().map_err(StepError::Wait)?;

    let mut call = Call::new(None, "run");
    let config = call.pass(document.as_fd());
    let root = call.pass(rootfs.as_fd());
    call.command
        .args(["--transient", "--config-fd", &config.to_string()]);
    call.command.args(["--rootfs-fd", &root.to_string()]);
    let (mut runtime, mut reports) = call
        .spawn(
            &["step"],
            [null.as_fd(), step.output, step.output],
            Some(Signal::SIGTERM),
        )
        .map_err(StepError::Runtime)?;
    // Not kept open here: what the step holds is gone when the step is.
    drop(rootfs);

    let ended = wait(&runtime, &mut reports, stop);
    let status = runtime.wait().map_err(StepError::Wait)?;
    match ended? {
        Waited::Stopped => Ok(Exit::Stopped),
        Waited::Report(Report::Exited { code }) => Ok(Exit::Code(code)),
        Waited::Report(report) => Err(StepError::Runtime(failure(Some(report), status))),
        Waited::Nothing => Err(StepError::Runtime(failure(None, status))),
    }
}

enum Waited {
    Stopped,
    Report(Report),
    Nothing,
}

/// Waits for the last word of the runtime process, or stops it.
fn wait(
    runtime: &Child,
    reports: &mut BufReader<std::fs::File>,
    stop: &AtomicBool,
) -> Result<Waited, StepError> {
    let mut stopped = false;
    loop {
        if !stopped && stop.load(Ordering::Relaxed) {
            stopped = true;
            let pid = i32::try_from(runtime.id()).unwrap_or(i32::MAX);
            // It is our child and not waited for yet, so the number is its.
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM)
                .map_err(|errno| StepError::Wait(errno.into()))?;
        }
        if reports.buffer().is_empty() {
            let mut fds = [PollFd::new(reports.get_ref().as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::from(STOP_CHECK)) {
                Ok(0) | Err(nix::Error::EINTR) => continue,
                Ok(_) => {}
                Err(errno) => return Err(StepError::Wait(errno.into())),
            }
        }
        match next_report(reports).map_err(StepError::Runtime)? {
            Some(Report::Created { .. }) => {}
            None if stopped => return Ok(Waited::Stopped),
            Some(_) if stopped => return Ok(Waited::Stopped),
            Some(report) => return Ok(Waited::Report(report)),
            None => return Ok(Waited::Nothing),
        }
    }
}

/// The configuration of a step: docker's defaults on the host's network.
fn spec(step: &Step<'_>) -> Spec {
    let mut spec = crate::oci::defaults::spec();
    if let Some(linux) = &mut spec.linux {
        linux
            .namespaces
            .retain(|namespace| namespace.kind != NamespaceType::Network);
        linux.cgroups_path = None;
        linux.resources = None;
    }
    // No cgroup of its own, so nothing of it to show.
    spec.mounts
        .retain(|mount| mount.destination != Path::new("/sys/fs/cgroup"));
    spec.mounts.extend(step.binds.iter().map(|bind| {
        Mount {
            destination: bind.target.clone(),
            source: Some(bind.source.clone()),
            options: [
                "rbind",
                "rprivate",
                if bind.read_only { "rro" } else { "rw" },
            ]
            .map(str::to_owned)
            .to_vec(),
            ..Mount::default()
        }
    }));
    spec.root = Some(Root {
        path: PathBuf::from("rootfs"),
        readonly: false,
    });
    spec.hostname = Some("build".to_owned());
    let defaults = spec.process.take().unwrap_or_default();
    spec.process = Some(Process {
        user: step.user.clone().unwrap_or_default(),
        args: step.argv.clone(),
        env: step
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        cwd: step.dir.clone(),
        ..defaults
    });
    spec
}

fn open_null() -> std::io::Result<OwnedFd> {
    Ok(std::fs::File::open("/dev/null")?.into())
}
