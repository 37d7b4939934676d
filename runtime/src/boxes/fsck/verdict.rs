//! What is wrong with boxes, from what was seen of them: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::boxes::name::{BoxId, BoxName};
use crate::boxes::record::Record;
use crate::boxes::state::{Care, Life, Observed, care};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// What the box is, isn't known.
    #[error("the record of box {id} cannot be used: {reason}")]
    Record {
        /// Which.
        id: BoxId,
        /// Why not.
        reason: String,
    },
    /// How the box's newest run went, isn't known.
    #[error("the life of box {name} cannot be used: {reason}")]
    Life {
        /// Which.
        name: BoxName,
        /// Why not.
        reason: String,
    },
    /// Its image can't be used.
    #[error("the image of box {name} cannot be used: {reason}")]
    Image {
        /// Which.
        name: BoxName,
        /// Why not.
        reason: String,
    },
    /// A part of its own is gone.
    #[error("box {name} has no folder {}", path.display())]
    Folder {
        /// Which.
        name: BoxName,
        /// What is missing.
        path: PathBuf,
    },
    /// A volume is gone.
    #[error("the volume at {target} of box {name} is gone: {} is no folder", path.display())]
    Volume {
        /// Which.
        name: BoxName,
        /// Where in the box.
        target: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// Several boxes have one name.
    #[error("boxes {} are all called {name}", list(ids))]
    Name {
        /// The name.
        name: BoxName,
        /// Whose.
        ids: Vec<BoxId>,
    },
    /// A run that wasn't brought to its end, or has lost who minds it. The
    /// next command that looks at the box does it.
    #[error("box {name} {what}")]
    NotEnded {
        /// Which.
        id: BoxId,
        /// Its name.
        name: BoxName,
        /// In what way.
        what: NotEnded,
    },
    /// What a run has on the host, of a box that isn't there.
    #[error("{} is of no box", path.display())]
    Run {
        /// The box it was of.
        id: String,
        /// What.
        path: PathBuf,
    },
    /// A cgroup of a box that doesn't run.
    #[error("cgroup {} is of box {id}, which does not run", path.display())]
    Cgroup {
        /// Which box.
        id: String,
        /// What.
        path: PathBuf,
    },
    /// A mount where none belongs.
    #[error("{} is a mount point", .0.display())]
    Mount(PathBuf),
}

/// In what way a run wasn't brought to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotEnded {
    /// It runs without monitor and keeper.
    Unminded,
    /// It is over, and nobody wrote that down.
    Unburied,
    /// It is over, and something of it is left in the run folder.
    Remains,
    /// It is over, and was to be removed then.
    Unremoved,
}

impl fmt::Display for NotEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unminded => "runs without a monitor",
            Self::Unburied => "has ended, and nobody wrote that down",
            Self::Remains => "does not run, but has a run folder",
            Self::Unremoved => "has ended, and was to be removed then",
        })
    }
}

fn list(ids: &[BoxId]) -> String {
    let ids: Vec<&str> = ids.iter().map(BoxId::as_str).collect();
    ids.join(", ")
}

impl Fault {
    /// One word for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Record { .. } => "box-record",
            Self::Life { .. } => "box-life",
            Self::Image { .. } => "box-image",
            Self::Folder { .. } => "box-folder",
            Self::Volume { .. } => "volume",
            Self::Name { .. } => "box-name",
            Self::NotEnded { what, .. } => match what {
                NotEnded::Unminded => "box-unminded",
                NotEnded::Unburied => "box-unburied",
                NotEnded::Remains => "box-remains",
                NotEnded::Unremoved => "box-unremoved",
            },
            Self::Run { .. } => "run-folder",
            Self::Cgroup { .. } => "cgroup",
            Self::Mount(_) => "mount",
        }
    }
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) boxes: Vec<SeenBox>,
    /// Run folders and the runtime's states, by the id in their name.
    pub(super) runs: Vec<(String, PathBuf)>,
    /// Cgroups of boxes, of other roots too.
    pub(super) cgroups: Vec<(String, PathBuf)>,
    pub(super) mounts: Vec<PathBuf>,
}

