//! What tells two supervisors apart, for whoever explores all states of one.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::instance::Instance;
use crate::probing::Probing;
use crate::state::{Next, Stage, State, Why};
use crate::supervisor::{Phase, Supervisor};
use crate::{ServiceId, Timestamp};

impl Supervisor {
    /// A number that is the same for two supervisors of one manifest which will
    /// decide alike. Times count from now on, so that the same state at another
    /// time is the same. Left out is what only people see (since when, how
    /// often, the last words), and what plays no part in the worlds that are
    /// explored: how long ago failures were, and the growth and the jitter of a
    /// backoff, where the manifest's `backoff` is zero and its `give_up` looks
    /// back further than the exploration reaches. Requests are: a client that
    /// waits sees the same decisions as one that hung up.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let ahead = |at: Timestamp| at.since(self.now);
        match &self.phase {
            Phase::New => 0_u8.hash(&mut hasher),
            Phase::Running { .. } => 1_u8.hash(&mut hasher),
            Phase::Stopping(stop) => {
                let times = (stop.kill_at.map(ahead), ahead(stop.exit_at));
                (2_u8, stop.code, stop.asked, times).hash(&mut hasher);
            }
            Phase::Over => 3_u8.hash(&mut hasher),
        }
        for instance in &self.services {
            let Instance {
                wanted,
                anew,
                retired,
                ..
            } = instance;
            (wanted, anew, retired).hash(&mut hasher);
            instance.restarts.failures().hash(&mut hasher);
            self.hash_state(&instance.state, &mut hasher);
        }
        let timers = (0_u32..).take(self.services.len()).map(ServiceId);
        for id in timers {
            self.timers.of(id).map(ahead).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn hash_state(&self, state: &State, hasher: &mut DefaultHasher) {
        let ahead = |at: Timestamp| at.since(self.now);
        let why = |why: &Why| std::mem::discriminant(why);
        std::mem::discriminant(state).hash(hasher);
        match state {
            State::Stopped | State::Waiting | State::Spawning | State::Listening => {}
            State::Live(live) => {
                let stage: u8 = match live.stage {
                    Stage::Starting => 0,
                    Stage::Ready { .. } => 1,
                    Stage::Unhealthy { .. } => 2,
                };
                (stage, live.ready_at.map(ahead)).hash(hasher);
                live.probing.as_ref().map(Probing::standing).hash(hasher);
                let (due, missed) = (live.watchdog.due(), live.watchdog.missed());
                (live.ready_by.map(ahead), due.map(ahead), missed).hash(hasher);
            }
            State::Stopping {
                kill_at, why: w, ..
            } => (ahead(*kill_at), why(w)).hash(hasher),
            State::Killing { why: w, .. } | State::Unreaped { why: w, .. } => why(w).hash(hasher),
            State::Clearing { next } => {
                std::mem::discriminant(next).hash(hasher);
                match next {
                    Next::Backoff { until } => ahead(*until).hash(hasher),
                    Next::Exited { exit } | Next::Fatal { exit } => exit.hash(hasher),
                    Next::Anew | Next::Scheduled => {}
                }
            }
            State::Backoff { until } => ahead(*until).hash(hasher),
            State::Scheduled { due } => due.map(ahead).hash(hasher),
            State::Exited { exit } | State::Fatal { exit } => exit.hash(hasher),
        }
    }
}
