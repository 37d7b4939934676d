//! Ending every process of a service: its group by number while its leader is
//! not reaped, its cgroup where there is one, and the rest by its mark. In
//! rounds, with the loop running between them.

use std::collections::BTreeMap;

use holdall_protocol::{Millis, Signal};
use holdall_supervise::{ServiceId, Timestamp};

use crate::cgroup::Cgroup;
use crate::lineage::{self, Mark};
use crate::sys;

/// The wait between two rounds: from this, as a killed process is usually gone
/// within a millisecond …
const FIRST_WAIT: Millis = Millis(1);
/// … doubling up to this, for one that sleeps in the kernel.
const LONGEST_WAIT: Millis = Millis(500);

/// Who is to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A service: the supervisor waits to hear that it is cleared.
    Service(ServiceId),
    /// The foreground command: likewise.
    Foreground,
    /// What a probe or an exec left behind; nobody waits.
    Loose(Mark),
}

struct Job {
    /// The main process, while it is not reaped.
    leader: Option<i32>,
    mark: Option<Mark>,
    cgroup: Option<Cgroup>,
    wait: Millis,
    next: Timestamp,
}

/// What is being killed.
#[derive(Default)]
pub(crate) struct Kills {
    jobs: BTreeMap<Target, Job>,
    /// /proc numbers processes as we see them.
    has_proc: bool,
}

/// How a service is to be found.
pub(crate) struct Prey {
    pub(crate) leader: Option<i32>,
    pub(crate) mark: Option<Mark>,
    pub(crate) cgroup: Option<Cgroup>,
}

impl Kills {
    pub(crate) fn new(has_proc: bool) -> Self {
        Self {
            jobs: BTreeMap::new(),
            has_proc,
        }
    }

    /// Begins to kill; the first round is due at once.
    pub(crate) fn begin(&mut self, now: Timestamp, target: Target, prey: Prey) {
        let Prey {
            leader,
            mark,
            cgroup,
        } = prey;
        if let Some(leader) = leader {
            kill_group(leader);
        }
        self.jobs.insert(
            target,
            Job {
                leader,
                mark,
                cgroup,
                wait: FIRST_WAIT,
                next: now,
            },
        );
    }

    /// Whether it is under way.
    pub(crate) fn is_killing(&self, target: Target) -> bool {
        self.jobs.contains_key(&target)
    }

    /// The main process was reaped: what is left of its job goes on at once.
    pub(crate) fn leader_reaped(&mut self, now: Timestamp, target: Target) {
        if let Some(job) = self.jobs.get_mut(&target) {
            job.leader = None;
            job.next = now;
        }
    }

    /// When the next round is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        // A living leader's end comes by SIGCHLD, not by a timer.
        self.jobs
            .values()
            .filter(|job| job.leader.is_none())
            .map(|job| job.next)
            .min()
    }

    /// Does the rounds that are due, and gives back who is gone. `known` says
    /// which children of init are somebody's main process.
    pub(crate) fn rounds(&mut self, now: Timestamp, known: impl Fn(i32) -> bool) -> Vec<Target> {
        let has_proc = self.has_proc;
        // Looked at once for all of them: their leaders are gone by now.
        let mut strangers = None;
        let mut strangers = || *strangers.get_or_insert_with(|| has_strangers(&known));
        let mut gone = Vec::new();
        for (target, job) in &mut self.jobs {
            if job.leader.is_some() || job.next > now {
                continue;
            }
            if job.round(has_proc, &mut strangers) {
                gone.push(*target);
            } else {
                job.next = now + job.wait;
                job.wait = Millis((job.wait.0 * 2).min(LONGEST_WAIT.0));
            }
        }
        for target in &gone {
            self.jobs.remove(target);
        }
        gone
    }
}

impl Job {
    /// Kills what it finds; true when there was nothing.
    fn round(&self, has_proc: bool, strangers: &mut impl FnMut() -> bool) -> bool {
        let empty = match &self.cgroup {
            Some(cgroup) => cgroup.kill_all(),
            None => true,
        };
        let Some(mark) = self.mark.filter(|_| has_proc) else {
            return empty;
        };
        if !strangers() {
            return empty;
        }
        let scan = lineage::scan(Some(mark));
        for found in &scan.found {
            // Gone already is as good.
            let _ = sys::pidfd_signal(&found.handle, Signal::KILL);
        }
        empty && scan.found.is_empty() && !scan.uncertain
    }
}

/// Whether init has a child that is nobody's main process, or may have. Whoever
/// outlived its parents is a child of init by now, so without one there is
/// nobody to look for. (Only the descendants of one that is alive could hide,
/// and the leader is gone.)
fn has_strangers(known: &impl Fn(i32) -> bool) -> bool {
    lineage::children().is_none_or(|children| !children.into_iter().all(known))
}

/// Kills a group by the number of its leader, which must not be reaped yet.
pub(crate) fn kill_group(leader: i32) {
    // The leader itself too: it may have left its group. One that does not
    // exist any more is what is wanted.
    let _ = sys::kill(-leader, Signal::KILL);
    let _ = sys::kill(leader, Signal::KILL);
}

/// Signals a group by the number of its leader, which must not be reaped yet,
/// then lets it go on, so that a stopped process hears the signal.
pub(crate) fn signal_group(leader: i32, signal: Signal) {
    let _ = sys::kill(-leader, signal);
    let _ = sys::kill(-leader, Signal::CONT);
}
