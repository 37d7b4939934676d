//! Whether the boxes are whole: what is seen of each here, what that means in
//! `verdict`, which is pure.
//!
//! A check looks after no box: what every other command would repair on its
//! way is told here, and stays as it is.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use holdall_image::{Digest, Store};

use super::error::BoxError;
use super::files::gone_is_fine;
use super::lock::Lock;
use super::mounts::MountSource;
use super::name::{BoxId, BoxName};
use super::store::BoxStore;
use super::sweep::{gone, is_draft};
use super::{Boxes, Observed};
use crate::causes::chain;
use crate::dirs::Dirs;
use crate::oci::client::Client;

mod verdict;

pub use verdict::{Fault, NotEnded};
use verdict::{Seen, SeenBox};

/// What a [`Boxes::check`] found.
#[derive(Debug, Default)]
pub struct Report {
    /// Boxes looked at.
    pub boxes: u64,
    /// The images that they need.
    pub images: BTreeSet<Digest>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What interrupted work left, and nobody works on.
    pub leftovers: Vec<PathBuf>,
    /// Cgroups of the machine that look like a box's, hold no process, and are
    /// of no box of this root: of a root that is gone, or of a box of another
    /// that is just about to begin or to end. Only a person can tell which.
    pub strays: Vec<PathBuf>,
}

impl Boxes {
    /// The boxes of a root as they are: nothing is made or looked after before
    /// it is asked for.
    #[must_use]
    pub fn at(dirs: Dirs) -> Self {
        Self {
            store: BoxStore::at(dirs),
        }
    }

    /// Looks whether the boxes are whole: their records, what these name, and
    /// that nothing is left of a run that is over. Changes nothing.
    ///
    /// # Errors
    /// Where something can't be looked at. What is damaged is no error.
    pub fn check(&self, images: &Store) -> Result<Report, BoxError> {
        let mut report = Report::default();
        let mut seen = Seen::default();
        let boxes = self.store.dirs().boxes();
        let mut going = BTreeSet::new();
        for name in names(&boxes)? {
            let id = name.parse::<BoxId>().ok();
            let lost = id.as_ref().is_some_and(|id| {
                let lost = self.store.is_lost(&name, &self.store.dir(id));
                matches!(lost, Ok(true))
            });
            if lost || is_draft(&name) {
                // Else somebody is at it.
                if !is_held(&boxes.join(&name).join("lock"))? {
                    report.leftovers.push(boxes.join(&name));
                }
                // What it still has elsewhere goes with it.
                going.extend(gone(&name).map(|id| id.to_string()));
            } else if let Some(id) = id {
                seen.boxes.push(self.see(id, images)?);
            }
        }
        let runs = [
            self.store.dirs().run_boxes(),
            self.store.dirs().runtime_state(),
        ];
        for folder in runs {
            for name in names(&folder)? {
                seen.runs.push((name.clone(), folder.join(name)));
            }
        }
        for (point, is_cgroup) in mounts()? {
            if is_cgroup {
                let folder = point.join("holdall");
                for name in names(&folder)? {
                    seen.cgroups.push((name.clone(), folder.join(name)));
                }
            } else if self.is_out_of_place(&point) {
                seen.mounts.push(point);
            }
        }
        seen.runs.retain(|(id, _)| !going.contains(id));
        seen.cgroups.retain(|(id, _)| !going.contains(id));
        report.boxes = seen.boxes.len() as u64;
        let records = seen
            .boxes
            .iter()
            .filter_map(|seen| seen.record.as_ref().ok());
        report.images = records.map(|record| record.image).collect();
        report.faults = verdict::decide(&seen);
        report.strays = strays(&seen)?;
        Ok(report)
    }

    /// Repairs what can be without loss; whether this can.
    ///
    /// # Errors
    /// Where it fails.
    pub fn repair(&self, fault: &Fault) -> Result<bool, BoxError> {
        match fault {
            // Any look at it does.
            Fault::NotEnded { id, .. } => match self.summary(id) {
                Ok(_) | Err(BoxError::NotFound { .. }) => Ok(true),
                Err(error) => Err(error),
            },
            Fault::Run { id, path } => {
                let state_root = self.store.dirs().runtime_state();
                if path.starts_with(&state_root) {
                    let cleared = Client { state_root }.delete(id, true);
                    cleared.map_err(|cause| BoxError::Runtime {
                        verb: "clear away",
                        name: BoxName::from_image(id),
                        cause,
                    })?;
                } else {
                    let removed = gone_is_fine(fs::remove_dir_all(path));
                    removed.map_err(BoxError::file("remove", path))?;
                }
                Ok(true)
            }
            // Only an empty one goes, with empty ones below it.
            Fault::Cgroup { path, .. } => remove_empty(path).map(|()| true),
            Fault::Record { .. }
            | Fault::Life { .. }
            | Fault::Image { .. }
            | Fault::Folder { .. }
            | Fault::Volume { .. }
            | Fault::Name { .. }
            | Fault::Mount(_) => Ok(false),
        }
    }

