//! The monitor: one small process a box that owns the host's side of it:
//! published ports, log file, exit code, and the clearing away.
//!
//! It is lost without harm: the box holds its own ends of the FIFOs open for
//! reading too, so nothing it writes fails, and the keeper has copies of every
//! descriptor that matters and starts another monitor at once. It sleeps in
//! one `epoll_wait` and has no timer while nothing happens.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncReadExt as _;

use super::bury::{Reaper, clear, write_end};
use super::channel;
use super::error::BoxError;
use super::files::Durable;
use super::launch::launch;
use super::logfile::note;
use super::orders::{Answer, Done, Extra, Kept, Orders, Task, give, spawn, take};
use super::pump::{Mouths, Pump};
use super::state::Run;
use super::store::BoxStore;
use super::sweep::Remains;
use super::unsynced;
use super::{KEEPER, MONITOR};
use crate::causes::chain;
use crate::clock::{Deadline, WallTime};
use crate::oci::seal::Sealed;
use crate::ports::forward;
use crate::process::Handle;
use crate::sys;

/// A keeper (or monitor) that is lost sooner than this after its start is
/// replaced only after as long a pause, so that a machine out of memory isn't
/// asked for a process without end.
pub(crate) const SHORT_LIFE: Duration = Duration::from_secs(1);

/// A box that holds no port gets its keeper only when it is this old: one that
/// is over sooner needs none. Until then a lost monitor is replaced by the next
/// command, as after the loss of both.
const UNKEPT: Duration = Duration::from_millis(200);

/// The program `holdall-monitor`.
pub(crate) fn main() -> ExitCode {
    let Ok(channel) = begin() else {
        return ExitCode::FAILURE;
    };
    let Ok(Some((orders, kept, extra))) = take(&channel) else {
        return ExitCode::FAILURE;
    };
    let (dirs, id) = (orders.dirs(), orders.id.clone());
    match Monitor::run(orders, kept, extra, channel) {
        Ok(()) => {
            unsynced::sync_if_due(&dirs);
            ExitCode::SUCCESS
        }
        // The keeper tries again, or the next command does.
        Err(error) => {
            if let Ok(store) = BoxStore::open(dirs) {
                note(
                    &store,
                    &id,
                    &format!("the monitor failed: {}", chain(&error)),
                );
            }
            ExitCode::FAILURE
        }
    }
}

/// What monitor and keeper do first: only the channel stays open.
pub(crate) fn begin() -> io::Result<UnixStream> {
    sys::close_from(3)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    sys::dup_to(null.as_fd(), 0)?;
    Ok(channel.into())
}

struct Monitor {
    orders: Orders,
    kept: Kept,
    run: Run,
    process: Handle,
    store: BoxStore,
    reaper: Reaper,
    /// Who started the box and may wait for its end.
    starter: Option<UnixStream>,
    /// Tells it of new lines.
    rope: Option<OwnedFd>,
    /// The keeper's end, once there is one.
    keeper: Option<UnixStream>,
    /// The host's network, when this process is in the box's.
    host_network: Option<File>,
    /// The box's mounts. The kernel takes them apart when the last who has them
    /// goes, some milliseconds of waiting for every CPU; as long as it is not
    /// the box's own process, its end is not held up by that.
    mounts: Option<File>,
}

