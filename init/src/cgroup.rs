//! A cgroup a service: by it, one write ends everything in it, and memory,
//! processors and processes can be limited.
//!
//! Where init is PID 1 of a box and version 2 is there (also beside a version 1
//! hierarchy), every service has one, to be ended by. Anywhere else only those
//! have one whose `limits` ask for it: nobody asked us to touch the host's
//! groups.
//!
//! All groups of an init lie in one folder, below the group that init itself is
//! in. The folder is locked as long as its init lives, so that inits side by
//! side stay apart, and the next one can remove what one that was killed has
//! left.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use holdall_protocol::manifest::{Limits, Service};
use holdall_protocol::{ServiceName, Signal};
use nix::errno::Errno;

use crate::spawn::words;
use crate::sys;

mod folder;
mod limit;
mod place;

use folder::Folder;
use limit::{Controller, Limit};
use place::Place;

/// The group in which init itself is while it hands out controllers of version
/// 2: a group with such can't have processes of its own.
const LEAF: &str = "init";

/// A group can't be made, or not be made as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    #[error("there is no cgroup hierarchy with a controller for it")]
    NoController,
    #[error("cannot make {}: {}", .path.display(), words(*.errno))]
    Make { path: PathBuf, errno: Errno },
    #[error("cannot open {}: {}", .path.display(), words(*.errno))]
    Open { path: PathBuf, errno: Errno },
    #[error("cannot write {value:?} to {}: {}", .path.display(), words(*.errno))]
    Write {
        path: PathBuf,
        value: String,
        errno: Errno,
    },
}

/// Where groups can be made, and the folders that were made there.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    /// The group of init in the hierarchy of version 2.
    unified: Option<Place>,
    /// Every service has one.
    for_all: bool,
    /// The folder there, once one is needed.
    folder: Option<Folder>,
    /// Controllers that are handed out in it.
    given: BTreeSet<Controller>,
    /// Init is in its leaf.
    moved: bool,
    /// By controller: the group of init, and the folder in it.
    legacy: Vec<(Controller, Place, Option<Folder>)>,
    /// What was said once already.
    said: BTreeSet<Option<Controller>>,
}

/// The groups of one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cgroup {
    unified: Option<PathBuf>,
    legacy: Vec<(Controller, PathBuf)>,
}

/// What a child does to join its groups, and what is to be said about those
/// that can't be had.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    pub(crate) cgroup: Cgroup,
    /// `cgroup.procs` of each.
    pub(crate) procs: Vec<OwnedFd>,
    /// One line each.
    pub(crate) complaints: Vec<String>,
}

