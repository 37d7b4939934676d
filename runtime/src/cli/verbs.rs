//! The verbs: arguments in, effect, exit code out.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::arguments::{Arguments, UsageError, Verb};
use crate::oci::create::{Config, Request};
use crate::oci::foreground::OnSignal;
use crate::oci::lifecycle::{self, LifecycleError, RunMode};
use crate::oci::report::{Report, Reporter};
use crate::oci::seal::{self, SealError};
use crate::oci::{create::CreateError, describe_error};
use crate::sys;

/// Where containers are remembered unless `--root` says otherwise.
const DEFAULT_ROOT: &str = "/run/holdall/runtime";

#[derive(Debug, thiserror::Error)]
enum VerbError {
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
            let message = describe_error(&error);
            if reports.is_heard() {
                reports.send(&Report::Failed { message });
            } else {
                log::error!("{message}");
            }
            error.exit_code()
        }
    }
}

fn perform(arguments: &Arguments, reports: &mut Reporter) -> Result<u8, VerbError> {
    let root = arguments
        .path("root")
        .unwrap_or_else(|| PathBuf::from(DEFAULT_ROOT));
    match arguments.verb {
        Verb::Create => {
            let request = begin(arguments, reports, "create", false)?;
            lifecycle::create(request, arguments.path("pid-file").as_deref(), reports)?;
            Ok(0)
        }
        Verb::Run => {
            let request = begin(arguments, reports, "run", true)?;
            let transient = request.state_root.is_none();
            let mode = RunMode {
                detach: arguments.has("detach"),
                on_signal: if transient {
                    OnSignal::Kill
                } else {
                    OnSignal::Forward
                },
            };
            Ok(lifecycle::run(
                request,
                arguments.path("pid-file").as_deref(),
                mode,
                reports,
            )?)
        }
        _ => {
            *reports = Reporter::new(adopt(arguments, "report-fd")?);
            with_state(arguments, &root)
        }
    }
}

fn with_state(arguments: &Arguments, root: &Path) -> Result<u8, VerbError> {
    match arguments.verb {
        Verb::Start => lifecycle::start(root, &arguments.id("start")?)?,
        Verb::State => {
            let state = lifecycle::state(root, &arguments.id("show")?)?;
            print_json(&state)?;
        }
        Verb::Delete => {
            lifecycle::delete(root, &arguments.id("delete")?, arguments.has("force"))?;
        }
        _ => {}
    }
    Ok(0)
}

fn print_json(value: &impl serde::Serialize) -> Result<(), VerbError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| VerbError::Output(e.into()))?;
    writeln!(std::io::stdout(), "{text}").map_err(VerbError::Output)
}

fn adopt(arguments: &Arguments, option: &'static str) -> Result<Option<OwnedFd>, VerbError> {
    arguments
        .number(option)?
        .map(|number| sys::adopt(number).map_err(|source| VerbError::Descriptor { number, source }))
        .transpose()
}

/// What `create` and `run` begin with: seal, take the inherited descriptors,
/// read the configuration.
fn begin(
    arguments: &Arguments,
    reports: &mut Reporter,
    verb: &'static str,
    attached: bool,
) -> Result<Request, VerbError> {
    let id = arguments.id(verb)?;
    arguments.at_most(1)?;
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
    let rootfs = adopt(arguments, "rootfs-fd")?;
    let bundle = arguments
        .path("bundle")
        .unwrap_or_else(|| PathBuf::from("."));
    let bundle = std::fs::canonicalize(&bundle).map_err(|source| VerbError::Bundle {
        path: bundle,
        source,
    })?;
    let config_path = match arguments.number("config-fd")? {
        Some(number) => PathBuf::from(format!("/proc/self/fd/{number}")),
        None => bundle.join("config.json"),
    };
    let config = Config::read(&config_path)?;
    let transient = arguments.has("transient");
    let state_root = arguments
        .path("root")
        .unwrap_or_else(|| PathBuf::from(DEFAULT_ROOT));
    Ok(Request {
        id,
        bundle,
        config,
        state_root: (!transient).then_some(state_root),
        console_socket: arguments.path("console-socket"),
        rootfs,
        preserve,
        attached,
        cgroups: !transient,
    })
}
