//! Whose ids an idmapped mount shows (config.md, *POSIX-platform Mounts*).

use super::super::PlanError;
use super::super::options::Options;
use crate::oci::spec::{IdMapping, Linux, Mount};

/// The ids of an idmapped mount.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IdMap {
    pub(crate) users: Vec<IdMapping>,
    pub(crate) groups: Vec<IdMapping>,
    /// Whether the mounts below are mapped too.
    pub(crate) recursive: bool,
}

/// Decides by which ids a mount is mapped, if it is: its own, else those of
/// the container's new user namespace, which `userns` has. Where neither
/// `idmap` nor `ridmap` is said, only the mount itself is mapped, as runc does:
/// what lies below may be of a kind that can't be.
pub(super) fn plan(
    index: usize,
    mount: &Mount,
    options: &Options,
    is_bind: bool,
    userns: Option<&Linux>,
) -> Result<Option<IdMap>, PlanError> {
    let (users, groups) = (&mount.uid_mappings, &mount.gid_mappings);
    let own = !users.is_empty() || !groups.is_empty();
    // crun's own way to write a mapping into the word itself.
    if let Some((key, _)) = options
        .data
        .iter()
        .find(|(key, _)| key == "idmap" || key == "ridmap")
    {
        return Err(PlanError::Unsupported(format!(
            "{key:?} with a value in mounts[{index}].options, instead of uidMappings and \
             gidMappings,"
        )));
    }
    if !own && options.idmap.is_none() {
        return Ok(None);
    }
    if !is_bind {
        return Err(PlanError::Unsupported(format!(
            "mounts[{index}] as an idmapped mount that is no bind"
        )));
    }
    let recursive = options.idmap.unwrap_or(false);
    let (users, groups) = if own {
        let half = |given, missing| PlanError::Half {
            index,
            given,
            missing,
        };
        if groups.is_empty() {
            return Err(half("uidMappings", "gidMappings"));
        }
        if users.is_empty() {
            return Err(half("gidMappings", "uidMappings"));
        }
        (users, groups)
    } else {
        userns
            .map(|linux| (&linux.uid_mappings, &linux.gid_mappings))
            .filter(|(users, groups)| !users.is_empty() && !groups.is_empty())
            .ok_or(PlanError::NoMapping {
                index,
                word: if recursive { "ridmap" } else { "idmap" },
            })?
    };
    Ok(Some(IdMap {
        users: users.clone(),
        groups: groups.clone(),
        recursive,
    }))
}
