//! A cgroup a service: by it, one write ends everything in it, and memory,
//! processors and processes can be limited.
//!
//! Where init is PID 1 of a box and version 2 is there (also beside a version 1
//! hierarchy), every service has one, to be ended by. Anywhere else only those
//! have one whose `limits` ask for it: nobody asked us to touch the host's
//! groups.
//!
//! In a box that holdall itself runs, init is handed groups to divide: one of
//! each hierarchy, as the root of a detached mount. They are its own from the
//! beginning, also where the box sees /sys/fs/cgroup read-only or not at all,
//! and what limits the box lies above them, out of reach.
//!
//! Anywhere else all groups of an init lie in one folder, below the group that init itself is
//! in. The folder is locked as long as its init lives, so that inits side by
//! side stay apart, and the next one can remove what one that was killed has
//! left.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use holdall_protocol::control::cgroup_fd_name;
use holdall_protocol::manifest::{Limits, Service};
use holdall_protocol::{ServiceName, Signal};
use nix::errno::Errno;

use crate::spawn::words;
use crate::sys;

mod dir;
mod folder;
mod limit;
mod place;

use dir::Group;
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

/// Where groups can be made, and what was made there.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    /// The group of init in the hierarchy of version 2.
    unified: Option<Top>,
    /// Every service has one.
    for_all: bool,
    /// Controllers that are handed out in the folder there.
    given: BTreeSet<Controller>,
    /// Init is in its leaf.
    moved: bool,
    /// By controller: the group of init.
    legacy: Vec<(Controller, Top)>,
    /// What was said once already.
    said: BTreeSet<Option<Controller>>,
}

/// The group of init in one hierarchy.
#[derive(Debug)]
struct Top {
    path: PathBuf,
    /// The folder in it, once one is needed.
    folder: Option<Folder>,
}

/// The groups of one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cgroup {
    unified: Option<Group>,
    legacy: Vec<(Controller, Group)>,
}

/// What a child does to join its groups, and what is to be said about those
/// that can't be had.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    pub(crate) cgroup: Cgroup,
    /// The file of each by which a process joins it.
    pub(crate) procs: Vec<OwnedFd>,
    /// One line each.
    pub(crate) complaints: Vec<String>,
}

impl Top {
    fn found(place: Place) -> Self {
        let Place { path } = place;
        Self { path, folder: None }
    }

    /// Takes the one of this name out of what was handed over.
    fn handed(all: &mut Vec<(String, OwnedFd)>, controller: Option<Controller>) -> Option<Self> {
        let name = cgroup_fd_name(controller.map(Controller::name));
        let at = all.iter().position(|(known, _)| *known == name)?;
        let (_, fd) = all.swap_remove(at);
        let path = PathBuf::from(name);
        let folder = Some(Folder::handed(fd, &path));
        Some(Self { path, folder })
    }

    fn folder(&mut self) -> Result<&mut Folder, CgroupError> {
        Ok(match &mut self.folder {
            Some(folder) => folder,
            none => none.insert(Folder::make(&self.path)?),
        })
    }

    /// The controllers that are there for groups below, of version 2.
    fn controllers(&self) -> Vec<String> {
        const FILE: &str = "cgroup.controllers";
        let list = match &self.folder {
            Some(folder) => folder.parent.read(FILE),
            None => fs::read_to_string(self.path.join(FILE)).unwrap_or_default(),
        };
        list.split_whitespace().map(str::to_owned).collect()
    }
}

