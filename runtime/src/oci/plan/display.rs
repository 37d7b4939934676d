//! Plans and steps in words.

use std::fmt;
use std::path::Path;

use super::{Plan, Step};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "clone with flags {:#x}", self.clone_flags)?;
        for (kind, path) in &self.join {
            writeln!(f, "open {kind:?} namespace {}", path.display())?;
        }
        self.steps
            .iter()
            .try_for_each(|step| writeln!(f, "{step:#}"))
    }
}

/// Reads as "cannot …".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |f: &mut fmt::Formatter<'_>, verb: &str, path: &Path| {
            write!(f, "{verb} {}", path.display())
        };
        match self {
            Self::JoinCgroups => f.write_str("join the cgroups"),
            Self::HideFromOthers => f.write_str("hide from other processes"),
            Self::Join(kind) => write!(f, "join the {kind:?} namespace"),
            Self::AwaitParent => f.write_str("hear from the runtime"),
            Self::BecomeRoot => f.write_str("become root of the user namespace"),
            Self::NewSession => f.write_str("start a session"),
            Self::NewKeyring => f.write_str("make a session keyring"),
            Self::NewCgroupNamespace => f.write_str("make a cgroup namespace"),
            Self::NewTimeNamespace(_) => f.write_str("make a time namespace"),
            Self::LoopbackUp => f.write_str("bring the loopback interface up"),
            Self::IsolateMounts(how) => write!(f, "make all mounts {how:?}"),
            Self::AttachRoot => f.write_str("attach the root filesystem"),
            Self::Mount(mount) => mount.fmt(f),
            Self::MakeDevices(nodes) => {
                f.write_str("make devices")?;
                nodes.iter().try_for_each(|node| write!(f, " {node}"))
            }
            Self::RuntimeHooks => f.write_str("run the createRuntime hooks"),
            Self::ContainerHooks => f.write_str("run the createContainer hooks"),
            Self::PivotRoot => f.write_str("pivot the root"),
            Self::JoinRunning => f.write_str("join the container"),
            Self::OpenConsole { .. } => f.write_str("open the terminal"),
            Self::ReopenNull => f.write_str("reopen /dev/null"),
            Self::MakeReadOnly(path) => at(f, "make read-only", path),
            Self::PropagateRoot(how) => write!(f, "make the root mount {how:?}"),
            Self::SetHostname(name) => write!(f, "set the host name {name:?}"),
            Self::SetDomainname(name) => write!(f, "set the domain name {name:?}"),
            Self::SetSysctls(pairs) => {
                f.write_str("set sysctls")?;
                pairs
                    .iter()
                    .try_for_each(|(key, value)| write!(f, " {key}={value:?}"))
            }
            Self::ProtectPath(path) => at(f, "protect", path),
            Self::MaskPath(path) => at(f, "mask", path),
            Self::SetPersonality(domain) => write!(f, "set the execution domain {domain:#x}"),
            Self::NoNewPrivileges => f.write_str("forbid new privileges"),
            Self::LoadFilter => f.write_str("load the system call filter"),
            Self::MarkDescriptors => f.write_str("mark descriptors to close"),
            Self::BecomeUser => f.write_str("become the user"),
            Self::FindProgram => f.write_str("find the program"),
            Self::AwaitStart => f.write_str("wait for the start"),
            Self::StartHooks => f.write_str("run the startContainer hooks"),
            Self::Execute => f.write_str("execute the program"),
        }
    }
}