    /// Removes the drafts and remains that crashes left.
    ///
    /// # Errors
    /// Where they can't be.
    pub fn sweep_drafts(&self) -> Result<(), BoxError> {
        self.store.sweep_drafts()
    }

    fn see(&self, id: BoxId, images: &Store) -> Result<SeenBox, BoxError> {
        let dir = self.store.dir(&id);
        let record = match self.store.record(&id) {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err("it is not there".to_owned()),
            Err(error) => Err(chain(&error)),
        };
        let busy = is_held(&dir.lock())?;
        let minded = is_held(&dir.guard())?;
        let life = self.store.life(&id).map_err(|error| chain(&error));
        let alive = matches!(&life, Ok(Some(super::Life::Running(run))) if run.process.is_alive());
        let mut image = None;
        let mut missing = Vec::new();
        if let Ok(record) = &record {
            image = images.image(&record.image).err().map(|error| chain(&error));
            for mount in &record.mounts {
                let path = match &mount.source {
                    MountSource::Volume { name } => self.store.dirs().volumes().join(name.as_str()),
                    MountSource::Own { number } => dir.volume(*number),
                    // The host's own, which may come and go.
                    MountSource::Bind { .. } => continue,
                };
                if !path.is_dir() {
                    missing.push((mount.target.clone(), path));
                }
            }
        }
        let folders = [dir.upper(), dir.work(), dir.etc()];
        let lost = folders.into_iter().find(|path| !path.is_dir());
        Ok(SeenBox {
            observed: Observed { alive, minded },
            id,
            record,
            life,
            busy,
            image,
            missing,
            lost,
        })
    }

    /// Whether a mount point lies where none ever is.
    fn is_out_of_place(&self, point: &Path) -> bool {
        let dirs = self.store.dirs();
        let mut folders = [
            dirs.boxes(),
            dirs.layers(),
            dirs.run_boxes(),
            dirs.runtime_state(),
        ]
        .into_iter();
        folders.any(|folder| point != folder && point.starts_with(folder))
    }
}

/// Cgroups without a process that no box and no run of this root accounts for.
fn strays(seen: &Seen) -> Result<Vec<PathBuf>, BoxError> {
    let boxes = seen.boxes.iter().map(|one| one.id.as_str());
    let runs = seen.runs.iter().map(|(id, _)| id.as_str());
    let known: BTreeSet<&str> = boxes.chain(runs).collect();
    let mut strays = Vec::new();
    for (id, path) in &seen.cgroups {
        let is_a_box = id.parse::<BoxId>().is_ok() && path.is_dir();
        if is_a_box && !known.contains(id.as_str()) && !is_populated(path)? {
            strays.push(path.clone());
        }
    }
    Ok(strays)
}

/// Whether a process is in a cgroup or below it. One that is gone meanwhile
/// has none.
fn is_populated(cgroup: &Path) -> Result<bool, BoxError> {
    let list = cgroup.join("cgroup.procs");
    match fs::read(&list) {
        Ok(processes) if !processes.is_empty() => return Ok(true),
        Ok(_) => {}
        // Of a cgroup that is being removed, too.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(BoxError::file("read", &list)(error)),
    }
    for name in names(cgroup)? {
        let below = cgroup.join(name);
        if below.is_dir() && is_populated(&below)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a cgroup of which nobody is in any part.
fn remove_empty(cgroup: &Path) -> Result<(), BoxError> {
    for name in names(cgroup)? {
        let below = cgroup.join(name);
        if below.is_dir() {
            remove_empty(&below)?;
        }
    }
    gone_is_fine(fs::remove_dir(cgroup)).map_err(BoxError::file("remove", cgroup))
}

/// The mount points of the host, and whether a hierarchy of cgroups lies
/// there.
fn mounts() -> Result<Vec<(PathBuf, bool)>, BoxError> {
    let path = Path::new("/proc/self/mountinfo");
    let table = fs::read_to_string(path).map_err(BoxError::file("read", path))?;
    let point = |line: &str| {
        let point = PathBuf::from(unescaped(line.split(' ').nth(4)?));
        Some((point, line.contains(" - cgroup")))
    };
    Ok(table.lines().filter_map(point).collect())
}

/// proc_pid_mountinfo(5): space, tab, newline and backslash are octal there.
fn unescaped(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (code, plain)| {
        text.replace(code, plain)
    })
}

/// The names in a folder; none where it isn't there.
fn names(folder: &Path) -> Result<Vec<String>, BoxError> {
    let failed = || BoxError::file("read", folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed())?.file_name();
        names.extend(name.into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn is_held(path: &Path) -> Result<bool, BoxError> {
    Lock::is_held(path).map_err(BoxError::file("look at", path))
}