impl Cgroups {
    /// Looks where init is.
    pub(crate) fn find(is_pid1: bool) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (own, mounts) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo"));
        let unified = Place::unified(&own, &mounts);
        // The root of the whole system has no such file, and is not ours.
        let is_ours = |place: &Place| place.path.join("cgroup.kill").exists();
        let ours = unified.as_ref().filter(|place| is_pid1 && is_ours(place));
        // Where it can't be made (most engines mount it read-only) the lineage
        // mark does the work, and there is nothing to complain about.
        let folder = ours.and_then(|place| Folder::make(&place.path).ok());
        let legacy = Controller::ALL.into_iter();
        let legacy = legacy.filter_map(|controller| {
            let place = Place::legacy(controller.name(), &own, &mounts)?;
            Some((controller, place, None))
        });
        Self {
            unified,
            for_all: folder.is_some(),
            folder,
            legacy: legacy.collect(),
            ..Self::default()
        }
    }

    /// Makes the groups of a service that is about to start, as its `limits`
    /// say; nobody is in those of its last life any more.
    pub(crate) fn of(&mut self, service: &Service) -> Joining {
        let mut joining = Joining::default();
        let name = &service.name;
        let limits = limit::of(&service.limits);
        let there = self.unified.as_ref().map(Place::controllers);
        let there = there.unwrap_or_default();
        let (new, old): (Vec<&Limit>, Vec<&Limit>) = limits
            .iter()
            .partition(|limit| there.iter().any(|name| name == limit.controller.name()));
        let mut joined = false;
        if !new.is_empty() {
            match self.join_unified(name, &new, &mut joining) {
                Ok(()) => joined = true,
                Err(error) => {
                    for limit in new {
                        self.complain(Some(limit.controller), &error, &mut joining);
                    }
                }
            }
        }
        if self.for_all
            && !joined
            && let Err(error) = self.join_unified(name, &[], &mut joining)
        {
            self.for_all = false;
            self.complain(None, &error, &mut joining);
        }
        for limit in old {
            if let Err(error) = self.join_legacy(name, limit, &mut joining) {
                self.complain(Some(limit.controller), &error, &mut joining);
            }
        }
        joining
    }

    /// Says once what can't be had.
    fn complain(
        &mut self,
        controller: Option<Controller>,
        error: &CgroupError,
        joining: &mut Joining,
    ) {
        if self.said.insert(controller) {
            joining.complaints.push(match controller {
                Some(controller) => {
                    format!("`limits.{}` is not held: {error}", controller.name())
                }
                None => format!("cannot make a cgroup, and goes without: {error}"),
            });
        }
    }

    fn join_unified(
        &mut self,
        name: &ServiceName,
        limits: &[&Limit],
        joining: &mut Joining,
    ) -> Result<(), CgroupError> {
        let place = self.unified.as_ref().ok_or(CgroupError::NoController)?;
        let folder = match &mut self.folder {
            Some(folder) => folder,
            none => none.insert(Folder::make(&place.path)?),
        };
        for limit in limits {
            let controller = limit.controller;
            if self.given.contains(&controller) {
                continue;
            }
            if !self.moved && !place.is_root() {
                let leaf = folder.group(LEAF)?;
                write(&leaf.join("cgroup.procs"), "0")?;
                self.moved = true;
            }
            let give = format!("+{}", controller.name());
            write(&place.path.join("cgroup.subtree_control"), &give)?;
            write(&folder.path.join("cgroup.subtree_control"), &give)?;
            self.given.insert(controller);
        }
        let group = folder.group(&group_name(name))?;
        for limit in limits {
            limit.hold(&group, true)?;
        }
        joining.procs.push(open_procs(&group)?);
        joining.cgroup.unified = Some(group);
        Ok(())
    }

    fn join_legacy(
        &mut self,
        name: &ServiceName,
        limit: &Limit,
        joining: &mut Joining,
    ) -> Result<(), CgroupError> {
        let controller = limit.controller;
        let mut legacy = self.legacy.iter_mut();
        let found = legacy.find(|(known, ..)| *known == controller);
        let (_, place, folder) = found.ok_or(CgroupError::NoController)?;
        let folder = match folder {
            Some(folder) => folder,
            none => none.insert(Folder::make(&place.path)?),
        };
        let group = folder.group(&group_name(name))?;
        limit.hold(&group, false)?;
        joining.procs.push(open_procs(&group)?);
        joining.cgroup.legacy.push((controller, group));
        Ok(())
    }

    /// Removes all of them, at the end. One that somebody is still in stays,
    /// for the next init.
    pub(crate) fn finish(&mut self) {
        if let (Some(place), Some(folder)) = (&self.unified, &self.folder) {
            folder.remove_groups();
            if self.moved {
                for controller in &self.given {
                    let take = format!("-{}", controller.name());
                    let _ = write(&folder.path.join("cgroup.subtree_control"), &take);
                    let _ = write(&place.path.join("cgroup.subtree_control"), &take);
                }
                // PID 1 of a box goes with it anyway.
                let _ = write(&place.path.join("cgroup.procs"), "0");
            }
            folder.remove();
        }
        for folder in self
            .legacy
            .iter()
            .filter_map(|(.., folder)| folder.as_ref())
        {
            folder.remove();
        }
    }
}

impl Cgroup {
    /// Kills whoever is in it; true when there was nobody.
    pub(crate) fn kill_all(&self) -> bool {
        let mut empty = true;
        if let Some(group) = &self.unified {
            let events = fs::read_to_string(group.join("cgroup.events")).unwrap_or_default();
            let populated = events.lines().any(|line| line == "populated 1");
            if populated {
                // An error is seen in the next round: still populated.
                let _ = write(&group.join("cgroup.kill"), "1");
            }
            empty = !populated;
        }
        for (controller, group) in &self.legacy {
            if *controller == Controller::Pids {
                // Who multiplies faster than it is killed, can't any more.
                let _ = write(&group.join("pids.max"), "0");
            }
            for pid in members(group) {
                empty = false;
                // Gone already is as good; and a number that is another's by
                // now is not in the group.
                if let Ok(handle) = sys::pidfd_open(pid)
                    && members(group).contains(&pid)
                {
                    let _ = sys::pidfd_signal(&handle, Signal::KILL);
                }
            }
        }
        empty
    }

    /// Whether the kernel has killed something in it for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let unified = self.unified.iter().map(|group| group.join("memory.events"));
        let legacy = self.legacy.iter();
        let legacy = legacy.filter(|(controller, _)| *controller == Controller::Memory);
        let legacy = legacy.map(|(_, group)| group.join("memory.oom_control"));
        unified.chain(legacy).any(|file| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            kills.is_some_and(|kills| kills.trim() != "0")
        })
    }
}

/// Who is in a group of version 1, as far as we can see them.
fn members(group: &Path) -> Vec<i32> {
    let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let pids = procs.lines().filter_map(|line| line.parse().ok());
    // Zero is one that our own namespace does not number.
    pids.filter(|pid| *pid > 0).collect()
}

fn group_name(service: &ServiceName) -> String {
    format!("service.{service}")
}

fn open_procs(group: &Path) -> Result<OwnedFd, CgroupError> {
    let path = group.join("cgroup.procs");
    let file = File::options().write(true).open(&path);
    file.map(OwnedFd::from).map_err(|error| CgroupError::Open {
        errno: errno(&error),
        path,
    })
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(|error| CgroupError::Write {
        path: path.to_owned(),
        value: value.to_owned(),
        errno: errno(&error),
    })
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
