//! The verbs: arguments in, effect, exit code out.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::arguments::{Arguments, UsageError, Verb};
use super::{exec, features, show, signal};
use crate::causes::chain;
use crate::oci::config::Config;
use crate::oci::create::CreateError;
use crate::oci::create::Request;
use crate::oci::foreground::OnSignal;
use crate::oci::lifecycle::{self, LifecycleError, RunMode};
use crate::oci::report::{Report, Reporter};
use crate::oci::seal::{self, SealError};
use crate::sys;

/// Where containers are remembered unless `--root` says otherwise.
const DEFAULT_ROOT: &str = "/run/holdall/runtime";

#[derive(Debug, thiserror::Error)]
pub(super) enum VerbError {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("cannot use descriptor {number}: it is not open")]
    Descriptor {
        number: i32,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot use bundle {}", .path.display())]
    Bundle {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write the answer")]
    Output(#[source] std::io::Error),
    #[error("cannot close inherited descriptors")]
    Close(#[source] nix::Error),
}

impl VerbError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Lifecycle(error) => error.exit_code(),
            Self::Create(error) => error.exit_code(),
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}

/// Runs a verb; a failure is said and reported.
pub(super) fn run(arguments: Arguments) -> u8 {
    let mut reports = Reporter::default();
    match perform(&arguments, &mut reports) {
        Ok(code) => code,
        Err(error) => {
            let (message, code) = (chain(&error), error.exit_code());
            let said = Report::Failed {
                message: message.clone(),
                code,
            };
            if !reports.is_heard() || reports.send(&said).is_err() {
                log::error!("{message}");
            }
            code
        }
    }
}

fn perform(arguments: &Arguments, reports: &mut Reporter) -> Result<u8, VerbError> {
    let root = arguments
        .path("root")
        .unwrap_or_else(|| PathBuf::from(DEFAULT_ROOT));
    let pid_file = arguments.path("pid-file");
    match arguments.verb {
        Verb::Create => {
            let request = begin(arguments, reports, "create", root)?;
            let word = adopt(arguments, "start-fd")?;
            lifecycle::create(request, pid_file.as_deref(), word, reports)?;
        }
        Verb::Run => {
            let mut request = begin(arguments, reports, "run", root)?;
            request.attached = true;
            let transient = request.state_root.is_none();
            let mode = RunMode {
                detach: arguments.has("detach"),
                keep: arguments.has("keep"),
                on_signal: if transient {
                    OnSignal::Kill
                } else {
                    OnSignal::Forward
                },
            };
            return Ok(lifecycle::run(request, pid_file.as_deref(), mode, reports)?);
        }
        Verb::Exec => {
            let preserve = enter(arguments, reports)?;
            let request = exec::request(arguments, &root, preserve)?;
            return Ok(crate::oci::exec::exec(&root, &request, reports)?);
        }
        Verb::Start
        | Verb::State
        | Verb::Kill
        | Verb::Delete
        | Verb::Ps
        | Verb::List
        | Verb::Features
        | Verb::Spec
        | Verb::Help
        | Verb::Version => {
            *reports = Reporter::new(adopt(arguments, "report-fd")?);
            briefly(arguments, &root)?;
        }
    }
    Ok(0)
}

/// The verbs that clone nothing.
fn briefly(arguments: &Arguments, root: &Path) -> Result<(), VerbError> {
    let id = |verb, words| arguments.at_most(words).and_then(|()| arguments.id(verb));
    match arguments.verb {
        Verb::Create | Verb::Run | Verb::Exec => {}
        Verb::Start => lifecycle::start(root, &id("start", 1)?)?,
        Verb::State => show::json(&lifecycle::state(root, &id("show", 1)?)?)?,
        Verb::Kill => {
            let id = id("kill", 2)?;
            let signal = arguments
                .words
                .get(1)
                .map_or(Ok(libc::SIGTERM), signal::parse)?;
            lifecycle::kill(root, &id, signal, arguments.has("all"))?;
        }
        Verb::Delete => {
            lifecycle::delete(root, &id("delete", 1)?, arguments.has("force"))?;
        }
        Verb::Ps => {
            // What runc hands to ps(1); the columns are ours.
            let id = arguments.id("list the processes")?;
            let json = arguments
                .value("format")
                .is_some_and(|format| format == "json");
            show::processes(&lifecycle::processes(root, &id)?, json)?;
        }
        Verb::List => {
            arguments.at_most(0)?;
            show::containers(&lifecycle::list(root)?, arguments)?;
        }
        Verb::Features => show::json(&features::document())?,
        Verb::Spec => show::new_spec(&arguments.path("bundle").unwrap_or_else(|| ".".into()))?,
        Verb::Help => show::help()?,
        Verb::Version => show::version()?,
    }
    Ok(())
}

fn adopt(arguments: &Arguments, option: &'static str) -> Result<Option<OwnedFd>, VerbError> {
    arguments
        .number(option)?
        .map(|number| sys::adopt(number).map_err(|source| VerbError::Descriptor { number, source }))
        .transpose()
}

/// What every verb that clones begins with: seals the program, checks the
/// descriptors that were handed over, and keeps all others to itself. Returns
/// how many of them, from 3 on, the program gets.
fn enter(arguments: &Arguments, reports: &mut Reporter) -> Result<i32, VerbError> {
    let preserve = arguments.number("preserve-fds")?.unwrap_or(0);
    // All of them must be open *now*: later the numbers would be ours.
    for number in 3..3 + preserve {
        sys::keep_at_exec(number).map_err(|errno| VerbError::Descriptor {
            number,
            source: errno.into(),
        })?;
    }
    seal::ensure()?;
    sys::cloexec_from(3 + preserve).map_err(VerbError::Close)?;
    *reports = Reporter::new(adopt(arguments, "report-fd")?);
    Ok(preserve)
}

/// What `create` and `run` begin with.
fn begin(
    arguments: &Arguments,
    reports: &mut Reporter,
    verb: &'static str,
    root: PathBuf,
) -> Result<Request, VerbError> {
    let id = arguments.id(verb)?;
    arguments.at_most(1)?;
    let preserve = enter(arguments, reports)?;
    let rootfs = adopt(arguments, "rootfs-fd")?;
    let bundle = arguments
        .path("bundle")
        .unwrap_or_else(|| PathBuf::from("."));
    let bundle = std::fs::canonicalize(&bundle).map_err(|source| VerbError::Bundle {
        path: bundle,
        source,
    })?;
    let config = match arguments.number("config-fd")? {
        Some(number) => PathBuf::from(format!("/proc/self/fd/{number}")),
        None => bundle.join("config.json"),
    };
    let transient = arguments.has("transient");
    Ok(Request {
        id,
        bundle,
        config: Config::read(&config)?,
        state_root: (!transient).then_some(root),
        console_socket: arguments.path("console-socket"),
        rootfs,
        preserve,
        attached: false,
        cgroups: !transient,
        new_keyring: !arguments.has("no-new-keyring"),
    })
}