impl Monitor {
    fn run(
        mut orders: Orders,
        kept: Kept,
        extra: Extra,
        channel: UnixStream,
    ) -> Result<(), BoxError> {
        // What the box leaves without a parent becomes ours, its first process
        // above all: then its exit code comes by wait.
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|errno| BoxError::system("become the box's reaper")(errno.into()))?;
        let store = BoxStore::open(orders.dirs())?;
        // Where it can't be had, the runtime process seals itself, or says why
        // not. Kept to the end, as letting go of it takes its time.
        let program = match extra {
            Extra::Launch(_) => Sealed::new().ok(),
            Extra::Adopt(_) => None,
        };
        let mut rope = None;
        let (run, process, runtime) = match (extra, orders.task.clone()) {
            (Extra::Launch(extra), _) => {
                match launch(&store, &orders, program.as_ref(), extra, &channel) {
                    Ok(launched) => {
                        rope = Some(launched.rope);
                        (launched.run, launched.process, Some(launched.runtime))
                    }
                    Err(error) => {
                        tell(&channel, &failed(&error));
                        return Ok(());
                    }
                }
            }
            (Extra::Adopt(process), Task::Adopt(run)) => {
                super::launch::start_if_waiting(&store, &orders.id)?;
                (run, process, None)
            }
            (Extra::Adopt(_), Task::Launch) => {
                return Err(BoxError::system("read the orders")(
                    io::ErrorKind::InvalidData.into(),
                ));
            }
        };
        // A file system of the host's must be free once the end is told, and a
        // box that stays may be started again at once.
        let mounts = match orders.remove && orders.no_binds {
            // One that has ended already has none any more.
            true => File::open(format!("/proc/{}/ns/mnt", run.process.pid)).ok(),
            false => None,
        };
        let from_keeper = std::mem::take(&mut orders.from_keeper);
        orders.task = Task::Adopt(run.clone());
        let reaper = Reaper::new(run.process.pid);
        let mut monitor = Self {
            orders,
            kept,
            run,
            process,
            store,
            reaper,
            starter: None,
            rope,
            keeper: None,
            host_network: None,
            mounts,
        };
        if from_keeper {
            monitor.keeper = Some(channel);
        } else {
            tell(&channel, &Answer::Started(monitor.run.clone()));
            monitor.starter = Some(channel);
        }
        if let Some(mut runtime) = runtime {
            // It did what it was there for; how it ends changes nothing.
            let _: io::Result<std::process::ExitStatus> = runtime.wait();
        }
        monitor.mind()
    }

    /// Minds the box until its end, then clears away.
    fn mind(mut self) -> Result<(), BoxError> {
        let ledger_lost = self.keeper.is_none();
        if self.keeper.is_none() && !self.orders.ports.is_empty() {
            self.keeper = self.spawn_keeper();
        }
        let dir = self.store.dir(&self.orders.id);
        let run = self.store.run_dir(&self.orders.id);
        let mouths = Mouths {
            fifos: &self.kept.fifos,
            ledger: self.kept.ledger.as_fd(),
            ledger_lost,
            has_init: self.orders.has_init,
            rope: self.rope.take(),
        };
        let mut pump = Pump::open(&dir, &run, mouths)
            .map_err(BoxError::file("open the log in", dir.path()))?;
        let limit = raise_descriptor_limit();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(BoxError::system("start the monitor's loop"))?;
        let tasks = tokio::task::LocalSet::new();
        let looped = tasks.block_on(&runtime, self.until_end(&mut pump, limit));
        drop(tasks);
        drop(runtime);
        looped.map_err(BoxError::system("wait for the box"))?;
        self.end(pump)
    }

    async fn until_end(&mut self, pump: &mut Pump, descriptors: u64) -> io::Result<()> {
        if !self.orders.ports.is_empty() {
            let started = self
                .enter_network()
                .and_then(|()| forward::start(self.kept.bound(&self.orders)?, descriptors));
            // One that is ending already has no network any more.
            if let Err(error) = started
                && error.raw_os_error() != Some(nix::errno::Errno::ESRCH as i32)
            {
                pump.note(format!("ports are not published: {}", chain(&error)));
            }
        }
        let process = sys::readable(self.process.as_fd().try_clone_to_owned()?)?;
        let mut keeper = self.keeper.take().map(watchable).transpose()?;
        let mut born = Deadline::after(match keeper {
            Some(_) => SHORT_LIFE,
            None => UNKEPT,
        });
        let mut pump = std::pin::pin!(pump.run());
        loop {
            let lost = async {
                // It says nothing; its end is all there is to read. Where none
                // was or could be started there is none to wait for.
                if let Some(keeper) = &mut keeper {
                    drop(keeper.read(&mut [0]).await);
                }
            };
            tokio::select! {
                ended = process.readable() => {
                    drop(ended?);
                    self.keeper = keeper.map(tokio::net::UnixStream::into_std).transpose()?;
                    return Ok(());
                }
                failed = &mut pump => return failed,
                () = lost => {
                    // Not before its pause, and the box may end meanwhile.
                    tokio::select! {
                        ended = process.readable() => {
                            drop(ended?);
                            return Ok(());
                        }
                        failed = &mut pump => return failed,
                        () = tokio::time::sleep(born.left()) => {}
                    }
                    self.reaper.reap();
                    keeper = self.respawn_keeper()?.map(watchable).transpose()?;
                    born = Deadline::after(SHORT_LIFE);
                }
            }
        }
    }

    /// From here on the sockets that this process makes are the box's.
    fn enter_network(&mut self) -> io::Result<()> {
        if self.orders.host_network {
            return Ok(());
        }
        let host = File::open("/proc/self/ns/net")?;
        setns(self.process.as_fd(), CloneFlags::CLONE_NEWNET)?;
        self.host_network = Some(host);
        Ok(())
    }

    /// Starts a keeper in the host's network: it will start monitors there.
    ///
    /// An error leaves this process in the wrong network, where its next
    /// connection would reach the host's own services: it must end.
    fn respawn_keeper(&self) -> io::Result<Option<UnixStream>> {
        let Some(host) = &self.host_network else {
            return Ok(self.spawn_keeper());
        };
        setns(host, CloneFlags::CLONE_NEWNET)?;
        let keeper = self.spawn_keeper();
        setns(self.process.as_fd(), CloneFlags::CLONE_NEWNET)?;
        Ok(keeper)
    }

    fn spawn_keeper(&self) -> Option<UnixStream> {
        let keeper = spawn(KEEPER, &self.orders.id).ok()?;
        give(&keeper, &self.orders, &self.kept, &[self.process.as_fd()]).ok()?;
        Some(keeper)
    }

    /// The box is gone: writes down how, and removes what was only there for
    /// its run.
    fn end(mut self, mut pump: Pump) -> Result<(), BoxError> {
        let code = self.reaper.exit_code(&self.process);
        if let Err(error) = pump.finish() {
            pump.note(format!("the last words are lost: {}", chain(&error)));
        }
        // Before the end can be seen: nobody may start a box again that is
        // about to be removed. The guard is held, so this is in order.
        let lock = match self.orders.remove {
            true => Some(self.store.lock(&self.orders.id)?),
            false => None,
        };
        // Before the end is written down: who sees it may take the ports.
        self.kept.sockets.clear();
        let id = &self.orders.id;
        let durable = Durable::of_box(self.orders.remove);
        let written = write_end(&self.store, id, &self.run, code, WallTime::now(), durable);
        let Some(lock) = lock else {
            written.and(clear(&self.store, id))?;
            self.tell_end(code);
            return Ok(());
        };
        written?;
        self.tell_end(code);
        // Who started the box may still read its log.
        if let Some(starter) = &self.starter {
            wait_for_end(starter);
        }
        let remains = self.store.take_away(id, &lock)?;
        // The name is free, which is all that anybody waits for. What else the
        // box has goes before its remains, by us or by whoever sweeps them.
        drop(self.starter);
        let cleared = clear(&self.store, id);
        drop((self.kept, self.mounts));
        cleared.and_then(|()| remains.map_or(Ok(()), Remains::remove))
    }

    fn tell_end(&self, code: u8) {
        if let Some(starter) = &self.starter {
            tell(starter, &Answer::Exited(code));
        }
        if let Some(keeper) = &self.keeper {
            // A keeper that is lost just now needs no word.
            drop(channel::send(keeper, &Done, &[]));
        }
    }
}

