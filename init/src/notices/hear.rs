//! What services say of themselves, heeded.

use holdall_protocol::manifest::Dialect;
use holdall_supervise::notice::Message;
use holdall_supervise::{Event, Notice, ServiceId};
use nix::unistd::geteuid;

use super::Named;
use super::sender::Kin;
use crate::ancillary::Received;
use crate::kill::Target;
use crate::lineage;
use crate::pid1::{Pid1, Role};
use crate::sys;

/// Messages of one service in one turn of the loop: a flood waits in its own
/// queue, and then its sender does.
const BATCH: usize = 16;

/// At its end all that it has said is heeded: more than any queue holds, as
/// others may go on sending.
const ALL: usize = 1024;

impl Pid1 {
    /// A service's socket has something.
    pub(crate) fn hear(&mut self, id: ServiceId) {
        self.hear_some(id, BATCH);
    }

    /// The main process of a service has ended: what it has said before.
    pub(crate) fn hear_out(&mut self, id: ServiceId) {
        self.hear_some(id, ALL);
        self.hear_line(id);
    }

    fn hear_some(&mut self, id: ServiceId, most: usize) {
        for _ in 0..most {
            let Some((bytes, received)) = self.notices.receive(id) else {
                return;
            };
            self.heed(id, &bytes, received);
        }
    }

    /// Heeds one message. The descriptors that came with it are closed after
    /// that, unless they are stored: this is what `BARRIER=1` waits for.
    fn heed(&mut self, id: ServiceId, bytes: &[u8], mut received: Received) {
        let Some(kin) = self.kin(id) else { return };
        let handle = received.handle.as_ref();
        let sender = received.sender;
        if !sender.is_some_and(|sender| kin.sent(sender, handle)) {
            let (pid, uid) = sender.map_or((0, 0), |sender| (sender.pid, sender.uid));
            let words = format!(
                "a message that process {pid} of user {uid} sent for it is not heeded: \
                 it is none of its own"
            );
            return self.complain_once(id, &words);
        }
        let message = Message::parse(bytes).filter(|_| !received.cut);
        let Some(message) = message else {
            return self.complain_once(id, "a message of its own is not heeded: it is too long");
        };
        if let Some(name) = &message.remove {
            self.store.remove(&self.poll, id, name);
        }
        if let Some(how) = message.store.filter(|_| self.notifies(id)) {
            for fd in received.descriptors.drain(..) {
                if !self.store.keep(&self.poll, id, &how, fd) {
                    self.complain_once(id, "a descriptor is not stored: there are too many");
                }
            }
        }
        for notice in message.notices {
            if let Notice::MainPid(pid) = notice
                && !self.name_main(id, pid)
            {
                let words = format!("process {pid} can't be its main one: it is none of its own");
                self.complain_once(id, &words);
                continue;
            }
            self.event(Event::Notified {
                service: id,
                notice,
            });
        }
    }

    /// A service's descriptor has something.
    pub(crate) fn hear_line(&mut self, id: ServiceId) {
        match self.notices.announced(&self.poll, id) {
            None => {}
            Some(true) => self.announced(id),
            Some(false) => self.log.about(
                id,
                "closed the descriptor of its `ready` without a line: it will never be ready",
            ),
        }
    }

    /// Those whose line was in the log.
    pub(crate) fn hear_log(&mut self) {
        for id in self.log.watches.take() {
            self.announced(id);
        }
    }

    fn announced(&mut self, service: ServiceId) {
        let notice = Notice::Announced;
        self.event(Event::Notified { service, notice });
    }

    fn notifies(&self, id: ServiceId) -> bool {
        let ready = self.service(id).and_then(|service| service.ready.as_ref());
        ready.is_some_and(|ready| ready.by == Dialect::Notify)
    }

    fn kin(&mut self, id: ServiceId) -> Option<Kin> {
        let owner = self.notices.lines.get(&id)?.owner;
        let instance = self.instance(id)?;
        Some(Kin {
            leader: instance.pid,
            mark: instance.mark,
            uid: owner.unwrap_or_else(|| geteuid().as_raw()),
        })
    }

    fn complain_once(&mut self, id: ServiceId, words: &str) {
        let line = self.notices.lines.get_mut(&id);
        if line.is_some_and(|line| !std::mem::replace(&mut line.complained, true)) {
            self.log.about(id, words);
        }
    }

    /// Makes another process of the service its main one; false where it is
    /// none of its own.
    fn name_main(&mut self, id: ServiceId, pid: u32) -> bool {
        let Some((kin, pid)) = self.kin(id).zip(i32::try_from(pid).ok()) else {
            return false;
        };
        let first = kin.leader == Some(pid);
        let named = sys::pidfd_open(pid).ok().filter(|handle| {
            // By its number, which is its own as it is there afterwards.
            kin.has(pid) && lineage::lives(pid) && sys::pidfd_is_there(handle)
        });
        if !first && named.is_none() {
            return false;
        }
        if let Some(instance) = self.instance(id) {
            let named = named.filter(|_| !first);
            instance.named = named.map(|handle| Named { pid, handle });
        }
        true
    }

    /// The process that was the main one has ended. Whether another one, which
    /// the service named, goes on in its place: one that is init's own child by
    /// now, as it is when its parents are gone.
    pub(crate) fn goes_on(&mut self, id: ServiceId) -> bool {
        if self.kills.is_killing(Target::Service(id)) {
            return false;
        }
        let Some(instance) = self.instance(id) else {
            return false;
        };
        let named = instance.named.take();
        let Some(named) = named.filter(|named| sys::child_has_ended(&named.handle).is_ok()) else {
            return false;
        };
        instance.pid = Some(named.pid);
        self.children.insert(named.pid, Role::Service(id));
        true
    }

    /// Whose main process an orphan was, as the service named it, while the
    /// one that was started still lives.
    pub(crate) fn named_by(&mut self, pid: i32) -> Option<ServiceId> {
        let heard: Vec<ServiceId> = self.notices.heard().collect();
        heard.into_iter().find(|id| {
            let instance = self.instance(*id);
            let named = instance.and_then(|instance| instance.named.as_ref());
            named.is_some_and(|named| named.pid == pid)
        })
    }
}
