//! What a configuration may ask for.

use super::PlanError;
use crate::oci::spec::{NamespaceType, Spec};

/// What changes a namespace needs one that isn't the host's.
pub(super) fn owned(
    spec: &Spec,
    kind: NamespaceType,
    property: &'static str,
) -> Result<(), PlanError> {
    spec.namespace(kind)
        .map(drop)
        .ok_or_else(|| PlanError::Invalid {
            property,
            value: "set without a namespace of its own".to_owned(),
        })
}

pub(super) fn refuse_what_is_not_built(spec: &Spec) -> Result<(), PlanError> {
    let unsupported = |text: &str| Err(PlanError::Unsupported(text.to_owned()));
    if let Some(process) = &spec.process {
        if process
            .apparmor_profile
            .as_ref()
            .is_some_and(|name| !name.is_empty())
        {
            return unsupported("process.apparmorProfile");
        }
        if process
            .selinux_label
            .as_ref()
            .is_some_and(|label| !label.is_empty())
        {
            return unsupported("process.selinuxLabel");
        }
    }
    if spec
        .namespace(NamespaceType::User)
        .is_some_and(|user| user.path.is_some())
    {
        return unsupported("joining a user namespace at create");
    }
    Ok(())
}

/// Only parameters of the container's own namespaces may be set. The name is
/// an allow-listed key of letters, digits and separators: no `..`, no second
/// assignment smuggled in (CVE-2022-0811).
pub(super) fn check_sysctls(spec: &Spec) -> Result<(), PlanError> {
    let Some(linux) = &spec.linux else {
        return Ok(());
    };
    for (key, value) in &linux.sysctl {
        let invalid = || PlanError::Invalid {
            property: "linux.sysctl",
            value: format!("{key}={value}"),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if !key.chars().all(plain) || key.contains("..") || value.contains(['\n', '\0']) {
            return Err(invalid());
        }
        let kind = if key.starts_with("net.") || key.starts_with("net/") {
            NamespaceType::Network
        } else if key.starts_with("fs.mqueue.")
            || [
                "kernel.msgmax",
                "kernel.msgmnb",
                "kernel.msgmni",
                "kernel.sem",
                "kernel.shmall",
            ]
            .contains(&key.as_str())
            || ["kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"].contains(&key.as_str())
        {
            NamespaceType::Ipc
        } else {
            return Err(invalid());
        };
        if spec.namespace(kind).is_none() {
            return Err(invalid());
        }
    }
    Ok(())
}

/// personality(2)'s number of a name.
pub(super) fn domain(name: &str) -> Result<u64, PlanError> {
    match name {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        other => Err(PlanError::Invalid {
            property: "linux.personality.domain",
            value: other.to_owned(),
        }),
    }
}