fn watchable(stream: UnixStream) -> io::Result<tokio::net::UnixStream> {
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// A failure as it is told: what the runtime says needs no frame, as the
/// command puts its own around it.
fn failed(error: &BoxError) -> Answer {
    let message = match error {
        BoxError::Runtime { cause, .. } => chain(cause),
        error => chain(error),
    };
    Answer::Failed {
        message,
        code: error.exit_code(),
    }
}

/// Answers; whoever asked may be gone.
fn tell(channel: &UnixStream, answer: &Answer) {
    drop(channel::send(channel, answer, &[]));
}

/// Waits until the other end is closed.
fn wait_for_end(mut channel: &UnixStream) {
    drop(io::copy(&mut channel, &mut io::sink()));
}

/// Connections need descriptors; returns how many there may be.
fn raise_descriptor_limit() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        // POSIX promises this many.
        Err(_) => 20,
    }
}

/// Starts a monitor and gives it its orders; its answer comes on the channel.
pub(crate) fn start_monitor(
    orders: &Orders,
    kept: &Kept,
    extra: &[BorrowedFd<'_>],
) -> Result<UnixStream, BoxError> {
    let channel =
        spawn(MONITOR, &orders.id).map_err(BoxError::system("start the box's monitor"))?;
    give(&channel, orders, kept, extra).map_err(BoxError::system("reach the box's monitor"))?;
    Ok(channel)
}
