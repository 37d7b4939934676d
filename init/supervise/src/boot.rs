//! The boot of the box, and the clock that its jobs go by.

use crate::ServiceId;
use crate::foreground;
use crate::instance::Input;
use crate::job::Calendar;
use crate::state::State;
use crate::supervisor::{Phase, Supervisor};

impl Supervisor {
    /// Brings up what the boot brings up, and what that needs.
    pub(crate) fn boot(&mut self) {
        match self.phase {
            Phase::New => self.phase = Phase::Running { booted: self.now },
            Phase::Running { .. } | Phase::Stopping(_) | Phase::Over => return,
        }
        if !self.options.after_ready {
            self.step_foreground(foreground::Input::Go);
        }
        let booting = self.services.iter().filter(|instance| instance.boots());
        let mut next: Vec<ServiceId> = booting.map(|instance| instance.id).collect();
        let mut needed = vec![false; self.services.len()];
        while let Some(id) = next.pop() {
            let (Some(needed), Some(instance)) =
                (needed.get_mut(id.index()), self.services.get(id.index()))
            else {
                continue;
            };
            // What one that starts on demand needs is brought up with it.
            if !std::mem::replace(needed, true) && !instance.on_demand() {
                next.extend(self.graph.needs(id).iter().map(|edge| edge.other));
            }
        }
        for id in self.graph.order().to_vec() {
            if needed.get(id.index()) == Some(&true) {
                self.step(id, Input::Up);
            }
        }
    }

    /// The wall clock was set.
    pub(crate) fn clock(&mut self, wall: u64) {
        let calendar = Calendar::showing(wall, self.now);
        let before = std::mem::replace(&mut self.calendar, calendar);
        let scheduled = self.services.iter();
        let scheduled = scheduled.filter(|i| matches!(i.state, State::Scheduled { .. }));
        let scheduled: Vec<ServiceId> = scheduled.map(|instance| instance.id).collect();
        for id in scheduled {
            self.step(id, Input::Clock { before });
        }
    }
}
