//! Who the program is: ids, limits, capabilities.

use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr as _;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, SFlag, fstat, umask};
use nix::unistd::{Gid, Pid, Uid, fchown, setgroups, setresgid, setresuid};

use super::spec::{Capabilities, Process, Rlimit};
use crate::sys;

/// What can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeError {
    /// A name that is no capability.
    #[error("cannot use capability {0:?}: there is none by that name")]
    UnknownCapability(String),
    /// A name that is no limit.
    #[error("cannot use limit {0:?}: there is none by that name")]
    UnknownLimit(String),
    /// A limit with two values.
    #[error("cannot use limit {0:?}: process.rlimits has it twice, keep one")]
    LimitTwice(String),
    /// The kernel refused ids.
    #[error("cannot take {what}")]
    Ids {
        /// Which.
        what: &'static str,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// The kernel refused a limit.
    #[error("cannot set {name} to {soft}:{hard}")]
    Limit {
        /// Which.
        name: String,
        /// Asked for.
        soft: u64,
        /// Asked for.
        hard: u64,
        /// Why not.
        #[source]
        source: Errno,
    },
    /// The kernel refused capabilities.
    #[error("cannot set the {set} capabilities")]
    Capabilities {
        /// Which set.
        set: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Takes the ids 0 of a new user namespace.
pub(crate) fn become_root() -> Result<(), PrivilegeError> {
    set_ids(0, 0, &[])
}

fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> Result<(), PrivilegeError> {
    let error = |what| move |source| PrivilegeError::Ids { what, source };
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    match setgroups(&groups) {
        // In a namespace that forbids it, nobody asked for groups.
        Err(Errno::EPERM) if groups.is_empty() => {}
        other => other.map_err(error("the supplementary groups"))?,
    }
    let gid = Gid::from_raw(gid);
    setresgid(gid, gid, gid).map_err(error("the group"))?;
    let uid = Uid::from_raw(uid);
    setresuid(uid, uid, uid).map_err(error("the user"))
}

/// Lowers everything to what the process asks for. Bounding first, while it
/// can be; the ids next, keeping what is permitted; the other sets last.
pub(crate) fn drop_to(process: &Process) -> Result<(), PrivilegeError> {
    let none = Capabilities::default();
    let wanted = process.capabilities.as_ref().unwrap_or(&none);
    for limit in &process.rlimits {
        set_limit(Pid::from_raw(0), limit, false)?;
    }
    let user = &process.user;
    let mask = user.umask.unwrap_or(0o022) & 0o777;
    umask(Mode::from_bits_truncate(mask));
    own_pipes(user.uid);

    let error = |set| move |source: std::io::Error| PrivilegeError::Capabilities { set, source };
    let other = |set| {
        move |e: caps::errors::CapsError| PrivilegeError::Capabilities {
            set,
            source: std::io::Error::other(e),
        }
    };
    let had = caps::read(None, CapSet::Permitted).map_err(other("permitted"))?;
    let had = had
        .iter()
        .fold(0, |mask, capability| mask | capability.bitmask());
    let bounding = mask_of(&wanted.bounding)?;
    for capability in caps::all() {
        if bounding & capability.bitmask() != 0 {
            continue;
        }
        match sys::drop_bounding(capability.index()) {
            // EINVAL: this kernel doesn't know it.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(error("bounding")(errno.into())),
        }
    }
    prctl::set_keepcaps(true).map_err(|errno| error("kept")(errno.into()))?;
    set_ids(user.uid, user.gid, &user.additional_gids)?;
    prctl::set_keepcaps(false).map_err(|errno| error("kept")(errno.into()))?;

    // What we never had can't be handed on: done without, as in a container
    // inside a container.
    let permitted = mask_of(&wanted.permitted)? & had;
    let effective = mask_of(&wanted.effective)? & permitted;
    let inheritable = mask_of(&wanted.inheritable)? & had;
    sys::set_capabilities(effective, permitted, inheritable)
        .map_err(|errno| error("permitted, effective and inheritable")(errno.into()))?;
    let ambient = mask_of(&wanted.ambient)? & permitted & inheritable;
    caps::clear(None, CapSet::Ambient).map_err(other("ambient"))?;
    for capability in caps::all()
        .into_iter()
        .filter(|c| ambient & c.bitmask() != 0)
    {
        caps::raise(None, CapSet::Ambient, capability).map_err(other("ambient"))?;
    }
    Ok(())
}

/// Names to bits.
fn mask_of(names: &[String]) -> Result<u64, PrivilegeError> {
    names.iter().try_fold(0, |mask, name| {
        Capability::from_str(name)
            .map(|capability| mask | capability.bitmask())
            .map_err(|_| PrivilegeError::UnknownCapability(name.clone()))
    })
}

/// Checks the names in a configuration before anything is made.
pub(crate) fn check(process: &Process) -> Result<(), PrivilegeError> {
    if let Some(sets) = &process.capabilities {
        for names in [
            &sets.bounding,
            &sets.effective,
            &sets.permitted,
            &sets.inheritable,
            &sets.ambient,
        ] {
            mask_of(names)?;
        }
    }
    let mut rest = process.rlimits.as_slice();
    while let Some((limit, others)) = rest.split_first() {
        resource(&limit.kind)?;
        if others.iter().any(|other| other.kind == limit.kind) {
            return Err(PrivilegeError::LimitTwice(limit.kind.clone()));
        }
        rest = others;
    }
    Ok(())
}

/// Lets the user reopen its own standard pipes by name (/dev/stdout). Files
/// and terminals belong to somebody.
fn own_pipes(uid: u32) {
    for number in 0..3 {
        let Ok(file) = sys::standard(number) else {
            continue;
        };
        if let Err(errno) = own_pipe(file, uid) {
            log::debug!("cannot hand descriptor {number} to the user: {errno}");
        }
    }
}

fn own_pipe(file: BorrowedFd<'_>, uid: u32) -> nix::Result<()> {
    let stat = fstat(file)?;
    let format = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    if format == SFlag::S_IFIFO && stat.st_uid != uid {
        fchown(file.as_fd(), Some(Uid::from_raw(uid)), None)?;
    }
    Ok(())
}

/// Limits by name.
const LIMITS: [(&str, u32); 16] = [
    ("RLIMIT_AS", libc::RLIMIT_AS),
    ("RLIMIT_CORE", libc::RLIMIT_CORE),
    ("RLIMIT_CPU", libc::RLIMIT_CPU),
    ("RLIMIT_DATA", libc::RLIMIT_DATA),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", libc::RLIMIT_NICE),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ("RLIMIT_RSS", libc::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", libc::RLIMIT_STACK),
];

fn resource(name: &str) -> Result<u32, PrivilegeError> {
    LIMITS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
        .ok_or_else(|| PrivilegeError::UnknownLimit(name.to_owned()))
}

fn set_limit(pid: Pid, limit: &Rlimit, raise_only: bool) -> Result<(), PrivilegeError> {
    let number = resource(&limit.kind)?;
    let error = |source| PrivilegeError::Limit {
        name: limit.kind.clone(),
        soft: limit.soft,
        hard: limit.hard,
        source,
    };
    let (soft, hard) = sys::limit(number).map_err(error)?;
    if !raise_only {
        return sys::set_limit(pid, number, limit.soft, limit.hard).map_err(error);
    }
    if limit.hard > hard {
        sys::set_limit(pid, number, soft, limit.hard).map_err(error)?;
    }
    Ok(())
}

/// Raises what only the host's root can raise, for a process just cloned; it
/// lowers the rest itself, when nothing needs them any more.
pub(crate) fn raise_limits(pid: Pid, process: &Process) -> Result<(), PrivilegeError> {
    process
        .rlimits
        .iter()
        .try_for_each(|limit| set_limit(pid, limit, true))
}

/// Lowers our own default limits to what this process may set, and names
/// those that fell.
pub(crate) fn clamp(process: &mut Process) -> Vec<String> {
    let mut lowered = Vec::new();
    let may_raise =
        caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE).unwrap_or(false);
    if may_raise {
        return lowered;
    }
    for limit in &mut process.rlimits {
        let Ok((_, hard)) = resource(&limit.kind).and_then(|number| {
            sys::limit(number).map_err(|source| PrivilegeError::Limit {
                name: limit.kind.clone(),
                soft: limit.soft,
                hard: limit.hard,
                source,
            })
        }) else {
            continue;
        };
        if limit.hard > hard {
            lowered.push(format!("{} from {} to {hard}", limit.kind, limit.hard));
            limit.hard = hard;
            limit.soft = limit.soft.min(hard);
        }
    }
    lowered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_names_become_bits() {
        let names = ["CAP_CHOWN".to_owned(), "CAP_SYS_ADMIN".to_owned()];
        assert_eq!(mask_of(&names).unwrap(), 1 | 1 << 21);
    }

    #[test]
    fn a_limit_is_given_once() {
        let limit = |kind: &str, soft| Rlimit {
            kind: kind.to_owned(),
            hard: 9,
            soft,
        };
        let checked = |rlimits: &[Rlimit]| {
            let process = Process {
                rlimits: rlimits.to_vec(),
                ..Process::default()
            };
            check(&process).map_err(|error| error.to_string())
        };
        let (core, cpu) = (limit("RLIMIT_CORE", 1), limit("RLIMIT_CPU", 1));
        assert_eq!(checked(&[core.clone(), cpu.clone()]), Ok(()));
        let twice = Err(
            "cannot use limit \"RLIMIT_CORE\": process.rlimits has it twice, keep one".to_owned(),
        );
        // The same value, another one, and not side by side.
        assert_eq!(checked(&[core.clone(), core.clone()]), twice);
        let other = limit("RLIMIT_CORE", 2);
        assert_eq!(checked(&[core, cpu, other]), twice);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_it() {
        let text = mask_of(&["CAP_FLY".to_owned()]).unwrap_err().to_string();
        assert_eq!(
            text,
            "cannot use capability \"CAP_FLY\": there is none by that name"
        );
        let text = resource("RLIMIT_LUCK").unwrap_err().to_string();
        assert_eq!(
            text,
            "cannot use limit \"RLIMIT_LUCK\": there is none by that name"
        );
    }
}
