//! Services that are started by the first connection or datagram.

use holdall_supervise::{Event, ServiceId};

use crate::pid1::Pid1;

impl Pid1 {
    /// From now on something that comes to the service's sockets is told. Where
    /// they can't be opened or watched it counts as come: the start that
    /// follows fails with the reason, or serves all the same.
    pub(crate) fn await_demand(&mut self, id: ServiceId) -> Option<Event> {
        let service = self.supervisor.service(id)?;
        self.awaiting.insert(id);
        let opened = self.sockets.open(service).is_ok();
        let watched = opened && self.sockets.await_demand(&self.poll, id, service).is_ok();
        (!watched).then_some(Event::Demanded { service: id })
    }

    /// No longer.
    pub(crate) fn forget_demand(&mut self, id: ServiceId) {
        self.awaiting.remove(&id);
        self.sockets.forget_demand(&self.poll, id);
    }

    /// Something has come to a socket.
    pub(crate) fn take_demand(&mut self, socket: u64) {
        for service in self.sockets.demanded(socket) {
            self.event(Event::Demanded { service });
        }
    }

    /// The sockets of a new manifest: what is gone from it is closed, and who
    /// waits, waits at those that it has now.
    pub(crate) fn change_sockets(&mut self) {
        for id in &self.awaiting {
            self.sockets.forget_demand(&self.poll, *id);
        }
        self.sockets.keep(&self.base.services);
        let there = |id: &ServiceId| {
            let name = self.service(*id).map(|service| service.name.service());
            let mut services = self.base.services.iter();
            services.any(|service| Some(service.name.as_str()) == name)
        };
        let awaiting = self.awaiting.iter().copied().filter(there);
        for id in awaiting.collect::<Vec<ServiceId>>() {
            if let Some(event) = self.await_demand(id) {
                self.event(event);
            }
        }
    }
}