/// What was seen of one box.
#[derive(Debug)]
pub(super) struct SeenBox {
    pub(super) id: BoxId,
    pub(super) record: Result<Record, String>,
    pub(super) life: Result<Option<Life>, String>,
    pub(super) observed: Observed,
    /// A command is at work on it: what it does isn't done yet.
    pub(super) busy: bool,
    /// Why its image can't be used.
    pub(super) image: Option<String>,
    /// Volumes that aren't there: where in the box, where on the host.
    pub(super) missing: Vec<(String, PathBuf)>,
    /// The first of its own folders that isn't there.
    pub(super) lost: Option<PathBuf>,
}

/// Everything that is wrong.
pub(super) fn decide(seen: &Seen) -> Vec<Fault> {
    let mut faults: Vec<Fault> = seen
        .boxes
        .iter()
        .flat_map(|one| of_box(one, seen))
        .collect();
    let mut names: BTreeMap<&BoxName, Vec<BoxId>> = BTreeMap::new();
    for one in &seen.boxes {
        if let Ok(record) = &one.record {
            names.entry(&record.name).or_default().push(one.id.clone());
        }
    }
    for (name, ids) in names {
        if ids.len() > 1 {
            faults.push(Fault::Name {
                name: name.clone(),
                ids,
            });
        }
    }
    let known: BTreeSet<&str> = seen.boxes.iter().map(|one| one.id.as_str()).collect();
    for (id, path) in &seen.runs {
        if !known.contains(id.as_str()) {
            faults.push(Fault::Run {
                id: id.clone(),
                path: path.clone(),
            });
        }
    }
    // Cgroups are the machine's: one of an unknown box may be another root's.
    let over = seen.boxes.iter().filter(|one| is_over(one));
    let over = over.map(|one| one.id.as_str());
    let strays = seen.runs.iter().map(|(id, _)| id.as_str());
    let over: BTreeSet<&str> = over
        .chain(strays.filter(|id| !known.contains(id)))
        .collect();
    for (id, path) in &seen.cgroups {
        if over.contains(id.as_str()) {
            faults.push(Fault::Cgroup {
                id: id.clone(),
                path: path.clone(),
            });
        }
    }
    faults.extend(seen.mounts.iter().cloned().map(Fault::Mount));
    faults
}

/// Whether nothing of a run should be there.
fn is_over(one: &SeenBox) -> bool {
    !one.busy && !one.observed.minded && !one.observed.alive && one.life.is_ok()
}

fn of_box(one: &SeenBox, seen: &Seen) -> Vec<Fault> {
    let record = match &one.record {
        Ok(record) => record,
        Err(reason) => {
            return vec![Fault::Record {
                id: one.id.clone(),
                reason: reason.clone(),
            }];
        }
    };
    let name = || record.name.clone();
    let mut faults = Vec::new();
    if let Some(reason) = &one.image {
        faults.push(Fault::Image {
            name: name(),
            reason: reason.clone(),
        });
    }
    if let Some(path) = &one.lost {
        faults.push(Fault::Folder {
            name: name(),
            path: path.clone(),
        });
    }
    for (target, path) in &one.missing {
        faults.push(Fault::Volume {
            name: name(),
            target: target.clone(),
            path: path.clone(),
        });
    }
    match &one.life {
        Err(reason) => faults.push(Fault::Life {
            name: name(),
            reason: reason.clone(),
        }),
        Ok(_) if one.busy => {}
        Ok(life) => {
            if let Some(what) = not_ended(one, record, life.as_ref(), seen) {
                faults.push(Fault::NotEnded {
                    id: one.id.clone(),
                    name: name(),
                    what,
                });
            }
        }
    }
    faults
}

fn not_ended(one: &SeenBox, record: &Record, life: Option<&Life>, seen: &Seen) -> Option<NotEnded> {
    match care(life, one.observed) {
        Care::Adopt => return Some(NotEnded::Unminded),
        Care::Bury => return Some(NotEnded::Unburied),
        Care::None if one.observed.minded => return None,
        Care::None => {}
    }
    if seen.runs.iter().any(|(id, _)| id == one.id.as_str()) {
        Some(NotEnded::Remains)
    } else if record.remove && life.is_some() {
        Some(NotEnded::Unremoved)
    } else {
        None
    }
}
