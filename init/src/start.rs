//! Starting services and the foreground command.

use std::os::fd::{AsFd, AsRawFd};

use holdall_supervise::{Event, ServiceId};

use crate::launch::{self, Launch};
use crate::lineage::Marks;
use crate::perform::spawn_failed;
use crate::pid1::{Pid1, Role};
use crate::spawn::{self, SpawnError, Spawned, Starting, Stdio};
use crate::{listener, template};

impl Pid1 {
    /// Opens what the services listen on before the first of them starts, so
    /// that nobody is refused. What fails is tried again at the start, and
    /// reported there.
    pub(crate) fn open_sockets(&mut self) {
        for service in &self.base.services {
            let _ = self.sockets.open(service);
        }
    }

    /// Makes the child of a service.
    pub(crate) fn begin_service(&mut self, id: ServiceId) -> Result<Starting, SpawnError> {
        let mark = self.marks.as_mut().map(Marks::next);
        self.pipes.close_all(id, &mut self.log);
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        let (Some(service), Some(instance)) =
            (self.supervisor.service(id), self.instances.get_mut(index))
        else {
            return Err(SpawnError::EmptyProgram);
        };
        self.sockets.open(service)?;
        let mut handed = self.sockets.of(service);
        handed.extend(self.store.of(id));
        let given = self.notices.open(&self.poll, id, service);
        let given = given.map_err(SpawnError::Notices)?;
        // Its end of a connection to init, which closes here once it has it.
        let mut private = None;
        let mut launch = if listener::is(service) {
            let (ours, theirs) = listener::connection().map_err(SpawnError::Pipe)?;
            let adopted = self.control.adopt(&self.poll, ours, self.now);
            adopted.map_err(SpawnError::Pipe)?;
            listener::launch(service, &handed, private.insert(theirs))?
        } else {
            let env = given.environment(&self.child_env);
            Launch::service(service, &service.command, &env, &handed)?
        };
        let announce = given.announce.as_ref();
        launch.announce = announce.map(|(fd, becomes)| (fd.as_raw_fd(), *becomes));
        self.log.watches.expect(id, given.pattern);
        for template in &service.templates {
            let account = launch.account.as_ref();
            let env = launch::environment(service, account, &self.child_env)?;
            template::make(template, &env, self.origin.dir(), launch.owner())?;
        }
        launch.mark = mark.map(|mark| mark.value);
        let joining = self.cgroups.of(service);
        for complaint in &joining.complaints {
            self.log.about(id, complaint);
        }
        instance.cgroup = Some(joining.cgroup);
        launch.cgroups = joining.procs.iter().map(AsRawFd::as_raw_fd).collect();
        let owner = launch.owner();
        self.notices.set_owner(id, owner.map(|(uid, _)| uid));
        let gate = self.log.begin(id, &service.log, owner.map(|(_, gid)| gid));
        let pipes = self.pipes.pair(id, gate, owner);
        let [stdout, stderr] = pipes.map_err(SpawnError::Pipe)?;
        let stdin = self.sockets.stdin(service);
        let stdin = stdin.unwrap_or_else(|| self.null.as_fd());
        let stdio = Stdio::Given([stdin, stdout.as_fd(), stderr.as_fd()]);
        instance.mark = mark;
        spawn::begin(launch, &stdio)
    }

    /// Waits for the first of the children on their way to exec.
    pub(crate) fn finish_start(&mut self) -> Option<Event> {
        let (service, child) = self.starting.pop_front()?;
        Some(match child.finish() {
            Ok(child) => self.service_runs(service, child),
            Err(error) => spawn_failed(service, &error),
        })
    }

    /// The child of a service has come to exec, or takes long.
    fn service_runs(&mut self, service: ServiceId, child: Spawned) -> Event {
        let Spawned { pid, late } = child;
        if let Some(instance) = self.instance(service) {
            (instance.pid, instance.late) = (Some(pid), late);
        }
        self.children.insert(pid, Role::Service(service));
        let pid = pid.unsigned_abs();
        Event::Spawned { service, pid }
    }

    pub(crate) fn spawn_foreground(&mut self) -> Result<u32, SpawnError> {
        // It writes to the same place: what was said before it comes before it.
        self.log.flush();
        let mark = self.marks.as_mut().map(Marks::next);
        let Some(foreground) = &mut self.foreground else {
            return Err(SpawnError::EmptyProgram);
        };
        let mut launch = Launch::program(foreground.command.clone(), &self.child_env, false)?;
        launch.mark = mark.map(|mark| mark.value);
        let Spawned { pid, .. } = spawn::spawn(launch, &foreground.terminal.stdio())?;
        (foreground.pid, foreground.mark) = (Some(pid), mark);
        self.children.insert(pid, Role::Foreground);
        Ok(pid.unsigned_abs())
    }
}
