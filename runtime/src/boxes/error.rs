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

/// An error with all its causes on one line, for where no error value travels.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> BoxName {
        "shop".parse().expect("a name")
    }

    #[test]
    fn every_text_is_one_that_people_can_read() {
        let io = || io::Error::from_raw_os_error(28);
        let words = || ClientError::Runtime {
            message: "words".into(),
            code: 1,
        };
        let (path, id) = (PathBuf::from("/x"), "0123456789ab".parse().expect("an id"));
        let address = "127.0.0.1:80".parse().expect("an address");
        let texts = [
            BoxError::NotFound {
                name: "shup".into(),
                similar: Some("shop".into()),
            },
            BoxError::Ambiguous {
                prefix: "a".into(),
                count: 2,
            },
            BoxError::NameInUse {
                name: name(),
                by: id,
            },
            BoxError::UnknownProfile {
                image: "shop".into(),
                profile: "prodution".into(),
                near: Some("production".into()),
            },
            BoxError::NotRoot,
            BoxError::UdpNotBuilt("53/udp".into()),
            BoxError::PortInUse {
                name: name(),
                address,
                by: None,
            },
            BoxError::PortInUse {
                name: name(),
                address,
                by: Some(name()),
            },
            BoxError::Publish {
                name: name(),
                cause: ListenError::NoneFree(80),
            },
            BoxError::NoCommand {
                image: "shop".into(),
            },
            BoxError::BindMissing { path: path.clone() },
            BoxError::Variable("A=".into()),
            BoxError::User {
                name: name(),
                cause: AccountError::Empty,
            },
            BoxError::NotRunning(name()),
            BoxError::Running(name()),
            BoxError::NoInit(name()),
            BoxError::Control {
                name: name(),
                cause: ControlError::Hangs,
            },
            BoxError::Start {
                name: name(),
                message: "why".into(),
                code: 127,
            },
            BoxError::MonitorLost(name()),
            BoxError::Runtime {
                verb: "kill",
                name: name(),
                cause: words(),
            },
            BoxError::Unkillable(name()),
            BoxError::ProgramNotFound {
                name: name(),
                program: "sh".into(),
            },
            BoxError::ProgramNotExecutable {
                name: name(),
                program: "sh".into(),
                message: "why".into(),
            },
            BoxError::Terminal(io()),
            BoxError::TooNew {
                path: path.clone(),
                version: 2,
            },
            BoxError::File {
                verb: "write",
                path,
                cause: io(),
            },
            BoxError::System {
                verb: "make a pipe",
                cause: io(),
            },
        ];
        let lines: Vec<String> = texts
            .iter()
            .map(|error| match error.hint() {
                Some(hint) => format!("{} | {hint}", chain(error)),
                None => chain(error),
            })
            .collect();
        assert_eq!(
            lines,
            [
                "cannot find box \"shup\" | did you mean \"shop\"?",
                "cannot tell which box \"a\" means: 2 ids begin with it | write more of the id, or the name",
                "cannot name the box \"shop\": the name is in use by box 0123456789ab | take another with --name, or `holdall rm shop` first",
                "cannot use profile \"prodution\": image shop has none of that name | did you mean \"production\"?",
                "cannot run boxes without root | try again with sudo",
                "cannot publish 53/udp: UDP ports are not built yet",
                "cannot publish port 127.0.0.1:80 of box shop: it is in use | `ss -ltnp 'sport = :80'` shows which program has it",
                "cannot publish port 127.0.0.1:80 of box shop: it is in use by box shop | `holdall stop shop` first, or publish on another port",
                "cannot publish the ports of box shop: cannot publish port 80 of the box: no free port found on the host",
                "cannot create a box from shop: it has no command | write the command after the image",
                "cannot bind /x: there is no such file or directory | make it: `mkdir -p /x`",
                "cannot set variable \"A=\": a name is not empty and has no '=' and no NUL",
                "cannot run box shop: user is empty",
                "cannot reach box shop: it is not running | `holdall start shop` first",
                "cannot remove box shop: it is running | `holdall stop shop` first, or remove it with -f",
                "cannot ask box shop for its services: its image has no holdall init | `holdall exec` and `holdall logs` work with it",
                "cannot do that in box shop: cannot get an answer: the init hangs | `holdall kill shop` ends it",
                "cannot start box shop: why",
                "cannot start box shop: its monitor was killed | try `holdall start shop` again",
                "cannot kill box shop: words",
                "cannot end box shop: its first process outlives SIGKILL",
                "cannot execute \"sh\" in box shop: no such program",
                "cannot execute \"sh\" in box shop: why",
                "cannot use the terminal: No space left on device (os error 28)",
                "cannot read /x: version 2 is newer than this holdall",
                "cannot write /x: No space left on device (os error 28) | the disk is full",
                "cannot make a pipe: No space left on device (os error 28)",
            ]
        );
    }

    #[test]
    fn what_does_not_come_to_run_has_dockers_code() {
        let refused = |code| BoxError::Runtime {
            verb: "create",
            name: name(),
            cause: ClientError::Runtime {
                message: "words".into(),
                code,
            },
        };
        for (reported, told) in [(127, 127), (126, 126), (125, 125), (2, 125), (1, 125)] {
            assert_eq!(refused(reported).exit_code(), told, "{reported}");
        }
        assert_eq!(BoxError::NotRoot.exit_code(), 125);
    }
}
