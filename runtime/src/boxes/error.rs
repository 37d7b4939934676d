//! What can go wrong with a box.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use holdall_image::layer::LayerError;
use holdall_image::store::StoreError;
use holdall_image::tree::TreeError;
use holdall_protocol::account::AccountError;

use super::name::{BoxId, BoxName};
use super::volumes::CopyError;
use crate::control::ControlError;
use crate::oci::client::ClientError;
use crate::oci::overlay::OverlayError;
use crate::ports::listen::ListenError;

/// Why something can't be done with a box. [`BoxError::hint`] says what to do
/// about it.
#[derive(Debug, thiserror::Error)]
pub enum BoxError {
    /// No box of that name or id.
    #[error("cannot find box {name:?}")]
    NotFound {
        /// What was asked for.
        name: String,
        /// A name that is close to it.
        similar: Option<String>,
    },
    /// An id prefix of several boxes.
    #[error("cannot tell which box {prefix:?} means: {count} ids begin with it")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many.
        count: usize,
    },
    /// Another box has the name.
    #[error("cannot name the box {name:?}: the name is in use by box {by}")]
    NameInUse {
        /// The name.
        name: BoxName,
        /// Who has it.
        by: BoxId,
    },
    /// Namespaces and mounts need root.
    #[error("cannot run boxes without root")]
    NotRoot,
    /// UDP isn't forwarded yet.
    #[error("cannot publish {0}: UDP ports are not built yet")]
    UdpNotBuilt(String),
    /// Another program, or another box, listens there.
    #[error("cannot publish port {address} of box {name}: {}", owner(.by.as_ref()))]
    PortInUse {
        /// The box that wants it.
        name: BoxName,
        /// Where.
        address: SocketAddr,
        /// The box that has it, if it is one.
        by: Option<BoxName>,
    },
    /// A port can't be listened on for another reason.
    #[error("cannot publish the ports of box {name}")]
    Publish {
        /// The box.
        name: BoxName,
        /// Why.
        #[source]
        cause: ListenError,
    },
    /// The image names no program and neither did the user.
    #[error("cannot create a box from {image}: it has no command")]
    NoCommand {
        /// The image.
        image: String,
    },
    /// A bind whose source isn't there.
    #[error("cannot bind {}: there is no such file or directory", path.display())]
    BindMissing {
        /// The source.
        path: PathBuf,
    },
    /// A variable's name can't be one.
    #[error("cannot set variable {0:?}: a name is not empty and has no '=' and no NUL")]
    Variable(String),
    /// The image is gone or damaged.
    #[error("cannot use image {image}")]
    Image {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: Box<StoreError>,
    },
    /// The image's services have no such profile.
    #[error("cannot use profile {profile:?}: image {image} has none of that name")]
    UnknownProfile {
        /// The image.
        image: String,
        /// What was asked for.
        profile: String,
        /// One that was probably meant.
        near: Option<String>,
    },
    /// The image's services can't be read.
    #[error("cannot read the services of image {image}")]
    Services {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: TreeError,
    },
    /// The image's layers can't be unpacked.
    #[error("cannot unpack image {image}")]
    Unpack {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: Box<LayerError>,
    },
    /// The image's files can't be looked at.
    #[error("cannot read the files of box {name}")]
    Tree {
        /// The box.
        name: BoxName,
        /// Why.
        #[source]
        cause: TreeError,
    },
    /// The user doesn't exist in the box.
    #[error("cannot run box {name}")]
    User {
        /// The box.
        name: BoxName,
        /// Why.
        #[source]
        cause: AccountError,
    },
    /// The image's files can't be copied into a new volume.
    #[error("cannot fill volume {target}")]
    Fill {
        /// Where it is mounted.
        target: String,
        /// Why.
        #[source]
        cause: CopyError,
    },
    /// The root can't be mounted.
    #[error("cannot mount the root of box {name}")]
    Root {
        /// The box.
        name: BoxName,
        /// Why.
        #[source]
        cause: OverlayError,
    },
    /// The box doesn't run.
    #[error("cannot reach box {0}: it is not running")]
    NotRunning(BoxName),
    /// The box runs.
    #[error("cannot remove box {0}: it is running")]
    Running(BoxName),
    /// The image has no init of holdall's, so there are no services.
    #[error("cannot ask box {0} for its services: its image has no holdall init")]
    NoInit(BoxName),
    /// Its init refused or failed.
    #[error("cannot do that in box {name}")]
    Control {
        /// The box.
        name: BoxName,
        /// Why.
        #[source]
        cause: ControlError,
    },
    /// The box's start failed.
    #[error("cannot start box {name}: {message}")]
    Start {
        /// The box.
        name: BoxName,
        /// Why, with all causes.
        message: String,
        /// Docker's exit code for it.
        code: u8,
    },
    /// Its monitor was killed before the box ran.
    #[error("cannot start box {0}: its monitor was killed")]
    MonitorLost(BoxName),
    /// The OCI runtime refused or failed.
    #[error("cannot {verb} box {name}")]
    Runtime {
        /// What was asked.
        verb: &'static str,
        /// The box.
        name: BoxName,
        /// Why.
        #[source]
        cause: ClientError,
    },
    /// It is still there after a KILL.
    #[error("cannot end box {0}: its first process outlives SIGKILL")]
    Unkillable(BoxName),
    /// The program of an exec isn't there.
    #[error("cannot execute {program:?} in box {name}: no such program")]
    ProgramNotFound {
        /// The box.
        name: BoxName,
        /// The program.
        program: String,
    },
    /// The program of an exec can't be executed.
    #[error("cannot execute {program:?} in box {name}: {message}")]
    ProgramNotExecutable {
        /// The box.
        name: BoxName,
        /// The program.
        program: String,
        /// Why.
        message: String,
    },
    /// The terminal can't be used.
    #[error("cannot use the terminal")]
    Terminal(#[source] io::Error),
    /// A record of a newer holdall.
    #[error("cannot read {}: version {version} is newer than this holdall", path.display())]
    TooNew {
        /// The record.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A record that is no JSON, or lacks something.
    #[error("cannot understand {}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// Anything with a file.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A system call without a file.
    #[error("cannot {verb}")]
    System {
        /// What was tried.
        verb: &'static str,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

fn owner(by: Option<&BoxName>) -> String {
    by.map_or_else(
        || "it is in use".into(),
        |name| format!("it is in use by box {name}"),
    )
}

impl BoxError {
    /// The next thing to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound {
                similar: Some(name),
                ..
            } => Some(format!("did you mean {name:?}?")),
            Self::NotFound { similar: None, .. } => Some("see `holdall ps -a`".into()),
            Self::UnknownProfile { near, .. } => Some(match near {
                Some(name) => format!("did you mean {name:?}?"),
                None => "its holdall.toml lists them as [profile.NAME]".into(),
            }),
            Self::Ambiguous { .. } => Some("write more of the id, or the name".into()),
            Self::NameInUse { name, .. } => Some(format!(
                "take another with --name, or `holdall rm {name}` first"
            )),
            Self::NotRoot => Some("try again with sudo".into()),
            Self::PortInUse { by: Some(name), .. } => Some(format!(
                "`holdall stop {name}` first, or publish on another port"
            )),
            Self::PortInUse {
                by: None, address, ..
            } => Some(format!(
                "`ss -ltnp 'sport = :{}'` shows which program has it",
                address.port()
            )),
            Self::NoCommand { .. } => Some("write the command after the image".into()),
            Self::BindMissing { path } => Some(format!("make it: `mkdir -p {}`", path.display())),
            Self::NotRunning(name) => Some(format!("`holdall start {name}` first")),
            Self::Running(name) => {
                Some(format!("`holdall stop {name}` first, or remove it with -f"))
            }
            Self::NoInit(_) => Some("`holdall exec` and `holdall logs` work with it".into()),
            Self::MonitorLost(name) => Some(format!("try `holdall start {name}` again")),
            Self::Control {
                cause: ControlError::Hangs,
                name,
            } => Some(format!("`holdall kill {name}` ends it")),
            Self::File { cause, .. } if cause.kind() == io::ErrorKind::StorageFull => {
                Some("the disk is full".into())
            }
            _ => None,
        }
    }

    /// Docker's exit code for a failed `exec` or `run`: 127 where the program
    /// isn't there, 126 where it can't be executed, 125 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ProgramNotFound { .. } => NOT_FOUND,
            Self::ProgramNotExecutable { .. } => NOT_EXECUTABLE,
            Self::Start { code, .. } => *code,
            Self::Runtime { cause, .. } => code_of(cause),
            _ => FAILED,
        }
    }

    /// For `map_err` on an operation with a file.
    pub(crate) fn file(
        verb: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::File {
            verb,
            path: path.as_ref().to_owned(),
            cause,
        }
    }

    /// For `map_err` on a system call without a file.
    pub(crate) fn system(verb: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::System { verb, cause }
    }
}

/// Docker's exit codes for what doesn't come to run.
pub(crate) const FAILED: u8 = 125;
pub(crate) const NOT_EXECUTABLE: u8 = 126;
pub(crate) const NOT_FOUND: u8 = 127;

/// The exit code for the runtime's refusal. Its other codes are runc's, which
/// tell nothing here.
pub(crate) fn code_of(cause: &ClientError) -> u8 {
    match cause {
        ClientError::Runtime {
            code: code @ (NOT_FOUND | NOT_EXECUTABLE),
            ..
        } => *code,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests;
