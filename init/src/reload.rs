//! A new set of services while the box runs: the file read again, or another
//! number of instances.

use std::sync::Arc;

use holdall_protocol::control::{ErrorKind, Response};
use holdall_protocol::manifest::{Manifest, Schedule};
use holdall_protocol::{ServiceName, suggest};
use holdall_supervise::{Event, ServiceId};

use crate::config::{self, Loaded};
use crate::pid1::{Instance, Pid1};

/// Why nothing was changed: for programs, and for people.
type Refused = (ErrorKind, String);

impl Pid1 {
    /// Reads the file again. What changes, one line each.
    pub(crate) fn reload(&mut self, dry_run: bool) -> Result<Vec<String>, Refused> {
        let read = config::load(&self.origin, &self.env);
        let read = read.map_err(|error| (ErrorKind::Failed, config::words(&error)))?;
        let Loaded { manifest, remarks } = read.unwrap_or_default();
        for remark in remarks {
            self.log.say(&remark);
        }
        self.put(manifest, dry_run)
    }

    /// Reloads for a signal: what comes of it goes into the log.
    pub(crate) fn reload_for_signal(&mut self) {
        if let Err((_, reason)) = self.reload(false) {
            for line in reason.lines() {
                self.log.say(&format!("cannot reload: {line}"));
            }
        }
    }

    /// Sets how many instances of a service there are.
    pub(crate) fn scale(&mut self, name: &ServiceName, count: u32) -> Result<Vec<String>, Refused> {
        let mut manifest = self.base.clone();
        let known = manifest
            .services
            .iter()
            .map(|service| service.name.as_str());
        let near = suggest::closest(name.as_str(), known).map(str::to_owned);
        let service = manifest.services.iter_mut();
        let Some(service) = service.into_iter().find(|service| service.name == *name) else {
            let near = near.map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
            let message = format!("no service is named `{name}`{near}");
            return Err((ErrorKind::UnknownService, message));
        };
        if service.instances.is_none() {
            let message = format!(
                "`{name}` can't be scaled: it has no `instances` in its file, and may not bear a second"
            );
            return Err((ErrorKind::Failed, message));
        }
        Arc::make_mut(service).instances = Some(count);
        self.put(manifest, false)
    }

    /// Puts a manifest in place of the one that holds, or says what it would
    /// change.
    fn put(&mut self, manifest: Manifest, dry_run: bool) -> Result<Vec<String>, Refused> {
        let expanded = manifest.expanded();
        let changes = self.supervisor.changes(&expanded);
        let lines = changes.iter().map(ToString::to_string).collect();
        if dry_run {
            return Ok(lines);
        }
        let done = self.supervisor.reconfigure(self.now, &expanded);
        done.map_err(|error| (ErrorKind::ShuttingDown, error.to_string()))?;
        self.base = manifest;
        self.make_room();
        self.change_sockets();
        self.watch_clock();
        self.act();
        Ok(lines)
    }

    /// Room for the services that are new.
    fn make_room(&mut self) {
        let slots = self.supervisor.slots();
        self.instances.resize_with(slots, Instance::default);
        let ids = (0_u32..).map(ServiceId).take(slots);
        let names = ids.filter_map(|id| Some(self.supervisor.service(id)?.name.clone()));
        self.log.name(names.collect(), self.base.init.log);
    }

    /// Tells the supervisor what the wall clock shows, and hears when it is set,
    /// once a job goes by it.
    pub(crate) fn watch_clock(&mut self) {
        let by_the_clock =
            |schedule: &Option<Schedule>| matches!(schedule, Some(Schedule::Cron(_)));
        let jobs = self.base.services.iter();
        if self.clock_watch.is_none() && jobs.map(|s| &s.schedule).any(by_the_clock) {
            match crate::clock::Watch::begin(&self.poll) {
                Ok(watch) => self.clock_watch = Some(watch),
                Err(errno) => self.log.say(&format!(
                    "jobs don't follow a clock that is set: {}",
                    errno.desc()
                )),
            }
            self.tell_time();
        }
    }

    /// Tells the supervisor what the wall clock shows.
    pub(crate) fn tell_time(&mut self) {
        let wall = crate::clock::wall_micros() / 1000;
        self.event(Event::Clock { wall });
    }

    /// Answers a client with what has changed, or why nothing was.
    pub(crate) fn answer_changes(&mut self, id: u64, outcome: Result<Vec<String>, Refused>) {
        let response = match outcome {
            Ok(changes) => Response::Changes { changes },
            Err((kind, message)) => Response::Error { kind, message },
        };
        self.answer(id, &response, None);
    }
}