impl Cgroups {
    /// Takes what was handed over, and looks where init is for the rest.
    pub(crate) fn find(is_pid1: bool, mut handed: Vec<(String, OwnedFd)>) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (own, mounts) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo"));
        let mut for_all = true;
        let unified = Top::handed(&mut handed, None).or_else(|| {
            let mut found = Top::found(Place::unified(&own, &mounts)?);
            // The root of the whole system has no such file, and is not ours.
            let is_ours = is_pid1 && found.path.join("cgroup.kill").exists();
            // Where it can't be made (most engines mount it read-only) the
            // lineage mark does the work, and there is nothing to complain
            // about.
            for_all = is_ours && found.folder().is_ok();
            Some(found)
        });
        let legacy = Controller::ALL.into_iter().filter_map(|controller| {
            let found = || {
                let place = Place::legacy(controller.name(), &own, &mounts)?;
                Some(Top::found(place))
            };
            let top = Top::handed(&mut handed, Some(controller)).or_else(found)?;
            Some((controller, top))
        });
        let legacy = legacy.collect();
        Self {
            for_all: for_all && unified.is_some(),
            unified,
            legacy,
            ..Self::default()
        }
    }

    /// Makes the groups of a service that is about to start, as its `limits`
    /// say; nobody is in those of its last life any more.
    pub(crate) fn of(&mut self, service: &Service) -> Joining {
        let mut joining = Joining::default();
        let name = &service.name;
        let limits = limit::of(&service.limits);
        let there = match &self.unified {
            Some(top) if !limits.is_empty() => top.controllers(),
            Some(_) | None => Vec::new(),
        };
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
        let top = self.unified.as_mut().ok_or(CgroupError::NoController)?;
        let folder = top.folder()?;
        for limit in limits {
            let controller = limit.controller;
            if self.given.contains(&controller) {
                continue;
            }
            // The root of the whole system may have processes beside groups.
            if !self.moved && folder.parent.has("cgroup.type") {
                move_to_leaf(folder)?;
                self.moved = true;
            }
            folder.give(controller.name())?;
            self.given.insert(controller);
        }
        let group = folder.group(&group_name(name))?;
        for limit in limits {
            limit.hold(&group, true)?;
        }
        joining.procs.push(group.open_for_writing(PROCS)?);
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
        let found = legacy.find(|(known, _)| *known == controller);
        let (_, top) = found.ok_or(CgroupError::NoController)?;
        let group = top.folder()?.group(&group_name(name))?;
        limit.hold(&group, false)?;
        // One thread that moves itself needs no lock over all forks of the
        // machine; through the other file it waits some milliseconds for it.
        joining.procs.push(group.open_for_writing("tasks")?);
        joining.cgroup.legacy.push((controller, group));
        Ok(())
    }

    /// Removes all of them, at the end. One that somebody is still in stays,
    /// for the next init.
    pub(crate) fn finish(&mut self) {
        let folder = self.unified.as_ref().and_then(|top| top.folder.as_ref());
        if let Some(folder) = folder {
            folder.remove_groups();
            if self.moved {
                for controller in &self.given {
                    folder.take(controller.name());
                }
                // PID 1 of a box goes with it anyway.
                let _ = folder.parent.write(PROCS, "0");
            }
            folder.remove();
        }
        for folder in self
            .legacy
            .iter()
            .filter_map(|(_, top)| top.folder.as_ref())
        {
            folder.remove();
        }
    }
}

/// Moves init into its leaf. Where its group is its own alone, so that whoever
/// else is there was brought by `exec` into the box, they come along.
fn move_to_leaf(folder: &mut Folder) -> Result<(), CgroupError> {
    let leaf = folder.group(LEAF)?;
    leaf.write(PROCS, "0")?;
    if folder.is_handed() {
        for pid in pids(&folder.parent.read(PROCS)) {
            // Gone meanwhile is as good.
            let _ = leaf.write(PROCS, &pid.to_string());
        }
    }
    Ok(())
}

impl Cgroup {
    /// Kills whoever is in it; true when there was nobody.
    pub(crate) fn kill_all(&self) -> bool {
        let mut empty = true;
        if let Some(group) = &self.unified {
            let events = group.read("cgroup.events");
            let populated = events.lines().any(|line| line == "populated 1");
            if populated {
                // An error is seen in the next round: still populated.
                let _ = group.write("cgroup.kill", "1");
            }
            empty = !populated;
        }
        for (controller, group) in &self.legacy {
            if *controller == Controller::Pids {
                // Who multiplies faster than it is killed, can't any more.
                let _ = group.write("pids.max", "0");
            }
            for pid in pids(&group.read(PROCS)) {
                empty = false;
                // Gone already is as good; and a number that is another's by
                // now is not in the group.
                if let Ok(handle) = sys::pidfd_open(pid)
                    && pids(&group.read(PROCS)).any(|member| member == pid)
                {
                    let _ = sys::pidfd_signal(&handle, Signal::KILL);
                }
            }
        }
        empty
    }

    /// How many in it the kernel has killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let unified = self.unified.iter().map(|group| group.read("memory.events"));
        let legacy = self.legacy.iter();
        let legacy = legacy.filter(|(controller, _)| *controller == Controller::Memory);
        let legacy = legacy.map(|(_, group)| group.read("memory.oom_control"));
        let kills = |text: String| {
            let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            kills.and_then(|kills| kills.trim().parse::<u64>().ok())
        };
        unified.chain(legacy).filter_map(kills).sum()
    }
}

/// The processes of a group; also the file by which one joins it.
const PROCS: &str = "cgroup.procs";

/// Those of a list, as far as we can see them.
fn pids(list: &str) -> impl Iterator<Item = i32> {
    let pids = list.lines().filter_map(|line| line.parse().ok());
    // Zero is one that our own namespace does not number.
    pids.filter(|pid| *pid > 0)
}

fn group_name(service: &ServiceName) -> String {
    format!("service.{service}")
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
